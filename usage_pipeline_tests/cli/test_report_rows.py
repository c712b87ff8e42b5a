"""``usage-pipeline report`` with cuts, single rows and a look into the past, as a person runs it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from usage_pipeline.cli.instants import read_as_of
from usage_pipeline.errors import InvalidInputError
from usage_pipeline.ledger.dimension_names import Named, store_names
from usage_pipeline_tests.cli.conftest import CommandLine
from usage_pipeline_tests.reconcile.test_cuts import SETTLED, D, rich
from usage_pipeline_tests.scripted.scenario import Scenario, scenario_on, utc

DAY = ("--from", "2026-03-10", "--to", "2026-03-10")
LATER = SETTLED + timedelta(days=1)


@pytest.fixture
def scenario(migrated_database: str, tmp_path: Path) -> Iterator[Scenario]:
    with scenario_on(migrated_database, tmp_path / "scenario", utc(D)) as made:
        yield made


@pytest.fixture
def rich_command(scenario: Scenario, command: CommandLine) -> CommandLine:
    """The command line on a day with many sources, a day after it was settled."""
    rich(scenario)
    with scenario.runtime.engine.begin() as connection:
        store_names(connection, "openai", "org-acme", [Named("project_id", "proj_a", "Website")], SETTLED)
    command.environ["USAGE_NOW"] = LATER.isoformat()
    return command


def test_a_cut_is_printed_with_names_and_its_total(rich_command: CommandLine) -> None:
    printed = rich_command.done("report", *DAY, "--by", "project").out
    assert "Website (proj_a)" in printed
    assert "(not told)" in printed
    assert "total" in printed
    told = rich_command.done("report", *DAY, "--by", "project,source", "--json").json
    assert list(told) == ["from", "to", "now", "by", "rows", "totals", "notes"]
    assert told["by"] == ["project", "source"]
    (first, *_) = told["rows"]
    assert list(first) == ["project", "source", "names", "counted", "cost"]
    assert (first["project"], first["source"], first["names"]) == ("proj_a", "provider", {"project": "Website"})
    assert [row["project"] for row in told["rows"]][-1] is None
    usd = sum(Decimal(row["cost"]["counted"]["usd"] or 0) for row in told["rows"])
    assert usd == Decimal(told["totals"]["cost"]["counted"]["usd"])


def test_what_is_shadowed_is_shown_with_the_feed_that_leads(rich_command: CommandLine) -> None:
    told = rich_command.done("report", *DAY, "--shadowed", "--json").json["shadowed"]
    assert [(row["feed"], row["reason"], row["led_by"]) for row in told] == [
        ("acme.openai.narrow", "another_feed_leads", ["acme.openai.wide"]),
        ("acme.staging", "feed_does_not_count", []),
    ]
    assert told[0]["stored"]["tokens"]["output"] == 99
    printed = rich_command.done("report", *DAY, "--shadowed").out
    assert "another feed leads" in printed


def test_events_are_lines_of_json_each_with_its_state(rich_command: CommandLine) -> None:
    rows = [
        json.loads(line) for line in rich_command.done("report", *DAY, "--rows", "events", "--json").out.splitlines()
    ]
    states = {(row["feed"], row["endpoint"], row["state"]) for row in rows}
    assert ("acme.openai.wide", "completions", "counted") in states
    assert ("acme.openai.narrow", "completions", "shadowed") in states
    assert ("acme.laptop", "rollups", "compared") in states
    assert ("acme.staging", "rollups", "shown") in states
    assert ("acme.laptop", "rollup_hours", "hours") in states
    assert ("acme.old", "rollup_repositories", "repositories") in states
    counted = sum(row["output"] or 0 for row in rows if row["state"] == "counted")
    assert counted == 1051 + 77
    assert {row["project_id"] for row in rows if row["feed"] == "acme.openai.wide"} == {"proj_a", "proj_b"}


def test_billed_lines_are_shown_with_their_state(rich_command: CommandLine) -> None:
    rows = [
        json.loads(line) for line in rich_command.done("report", *DAY, "--rows", "bills", "--json").out.splitlines()
    ]
    counted = [Decimal(row["amount_usd"]) for row in rows if row["state"] == "counted" and row["provider"] == "openai"]
    assert sum(counted) == Decimal("0.00051") + Decimal("0.01") + Decimal("0.123456789012345678")
    assert {row["state"] for row in rows if row["feed"] == "acme.openai.narrow"} == {"shadowed"}


def test_tables_of_single_rows_are_bounded(rich_command: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("usage_pipeline.cli.row_tables.SHOWN_MAX", 2)
    printed = rich_command.done("report", *DAY, "--rows", "events").out
    assert "more; --json has all of them." in printed
    assert "… and 1 more;" in rich_command.done("report", *DAY, "--by", "model").out


def test_before_the_first_recording_it_is_said_that_nothing_was_there(rich_command: CommandLine) -> None:
    outcome = rich_command.done("report", *DAY, "--as-of", "2026-03-12T00:00:00+01:00", "--json")
    assert outcome.err == (
        "note: nothing was reconciled at that time (2026-03-11T23:00:00Z);"
        " the first result about these days is of 2026-03-14T06:00:00Z.\n"
    )
    assert outcome.json["as_of"] == "2026-03-11T23:00:00Z"
    assert (outcome.json["rows"], outcome.json["findings"]) == ([], [])


@pytest.mark.parametrize(
    ("written", "code", "advice"),
    [
        ("2026-03-12T00:00:00", "instant_without_offset", "write 2026-03-12T00:00:00Z."),
        ("2026-03-12", "instant_without_offset", "write 2026-03-12T00:00:00Z."),
        ("2026-03-14T12:00:00Z", "instant_in_future", "it is 2026-03-14T06:00:00Z (UTC)"),
        ("yesterday", "instant_malformed", "Write it like 2026-10-31T12:00:00Z."),
    ],
)
def test_an_instant_that_cannot_be_looked_back_at_is_refused(written: str, code: str, advice: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        read_as_of(written, SETTLED)
    assert refused.value.code == code
    assert advice in str(refused.value)


def test_options_that_make_no_sense_are_refused(command: CommandLine) -> None:
    assert "--by: 'colour' is no dimension" in command.refused("dimension_unknown", "report", *DAY, "--by", "colour")
    command.refused("dimension_twice", "report", *DAY, "--by", "model,model")
    command.refused("options_conflict", "report", *DAY, "--by", "model", "--rows", "events")
