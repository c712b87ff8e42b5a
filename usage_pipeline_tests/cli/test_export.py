"""``usage-pipeline export``: files and standard output, and every refusal in one line."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping
from datetime import date, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from usage_pipeline.exports.columns import CELL_COLUMNS, EVENT_COLUMNS
from usage_pipeline.exports.focus_columns import FOCUS_COLUMNS
from usage_pipeline_tests.cli.conftest import CommandLine
from usage_pipeline_tests.scripted.scenario import scenario_on, utc

D = date(2026, 3, 10)
RANGE = ("--from", "2026-03-10", "--to", "2026-03-10")


def test_an_export_goes_to_standard_output_a_file_or_a_folder_and_says_what_it_came_to(
    command: CommandLine, migrated_database: str, home: Path, tmp_path: Path
) -> None:
    with scenario_on(migrated_database, home, utc(D + timedelta(days=1), 6)) as scenario:
        key = scenario.register()
        key.account.spend(utc(D, 9), 1_000_000)
        scenario.pull(key, D)
        scenario.settle(D)
        shown = command.done("export", "csv", *RANGE, "--by", "day", "--group-by", "model,source")
        [row] = csv.DictReader(io.StringIO(shown.out))
        assert (row["day"], row["model"], row["output"]) == ("2026-03-10", "gpt-5", "1000000")
        assert (row["cost_basis"], row["provisional"], shown.err) == ("estimate", "true", "")
        named = command.done("export", "focus", *RANGE, "--focus-version", "1.2", "--out", str(tmp_path / "f.csv"))
        assert named.err.startswith(f"note: {tmp_path / 'f.csv'}: 1 rows, ")
        assert named.err.endswith(" bytes, 1 days provisional.\n")
        command.done("export", "parquet", *RANGE, "--rows", "events", "--workspace", "acme", "--out", str(tmp_path))
        table = pq.read_table(tmp_path / "usage-events-acme-2026-03-10-2026-03-10.parquet")
        assert table["counted_output"].to_pylist() == [1_000_000]


def test_a_store_without_anything_gives_a_header(acme: CommandLine) -> None:
    assert acme.done("export", "csv", *RANGE).out == ",".join(one.name for one in CELL_COLUMNS) + "\n"
    assert acme.done("export", "csv", *RANGE, "--rows", "events").out.startswith("record,day,workspace,")
    assert acme.done("export", "focus", *RANGE).out.startswith("BilledCost,")


@pytest.mark.parametrize(
    ("code", "arguments"),
    [
        ("dimension_unknown", ("csv", *RANGE, "--group-by", "colour")),
        ("dimension_unknown", ("csv", *RANGE, "--by", "hour", "--group-by", "repository")),
        ("dimension_twice", ("csv", *RANGE, "--by", "day", "--group-by", "model,day")),
        ("options_conflict", ("csv", *RANGE, "--rows", "events", "--by", "hour")),
        ("options_conflict", ("focus", *RANGE, "--group-by", "model")),
        ("options_conflict", ("focus", *RANGE, "--rows", "events")),
        ("options_conflict", ("csv", *RANGE, "--focus-version", "1.2")),
        ("options_conflict", ("csv", *RANGE, "--parquet")),
        ("focus_version_unknown", ("focus", *RANGE, "--focus-version", "1.3")),
        ("workspace_unknown", ("csv", *RANGE, "--workspace", "nobody")),
        ("slug_malformed", ("csv", *RANGE, "--workspace", "No Body")),
        ("range_reversed", ("csv", "--from", "2026-03-10", "--to", "2026-03-09")),
        ("out_unwritable", ("csv", *RANGE, "--out", "/nowhere/out.csv")),
    ],
)
def test_what_cannot_be_exported_is_refused(
    acme: CommandLine, written: Callable[[], Mapping[str, object]], code: str, arguments: tuple[str, ...]
) -> None:
    before = written()
    acme.refused(code, "export", *arguments)
    assert written() == before


@pytest.mark.parametrize(
    ("arguments", "columns"),
    [
        (("csv",), CELL_COLUMNS),
        (("csv", "--rows", "events"), EVENT_COLUMNS),
        (("focus", "--focus-version", "1.2"), FOCUS_COLUMNS["1.2"]),
    ],
)
def test_the_columns_are_described_without_a_store(arguments: tuple[str, ...], columns: tuple[tuple[str, ...]]) -> None:
    told = CommandLine({"USAGE_DATABASE_URL": "nowhere"}).done("export", *arguments, *RANGE, "--describe").out
    assert all(f" {column[0]} " in told for column in columns)
    assert "US dollars" in told
