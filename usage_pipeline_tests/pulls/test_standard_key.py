"""A standard key's legacy report from pull to report: five-minute rows of a day, in hours or as the day.

Over real HTTP and the real database, through the stages that everything else calls.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from usage_pipeline.errors import PermanentError
from usage_pipeline_tests.scripted.account import Use
from usage_pipeline_tests.scripted.scenario import Json, RegisteredAccount, Scenario, figure, scenario_on, utc

DAY = date(2026, 3, 10)
NEXT_DAY = DAY + timedelta(days=1)
SETTLED = datetime(2026, 3, 14, 6, tzinfo=UTC)


@pytest.fixture
def scenario(migrated_database: str, tmp_path: Path) -> Iterator[Scenario]:
    with scenario_on(migrated_database, tmp_path / "home", SETTLED) as made:
        yield made


def registered(scenario: Scenario, grain: str = "1h") -> RegisteredAccount:
    """A standard key whose calls of 09:00, 09:05 (twice) and 15:00 nothing but the time tells apart."""
    key = scenario.register(mode="standard", grain=grain)
    key.account.uses += [Use(utc(DAY, 9, minute), output=100, requests=1) for minute in (0, 5, 5)]
    key.account.uses.append(Use(utc(DAY, 15), uncached_input=30, cache_read=20, output=7, requests=1))
    key.account.uses.append(Use(utc(DAY, 9), "text-embedding-3-small", uncached_input=16, endpoint="embeddings"))
    return key


def events(scenario: Scenario, endpoint: str) -> list[Json]:
    return scenario.select(
        "SELECT window_start, uncached_input, cache_read, output, requests FROM usage_events"
        " JOIN slices USING (slice_id) WHERE endpoint = :endpoint ORDER BY 1",
        endpoint=endpoint,
    )


def told(at: datetime, *figures: int | None) -> Json:
    names = ("uncached_input", "cache_read", "output", "requests")
    return {"window_start": at, **dict(zip(names, figures, strict=True))}


def test_the_rows_of_an_hour_are_added_up(scenario: Scenario) -> None:
    scenario.pull(registered(scenario), DAY)
    scenario.settle(DAY)

    assert events(scenario, "legacy_completions") == [told(utc(DAY, 9), 0, 0, 300, 3), told(utc(DAY, 15), 30, 20, 7, 1)]
    assert events(scenario, "legacy_embeddings") == [told(utc(DAY, 9), 16, None, None, 0)]
    assert figure(scenario.row(DAY, family="text"), "counted") == 307
    assert figure(scenario.row(DAY, family="embeddings"), "counted", "uncached_input") == 16


def test_the_rows_of_a_day_are_added_up(scenario: Scenario) -> None:
    scenario.pull(registered(scenario, grain="1d"), DAY)
    scenario.settle(DAY)

    assert events(scenario, "legacy_completions") == [told(utc(DAY), 30, 20, 307, 4)]


def test_each_day_is_one_request_and_a_day_without_use_is_zero(scenario: Scenario) -> None:
    key = registered(scenario)
    pulled = scenario.pull(key, DAY, DAY + timedelta(days=3))

    assert {result.endpoint: (result.requests, result.rows) for result in pulled.endpoints} == {
        "legacy_completions": (3, 4),
        "legacy_embeddings": (3, 1),
    }
    assert [query for _, query in key.account.asked[:3]] == [
        [("date", (DAY + timedelta(days=n)).isoformat())] for n in range(3)
    ]
    scenario.settle(DAY, NEXT_DAY)
    assert scenario.report(NEXT_DAY)["rows"] == []


def test_a_day_told_again_changes_nothing_and_a_restated_one_replaces(scenario: Scenario) -> None:
    key = registered(scenario)
    scenario.pull(key, DAY)
    scenario.settle(DAY)
    scenario.at(SETTLED + timedelta(hours=1))
    assert scenario.pull(key, DAY).changed_days == []

    key.account.uses.append(Use(utc(DAY, 9, 5), output=1, requests=1))
    scenario.at(SETTLED + timedelta(hours=2)).pull(key, DAY)
    scenario.settle(DAY)

    assert events(scenario, "legacy_completions")[0] == told(utc(DAY, 9), 0, 0, 301, 4)


def test_a_key_of_the_other_kind_is_told_where_it_belongs(scenario: Scenario) -> None:
    key = registered(scenario)
    key.account.refuse("usage", 403)

    with pytest.raises(PermanentError, match="belongs under mode admin"):
        scenario.pull(key, DAY)


def test_what_an_answer_has_beyond_the_moment_of_asking_is_not_stored_either(scenario: Scenario) -> None:
    key = registered(scenario)
    key.account.uses.append(Use(utc(DAY, 12, 30), output=1_000, requests=1))
    scenario.at(utc(DAY, 12, 20))  # the report has a row of 12:30 all the same, as a clock that differs makes it
    pulled = scenario.pull(key, DAY)
    scenario.settle(DAY)

    assert {result.endpoint: result.rows for result in pulled.endpoints}["legacy_completions"] == 3
    assert events(scenario, "legacy_completions") == [told(utc(DAY, 9), 0, 0, 300, 3)]
