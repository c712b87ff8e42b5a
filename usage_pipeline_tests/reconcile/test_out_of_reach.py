"""Days that the provider does not keep any more: the rest is pulled, and they are told as what they are."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest

from usage_pipeline.ledger.pull_checks import incomplete_pulls
from usage_pipeline.providers.openai_endpoints import COMPLETIONS
from usage_pipeline_tests.reconcile.odd_account import register_odd
from usage_pipeline_tests.scripted.narrowed_openai import NarrowedOpenAI
from usage_pipeline_tests.scripted.payloads import Call, v3_payload
from usage_pipeline_tests.scripted.scenario import RegisteredAccount, Scenario, figure, scenario_on, utc

KEPT = date(2025, 3, 12)
"""The first day that the provider keeps."""

DAYS = [KEPT + timedelta(days=n) for n in (-2, -1, 0, 1)]
GONE = DAYS[:2]
NOW = utc(date(2026, 3, 12), 6)


@pytest.fixture
def scenario(migrated_database: str, tmp_path: Path) -> Iterator[Scenario]:
    with scenario_on(migrated_database, tmp_path, NOW, speaks=[NarrowedOpenAI(COMPLETIONS)]) as made:
        yield made


def incomplete(scenario: Scenario, key: RegisteredAccount) -> list[date]:
    with scenario.runtime.engine.begin() as connection:
        return [one.day for one in incomplete_pulls(connection, key.key, ["completions"], DAYS)]


def codes(scenario: Scenario) -> list[list[str]]:
    return [scenario.codes(day) for day in DAYS]


def test_a_range_that_straddles_the_reach_is_pulled_from_the_first_day_that_is_kept(scenario: Scenario) -> None:
    key, account = register_odd(scenario)
    account.keeps_from = KEPT
    account.spend(utc(KEPT, 9), 500)
    summary = scenario.pull(key, DAYS[0], DAYS[-1] + timedelta(days=1))
    assert [(one.days, one.days_out_of_reach) for one in summary.endpoints] == [(tuple(DAYS[2:]), tuple(GONE))]
    scenario.settle(*DAYS)
    assert figure(scenario.row(KEPT), "counted") == 500
    assert codes(scenario) == [["lookback_exceeded"], ["lookback_exceeded"], [], []]
    (told,) = scenario.findings(GONE[0])
    assert (told["endpoint"], told["feed_id"]) == ("completions", key.key.feed_id)
    assert "does not keep" in told["explanation"]
    assert KEPT.isoformat() in told["explanation"]
    assert incomplete(scenario, key) == []
    assert scenario.row(GONE[0])["findings"] == ["lookback_exceeded"]


def test_a_range_wholly_before_the_reach_asks_once_and_succeeds(scenario: Scenario) -> None:
    key, account = register_odd(scenario)
    account.keeps_from = KEPT
    summary = scenario.pull(key, GONE[0], KEPT)
    assert [(one.days, one.error, one.requests) for one in summary.endpoints] == [((), None, 1)]
    scenario.settle(*DAYS)
    # Of the days that nobody asked for, it is not known whether they are kept.
    assert codes(scenario) == [["lookback_exceeded"], ["lookback_exceeded"], ["window_missing"], ["window_missing"]]
    assert incomplete(scenario, key) == DAYS[2:]


def test_hermes_stands_in_for_a_day_out_of_reach_and_nothing_is_asked_to_be_pulled(scenario: Scenario) -> None:
    key, account = register_odd(scenario)
    feed = scenario.hermes()
    account.keeps_from = KEPT
    scenario.pull(key, GONE[0], KEPT)
    call = Call(utc(GONE[0], 9), output=300, requests=1)
    scenario.at(NOW).send(feed, v3_payload(NOW, [call], GONE[0], GONE[1]))
    scenario.settle(GONE[0])
    row = scenario.row(GONE[0])
    assert (row["decision"], figure(row, "counted"), row["findings"]) == (
        "hermes_standin",
        300,
        ["lookback_exceeded"],
    )


def test_a_day_that_was_pulled_in_time_stays_covered(scenario: Scenario) -> None:
    key, account = register_odd(scenario)
    account.spend(utc(GONE[0], 9), 500)
    scenario.at(utc(KEPT, 6) + timedelta(days=30)).pull(key, GONE[0], KEPT)
    account.keeps_from = KEPT
    scenario.at(NOW).pull(key, GONE[0], KEPT)
    scenario.settle(*GONE)
    assert [scenario.codes(day) for day in GONE] == [[], []]
    assert figure(scenario.row(GONE[0]), "counted") == 500
    assert incomplete(scenario, key) == DAYS[2:]


def test_a_day_that_is_kept_after_all_closes_its_finding(scenario: Scenario) -> None:
    key, account = register_odd(scenario)
    account.keeps_from = KEPT
    scenario.pull(key, GONE[0], KEPT)
    scenario.settle(*GONE)
    account.keeps_from = None
    scenario.at(NOW + timedelta(hours=1)).pull(key, GONE[0], KEPT)
    scenario.settle(*GONE)
    assert [scenario.codes(day) for day in GONE] == [[], []]


def test_a_key_that_never_asked_is_told_to_ask(scenario: Scenario) -> None:
    key, _ = register_odd(scenario)
    scenario.settle(*GONE)
    assert [scenario.codes(day) for day in GONE] == [["window_missing"], ["window_missing"]]
    assert incomplete(scenario, key) == DAYS
