"""The stages' own promises: what is switched off is skipped and says so, what fails is noted, scopes hold by day."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from usage_pipeline import stages
from usage_pipeline.errors import InvalidInputError, PermanentError
from usage_pipeline.ledger.feed_settings import disable_feed, set_projects
from usage_pipeline_tests.scripted.openai_reports import ADMIN_ENDPOINTS
from usage_pipeline_tests.scripted.scenario import Scenario, scenario_on

D = date(2026, 11, 10)
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture
def scenario(migrated_database: str, tmp_path: Path) -> Iterator[Scenario]:
    with scenario_on(migrated_database, tmp_path, NOW) as made:
        yield made


def outcomes(scenario: Scenario) -> list[tuple[str, str | None]]:
    rows = scenario.select("SELECT outcome, error_code FROM ingestion_runs ORDER BY ingestion_run_id")
    return [(row["outcome"], row["error_code"]) for row in rows]


def asked_endpoints(scenario: Scenario) -> list[str]:
    """Every endpoint that an admin key of OpenAI asks."""
    return [endpoint.name for endpoint in scenario.runtime.providers["openai"].endpoints if "admin" in endpoint.modes]


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"admin_ingestion_enabled": False}, "USAGE_ADMIN_INGESTION_ENABLED"),
        ({"disabled_providers": ("openai",)}, "USAGE_DISABLED_PROVIDERS"),
    ],
)
def test_a_switched_off_path_is_skipped_with_its_reason(
    scenario: Scenario, setting: dict[str, object], words: str
) -> None:
    key = scenario.register()
    scenario.runtime = replace(scenario.runtime, settings=replace(scenario.runtime.settings, **setting))
    assert words in (scenario.pull(key, D).skipped or "")
    assert outcomes(scenario) == [("skipped", None)]
    assert scenario.count("pulls") == 0


def test_a_disabled_key_is_asked_until_its_last_day_is_over(scenario: Scenario) -> None:
    key = scenario.register()
    with scenario.runtime.engine.begin() as connection:
        disable_feed(connection, key.key.feed_id, key.slug, NOW)
    assert scenario.pull(key, D).skipped is None
    assert scenario.at(NOW + timedelta(days=1)).pull(key, D).skipped == "the key is disabled"


def test_a_key_of_a_mode_that_no_endpoint_takes_is_skipped(scenario: Scenario) -> None:
    key = scenario.register("anthropic", mode="standard")
    assert scenario.pull(key, D).skipped == "anthropic has no endpoint that a standard key may ask"


def test_a_secret_that_is_gone_fails_the_pull_and_is_noted_on_every_slice(scenario: Scenario) -> None:
    key = scenario.register()
    scenario.environ.clear()
    with pytest.raises(PermanentError, match="secret_env_missing"):
        scenario.pull(key, D, D + timedelta(days=2))
    assert outcomes(scenario) == [("failed", "secret_env_missing")]
    noted = scenario.select("SELECT endpoint, day FROM slices WHERE last_attempt_error_code = 'secret_env_missing'")
    assert {(row["endpoint"], row["day"]) for row in noted} == {
        (endpoint, day) for endpoint in ADMIN_ENDPOINTS for day in (D, D + timedelta(days=1))
    }


def test_each_day_is_asked_for_under_the_scope_that_held_on_it(scenario: Scenario) -> None:
    key = scenario.at(NOW - timedelta(days=30)).register(projects=["proj_a"])
    scenario.at(NOW)
    with scenario.runtime.engine.begin() as connection:
        set_projects(connection, key.key.feed_id, key.slug, ["proj_b"], D + timedelta(days=1), NOW)
    scenario.pull(key, D, D + timedelta(days=3))
    asked = scenario.select("SELECT first_day, end_day, projects FROM pulls WHERE endpoint = 'completions' ORDER BY 1")
    assert [(row["first_day"], row["end_day"], row["projects"]) for row in asked] == [
        (D, D + timedelta(days=1), ["proj_a"]),
        (D + timedelta(days=1), D + timedelta(days=3), ["proj_b"]),
    ]


def test_costs_that_fail_leave_the_usage_that_was_read_whole(scenario: Scenario) -> None:
    key = scenario.register()
    key.account.spend(datetime(2026, 11, 10, 9, tzinfo=UTC), 1000)
    key.account.refuse("costs", 500)
    with pytest.raises(stages.TransientError):
        scenario.pull(key, D)
    scenario.settle(D)
    (row,) = scenario.rows(D, family="text")
    assert row["counted"]["tokens"]["output"] == 1000
    assert row["cost"]["counted"]["basis"] == "estimate"


def test_a_scoped_key_keeps_only_its_own_lines_of_a_bill_that_cannot_be_narrowed(scenario: Scenario) -> None:
    key = scenario.register("anthropic", projects=["wrkspc_a"])
    for project in ("wrkspc_a", "wrkspc_b"):
        key.account.spend(datetime(2026, 11, 10, 9, tzinfo=UTC), 1000, model="claude-sonnet-4-5", project=project)
    scenario.pull(key, D)
    scenario.settle(D)
    lines = scenario.select("SELECT DISTINCT project_id FROM billed_costs")
    assert lines == [{"project_id": "wrkspc_a"}]
    (row,) = scenario.rows(D, family="text")
    assert row["counted"]["tokens"]["output"] == 1000


def test_a_secret_that_another_workspace_uses_is_refused_when_it_is_used(scenario: Scenario) -> None:
    first = scenario.register()
    second = scenario.register(workspace="globex", organization="org-globex")
    with scenario.runtime.engine.begin() as connection:
        # As where no organization was stated: only the secret tells that both are one account.
        connection.execute(text("UPDATE provider_keys SET account_stated = false, account = 'unstated:' || feed_id"))
    scenario.pull(first, D)
    scenario.environ["GLOBEX_OPENAI_MAIN"] = scenario.environ["ACME_OPENAI_MAIN"]
    with pytest.raises(InvalidInputError, match="scope_overlaps"):
        scenario.pull(second, D)
    assert scenario.count("pull_days") == len(ADMIN_ENDPOINTS)  # the first key's


def test_pulling_an_unchanged_restated_day_again_keeps_nothing_more(scenario: Scenario) -> None:
    key = scenario.register()
    for output in (1000, 900):
        key.account.forget()
        key.account.spend(datetime(2026, 11, 10, 9, tzinfo=UTC), output)
        scenario.at(scenario.clock.now + timedelta(hours=1)).pull(key, D)
        scenario.settle(D)
    kept = scenario.count("final_figures")
    assert kept > 0
    for _ in range(2):
        scenario.at(scenario.clock.now + timedelta(hours=1)).pull(key, D)
        scenario.settle(D)
    assert scenario.count("final_figures") == kept
