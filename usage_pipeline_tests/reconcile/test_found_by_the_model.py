"""What the naive model and the package once disagreed about, each small enough to see why."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import pytest

from usage_pipeline.errors import UsagePipelineError
from usage_pipeline_tests.scripted.account import Use
from usage_pipeline_tests.scripted.payloads import Call, v2_payload, v3_payload
from usage_pipeline_tests.scripted.scenario import RegisteredAccount, Scenario, figure, utc

D = date(2026, 3, 10)
NEXT_DAY = D + timedelta(days=1)
SETTLED = utc(D + timedelta(days=4), 6)
LATER = SETTLED + timedelta(days=1)


def pull_says(scenario: Scenario, key: RegisteredAccount, at: datetime, output: int, requests: int = 1) -> None:
    """The key's account is asked at an instant, and says so much of D."""
    key.account.uses = [Use(utc(D, 9), output=output, requests=requests)]
    scenario.at(at).pull(key, D)


def test_hermes_stands_in_where_a_closed_days_provisional_pull_is_empty(scenario: Scenario) -> None:
    key, feed = scenario.register(), scenario.hermes()
    scenario.at(utc(NEXT_DAY, 12)).pull(key, D)
    scenario.send(feed, v3_payload(utc(NEXT_DAY, 9), [Call(utc(D, 9), output=800)], D, NEXT_DAY))
    scenario.settle(D)
    row = scenario.row(D)
    assert (row["decision"], row["provisional"]) == ("provider_then_hermes", True)
    assert (figure(row, "reported_by_provider"), figure(row, "counted"), figure(row, "stand_in")) == (0, 800, 800)


def test_a_first_final_pull_that_arrives_after_a_newer_one_tells_of_the_restatement(scenario: Scenario) -> None:
    key = scenario.register()
    pull_says(scenario, key, LATER, 900)
    scenario.settle(D)
    pull_says(scenario, key, SETTLED, 1000)
    scenario.at(LATER).settle(D)
    row = scenario.row(D, family="text")
    assert figure(row, "counted") == 900
    assert "restated_after_final" in row["findings"]


def test_a_restated_count_of_requests_is_a_restatement(scenario: Scenario) -> None:
    key = scenario.register()
    pull_says(scenario, key, SETTLED, 900, requests=1)
    pull_says(scenario, key, LATER, 900, requests=5)
    scenario.settle(D)
    assert "restated_after_final" in scenario.row(D, family="text")["findings"]


def test_a_shadowed_keys_restatement_is_no_finding_in_whatever_order_the_keys_came_in(scenario: Scenario) -> None:
    hourly, daily = scenario.register(name="hourly"), scenario.register(name="daily", grain="1d")
    for at, output in ((SETTLED, 800), (LATER, 900)):
        pull_says(scenario, daily, at, output)
    # Until now the daily key leads, and what it restated is seen.
    scenario.at(LATER).settle(D)
    assert "restated_after_final" in scenario.row(D, family="text")["findings"]
    pull_says(scenario, hourly, LATER, 1000)
    scenario.at(LATER).settle(D)
    row = scenario.row(D, family="text")
    assert figure(row, "counted") == 1000
    assert "restated_after_final" not in row["findings"]


@pytest.mark.parametrize("policy", ["provider_first", "hermes_first", "provider_only"])
def test_a_final_bill_counts_where_usage_is_missing_and_hermes_names_the_model(scenario: Scenario, policy: str) -> None:
    key, feed = scenario.register(), scenario.hermes()
    scenario.workspace(policy=policy)
    key.account.spend(utc(D, 9), 1_000_000)
    key.account.refuse("completions")
    with pytest.raises(UsagePipelineError):
        scenario.at(SETTLED).pull(key, D)
    scenario.send(feed, v2_payload(SETTLED, [Call(utc(D, 9), output=5)]))
    scenario.settle(D)
    assert scenario.report(D)["totals"]["cost"]["counted"]["usd"] == "10.00"
