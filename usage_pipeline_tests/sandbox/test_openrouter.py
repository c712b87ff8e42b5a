from __future__ import annotations

from collections import Counter
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest

from usage_pipeline.sandbox import (
    DEFAULT_OPENROUTER_INFERENCE_KEY,
    DEFAULT_OPENROUTER_KEY,
    Fault,
    FaultKind,
    SandboxServer,
    Vanish,
    World,
)
from usage_pipeline.sandbox.openrouter_traffic import openrouter_rows, openrouter_totals
from usage_pipeline_tests.sandbox.conftest import NOW, Caller

ACTIVITY = "/openrouter/api/v1/activity"
KEY = "/openrouter/api/v1/key"
KEYS = "/openrouter/api/v1/keys"
MONDAY = date(2026, 11, 9)
TOKENS = ("prompt_tokens", "completion_tokens", "reasoning_tokens", "cached_tokens", "requests")


@pytest.fixture
def openrouter(sandbox: SandboxServer, http: httpx.Client) -> Caller:
    return Caller(http, {"authorization": f"Bearer {DEFAULT_OPENROUTER_KEY}"})


def items(openrouter: Caller, *parameters: tuple[str, str | int]) -> list[dict[str, Any]]:
    return openrouter.page(ACTIVITY, *parameters)["data"]


def summed(held: list[dict[str, Any]], *names: str) -> dict[tuple[Any, ...], Counter[str]]:
    sums: dict[tuple[Any, ...], Counter[str]] = {}
    for item in held:
        sums.setdefault(tuple(item[name] for name in names), Counter()).update({n: item[n] for n in TOKENS})
    return sums


def test_only_a_management_key_may_ask(openrouter: Caller) -> None:
    for path in (ACTIVITY, KEYS):
        refused = openrouter.get(path, headers={"authorization": f"Bearer {DEFAULT_OPENROUTER_INFERENCE_KEY}"})
        assert refused.status_code == 403
        expected = {"code": 403, "message": "Only management keys can perform this operation"}
        assert refused.json() == {"error": expected}
        for headers in ({}, {"authorization": "Bearer sk-or-v1-unknown"}, {"authorization": "Basic eA=="}):
            assert openrouter.get(path, headers=headers).status_code == 401


def test_a_day_is_the_truth_by_model(openrouter: Caller, sandbox: SandboxServer) -> None:
    held = items(openrouter, ("date", MONDAY.isoformat()))
    truth = openrouter_totals(sandbox.world, MONDAY)
    by_model = summed(held, "model")
    assert set(by_model) == {(model,) for model in truth}
    for model, total in truth.items():
        c = total.counts
        of_model = [item for item in held if item["model"] == model]
        assert by_model[(model,)] == Counter(
            dict(zip(TOKENS, (c.prompt, c.completion, c.reasoning, c.cached, c.requests), strict=True))
        )
        assert sum(item["usage"] for item in of_model) == pytest.approx(float(total.usage_usd), abs=1e-12)
        assert all(type(item["usage"]) is float and type(item["byok_usage_inference"]) is float for item in of_model)


def test_a_row_is_a_day_and_an_endpoint(openrouter: Caller) -> None:
    held = items(openrouter)
    grain = [(item["date"], item["endpoint_id"]) for item in held]
    assert len(set(grain)) == len(grain)
    assert len({item["endpoint_id"] for item in held}) > len({item["model"] for item in held})
    assert any(item["byok_usage_inference"] > item["usage"] > 0 for item in held)


def test_without_a_date_come_the_thirty_completed_days(openrouter: Caller) -> None:
    held = items(openrouter)
    yesterday = NOW.date() - timedelta(days=1)
    assert {item["date"] for item in held} == {(yesterday - timedelta(days=n)).isoformat() for n in range(30)}
    by_day = [item for day in sorted({item["date"] for item in held}) for item in items(openrouter, ("date", day))]
    assert summed(by_day, "date", "endpoint_id") == summed(held, "date", "endpoint_id")


def test_the_loop_over_keys_and_the_split_by_workspace_are_the_same_whole(openrouter: Caller) -> None:
    whole = summed(items(openrouter), "date", "endpoint_id")
    keys = openrouter.page(KEYS)["data"]
    looped = [item for key in keys for item in items(openrouter, ("api_key_hash", key["hash"]))]
    assert len(keys) == 2
    assert summed(looped, "date", "endpoint_id") == whole
    split = items(openrouter, ("group_by", "workspace"))
    assert summed(split, "date", "endpoint_id") == whole
    assert len({item["workspace_id"] for item in split}) == 2
    one = split[0]["workspace_id"]
    only = items(openrouter, ("workspace_id", one))
    assert "workspace_id" not in only[0]
    assert summed(only, "date") == summed([item for item in split if item["workspace_id"] == one], "date")


@pytest.mark.parametrize("seed", [1, 7, 99])
def test_one_row_in_a_hundred_has_more_cached_than_prompt_tokens(seed: int) -> None:
    world = World(seed, NOW)
    replayed = {
        (row.day, row.endpoint.id)
        for row in openrouter_rows(world, date(2026, 8, 1), date(2026, 11, 18))
        if row.counts.cached > row.counts.prompt
    }
    assert len(replayed) in range(7, 11)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ([("date", "2026-11-19")], "within the last 30 (completed) UTC days"),
        ([("date", "2026-10-19")], "within the last 30 (completed) UTC days"),
        ([("date", "2026-11-09T00:00:00Z")], "YYYY-MM-DD"),
        ([("date", "2026-02-30")], "YYYY-MM-DD"),
        ([("group_by", "model")], "group_by must be 'workspace'"),
        ([("api_key_hash", "abc")], "SHA-256"),
        ([("workspace_id", "mine")], "UUID"),
        ([("limit", 10)], "Unrecognized query parameter: limit"),
        ([("date", "2026-11-09"), ("date", "2026-11-10")], "more than once"),
    ],
)
def test_what_the_api_refuses_is_refused(
    openrouter: Caller, parameters: list[tuple[str, str | int]], message: str
) -> None:
    assert message in openrouter.refused(ACTIVITY, *parameters)


def test_the_edges_of_the_thirty_days_are_inside(openrouter: Caller) -> None:
    assert items(openrouter, ("date", "2026-11-18"))
    assert items(openrouter, ("date", "2026-10-20"))


def test_a_foreign_workspace_is_not_found(openrouter: Caller) -> None:
    foreign = ("workspace_id", "00000000-0000-4000-8000-000000000000")
    assert openrouter.get(ACTIVITY, foreign).status_code == 404


def test_a_key_tells_who_it_is(openrouter: Caller) -> None:
    data = openrouter.page(KEY)["data"]
    assert (data["is_management_key"], data["is_provisioning_key"], data["organization_id"]) == (
        True,
        True,
        "org_sandbox_openrouter",
    )
    plain = openrouter.get(KEY, headers={"authorization": f"Bearer {DEFAULT_OPENROUTER_INFERENCE_KEY}"}).json()["data"]
    assert plain["is_management_key"] is False
    assert plain["usage"] > 0
    assert plain["limit"] is None


def test_a_restated_day_and_a_vanished_model_are_seen(openrouter: Caller, sandbox: SandboxServer) -> None:
    asked = ("date", MONDAY.isoformat())
    before = summed(items(openrouter, asked), "model")
    sandbox.switch(restate={f"openrouter:{MONDAY}": Decimal("0.5")}, vanish=(Vanish(MONDAY, model="openai/gpt-4.1"),))
    after = summed(items(openrouter, asked), "model")
    assert set(before) - set(after) == {("openai/gpt-4.1",)}
    model = ("google/gemini-2.5-pro",)
    assert after[model]["prompt_tokens"] == before[model]["prompt_tokens"] // 2
    assert sandbox.world.token_totals("openai", MONDAY)


def test_faults_speak_its_language(openrouter: Caller, sandbox: SandboxServer) -> None:
    sandbox.switch(faults=(Fault(FaultKind.STATUS, path=ACTIVITY, status=429, retry_after="3"),))
    limited = openrouter.get(ACTIVITY)
    assert (limited.status_code, limited.headers["retry-after"]) == (429, "3")
    assert limited.json()["error"]["code"] == 429
    sandbox.switch(faults=(Fault(FaultKind.NEGATIVE_COUNT, path=ACTIVITY), Fault(FaultKind.UNKNOWN_FIELD)))
    assert (items(openrouter)[0]["completion_tokens"]) < 0
    unknown = openrouter.get("/openrouter/api/v1/nothing")
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, 404)


def test_the_base_url_stands_before_the_paths(sandbox: SandboxServer) -> None:
    headers = {"authorization": f"Bearer {DEFAULT_OPENROUTER_KEY}"}
    assert httpx.get(f"{sandbox.openrouter_base_url}/key", headers=headers).status_code == 200
