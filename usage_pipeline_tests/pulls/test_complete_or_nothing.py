"""A pull publishes all of a range or nothing of it, and a complete one takes the place of what stood before.

Over real HTTP and the real database, through the stages that everything else calls.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from usage_pipeline.errors import PermanentError, TransientError
from usage_pipeline_tests.scripted.openai_reports import ADMIN_ENDPOINTS
from usage_pipeline_tests.scripted.scenario import TELEMETRY, RegisteredAccount, Scenario, figure, scenario_on, utc

DAY = date(2026, 3, 10)
SETTLED = datetime(2026, 3, 14, 6, tzinfo=UTC)
ONE_PAGE_OF_HOURS = timedelta(days=7)  # 168 buckets, the most that a page of hours may hold


@pytest.fixture
def scenario(migrated_database: str, tmp_path: Path) -> Iterator[Scenario]:
    with scenario_on(migrated_database, tmp_path / "home", SETTLED) as made:
        yield made


@pytest.fixture
def key(scenario: Scenario) -> RegisteredAccount:
    """A key that has pulled and published a day of 1,000 tokens: 700 of Anna, 300 of Ben."""
    key = scenario.register()
    key.account.spend(utc(DAY, 9), 700, user="user_anna")
    key.account.spend(utc(DAY, 9), 300, user="user_ben")
    scenario.pull(key, DAY)
    scenario.settle(DAY)
    return key


def later(scenario: Scenario, hours: int = 1) -> None:
    scenario.at(scenario.clock.now + timedelta(hours=hours))


def newest_pulls(scenario: Scenario, endpoint: str) -> list[tuple[bool, str | None]]:
    pulls = scenario.select(
        "SELECT complete, error_code FROM pulls WHERE endpoint = :endpoint ORDER BY pull_id", endpoint=endpoint
    )
    return [(pull["complete"], pull["error_code"]) for pull in pulls]


def test_an_earlier_pull_stands_after_a_failed_one(scenario: Scenario, key: RegisteredAccount) -> None:
    before = scenario.contents("pulls", "pull_days", "slices", *TELEMETRY)
    row = scenario.row(DAY)
    key.account.forget()
    key.account.refuse("completions", 500)
    later(scenario)
    with pytest.raises(TransientError):
        scenario.pull(key, DAY)
    # The costs endpoint answered, with an empty bill: its own word stands for itself.
    key.account.refuse("costs", 500)
    scenario.settle(DAY)
    assert figure(scenario.row(DAY), "counted") == figure(row, "counted") == 1000
    assert scenario.contents("pulls", "pull_days", "slices", *TELEMETRY)["usage_events"] == before["usage_events"]
    assert [complete for complete, _ in newest_pulls(scenario, "completions")] == [True, False]


def test_a_failed_attempt_is_noted_beside_the_coverage_and_does_not_change_it(
    scenario: Scenario, key: RegisteredAccount
) -> None:
    coverage = "SELECT observed_at, observed_digest, content_digest FROM slices WHERE endpoint = 'completions'"
    before = scenario.select(coverage)
    key.account.refuse("completions", 403)
    later(scenario)
    with pytest.raises(PermanentError):
        scenario.pull(key, DAY)
    scenario.settle(DAY)
    assert scenario.select(coverage) == before
    (noted,) = scenario.select(
        "SELECT last_attempt_at, last_attempt_error_code FROM slices WHERE endpoint = 'completions'"
    )
    assert noted["last_attempt_at"] == scenario.clock.now
    assert noted["last_attempt_error_code"] is not None
    assert not scenario.row(DAY)["provisional"]


def test_a_range_that_fails_on_its_second_page_publishes_nothing_of_it(scenario: Scenario) -> None:
    key = scenario.register()
    first_day = DAY - ONE_PAGE_OF_HOURS
    for day in (first_day, DAY):
        key.account.spend(utc(day, 9), 100)
    key.account.refuse("completions", 500, from_page=2)
    with pytest.raises(TransientError):
        scenario.pull(key, first_day, DAY + timedelta(days=1))
    scenario.settle(first_day, DAY)
    assert scenario.count("usage_events") == 0
    assert scenario.select("SELECT 1 FROM pull_days WHERE endpoint = 'completions'") == []
    assert scenario.select("SELECT 1 FROM raw_pages JOIN pulls USING (pull_id) WHERE endpoint = 'completions'") == []
    assert {row["decision"] for day in (first_day, DAY) for row in scenario.rows(day, family="text")} == {"no_data"}


def test_a_range_of_two_pages_publishes_all_of_it(scenario: Scenario) -> None:
    key = scenario.register()
    first_day = DAY - ONE_PAGE_OF_HOURS
    for day in (first_day, DAY):
        key.account.spend(utc(day, 9), 100)
    pulled = scenario.pull(key, first_day, DAY + timedelta(days=1))
    assert {result.endpoint: result.pages for result in pulled.endpoints} == {
        endpoint: 1 if endpoint == "costs" else 2 for endpoint in ADMIN_ENDPOINTS
    }
    scenario.settle(first_day, DAY)
    assert [figure(scenario.row(day), "counted") for day in (first_day, DAY)] == [100, 100]


def test_a_failing_endpoint_keeps_none_of_the_others_back(scenario: Scenario) -> None:
    key = scenario.register()
    key.account.spend(utc(DAY, 9), 100)
    key.account.refuse("costs", 403)
    with pytest.raises(PermanentError):
        scenario.pull(key, DAY)
    scenario.settle(DAY)
    assert figure(scenario.row(DAY), "counted") == 100
    assert scenario.count("billed_costs") == 0


def test_vanished_rows_go_to_the_history(scenario: Scenario, key: RegisteredAccount) -> None:
    believed_until = scenario.clock.now
    key.account.forget()
    key.account.spend(utc(DAY, 9), 700, user="user_anna")
    later(scenario)
    scenario.pull(key, DAY)
    scenario.settle(DAY)
    events = "SELECT user_id, output FROM {} ORDER BY user_id"
    assert scenario.select(events.format("usage_events")) == [{"user_id": "user_anna", "output": 700}]
    history = scenario.select("SELECT user_id, output, recorded_at, superseded_at FROM usage_event_history")
    assert history == [
        {
            "user_id": "user_ben",
            "output": 300,
            "recorded_at": believed_until,
            "superseded_at": scenario.clock.now,
        }
    ]
    assert figure(scenario.row(DAY), "counted") == 700


def test_a_day_that_came_back_empty_is_zero(scenario: Scenario, key: RegisteredAccount) -> None:
    key.account.forget()
    later(scenario)
    scenario.pull(key, DAY)
    scenario.settle(DAY)
    assert scenario.count("usage_events") == 0
    assert scenario.count("usage_event_history") == 2
    assert all(not figure(row, "counted") for row in scenario.rows(DAY))


def test_an_unchanged_pull_writes_its_own_record_and_coverage_alone(scenario: Scenario, key: RegisteredAccount) -> None:
    before = scenario.contents()
    later(scenario)
    pulled = scenario.pull(key, DAY)
    assert pulled.changed_days == []
    scenario.settle(DAY)
    after = scenario.contents()
    changed = {table for table in after if after[table] != before[table]}
    # "reconciliations" has the instant at which the day was last looked at.
    assert changed - set(TELEMETRY) == {"pulls", "pull_days", "slices", "reconciliations"}
    assert scenario.select("SELECT DISTINCT observed_at FROM slices") == [{"observed_at": scenario.clock.now}]


def test_a_wider_pull_with_the_same_day_leaves_that_day_alone(scenario: Scenario, key: RegisteredAccount) -> None:
    key.account.spend(utc(DAY - timedelta(days=1), 9), 50)
    later(scenario)
    pulled = scenario.pull(key, DAY - timedelta(days=1), DAY + timedelta(days=1))
    # The day before is new to every endpoint, with rows or without.
    assert {result.endpoint: sorted(result.changed_days) for result in pulled.endpoints} == {
        endpoint: [DAY - timedelta(days=1)] for endpoint in ADMIN_ENDPOINTS
    }
    scenario.settle(DAY - timedelta(days=1), DAY)
    assert scenario.count("usage_event_history") == 0
    assert [figure(scenario.row(DAY - timedelta(days=n)), "counted") for n in (0, 1)] == [1000, 50]


@pytest.mark.parametrize("first", [0, 1])
def test_of_two_pulls_at_one_instant_the_same_one_counts_in_either_order(scenario: Scenario, first: int) -> None:
    key = scenario.register()
    digests = []
    for output in ((100, 200), (200, 100))[first]:
        key.account.forget()
        key.account.spend(utc(DAY, 9), output)
        scenario.pull(key, DAY)
        newest = scenario.select(
            "SELECT digest FROM pull_days WHERE endpoint = 'completions' ORDER BY pull_id DESC LIMIT 1"
        )
        digests.append((bytes(newest[0]["digest"]), output))
        scenario.settle(DAY)
    assert figure(scenario.row(DAY), "counted") == max(digests)[1]


def test_reconciling_again_writes_nothing(scenario: Scenario, key: RegisteredAccount) -> None:
    before = scenario.contents(*TELEMETRY)
    scenario.settle(DAY)
    assert scenario.contents(*TELEMETRY) == before
    later(scenario)
    scenario.settle(DAY)
    after = scenario.contents(*TELEMETRY)
    assert {table for table in after if after[table] != before[table]} <= {"reconciliations"}
