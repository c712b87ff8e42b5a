"""The built-in reseller and proxy the whole way: their own answers over HTTP, and the cells that they fall into."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from usage_pipeline.errors import UsagePipelineError
from usage_pipeline_tests.scripted.account import Json, Query
from usage_pipeline_tests.scripted.payloads import Call, v3_payload
from usage_pipeline_tests.scripted.scenario import RegisteredAccount, Scenario, figure, scenario_on, utc

D = date(2026, 3, 10)
SETTLED = utc(D + timedelta(days=4), 6)


@dataclass
class Activity:
    """An OpenRouter account: its rows, each of a day."""

    rows: list[Json] = field(default_factory=list)
    refusals: int = 0

    def answer(self, _path: str, query: Query) -> tuple[int, bytes]:
        if self.refusals:
            self.refusals -= 1
            return 400, b'{"error": {"message": "not now"}}'
        day = dict(query).get("date")
        return 200, json.dumps({"data": [row for row in self.rows if day in (None, row["date"])]}).encode()


@dataclass
class Proxy:
    """A LiteLLM proxy: the calls of its spend logs; its daily report says nothing."""

    calls: list[Json] = field(default_factory=list)

    def answer(self, path: str, query: Query) -> tuple[int, bytes]:
        asked = dict(query)
        page: Json = {"page": 1, "page_size": int(asked["page_size"]), "total_pages": 1}
        if "daily" in path:
            metadata = {"page": 1, "total_pages": 0, "has_more": False}
            return 200, json.dumps({"results": [], "metadata": metadata}).encode()
        first, last = (datetime.fromisoformat(asked[name]).replace(tzinfo=UTC) for name in ("start_date", "end_date"))
        data = [call for call in self.calls if first <= datetime.fromisoformat(call["startTime"]) <= last]
        return 200, json.dumps({**page, "data": data, "total": len(data)}).encode()


@pytest.fixture
def scenario(migrated_database: str, tmp_path: Path) -> Iterator[Scenario]:
    with scenario_on(migrated_database, tmp_path, SETTLED) as made:
        for name in ("OPENROUTER", "LITELLM"):
            made.environ[f"{name}_ADMIN_REQUESTS_PER_MINUTE"] = "0"
        yield made


def register(scenario: Scenario, provider: str, account: Any) -> RegisteredAccount:
    scenario.served.accounts[f"sk-acme-{provider}-main"] = account
    return scenario.register(
        provider, organization=f"{provider}-acme", grain="1d" if provider == "openrouter" else "1h"
    )


def through(biller: str, output: int) -> Call:
    return Call(utc(D, 9), "gpt-5", output=output, requests=1, billing=biller, billing_mode="")


def activity(model: str, output: int, usd: float) -> Json:
    return {
        "date": D.isoformat(),
        "model": model,
        "model_permaslug": f"{model}-2025-08-07",
        "endpoint_id": "550e8400-e29b-41d4-a716-446655440000",
        "provider_name": "OpenAI",
        "requests": 5,
        "prompt_tokens": 50,
        "completion_tokens": output,
        "reasoning_tokens": 0,
        "usage": usd,
        "byok_usage_inference": 0,
    }


def call(model: str, upstream: str, output: int) -> Json:
    return {
        "request_id": f"{model}-{upstream}",
        "startTime": f"{D.isoformat()}T09:00:00+00:00",
        "endTime": f"{D.isoformat()}T09:00:02+00:00",
        "prompt_tokens": 0,
        "completion_tokens": output,
        "total_tokens": output,
        "model": model,
        "custom_llm_provider": upstream,
        "api_key": "hash",
        "user": "ana",
        "team_id": "team",
        "status": "success",
        "cache_hit": "False",
        "metadata": {},
        "spend": 0.01,
    }


def test_a_call_through_openrouter_counts_once_with_its_bill(scenario: Scenario) -> None:
    key = register(scenario, "openrouter", Activity([activity("openai/gpt-5", 1000, 0.0125)]))
    feed = scenario.hermes()
    scenario.send(feed, v3_payload(SETTLED, [through("openrouter", 800)], D, D + timedelta(days=1)))
    scenario.settle(D)
    assert scenario.row(D)["decision"] == "hermes_only"
    scenario.pull(key, D)
    scenario.settle(D)
    row = scenario.row(D)
    assert (row["provider"], row["route"], row["model"]) == ("openai", "off_account:openrouter", "gpt-5")
    assert (row["decision"], row["provisional"], figure(row, "counted"), figure(row, "explained")) == (
        "provider",
        False,
        1000,
        800,
    )
    assert (row["cost"]["billed"]["usd"], row["cost"]["counted"]["usd"]) == ("0.0125", "0.0125")
    assert figure(scenario.report(D)["totals"], "counted") == 1000


def test_a_final_bill_of_openrouter_counts_where_its_report_of_usage_is_missing(scenario: Scenario) -> None:
    account = Activity([activity("openai/gpt-5", 1000, 0.0125)], refusals=1)  # usage is asked for first
    key = register(scenario, "openrouter", account)
    feed = scenario.hermes()
    scenario.send(feed, v3_payload(SETTLED, [through("openrouter", 800)], D, D + timedelta(days=1)))
    with pytest.raises(UsagePipelineError):
        scenario.pull(key, D)
    scenario.settle(D)
    row = scenario.row(D)
    assert (row["decision"], figure(row, "counted")) == ("hermes_only", 800)
    assert row["cost"]["counted"] == {**row["cost"]["counted"], "usd": "0.0125", "basis": "billed"}


def test_calls_through_litellm_to_a_known_account_are_shadowed_and_others_count(scenario: Scenario) -> None:
    proxy = register(
        scenario, "litellm", Proxy([call("gpt-5", "openai", 1000), call("claude-sonnet-4-5", "bedrock", 300)])
    )
    openai, feed = scenario.register(), scenario.hermes()
    openai.account.spend(utc(D, 9), 1500)
    for key in (proxy, openai):
        scenario.pull(key, D)
    scenario.send(feed, v3_payload(SETTLED, [through("litellm", 900)], D, D + timedelta(days=1)))
    scenario.settle(D)
    counted = {(row["provider"], row["route"]): figure(row, "counted") for row in scenario.rows(D, family="text")}
    assert counted == {
        ("openai", "account"): 1500,
        ("openai", "off_account:litellm"): 0,
        ("anthropic", "off_account:litellm"): 300,
    }
    assert figure(scenario.report(D)["totals"], "counted") == 1800
    assert not set(scenario.codes(D)) & {"hermes_exceeds_provider", "window_missing", "provider_missing"}
