"""Exports of the golden month: beside golden files, beside the report, and beside the rules of FOCUS.

``fixtures/exports/month`` holds the files; its README.md says how they are made. The tests read one played month.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import Connection

from usage_pipeline.exports.csv_file import csv_chunks
from usage_pipeline.exports.export import open_export
from usage_pipeline.exports.parquet_file import parquet_chunks
from usage_pipeline.exports.query import ExportQuery, Grain, Kind
from usage_pipeline.ledger.snapshot import snapshot
from usage_pipeline.measures import TOKEN_CLASSES
from usage_pipeline.pricing.rates import exact_arithmetic
from usage_pipeline_tests.exports.focus_checker import check_focus
from usage_pipeline_tests.reconcile.golden import GoldenMonth
from usage_pipeline_tests.scripted.scenario import Json

FILES = Path(__file__).parents[2] / "fixtures" / "exports" / "month"
_VERSIONS_OF_TABLES = frozenset({"rules_version", "alias_version"})

QUERIES = {
    "events": (Kind.EVENTS, None, ()),
    "summary": (Kind.SUMMARY, None, ()),
    "cut": (Kind.SUMMARY, Grain.DAY, ("provider", "project", "source")),
    "hours": (Kind.SUMMARY, Grain.HOUR, ("model",)),
    "users": (Kind.SUMMARY, None, ("user", "hermes_feed")),
    "focus-1.2": (Kind.FOCUS, None, ()),
    "focus-1.4": (Kind.FOCUS, None, ()),
}
GOLDEN = ("events", "summary", "cut", "hours", "users", "focus-1.4")


def query(name: str, month: GoldenMonth) -> ExportQuery:
    kind, by, group_by = QUERIES[name]
    version = name.removeprefix("focus-") if kind is Kind.FOCUS else "1.4"
    return ExportQuery(kind, month.settings.first_day, month.settings.end_day, None, by, group_by, version)


@pytest.fixture(scope="package")
def files(month: GoldenMonth) -> dict[str, bytes]:
    """Every export as CSV, made once."""
    with snapshot(month.scenario.runtime.engine) as connection:
        return {name: b"".join(csv_chunks(open_export(connection, query(name, month)))) for name in QUERIES}


def rows_of(file: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(file.decode())))


def total(rows: list[dict[str, str]], column: str) -> Decimal | None:
    known = [Decimal(row[column]) for row in rows if row[column]]
    with exact_arithmetic():
        return sum(known, Decimal(0)) if known else None


@pytest.mark.parametrize("name", GOLDEN)
def test_an_export_is_its_golden_file(files: Mapping[str, bytes], name: str) -> None:
    golden = FILES / f"{name}.csv"
    if not golden.exists():
        golden.write_bytes(files[name])
        pytest.fail(f"{golden.name} was not there and is written now: read it, line by line, before it stays")
    got, expected = (
        [{key: value for key, value in row.items() if key not in _VERSIONS_OF_TABLES} for row in rows_of(file)]
        for file in (files[name], golden.read_bytes())
    )
    assert got == expected


@pytest.mark.parametrize("name", QUERIES)
def test_an_export_sums_to_the_report(files: Mapping[str, bytes], report: Json, name: str) -> None:
    rows, told = rows_of(files[name]), report["totals"]
    cost, billed = Decimal(told["cost"]["counted"]["usd"]), Decimal(told["cost"]["billed"]["usd"])
    if name.startswith("focus"):
        assert (total(rows, "EffectiveCost"), total(rows, "BilledCost")) == (cost, billed)
    else:
        assert total(rows, "cost_counted_usd" if name == "summary" else "cost_usd") == cost
    for measure in TOKEN_CLASSES:
        column = measure if name in {"cut", "hours", "users"} else f"counted_{measure}"
        if name.startswith("focus"):
            column, of = "ConsumedQuantity", [row for row in rows if row["x_TokenClass"] == measure]
        else:
            of = rows
        assert (total(of, column) or 0) == (told["counted"]["tokens"][measure] or 0), measure


@pytest.mark.parametrize("name", ["focus-1.2", "focus-1.4"])
def test_a_focus_export_keeps_the_rules_of_its_version(files: Mapping[str, bytes], name: str) -> None:
    rows = rows_of(files[name])
    assert list(check_focus(name.removeprefix("focus-"), list(rows[0]), iter(rows))) == []


def test_both_versions_of_focus_say_the_same_in_the_columns_that_both_have(files: Mapping[str, bytes]) -> None:
    old, new = rows_of(files["focus-1.2"]), rows_of(files["focus-1.4"])
    both = set(old[0]) & set(new[0])
    assert set(old[0]) - both == {"InvoiceId", "ProviderName", "PublisherName"}
    assert set(new[0]) - both == {"ServiceProviderName", "HostProviderName"}
    shared = sorted(both)
    assert [[row[name] for name in shared] for row in old] == [[row[name] for name in shared] for row in new]


def test_what_may_still_change_is_marked(files: Mapping[str, bytes], report: Json) -> None:
    open_cells = {(row["date"], row["model"]) for row in report["rows"] if row["provisional"]}
    summary = [row for row in rows_of(files["summary"]) if row["provisional"] == "true"]
    assert {(row["day"], row["model"]) for row in summary} == open_cells
    focus = [row for row in rows_of(files["focus-1.4"]) if row["x_Provisional"] == "true"]
    assert {row["ChargePeriodStart"][:10] for row in focus} == {day for day, _ in open_cells}
    hours = [row for row in rows_of(files["hours"]) if row["provisional"] == "true"]
    assert {row["day"] for row in hours} == {day for day, _ in open_cells}


def test_the_same_data_make_the_same_bytes(
    connection: Connection, month: GoldenMonth, files: Mapping[str, bytes]
) -> None:
    asked = query("summary", month)
    assert b"".join(csv_chunks(open_export(connection, asked))) == files["summary"]
    parquet = [b"".join(parquet_chunks(open_export(connection, asked))) for _ in range(2)]
    assert parquet[0] == parquet[1]


def test_a_hermes_row_that_only_explains_counts_nothing(files: Mapping[str, bytes]) -> None:
    rows = [row for row in rows_of(files["events"]) if row["state"] in {"hours", "repositories", "shown"}]
    assert rows
    assert {row["counted_output"] for row in rows} == {""}
    assert {row["cost_usd"] for row in rows} == {""}
