"""A request that asks for too much is asked again with less in it, as the refusal says, and so from then on.

Over HTTP against the sandbox, which refuses as the real APIs do.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from usage_pipeline.errors import PermanentError
from usage_pipeline.ledger.learned_limits import forget_learned_limits, limits_in_words
from usage_pipeline.sandbox.server import SandboxServer
from usage_pipeline.sandbox.world import World
from usage_pipeline.stages import pull_days
from usage_pipeline_tests.pulls.against_the_sandbox import register
from usage_pipeline_tests.scripted.scenario import Scenario, scenario_on

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
FIRST, END = date(2026, 11, 9), date(2026, 11, 16)
MESSAGES = "/v1/organizations/usage_report/messages"
COSTS = "/v1/organization/costs"


@pytest.fixture
def scenario(migrated_database: str, tmp_path: Path) -> Iterator[Scenario]:
    with scenario_on(migrated_database, tmp_path / "home", NOW) as made:
        yield made


@pytest.fixture
def sandbox() -> Iterator[SandboxServer]:
    with SandboxServer(World(7, lambda: NOW)) as server:
        yield server


def asked(sandbox: SandboxServer, path: str, name: str) -> list[list[str]]:
    """The values of a parameter in each request to the path so far; the log is emptied."""
    found = [
        [value for key, value in request.query if key == name] for request in sandbox.requests if request.path == path
    ]
    sandbox.forget_requests()
    return found


def test_dimensions_beyond_what_the_api_takes_are_left_out_and_not_tried_again(
    scenario: Scenario, sandbox: SandboxServer
) -> None:
    key = register(scenario, sandbox, "anthropic")
    scenario.environ["ANTHROPIC_MESSAGES_DIMENSIONS"] = (
        "model,api_key_id,project_id,service_tier,inference_geo,context_window,user_id"
    )
    pull_days(scenario.runtime, key.slug, FIRST, END)
    first, second = asked(sandbox, MESSAGES, "group_by[]")
    assert len(first) == 7
    assert set(second) == {"model", "api_key_id", "workspace_id", "service_tier", "inference_geo"}
    pull_days(scenario.runtime, key.slug, FIRST, END)
    assert [len(groups) for groups in asked(sandbox, MESSAGES, "group_by[]")] == [5]
    (pull,) = scenario.select("SELECT DISTINCT dimensions_asked FROM pulls WHERE endpoint = 'messages' AND complete")
    assert set(pull["dimensions_asked"]) == {"model", "api_key_id", "project_id", "service_tier", "inference_geo"}


def test_a_smaller_page_is_asked_for_where_the_refusal_names_its_size(
    scenario: Scenario, sandbox: SandboxServer
) -> None:
    key = register(scenario, sandbox, "anthropic", grain="1h")
    sandbox.switch(anthropic_results_max=300)
    pull_days(scenario.runtime, key.slug, FIRST, END)
    limits = [int(limit) for (limit,) in asked(sandbox, MESSAGES, "limit")]
    assert limits[0] == 168
    assert limits == sorted(limits, reverse=True)
    assert limits[-1] < 168
    unlimited_rows = scenario.select("SELECT rows_read FROM pulls WHERE endpoint = 'messages' AND complete")
    sandbox.switch(anthropic_results_max=None)
    with scenario.runtime.engine.begin() as connection:
        forget_learned_limits(connection, key.feed_id)
    pull_days(scenario.runtime, key.slug, FIRST, END)
    assert scenario.select("SELECT rows_read FROM pulls WHERE endpoint = 'messages' AND complete") == [
        *unlimited_rows,
        *unlimited_rows,
    ]


def test_costs_fall_back_from_the_api_key_once_and_remember_it(scenario: Scenario, sandbox: SandboxServer) -> None:
    key = register(scenario, sandbox, "openai")
    sandbox.switch(openai_costs_refuse_api_key_id=True)
    pull_days(scenario.runtime, key.slug, FIRST, END)
    assert [("api_key_id" in groups) for groups in asked(sandbox, COSTS, "group_by")] == [True, False]
    pull_days(scenario.runtime, key.slug, FIRST, END)
    assert [("api_key_id" in groups) for groups in asked(sandbox, COSTS, "group_by")] == [False]
    with scenario.runtime.engine.begin() as connection:
        assert [endpoint for endpoint, _ in limits_in_words(connection, key.feed_id)] == ["costs"]


def test_costs_are_by_api_key_where_the_organisation_allows_it(scenario: Scenario, sandbox: SandboxServer) -> None:
    key = register(scenario, sandbox, "openai")
    pull_days(scenario.runtime, key.slug, FIRST, END)
    assert [set(groups) for groups in asked(sandbox, COSTS, "group_by")] == [{"project_id", "line_item", "api_key_id"}]


def test_a_refusal_that_says_nothing_of_size_fails_the_pull(scenario: Scenario, sandbox: SandboxServer) -> None:
    key = register(scenario, sandbox, "openai")
    sandbox.switch(faults=[{"kind": "status", "path": COSTS, "status": 400, "times": None}])
    with pytest.raises(PermanentError, match="request_refused"):
        pull_days(scenario.runtime, key.slug, FIRST, END)
    assert len(asked(sandbox, COSTS, "group_by")) == 1


def test_a_start_beyond_the_look_back_is_moved_to_the_day_that_the_refusal_names(
    scenario: Scenario, sandbox: SandboxServer
) -> None:
    key = register(scenario, sandbox, "openai")
    reach = NOW.date() - timedelta(days=365)
    summary = pull_days(scenario.runtime, key.slug, reach - timedelta(days=3), reach + timedelta(days=4))
    for result in summary.endpoints:
        earliest = min(result.days)
        assert reach - timedelta(days=1) <= earliest <= reach + timedelta(days=1)
        assert set(result.days_out_of_reach) == {
            reach - timedelta(days=3) + timedelta(days=n) for n in range((earliest - reach).days + 3)
        }
    noted = scenario.select(
        "SELECT DISTINCT last_attempt_error_code AS code FROM slices WHERE day < :day AND endpoint = 'completions'",
        day=min(summary.endpoints[0].days),
    )
    assert [row["code"] for row in noted] == ["lookback_exceeded"]


def test_a_range_wholly_beyond_the_look_back_is_no_failure(scenario: Scenario, sandbox: SandboxServer) -> None:
    key = register(scenario, sandbox, "openai")
    summary = pull_days(scenario.runtime, key.slug, date(2024, 1, 1), date(2024, 1, 4))
    assert all(result.error is None and not result.days for result in summary.endpoints)
    assert all(len(result.days_out_of_reach) == 3 for result in summary.endpoints)
    assert scenario.count("usage_events") == 0
