"""``usage-pipeline parity`` as a person runs it: tables, the JSON report, and three exit codes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from usage_pipeline.cli.parity_tables import SHOWN_MAX
from usage_pipeline_tests.cli.conftest import CommandLine
from usage_pipeline_tests.parity.conftest import DAY, NEXT, SETTLED, use_two_days
from usage_pipeline_tests.parity.exported import USAGE_COLUMNS, moved, usage_rows, write
from usage_pipeline_tests.scripted.scenario import Scenario, scenario_on, utc

END = NEXT + timedelta(days=1)
HOUR = timedelta(hours=1)


@pytest.fixture
def store(migrated_database: str, tmp_path: Path) -> Iterator[Scenario]:
    """The store that the command reads, with two days of one account."""
    with scenario_on(migrated_database, tmp_path / "scenario", SETTLED) as scenario:
        key = scenario.register()
        use_two_days(key.account)
        scenario.pull(key, DAY, END)
        scenario.settle(DAY, NEXT)
        rows = usage_rows(key.account.uses, utc(DAY), utc(END), HOUR)
        write(tmp_path / "completions_usage_equal.csv", USAGE_COLUMNS, rows)
        write(tmp_path / "completions_usage_off.csv", USAGE_COLUMNS, moved(rows, 0, "output_tokens", Decimal(1)))
        write(tmp_path / "completions_usage_none.csv", USAGE_COLUMNS, [])
        yield scenario


def test_equal_files_end_with_0_and_a_verdict(command: CommandLine, store: Scenario, tmp_path: Path) -> None:
    outcome = command("parity", str(tmp_path / "completions_usage_equal.csv"))
    assert (outcome.exit_code, outcome.err) == (0, "")
    assert outcome.out.splitlines()[-1] == "EQUAL: 5 rows agree."
    assert "openai usage of org-acme" in outcome.out
    assert store.select("SELECT outcome FROM parity_checks") == [{"outcome": "equal"}]


@pytest.mark.usefixtures("store")
def test_a_difference_ends_with_1_and_is_shown_and_written(command: CommandLine, tmp_path: Path) -> None:
    full = tmp_path / "report.json"
    outcome = command("parity", str(tmp_path / "completions_usage_off.csv"), "--json", str(full))
    assert outcome.exit_code == 1
    assert outcome.out.splitlines()[-1] == "DIFFERENT: 1 mismatched; 4 rows agree."
    assert "2026-03-02T00:00Z to 2026-03-02T01:00Z" in outcome.out
    report = json.loads(full.read_text(encoding="utf-8"))
    assert report["verdict"] == "different"
    assert report["reports"][0]["rows"]["mismatched"] == 1
    alone = command("parity", str(tmp_path / "completions_usage_off.csv"), "--json", "-")
    assert (alone.exit_code, alone.json["verdict"]) == (1, "different")


def test_what_could_not_be_compared_ends_with_2_and_one_line(
    command: CommandLine, store: Scenario, tmp_path: Path
) -> None:
    equal, none = str(tmp_path / "completions_usage_equal.csv"), str(tmp_path / "completions_usage_none.csv")
    command.refused("file_unreadable", "parity", str(tmp_path / "nowhere.csv"))
    command.refused("range_unknown", "parity", none)
    blank = tmp_path / "completions_usage_blank.csv"
    header, *rows = Path(equal).read_text(encoding="utf-8").splitlines()
    figures = [n for n, name in enumerate(header.split(",")) if "tokens" in name or "requests" in name]
    cells = [row.split(",") for row in rows]
    blanked = [",".join("" if n in figures else cell for n, cell in enumerate(row)) for row in cells]
    blank.write_text("\n".join([header, *blanked]), encoding="utf-8")
    command.refused("nothing_compared", "parity", str(blank))
    command.refused("workspace_unknown", "parity", equal, "--workspace", "nobody")
    command.refused("no_key", "parity", equal, "--account", "org-other")
    command.refused("nothing_pulled", "parity", none, "--from", "2026-01-01", "--to", "2026-01-02")
    command.refused("usage", "parity", equal, "--kind", "tokens")
    command.refused("usage", "parity", equal, "--timezone", "Mars/Olympus")
    command.refused("usage", "parity", equal, "--tolerance", "-1")
    command.refused("usage", "parity", equal, "--from", "2026-03-02")
    command.refused("file_unwritable", "parity", equal, "--json", str(tmp_path / "no" / "folder.json"))
    assert store.count("parity_checks") == 0
    away = CommandLine({**command.environ, "USAGE_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"})
    assert away("parity", equal).exit_code == 2


@pytest.mark.usefixtures("store")
def test_a_stated_range_bounds_both_sides(command: CommandLine, tmp_path: Path) -> None:
    outcome = command("parity", str(tmp_path / "completions_usage_off.csv"), "--from", str(NEXT), "--to", str(NEXT))
    assert (outcome.exit_code, outcome.out.splitlines()[-1]) == (0, "EQUAL: 2 rows agree.")
    assert "2 windows of the file are outside of the range" in outcome.out


@pytest.mark.usefixtures("store")
def test_windows_that_were_not_pulled_are_shown_as_one_span(command: CommandLine, tmp_path: Path) -> None:
    days = ("--from", str(DAY), "--to", str(END + timedelta(days=1)))
    outcome = command("parity", str(tmp_path / "completions_usage_equal.csv"), *days)
    assert outcome.exit_code == 1
    assert "text: not pulled: 2026-03-04T00:00Z to 2026-03-06T00:00Z\n" in outcome.out
    assert "provisional" not in outcome.out
    assert outcome.out.splitlines()[-1] == "DIFFERENT: 48 windows that the store does not cover; 5 rows agree."


@pytest.mark.usefixtures("store")
def test_many_differences_are_cut_short(command: CommandLine, tmp_path: Path) -> None:
    rows = [
        {**row, "model": "gpt-new", "output_tokens": 7, "input_tokens": 0, "input_cached_tokens": 0}
        for row in usage_rows([], utc(DAY), utc(END), HOUR)
    ]
    outcome = command("parity", str(write(tmp_path / "completions_usage_many.csv", USAGE_COLUMNS, rows)))
    assert outcome.exit_code == 1
    # 48 rows of the file, and 5 of the store that it lacks.
    assert f"… and {53 - SHOWN_MAX} more; --json has all." in outcome.out
