"""One whole month with both sources, bills and restatements, beside golden files that a pencil can check.

The figures in ``fixtures/golden/month`` were worked out from the rules, not taken from a run; its README.md has the
arithmetic. A test that fails prints one line per difference.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime
from typing import Any

import pytest

from usage_pipeline_tests.conftest import _database
from usage_pipeline_tests.reconcile.golden import (
    CELL,
    FINDING,
    SPEAKS,
    TOTAL,
    GoldenMonth,
    Row,
    cells,
    check,
    findings,
    grand_totals,
    read,
    totals,
)
from usage_pipeline_tests.scripted.scenario import TELEMETRY, Json, scenario_on, utc

INSTANTS = sorted({row["as_of"] for row in read("as_of")})


@contextmanager
def month(database_server: Any, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GoldenMonth]:
    """The month, registered and not yet played, in a database of its own."""
    with (
        _database(database_server, template=template) as url,
        scenario_on(url, tmp_path_factory.mktemp("home"), utc(date(2026, 2, 28)), speaks=SPEAKS) as scenario,
    ):
        yield GoldenMonth(scenario)


@pytest.fixture(scope="module")
def played(
    database_server: Any, migrated_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GoldenMonth]:
    """The month played in the order of its instants."""
    with month(database_server, migrated_template, tmp_path_factory) as golden:
        golden.play(sorted([*golden.arrivals(), *golden.runs()], key=lambda event: event.at))
        yield golden


@pytest.fixture(scope="module")
def report(played: GoldenMonth) -> Json:
    """The month's report at the end."""
    return played.report()


def test_every_cell_of_the_month_is_what_the_golden_file_says(report: Json) -> None:
    check(read("reconciled"), cells(report), CELL)


def test_the_totals_of_the_month_are_what_the_golden_file_says(report: Json) -> None:
    golden = read("totals")
    check(golden, totals(cells(report)), TOTAL)
    check([row for row in golden if row["of"] == "all"], grand_totals(report), TOTAL)


def test_the_findings_of_the_month_are_what_the_golden_file_says(report: Json) -> None:
    got = findings(report)
    check(golden_findings(), got, FINDING)
    explanations = {tuple(row[name] for name in FINDING): row["explanation"] for row in got}
    for row in read("findings"):
        words = re.findall(r"[\d,.]*\d", explanations[tuple(row[name] for name in FINDING)])
        assert set(filter(None, row["explanation_names"].split("; "))) <= set(words), row


def golden_findings() -> list[Row]:
    """The lines of ``findings.csv`` without the figures that their words name."""
    return [{name: value for name, value in row.items() if name != "explanation_names"} for row in read("findings")]


@pytest.mark.parametrize("instant", INSTANTS)
def test_the_report_of_a_past_instant_says_what_was_believed_then(played: GoldenMonth, instant: str) -> None:
    at = datetime.fromisoformat(instant)
    believed = played.report(as_of=at)
    got = [row | {"as_of": instant} for row in totals(cells(believed), by=["provider"])]
    golden = [row for row in read("as_of") if row["as_of"] == instant]
    check(golden, got, ("as_of", "provider", "measure"))
    seen = [row for row in golden_findings() if datetime.fromisoformat(row["first_seen"]) <= at]
    check(seen, findings(believed), FINDING)


def test_another_order_of_arrival_gives_the_same_month(
    database_server: Any, migrated_template: str, tmp_path_factory: pytest.TempPathFactory, report: Json
) -> None:
    with month(database_server, migrated_template, tmp_path_factory) as golden:
        arrivals = golden.arrivals()
        golden.play([*arrivals[1::2], *arrivals[::2][::-1]])
        golden.run_whole()
        again = golden.report()
    assert again["rows"] == report["rows"]
    assert again["totals"] == report["totals"]
    unseen = [{name: value for name, value in row.items() if name != "first_seen"} for row in findings(report)]
    check(unseen, findings(again), FINDING)


def test_running_the_month_again_writes_nothing(played: GoldenMonth) -> None:
    before = played.scenario.contents(*TELEMETRY)
    played.play(played.runs()[-1:])
    assert played.scenario.contents(*TELEMETRY) == before


def test_the_golden_rows_add_up_to_the_golden_totals() -> None:
    check(read("totals"), totals(read("reconciled")), TOTAL)


def test_every_golden_row_conserves_its_tokens() -> None:
    def conserved(row: Row) -> bool:
        parts = [int(row[name]) for name in ("explained", "unattributed", "stand_in")]
        return int(row["counted"]) == sum(parts)

    tokens = [row for row in read("reconciled") if row["measure"] != "usd" and row["basis"] != "lower bound"]
    assert [row for row in tokens if not conserved(row)] == []
