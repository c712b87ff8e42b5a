"""What the answers had that nobody told of: a finding that names the raw page, whether the day goes on or not."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest

from usage_pipeline.ledger.offences import Offence
from usage_pipeline.ledger.pull_checks import unanswered_dimensions
from usage_pipeline.ledger.pull_drift import DRIFT_CODES, ROWS_TO_MISS_A_DIMENSION
from usage_pipeline.providers.openai_endpoints import COMPLETIONS
from usage_pipeline_tests.reconcile.odd_account import OddAccount, register_odd
from usage_pipeline_tests.scripted.account import Use
from usage_pipeline_tests.scripted.narrowed_openai import NarrowedOpenAI
from usage_pipeline_tests.scripted.scenario import Json, RegisteredAccount, Scenario, figure, scenario_on, utc

D = date(2026, 3, 10)
SETTLED = utc(D + timedelta(days=4), 6)


@pytest.fixture
def scenario(migrated_database: str, tmp_path: Path) -> Iterator[Scenario]:
    with scenario_on(migrated_database, tmp_path, SETTLED, speaks=[NarrowedOpenAI(COMPLETIONS)]) as made:
        yield made


def drift(scenario: Scenario, day: date = D) -> list[tuple[str, str]]:
    return [(one["code"], one["measure"]) for one in scenario.findings(day) if one["code"] in DRIFT_CODES]


def drifted(scenario: Scenario, day: date = D) -> list[Json]:
    return [one for one in scenario.findings(day) if one["code"] in DRIFT_CODES]


def newest_pull(scenario: Scenario) -> int:
    return int(scenario.select("SELECT max(pull_id) AS pull_id FROM pulls WHERE complete")[0]["pull_id"])


def offences(scenario: Scenario, key: RegisteredAccount) -> list[Offence]:
    with scenario.runtime.engine.begin() as connection:
        return list(unanswered_dimensions(connection, key.key, ["completions"], [D]))


def with_field(result: Json) -> None:
    result["reflection_tokens"] = 7


def without_model(result: Json) -> None:
    result["model"] = None


def without_user(result: Json) -> None:
    result["user_id"] = None


def as_it_is(result: Json) -> None:
    pass


def off_by_one(result: Json) -> None:
    result["input_tokens"] += 1


def spent(scenario: Scenario, rows: int = 1) -> tuple[RegisteredAccount, OddAccount]:
    key, account = register_odd(scenario)
    account.uses = [
        Use(utc(D, 9), uncached_input=10, output=10, requests=1, user=f"user-{n}", project="proj", api_key="key")
        for n in range(rows)
    ]
    return key, account


def test_an_unknown_field_goes_on_and_its_finding_names_the_raw_page(scenario: Scenario) -> None:
    key, account = spent(scenario)
    account.change = with_field
    scenario.pull(key, D)
    (told,) = drifted(scenario)
    assert (told["code"], told["measure"], told["endpoint"]) == (
        "answer_unknown_field",
        "reflection_tokens",
        "completions",
    )
    assert f"raw page {newest_pull(scenario)}/0" in told["explanation"]
    scenario.settle(D)
    assert figure(scenario.row(D), "counted") == 10
    assert drifted(scenario) == [told]  # the same finding, not closed and opened anew


def test_an_unchanged_page_is_named_as_the_pull_that_keeps_it_has_it(scenario: Scenario) -> None:
    key, account = spent(scenario)
    account.change = with_field
    scenario.pull(key, D)
    kept = newest_pull(scenario)
    scenario.settle(D)
    before = drifted(scenario)
    scenario.at(SETTLED + timedelta(hours=1)).pull(key, D)
    scenario.settle(D)
    assert newest_pull(scenario) > kept
    assert drifted(scenario) == before
    assert f"raw page {kept}/0" in before[0]["explanation"]


def test_a_page_of_a_range_is_named_by_its_number_there(scenario: Scenario) -> None:
    key, account = spent(scenario)
    account.change = with_field
    scenario.pull(key, D - timedelta(days=8), D + timedelta(days=1))  # seven days of hours a page
    of_range = newest_pull(scenario)
    assert f"raw page {of_range}/1" in drifted(scenario)[0]["explanation"]
    scenario.at(SETTLED + timedelta(hours=1)).pull(key, D)
    scenario.settle(D)
    assert f"raw page {of_range}/1" in drifted(scenario)[0]["explanation"]


def test_a_range_tells_its_drift_once_on_the_last_day_that_had_it(scenario: Scenario) -> None:
    key, account = spent(scenario)
    account.change = with_field
    scenario.pull(key, D, D + timedelta(days=3))
    scenario.settle(D, D + timedelta(days=1), D + timedelta(days=2))
    assert [drift(scenario, D + timedelta(days=n)) for n in range(3)] == [
        [("answer_unknown_field", "reflection_tokens")],
        [],
        [],
    ]


def test_a_total_that_is_off_is_a_finding_until_a_pull_that_adds_up(scenario: Scenario) -> None:
    key, account = spent(scenario)
    account.change = off_by_one
    scenario.pull(key, D)
    ((code, _),) = drift(scenario)
    assert code == "totals_off"
    account.change = None
    scenario.at(SETTLED + timedelta(hours=1)).pull(key, D)
    assert drift(scenario) == []
    scenario.settle(D)
    assert drift(scenario) == []


def test_a_missing_model_is_a_finding_although_its_day_is_blocked(scenario: Scenario) -> None:
    key, account = spent(scenario)
    account.change = without_model
    scenario.pull(key, D)
    assert [(one.grave, "model was asked for" in one.what) for one in offences(scenario, key)] == [(True, True)]
    assert drift(scenario) == [("dimension_unanswered", "model")]
    assert f"raw page {newest_pull(scenario)}/0" in drifted(scenario)[0]["explanation"]
    account.change = None
    scenario.at(SETTLED + timedelta(hours=1)).pull(key, D)
    assert offences(scenario, key) == []
    scenario.settle(D)
    assert drift(scenario) == []
    assert figure(scenario.row(D), "counted") == 10


def test_a_proxy_whose_rows_name_no_upstream_is_blocked_for_it_would_count_twice(scenario: Scenario) -> None:
    key, _ = spent(scenario)
    scenario.pull(key, D)
    scenario.select(
        "UPDATE pulls SET drift = :drift RETURNING 1", drift='{"unanswered_dimensions": ["upstream_provider"]}'
    )
    assert [one.grave for one in offences(scenario, key)] == [True]


def test_a_failed_pull_does_not_close_what_the_standing_one_had(scenario: Scenario) -> None:
    key, account = spent(scenario)
    account.change = without_model
    scenario.pull(key, D)
    account.refuse("completions")
    with pytest.raises(Exception, match="refused by the test"):
        scenario.at(SETTLED + timedelta(hours=1)).pull(key, D)
    assert drift(scenario) == [("dimension_unanswered", "model")]


def test_a_dimension_that_may_be_null_is_a_finding_only_where_an_earlier_pull_had_it(scenario: Scenario) -> None:
    key, account = spent(scenario, ROWS_TO_MISS_A_DIMENSION)
    account.change = without_user
    scenario.pull(key, D)
    assert drift(scenario) == []
    account.change = None
    scenario.at(SETTLED + timedelta(hours=1)).pull(key, D)
    account.change = without_user
    scenario.at(SETTLED + timedelta(hours=2)).pull(key, D)
    assert drift(scenario) == [("dimension_unanswered", "user_id")]
    assert [one.grave for one in offences(scenario, key)] == [False]
    scenario.settle(D)
    assert drift(scenario) == [("dimension_unanswered", "user_id")]


def test_in_few_rows_a_lost_dimension_is_chance(scenario: Scenario) -> None:
    key, account = spent(scenario, ROWS_TO_MISS_A_DIMENSION - 1)
    scenario.pull(key, D)
    account.change = without_user
    scenario.at(SETTLED + timedelta(hours=1)).pull(key, D)
    scenario.settle(D)
    assert drift(scenario) == []
    assert offences(scenario, key) == []


def test_where_hermes_alone_counts_the_providers_drift_is_not_told(scenario: Scenario) -> None:
    key, account = spent(scenario)
    scenario.workspace(policy="hermes_only")
    account.change = with_field
    scenario.pull(key, D)
    assert drift(scenario) == []
    scenario.settle(D)
    assert drift(scenario) == []


def test_a_pull_leaves_findings_that_are_not_about_its_answers_alone(scenario: Scenario) -> None:
    other = scenario.register(name="other", organization="org-other")
    key, _ = spent(scenario)
    scenario.settle(D)
    assert scenario.codes(D) == ["window_missing"]
    before = scenario.findings(D)
    scenario.pull(key, D)
    scenario.pull(other, D)
    assert scenario.findings(D) == before


def test_a_newer_clean_pull_of_the_last_day_leaves_what_the_days_before_it_had(scenario: Scenario) -> None:
    key, account = spent(scenario)
    account.change = with_field
    last = D + timedelta(days=2)
    scenario.pull(key, D, last + timedelta(days=1))
    assert [drift(scenario, D + timedelta(days=n)) for n in range(3)] == [
        [("answer_unknown_field", "reflection_tokens")],  # the only day that had it
        [],
        [],
    ]
    account.change = as_it_is
    scenario.at(SETTLED + timedelta(hours=1)).pull(key, last)
    assert drift(scenario) == [("answer_unknown_field", "reflection_tokens")]
    scenario.at(SETTLED + timedelta(hours=2)).pull(key, D)
    assert drift(scenario) == []


def test_drift_of_several_days_moves_to_the_last_one_that_still_stands(scenario: Scenario) -> None:
    key, account = spent(scenario)
    account.uses += [Use(utc(D + timedelta(days=n), 9), output=10, project="proj", api_key="key") for n in (1, 2)]
    account.change = with_field
    last = D + timedelta(days=2)
    scenario.pull(key, D, last + timedelta(days=1))
    assert [len(drift(scenario, D + timedelta(days=n))) for n in range(3)] == [0, 0, 1]
    account.change = as_it_is
    scenario.at(SETTLED + timedelta(hours=1)).pull(key, last)
    assert [len(drift(scenario, D + timedelta(days=n))) for n in range(3)] == [0, 1, 0]
