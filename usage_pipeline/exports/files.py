"""Exports as files: written under another name, and given their own only when complete."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from usage_pipeline.errors import InvalidInputError, PermanentError


def write_file(path: Path, chunks: Iterable[bytes]) -> int:
    """Write a file whole or not at all, and return its size in bytes. An older file of that name is replaced at once.

    Raises what making the chunks raises, :class:`InvalidInputError` ``out_unwritable`` where the folder is missing or
    the path is one, and :class:`PermanentError` ``out_not_written`` for what the disk says.
    """
    if path.is_dir() or not path.parent.is_dir():
        raise InvalidInputError(
            "out_unwritable",
            "it is a folder" if path.is_dir() else "its folder does not exist",
            where=str(path),
            remedy="Name a file in a folder that exists.",
        )
    with _told(path):
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with _told(path), os.fdopen(descriptor, "wb") as file:
            size = _written(file, chunks)
            file.flush()
            os.fsync(file.fileno())
            os.fchmod(file.fileno(), 0o666 & ~_umask())
            Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return size


def spooled(chunks: Iterable[bytes]) -> BinaryIO:
    """The whole file in a temporary one without a name, at its start: for those who must not begin to send half of it.

    Raises what making the chunks raises.
    """
    file = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    try:
        _written(file, chunks)
    except BaseException:
        file.close()
        raise
    file.seek(0)
    return file


def _written(file: BinaryIO, chunks: Iterable[bytes]) -> int:
    size = 0
    for chunk in chunks:
        size += file.write(chunk)
    return size


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise PermanentError(
            "out_not_written",
            f"the file could not be written: {error.strerror or type(error).__name__}",
            where=str(path),
            remedy="Nothing is left of it; free room or choose another place.",
        ) from None


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
