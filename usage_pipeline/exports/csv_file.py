"""CSV: UTF-8, commas, a header, a line feed after each row; null is empty.

Numbers are digits with a point, exact; instants are UTC as RFC 3339. A text that a spreadsheet would take for a formula
gets an apostrophe before it; numbers never do.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from typing import Any, Final

from usage_pipeline.exports.columns import Type
from usage_pipeline.exports.table import Table
from usage_pipeline.reconcile.report import instant, plain

_FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r", "\n")


def csv_chunks(table: Table) -> Iterator[bytes]:
    """The file in pieces. Raises what :meth:`Table.batches` raises, before the last piece."""
    writers = [_WRITTEN[column.type] for column in table.columns]
    yield _lines([[column.name for column in table.columns]])
    for batch in table.batches():
        yield _lines(
            [
                ["" if value is None else write(value) for write, value in zip(writers, row, strict=True)]
                for row in batch
            ]
        )


def harmless(text: str) -> str:
    """The text so that no spreadsheet takes it for a formula."""
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text


def _lines(rows: list[list[str]]) -> bytes:
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows(rows)
    return file.getvalue().encode()


_WRITTEN: Final[dict[Type, Callable[[Any], str]]] = {
    Type.TEXT: harmless,
    Type.COUNT: str,
    Type.DECIMAL: plain,
    Type.QUANTITY: lambda quantity: f"{quantity.normalize():f}",
    Type.INSTANT: instant,
    Type.DAY: lambda day: str(day.isoformat()),
    Type.FLAG: lambda flag: "true" if flag else "false",
}
