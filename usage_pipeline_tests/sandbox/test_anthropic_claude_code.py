from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest

from usage_pipeline.sandbox import Fault, FaultKind, SandboxServer, World
from usage_pipeline.sandbox.anthropic_claude_code import claude_code_uses
from usage_pipeline_tests.sandbox.conftest import DAY_S, MESSAGES, MONDAY_S, Caller

PATH = "/v1/organizations/usage_report/claude_code"
MONDAY = ("starting_at", "2026-11-09")
DAY = (("starting_at", "2026-11-09T00:00:00Z"), ("ending_at", "2026-11-10T00:00:00Z"))


def rows(anthropic: Caller, *parameters: tuple[str, str | int]) -> list[dict[str, Any]]:
    return anthropic.page(PATH, MONDAY, *parameters)["data"]


def test_an_actor_is_a_person_or_a_key_and_has_the_documented_fields(anthropic: Caller) -> None:
    held = rows(anthropic)
    assert [set(row["actor"]) for row in held if row["actor"]["type"] == "api_actor"] == [{"type", "api_key_name"}]
    assert {row["date"] for row in held} == {"2026-11-09T00:00:00Z"}
    assert sorted(row["customer_type"] for row in held) == ["api", "api", "subscription"]
    for row in held:
        assert set(row["core_metrics"]["lines_of_code"]) == {"added", "removed"}
        assert set(row["tool_actions"]) == {"edit_tool", "multi_edit_tool", "write_tool", "notebook_edit_tool"}
        for use in row["model_breakdown"]:
            assert type(use["estimated_cost"]["amount"]) is int
            assert set(use["tokens"]) == {"input", "output", "cache_read", "cache_creation"}


def test_the_keys_tokens_are_those_of_the_messages_report(anthropic: Caller) -> None:
    key = next(row for row in rows(anthropic) if row["actor"]["type"] == "api_actor")
    asked = (*DAY, ("group_by[]", "model"), ("api_key_ids[]", "apikey_01SandboxLab"))
    usage = {r["model"]: r for r in anthropic.page(MESSAGES, *asked)["data"][0]["results"]}
    assert len(key["model_breakdown"]) == 2
    for use in key["model_breakdown"]:
        same = usage[use["model"]]
        assert use["tokens"] == {
            "input": same["uncached_input_tokens"],
            "output": same["output_tokens"],
            "cache_read": same["cache_read_input_tokens"],
            "cache_creation": sum(same["cache_creation"].values()),
        }


def test_the_subscriber_is_in_no_other_report_and_rests_at_the_weekend(
    anthropic: Caller, sandbox: SandboxServer
) -> None:
    subscribed = next(row for row in rows(anthropic) if row["customer_type"] == "subscription")
    assert subscribed["subscription_type"] == "team"
    assert subscribed["model_breakdown"][0]["tokens"]["input"] > 0
    users = anthropic.page("/v1/organizations/users", ("email", subscribed["actor"]["email_address"]))["data"]
    assert anthropic.page(MESSAGES, *DAY, ("account_ids[]", users[0]["id"]))["data"][0]["results"] == []
    at_weekend = claude_code_uses(sandbox.world, date(2026, 11, 8))
    assert not [use for use in at_weekend if use.actor.customer_type == "subscription"]


def test_pages_of_one_are_the_whole_page(anthropic: Caller) -> None:
    assert anthropic.all_buckets(PATH, MONDAY, ("limit", 1)) == rows(anthropic)


def test_the_last_hour_is_not_told_yet() -> None:
    world = World(7, datetime(2026, 11, 9, 15, tzinfo=UTC))
    hour_ago = World(7, datetime(2026, 11, 9, 14, tzinfo=UTC))
    at_14 = [
        row for row in hour_ago.anthropic_rows(MONDAY_S, MONDAY_S + DAY_S) if row.stream.model == "claude-opus-4-6"
    ]
    told = next(use for use in claude_code_uses(world, date(2026, 11, 9)) if use.model == "claude-opus-4-6")
    assert told.counts.out == sum(row.counts.out for row in at_14)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ([], "starting_at: Field required"),
        ([("starting_at", "2026-11-09T00:00:00Z")], "YYYY-MM-DD"),
        ([("starting_at", "2026-02-30")], "YYYY-MM-DD"),
        ([MONDAY, ("limit", 1001)], "less than or equal to 1000"),
        ([MONDAY, ("ending_at", "2026-11-10")], "ending_at: Extra inputs are not permitted"),
        ([MONDAY, ("group_by[]", "model")], "Extra inputs are not permitted"),
        ([MONDAY, ("page", "x")], "Invalid page token"),
    ],
)
def test_what_the_api_refuses_is_refused(
    anthropic: Caller, parameters: list[tuple[str, str | int]], message: str
) -> None:
    assert message in anthropic.refused(PATH, *parameters)


def test_a_page_token_does_not_work_for_another_day(anthropic: Caller) -> None:
    token = ("page", anthropic.page(PATH, MONDAY, ("limit", 1))["next_page"])
    assert "page token" in anthropic.refused(PATH, ("starting_at", "2026-11-10"), ("limit", 1), token)


def test_content_faults_reach_the_rows(anthropic: Caller, sandbox: SandboxServer) -> None:
    sandbox.switch(faults=(Fault(FaultKind.UNKNOWN_FIELD, path=PATH), Fault(FaultKind.CURSOR_MISSING, path=PATH)))
    page = anthropic.page(PATH, MONDAY)
    assert (page["data"][0]["sandbox_surprise"], page["has_more"], "next_page" in page) == (7, True, False)
