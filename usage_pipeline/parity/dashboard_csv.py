"""Reading a CSV file that a person exported: its header, its rows with their line numbers, its digest.

In: a path. Out: a :class:`DashboardCsv`. Nothing here knows a provider. Every error names the file, and the line where
there is one.
"""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from usage_pipeline.errors import InvalidInputError

_BYTES_AT_ONCE: Final = 1 << 20
_WORDS: Final = re.compile(r"[\s_]+")
_ARCHIVE: Final = (b"PK\x03\x04", b"\x1f\x8b")


@dataclass(frozen=True, slots=True)
class DashboardCsv:
    """A file: its path, digest and size, and its header with the names in lower case, words joined by ``_``."""

    path: Path
    sha256: str
    size_bytes: int
    header: tuple[str, ...]

    @property
    def name(self) -> str:
        """The file's name without its folder."""
        return self.path.name

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """Every row under the header with the number of its last line; empty lines are no rows.

        Raises :class:`InvalidInputError`: ``line_malformed`` (quotes that do not close, another number of cells than
        the header), ``file_unreadable``.
        """
        for line, cells in _lines(self.path):
            if len(cells) != len(self.header):
                raise line_malformed(self.name, line, f"it has {len(cells)} cells, the header {len(self.header)}")
            yield line, cells


def open_csv(path: Path) -> DashboardCsv:
    """Take up a file: read it once for its digest, and its header.

    Raises :class:`InvalidInputError`: ``file_unreadable``, ``header_missing``, ``line_malformed``.
    """
    digest, size, beginning = hashlib.sha256(), 0, b""
    try:
        with path.open("rb") as stream:
            while chunk := stream.read(_BYTES_AT_ONCE):
                beginning = beginning or chunk[:4]
                digest.update(chunk)
                size += len(chunk)
    except OSError as error:
        raise _unreadable(path.name, error.strerror or type(error).__name__) from None
    if beginning.startswith(_ARCHIVE):
        raise _unreadable(path.name, "it is an archive; unpack it and name the CSV files in it")
    first = next((cells for _, cells in _lines(path, with_header=True)), None)
    if first is None:
        raise InvalidInputError(
            "header_missing", "the file is empty", where=path.name, remedy="An export has a header even without rows."
        )
    header = tuple(_WORDS.sub("_", cell.strip().lower()) for cell in first)
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice or "" in header:
        what = f"the column {twice[0]!r} comes twice" if twice and twice[0] else "a column has no name"
        raise InvalidInputError("header_missing", f"the first line is no header: {what}", where=path.name)
    return DashboardCsv(path, digest.hexdigest(), size, header)


def line_malformed(name: str, line: int, what: str) -> InvalidInputError:
    """The error for one line of a file. ``what`` never shows a cell that may be a secret."""
    return InvalidInputError(
        "line_malformed", what, where=f"{name} line {line}", remedy="Nothing was compared; export the file again."
    )


def _lines(path: Path, *, with_header: bool = False) -> Iterator[tuple[int, list[str]]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, strict=True)
            try:
                waits_for_header = not with_header
                for cells in reader:
                    if not cells:
                        continue
                    if waits_for_header:
                        waits_for_header = False
                        continue
                    yield reader.line_num, cells
            except csv.Error as error:
                raise line_malformed(path.name, reader.line_num, f"it is no CSV ({error})") from None
    except OSError as error:
        raise _unreadable(path.name, error.strerror or type(error).__name__) from None
    except UnicodeDecodeError:
        raise _unreadable(path.name, "it is not UTF-8 text") from None


def _unreadable(name: str, what: str) -> InvalidInputError:
    return InvalidInputError("file_unreadable", what, where=name, remedy="Name a CSV file that can be read.")
