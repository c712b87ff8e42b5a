"""Names beside a pull: asked for once a day, kept for good, and never in the way of figures."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from usage_pipeline import stages
from usage_pipeline.ledger.dimension_names import Named, list_names, store_names
from usage_pipeline_tests.scripted.scenario import RegisteredAccount, Scenario, scenario_on, utc

D = date(2026, 11, 10)
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
PROJECTS, USERS = "/v1/organization/projects", "/v1/organization/users"
KEYS = "/v1/organization/projects/proj_a/api_keys"


@pytest.fixture
def scenario(migrated_database: str, tmp_path: Path) -> Iterator[Scenario]:
    with scenario_on(migrated_database, tmp_path, NOW) as made:
        yield made


def listing(scenario: Scenario, **more: Any) -> RegisteredAccount:
    """A key of an OpenAI account that lists one project, one user and one key."""
    key = scenario.register(**more)
    key.account.spend(utc(D, 9), 1000)
    key.account.lists = {
        PROJECTS: [{"id": "proj_a", "name": "Alpha", "status": "active"}],
        USERS: [{"id": "user-1", "name": None, "email": "ana@example.org", "role": "owner"}],
        KEYS: [{"id": "key_1", "name": "ci"}],
    }
    return key


def names(scenario: Scenario) -> dict[str, str]:
    with scenario.runtime.engine.begin() as connection:
        return {name.named.id: name.named.name for name in list_names(connection)}


def telemetry(scenario: Scenario) -> list[dict[str, Any]]:
    return scenario.select("SELECT * FROM ingestion_runs WHERE stage = 'dimension_names' ORDER BY ingestion_run_id")


def test_names_are_fetched_at_the_end_of_a_pull(scenario: Scenario) -> None:
    scenario.pull(listing(scenario), D)
    assert names(scenario) == {"proj_a": "Alpha", "user-1": "ana@example.org", "key_1": "ci"}
    (run,) = telemetry(scenario)
    assert run["outcome"] == "processed"
    assert run["figures"]["names"] == {"projects": 1, "users": 1, "keys": 1}


def test_names_cost_a_pull_none_of_its_own_figures(scenario: Scenario) -> None:
    key = listing(scenario)
    summary = scenario.pull(key, D)
    assert sum(one.requests for one in summary.endpoints) == len(key.account.asked)
    (run,) = scenario.select("SELECT figures FROM ingestion_runs WHERE stage = 'raw_provider_pulls'")
    assert run["figures"]["requests"] == len(key.account.asked)


def test_names_of_an_account_are_asked_for_once_a_day_whichever_key_is_pulled(scenario: Scenario) -> None:
    first, second = listing(scenario, name="first"), listing(scenario, name="second")
    scenario.pull(first, D)
    scenario.at(NOW + timedelta(hours=23)).pull(second, D)
    assert second.account.looked_up == []
    scenario.at(NOW + timedelta(hours=25)).pull(second, D)
    assert PROJECTS in second.account.looked_up


def test_what_is_archived_keeps_its_name_and_a_new_name_takes_over(scenario: Scenario) -> None:
    key = listing(scenario)
    scenario.pull(key, D)
    key.account.lists[PROJECTS] = []
    key.account.lists[USERS] = [{"id": "user-1", "name": "Ana", "email": "ana@example.org"}]
    scenario.at(NOW + timedelta(days=2)).pull(key, D)
    assert names(scenario) == {"proj_a": "Alpha", "user-1": "Ana", "key_1": "ci"}


@pytest.mark.parametrize("status", [403, 404, 500])
def test_lists_that_are_refused_are_noted_and_the_pull_stands(scenario: Scenario, status: int) -> None:
    key = listing(scenario)
    key.account.refuse("users", status)
    summary = scenario.pull(key, D)
    scenario.settle(D)
    assert scenario.row(D, family="text")["counted"]["tokens"]["output"] == 1000
    assert all(one.error is None for one in summary.endpoints)
    (run,) = telemetry(scenario)
    assert (run["outcome"], run["figures"]["failed"]) == ("failed", ["users"])
    assert run["error_code"] in {"credential_forbidden", "endpoint_unknown", "provider_unavailable"}
    assert names(scenario) == {"proj_a": "Alpha", "key_1": "ci"}
    assert key.account.looked_up.count(USERS) == 1


def test_after_a_refusal_names_are_left_alone_for_an_hour(scenario: Scenario) -> None:
    key = listing(scenario)
    key.account.refuse("users", 403)
    for minutes in (0, 30, 61):
        scenario.at(NOW + timedelta(minutes=minutes)).pull(key, D)
    assert key.account.looked_up.count(USERS) == 2


def test_a_list_that_is_no_list_is_noted(scenario: Scenario) -> None:
    key = listing(scenario)
    key.account.lists[USERS] = [{"no": "id"}]
    scenario.pull(key, D)
    (run,) = telemetry(scenario)
    assert run["error_code"] == "list_unreadable"


def test_asking_for_names_stops_when_its_time_is_up_and_keeps_what_it_has(scenario: Scenario) -> None:
    key = listing(scenario)
    summary = stages.refresh_names(scenario.runtime, key.slug, seconds_max=-1.0)
    assert summary is not None
    assert (summary.is_cut_off, summary.requests, summary.failures) == (True, 0, ())
    assert telemetry(scenario)[0]["figures"]["cut_off"] is True


def test_a_key_without_admin_rights_is_not_asked(scenario: Scenario) -> None:
    key = listing(scenario, mode="standard")
    assert stages.refresh_names(scenario.runtime, key.slug) is None
    scenario.pull(key, D)
    assert (key.account.looked_up, telemetry(scenario)) == ([], [])


def test_a_secret_that_is_gone_is_a_failure_in_the_summary(scenario: Scenario) -> None:
    key = listing(scenario)
    scenario.environ.clear()
    summary = stages.refresh_names(scenario.runtime, key.slug)
    assert summary is not None
    assert [code for _, code, _ in summary.failures] == ["secret_env_missing"]
    assert telemetry(scenario)[0]["outcome"] == "failed"


def test_an_older_answer_does_not_take_a_name_back(scenario: Scenario) -> None:
    with scenario.runtime.engine.begin() as connection:
        store_names(connection, "openai", "org-1", [Named("project_id", "p", "New")], NOW)
        store_names(connection, "openai", "org-1", [Named("project_id", "p", "Old")], NOW - timedelta(days=1))
        store_names(connection, "openai", "org-1", [Named("user_id", "p", "A\0na", {"role": "ow\0ner"})], NOW)
    assert names(scenario)["p"] in {"New", "Ana"}
    rows = scenario.select("SELECT dimension, name FROM dimension_names ORDER BY dimension")
    assert [row["name"] for row in rows] == ["New", "Ana"]


def test_names_of_a_workspace_are_those_of_its_accounts(scenario: Scenario) -> None:
    scenario.pull(listing(scenario), D)
    scenario.workspace("globex")
    with scenario.runtime.engine.begin() as connection:
        assert len(list_names(connection, "acme")) == 3
        assert list_names(connection, "globex") == ()
