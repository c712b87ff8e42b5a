"""A day is processed anew where Hermes says something else of it, or where its state hangs on how late it was said."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from usage_pipeline.ledger.hermes_feeds import HermesFeed
from usage_pipeline.ledger.hermes_unsettled import unsettled_hermes_days
from usage_pipeline_tests.scripted.payloads import Call, v2_payload, v3_payload
from usage_pipeline_tests.scripted.scenario import Scenario, scenario_on, utc

FIRST = date(2026, 11, 2)
DAYS = [FIRST + timedelta(days=n) for n in range(4)]
NOW = datetime(2026, 11, 5, 12, tzinfo=UTC)
CALLS = [Call(utc(day, 9), output=100) for day in DAYS]
END = DAYS[-1] + timedelta(days=1)


@pytest.fixture
def scenario(migrated_database: str, tmp_path: Path) -> Iterator[Scenario]:
    with scenario_on(migrated_database, tmp_path / "home", NOW) as made:
        yield made


@pytest.fixture
def feed(scenario: Scenario) -> HermesFeed:
    """A feed whose first batch, of four days, is settled."""
    feed = scenario.hermes()
    scenario.send(feed, v3_payload(NOW, CALLS, FIRST, END))
    assert unsettled(scenario) == DAYS
    scenario.settle(*DAYS)
    return feed


def unsettled(scenario: Scenario, settling_hours: int = 72) -> list[date]:
    with scenario.runtime.engine.connect() as connection:
        days, _ = unsettled_hermes_days(connection, NOW - timedelta(days=7), timedelta(hours=settling_hours))
    return days


def send(scenario: Scenario, feed: HermesFeed, calls: Sequence[Call], later: timedelta, revision: int = 2) -> None:
    scenario.at(NOW + later)
    scenario.send(feed, v3_payload(NOW + later, calls, FIRST, END, revision=revision))


def test_a_settled_batch_leaves_nothing_to_do(scenario: Scenario, feed: HermesFeed) -> None:
    assert unsettled(scenario) == []


def test_a_newer_batch_that_says_the_same_changes_no_day(scenario: Scenario, feed: HermesFeed) -> None:
    send(scenario, feed, CALLS, timedelta(minutes=15))
    assert unsettled(scenario) == []


def test_only_the_days_that_are_told_otherwise_are_processed_anew(scenario: Scenario, feed: HermesFeed) -> None:
    send(scenario, feed, [*CALLS, Call(utc(DAYS[1], 20), output=1)], timedelta(minutes=15))
    assert unsettled(scenario) == [DAYS[1]]


def test_a_day_that_lost_its_rows_is_processed_anew(scenario: Scenario, feed: HermesFeed) -> None:
    send(scenario, feed, [call for call in CALLS if call.at.date() != DAYS[2]], timedelta(minutes=15))
    assert unsettled(scenario) == [DAYS[2]]


def test_the_newest_batch_decides_where_one_before_it_said_otherwise(scenario: Scenario, feed: HermesFeed) -> None:
    send(scenario, feed, [*CALLS, Call(utc(DAYS[1], 20), output=1)], timedelta(minutes=15))
    send(scenario, feed, CALLS, timedelta(minutes=30), revision=3)
    assert unsettled(scenario) == []


def test_an_older_batch_that_comes_later_changes_nothing(scenario: Scenario, feed: HermesFeed) -> None:
    send(scenario, feed, [*CALLS, Call(utc(DAYS[1], 20), output=1)], -timedelta(hours=1))
    assert unsettled(scenario) == []


def test_the_first_batch_after_a_days_end_closes_it(scenario: Scenario, feed: HermesFeed) -> None:
    send(scenario, feed, CALLS, timedelta(hours=12))
    assert unsettled(scenario, settling_hours=100) == [DAYS[3]]


def test_the_first_batch_after_the_settling_time_makes_a_day_final(scenario: Scenario, feed: HermesFeed) -> None:
    send(scenario, feed, CALLS, timedelta(hours=11))  # the fifth of November: three days after the end of the first
    assert unsettled(scenario) == []
    send(scenario, feed, CALLS, timedelta(hours=12), revision=3)
    assert unsettled(scenario) == [DAYS[0], DAYS[3]]


def test_hours_that_leave_a_v2_batch_change_no_day(scenario: Scenario) -> None:
    feed = scenario.hermes("other")
    scenario.send(feed, v2_payload(NOW, CALLS))
    scenario.settle(*DAYS)
    later = v2_payload(NOW + timedelta(hours=1), CALLS)
    for rows in ("rollups", "repositoryRollups"):
        later[rows] = [row for row in later[rows] if "T" not in row["usageDate"] or row["usageDate"] > "2026-11-05"]
    scenario.at(NOW + timedelta(hours=1)).send(feed, later)
    assert unsettled(scenario) == []
