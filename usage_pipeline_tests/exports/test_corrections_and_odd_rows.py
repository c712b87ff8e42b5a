"""What the golden month does not have: a closed period that changes, names like formulas, lines without a measure, a
model without a price, rows that moved after the last reconciling, a demo beside real data. One world, only read."""

from __future__ import annotations

import csv
import io
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sqlalchemy import text

from usage_pipeline.exports.columns import Type
from usage_pipeline.exports.csv_file import csv_chunks
from usage_pipeline.exports.export import columns_of, open_export
from usage_pipeline.exports.parquet_file import parquet_chunks
from usage_pipeline.exports.query import ExportQuery, Grain, Kind
from usage_pipeline.exports.table import Control
from usage_pipeline.ledger.snapshot import snapshot
from usage_pipeline_tests.exports.conftest import FORMULA, MOVED, ODD, D
from usage_pipeline_tests.exports.focus_checker import check_focus
from usage_pipeline_tests.scripted.scenario import Scenario

Row = dict[str, str]


def exported(
    odd_world: Scenario, day: date, kind: Kind, by: Grain | None = None, **more: Any
) -> tuple[list[Row], Control]:
    with snapshot(odd_world.runtime.engine) as connection:
        table = open_export(connection, ExportQuery(kind, day, day + timedelta(days=1), by=by, **more))
        written = b"".join(csv_chunks(table)).decode()
    return list(csv.DictReader(io.StringIO(written))), table.control


def test_a_change_of_a_closed_period_is_a_correction_and_leaves_what_was_said(odd_world: Scenario) -> None:
    rows, control = exported(odd_world, D, Kind.FOCUS)
    output = [row for row in rows if row["x_TokenClass"] == "output"]
    told = [(row["ChargeClass"], row["BillingPeriodStart"][:7], row["ConsumedQuantity"]) for row in output]
    assert told == [("", "2026-03", "1000000"), ("Correction", "2026-05", "-100000")]
    assert {row["ChargePeriodStart"] for row in output} == {"2026-03-10T00:00:00Z"}
    assert [row["BilledCost"] for row in output] == ["10.00", "-1.00"]
    assert control.totals["output"] == 900_000
    assert control.totals["billed_usd"] == 9


def test_a_correction_whose_past_was_pruned_is_part_of_what_is_said_first(odd_world: Scenario) -> None:
    with odd_world.runtime.engine.connect() as connection, connection.begin() as undone:
        connection.execute(
            text(
                "INSERT INTO pruned_history (workspace_id, day, pruned_until)"
                " SELECT workspace_id, :day, now() FROM workspaces WHERE slug = 'acme'"
            ),
            {"day": D},
        )
        table = open_export(connection, ExportQuery(Kind.FOCUS, D, ODD))
        rows = list(csv.DictReader(io.StringIO(b"".join(csv_chunks(table)).decode())))
        undone.rollback()
    output = [row for row in rows if row["x_TokenClass"] == "output"]
    assert [(row["ChargeClass"], row["BillingPeriodStart"][:7], row["ConsumedQuantity"]) for row in output] == [
        ("", "2026-03", "900000")
    ]


@pytest.mark.parametrize("version", ["1.2", "1.4"])
@pytest.mark.parametrize("day", [D, ODD, MOVED])
def test_odd_rows_keep_the_rules_of_focus(odd_world: Scenario, day: date, version: str) -> None:
    rows, _ = exported(odd_world, day, Kind.FOCUS, focus_version=version)
    assert list(check_focus(version, list(rows[0]), iter(rows))) == []


def test_lines_of_the_bill_without_a_measure_have_a_category(odd_world: Scenario) -> None:
    rows, _ = exported(odd_world, ODD, Kind.FOCUS)
    lines = {row["x_Model"]: (row["ChargeCategory"], row["BilledCost"]) for row in rows if not row["ConsumedQuantity"]}
    assert lines == {
        "Promotional credit": ("Credit", "-2.50"),
        "Sales tax": ("Tax", "0.19"),
        "Code interpreter sessions": ("Adjustment", "0.0000123456789012345"),
        f"'{FORMULA}, output": ("Adjustment", "0.003"),
    }


def test_a_model_without_a_price_is_told_without_one(odd_world: Scenario) -> None:
    rows, _ = exported(odd_world, ODD, Kind.FOCUS)
    [odd] = [row for row in rows if row["x_ReportedModel"].endswith(FORMULA)]
    assert (odd["ListUnitPrice"], odd["ContractedUnitPrice"]) == ("", "")
    assert (odd["ListCost"], odd["ContractedCost"], odd["EffectiveCost"]) == (odd["BilledCost"],) * 3
    assert (odd["ConsumedQuantity"], odd["x_BilledCostKnown"]) == ("300", "false")


@pytest.mark.parametrize("kind", list(Kind))
def test_no_cell_is_a_formula_and_numbers_stay_numbers(odd_world: Scenario, kind: Kind) -> None:
    rows, _ = exported(odd_world, ODD, kind)
    texts = {value for row in rows for value in row.values()}
    assert f"'{FORMULA}" in texts
    starts = {value for value in texts if value[:1] in "=+-@" and value}
    assert starts <= {"-2.50", "-2.5"}
    if kind is Kind.EVENTS:
        assert {"'@proj", "'-1+1"} <= texts


@pytest.mark.parametrize("kind", list(Kind))
def test_parquet_says_the_same_with_exact_types_and_units(odd_world: Scenario, kind: Kind) -> None:
    asked = ExportQuery(kind, ODD, MOVED)
    with snapshot(odd_world.runtime.engine) as connection:
        table = pq.read_table(pa.BufferReader(b"".join(parquet_chunks(open_export(connection, asked)))))
    types = {Type.COUNT: pa.int64(), Type.DECIMAL: pa.decimal128(38, 24), Type.QUANTITY: pa.decimal128(38, 24)}
    rows, _ = exported(odd_world, ODD, kind)
    for column, field in zip(columns_of(asked), table.schema, strict=True):
        assert (field.name, field.metadata[b"unit"].decode()) == (column.name, column.unit)
        if column.type in types:
            assert field.type == types[column.type]
            written = [Decimal(row[column.name]) if row[column.name] else None for row in rows]
            assert table[column.name].to_pylist() == written


def test_rows_that_moved_after_the_last_reconciling_change_no_sum(odd_world: Scenario) -> None:
    focus, _ = exported(odd_world, MOVED, Kind.FOCUS)
    assert {row["ConsumedQuantity"] for row in focus if row["x_TokenClass"] == "output"} == {"700"}
    assert {row["x_Source"] for row in focus} == {"not_reconciled_yet"}
    events, control = exported(odd_world, MOVED, Kind.EVENTS)
    assert control.totals["output"] == 700
    assert [row["counted_output"] for row in events if row["source"] == "not_reconciled_yet"] == ["100"]


@pytest.mark.parametrize("by", list(Grain))
@pytest.mark.parametrize("day", [D, ODD, MOVED])
def test_by_the_hour_the_sums_are_those_of_the_day(odd_world: Scenario, day: date, by: Grain) -> None:
    _, control = exported(odd_world, day, Kind.SUMMARY, by, group_by=("model", "project"))
    _, cells = exported(odd_world, day, Kind.SUMMARY)
    assert known(control) == {name: known(cells)[name] for name in known(control)}
    _, focus = exported(odd_world, day, Kind.FOCUS, by)
    assert known(focus) == {name: known(cells)[name] for name in known(focus)}


def test_a_demo_is_left_out_beside_real_data(odd_world: Scenario) -> None:
    rows, _ = exported(odd_world, D, Kind.SUMMARY)
    assert {row["workspace"] for row in rows} == {"acme"}
    assert exported(odd_world, D, Kind.SUMMARY, workspace="demo") == ([], Control(0, exported_nothing(), ()))


def known(control: Control) -> dict[str, int | Decimal]:
    """The totals, nothing as 0."""
    return {name: total or 0 for name, total in control.totals.items()}


def exported_nothing() -> dict[str, int | Decimal | None]:
    from usage_pipeline.ledger.export_rows import FLOWS

    return {**dict.fromkeys(FLOWS), "counted_usd": None, "billed_usd": None}
