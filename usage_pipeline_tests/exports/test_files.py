"""Files and streams: whole or not at all, bounded in memory, harmless in a spreadsheet."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usage_pipeline.errors import InvalidInputError, InvariantError, PermanentError
from usage_pipeline.exports.columns import Column, Type
from usage_pipeline.exports.csv_file import csv_chunks, harmless
from usage_pipeline.exports.files import spooled, write_file
from usage_pipeline.exports.parquet_file import parquet_chunks
from usage_pipeline.exports.table import Row, Table

COLUMNS = (Column("name", Type.TEXT, "", "A name."), Column("usd", Type.DECIMAL, "US dollars", "An amount."))


class Counted:
    """Rows that are made when they are asked for; ``made`` says how many were."""

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self.made = 0

    def __iter__(self) -> Iterator[Row]:
        for number in range(self._rows):
            self.made += 1
            yield f"row {number}", Decimal("0.1")


def table(rows: int, expected: str | None = None) -> tuple[Table, Counted]:
    made = Counted(rows)
    usd = Decimal(expected) if expected else Decimal(rows) / 10
    return Table(COLUMNS, made, lambda row: {"usd": row[1]}, {"usd": usd}), made


def test_no_more_rows_are_read_than_a_batch_and_one() -> None:
    export, made = table(100)
    batches = export.batches(rows_max=10)
    for number in range(1, 10):
        assert len(next(batches)) == 10
        assert made.made == 10 * number + 1
    assert len(next(batches)) == 10
    assert next(batches, None) is None
    assert (export.control.rows, export.control.totals) == (100, {"usd": Decimal(10)})


@pytest.mark.parametrize("chunks", [csv_chunks, parquet_chunks])
def test_sums_that_differ_leave_no_file_and_the_old_one_stands(tmp_path: Path, chunks: object) -> None:
    assert callable(chunks)
    path = tmp_path / "out"
    path.write_bytes(b"old")
    with pytest.raises(InvariantError, match="export_does_not_add_up"):
        write_file(path, chunks(table(3, "0.31")[0]))
    assert path.read_bytes() == b"old"
    assert [one.name for one in tmp_path.iterdir()] == ["out"]
    with pytest.raises(InvariantError, match="export_does_not_add_up"):
        spooled(chunks(table(3, "0.31")[0]))


def test_a_file_has_its_name_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"

    def chunks() -> Iterator[bytes]:
        for chunk in csv_chunks(table(3)[0]):
            assert not path.exists()
            yield chunk

    assert write_file(path, chunks()) == path.stat().st_size
    assert path.read_text().splitlines() == ["name,usd", "row 0,0.10", "row 1,0.10", "row 2,0.10"]


def test_a_file_without_a_folder_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "missing" / "out.csv", tmp_path):
        with pytest.raises(InvalidInputError, match="out_unwritable"):
            write_file(path, csv_chunks(table(1)[0]))


def test_an_amount_that_parquet_cannot_hold_exactly_is_refused() -> None:
    fine = Decimal("0." + "0" * 24 + "1")
    export = Table(COLUMNS, [("fine", fine)], lambda row: {"usd": row[1]}, {"usd": fine})
    with pytest.raises(PermanentError, match=r"amount_too_fine\] usd"):
        list(parquet_chunks(export))


@given(st.text())
def test_no_text_begins_like_a_formula_and_none_is_lost(text: str) -> None:
    written = harmless(text)
    assert not written.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
    assert written in {text, f"'{text}"}
