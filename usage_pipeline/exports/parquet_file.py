"""Parquet: exact types (int64, decimal128, UTC timestamps), each field with its unit and meaning in its metadata.

A row group is a batch of rows, so that a large export needs little memory to write and to read.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from usage_pipeline.errors import PermanentError
from usage_pipeline.exports.columns import Column, Type
from usage_pipeline.exports.table import Row, Table

DIGITS: Final = 38
DECIMALS: Final = 24
"""A decimal has 38 digits, 24 of them after the point: exact for every price times every count, up to 99 trillion."""

_TYPES: Final = {
    Type.TEXT: pa.string(),
    Type.COUNT: pa.int64(),
    Type.DECIMAL: pa.decimal128(DIGITS, DECIMALS),
    Type.QUANTITY: pa.decimal128(DIGITS, DECIMALS),
    Type.INSTANT: pa.timestamp("us", tz="UTC"),
    Type.DAY: pa.date32(),
    Type.FLAG: pa.bool_(),
}


def schema_of(columns: tuple[Column, ...]) -> pa.Schema:
    """The file's schema."""
    return pa.schema(
        [
            pa.field(one.name, _TYPES[one.type], metadata={"unit": one.unit, "description": one.meaning})
            for one in columns
        ]
    )


def parquet_chunks(table: Table) -> Iterator[bytes]:
    """The file in pieces, a row group at a time.

    Raises what :meth:`Table.batches` raises, and :class:`PermanentError` ``amount_too_fine`` for an amount that has
    more digits than the type, before the last piece.
    """
    schema = schema_of(table.columns)
    sink = _Sink()
    with pq.ParquetWriter(pa.PythonFile(sink, mode="w"), schema, compression="zstd") as writer:
        for batch in table.batches():
            if batch:
                writer.write_batch(_batch(batch, schema))
            yield sink.taken()
    yield sink.taken()


def _batch(rows: list[Row], schema: pa.Schema) -> pa.RecordBatch:
    values = list(zip(*rows, strict=True))
    arrays = []
    for field, of_column in zip(schema, values, strict=True):
        try:
            arrays.append(pa.array(of_column, type=field.type))
        except (pa.ArrowInvalid, OverflowError):
            raise PermanentError(
                "amount_too_fine",
                f"a value has more than {DIGITS} digits, or more than {DECIMALS} after the point",
                where=field.name,
                remedy="No file was written; export as csv, which has no limit.",
            ) from None
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


class _Sink(io.RawIOBase):
    """A file that is only written: it hands over what came since it was last asked."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._written = 0

    def writable(self) -> bool:
        return True

    def write(self, piece: Any) -> int:
        taken = bytes(piece)
        self._pieces.append(taken)
        self._written += len(taken)
        return len(taken)

    def tell(self) -> int:
        return self._written

    def taken(self) -> bytes:
        """The bytes since the last call."""
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)
