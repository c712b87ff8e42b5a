from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from usage_pipeline.sandbox import SandboxServer, TokenTotals
from usage_pipeline_tests.sandbox.conftest import COST_REPORT, MESSAGES, Caller

FIVE = ("api_key_id", "context_window", "model", "service_tier", "workspace_id")
WEEK = (("starting_at", "2026-11-09T00:00:00Z"), ("ending_at", "2026-11-16T00:00:00Z"))
MONDAY = (("starting_at", "2026-11-09T00:00:00Z"), ("ending_at", "2026-11-10T00:00:00Z"))


def sums(buckets: list[dict[str, Any]], *keys: str) -> dict[tuple[Any, ...], Counter[str]]:
    """The measures of all results, added up by the given fields."""
    totals: dict[tuple[Any, ...], Counter[str]] = {}
    for bucket in buckets:
        for r in bucket["results"]:
            measures = {name: value for name, value in r.items() if type(value) is int}
            counter = totals.setdefault(tuple(r[key] for key in keys), Counter())
            counter.update(measures | r["cache_creation"] | r["server_tool_use"])
    return totals


def group_by(*names: str) -> list[tuple[str, str | int]]:
    return [("group_by[]", name) for name in names]


def test_a_day_is_exactly_the_sum_of_its_hours_and_its_minutes(anthropic: Caller) -> None:
    asked = (*MONDAY, *group_by("model"))
    by_day = sums(anthropic.all_buckets(MESSAGES, *asked), "model")
    assert by_day
    assert by_day == sums(anthropic.all_buckets(MESSAGES, *asked, ("bucket_width", "1h")), "model")
    assert by_day == sums(anthropic.all_buckets(MESSAGES, *asked, ("bucket_width", "1m"), ("limit", 999)), "model")


@pytest.mark.parametrize("kept", [(), ("model",), ("workspace_id", "api_key_id"), ("service_tier", "context_window")])
def test_fewer_dimensions_are_exactly_the_sum_of_more(anthropic: Caller, kept: tuple[str, ...]) -> None:
    fine = anthropic.all_buckets(MESSAGES, *WEEK, *group_by(*FIVE))
    assert sums(anthropic.all_buckets(MESSAGES, *WEEK, *group_by(*kept)), *kept) == sums(fine, *kept)


def test_the_pages_together_are_the_one_big_page(anthropic: Caller) -> None:
    asked = [*WEEK, ("bucket_width", "1h"), *group_by("model", "workspace_id")]
    whole = anthropic.page(MESSAGES, *asked, ("limit", 168))
    assert anthropic.all_buckets(MESSAGES, *asked, ("limit", 7)) == whole["data"]
    assert (whole["has_more"], whole["next_page"]) == (False, None)
    costs = [*WEEK, *group_by("description")]
    assert anthropic.all_buckets(COST_REPORT, *costs, ("limit", 2)) == anthropic.page(COST_REPORT, *costs)["data"]


def test_buckets_are_whole_ordered_and_there_even_when_idle(anthropic: Caller) -> None:
    buckets = anthropic.page(MESSAGES, *WEEK, ("bucket_width", "1h"), ("limit", 168))["data"]
    assert len(buckets) == 168
    assert (buckets[0]["starting_at"], buckets[0]["ending_at"]) == ("2026-11-09T00:00:00Z", "2026-11-09T01:00:00Z")
    assert [b["starting_at"] for b in buckets] == sorted(b["starting_at"] for b in buckets)
    assert any(bucket["results"] == [] for bucket in buckets)


def test_the_start_is_snapped_down_and_the_open_bucket_is_not_returned(anthropic: Caller) -> None:
    buckets = anthropic.page(MESSAGES, ("starting_at", "2026-11-17T15:59:59+02:00"))["data"]
    assert [bucket["starting_at"][:10] for bucket in buckets] == ["2026-11-17", "2026-11-18"]
    hours = anthropic.page(MESSAGES, ("starting_at", "2026-11-19T12:20:00Z"), ("bucket_width", "1h"))["data"]
    assert [bucket["starting_at"][11:13] for bucket in hours] == ["12", "13"]
    cut = anthropic.page(MESSAGES, WEEK[0], ("ending_at", "2026-11-10T23:00:00Z"))["data"]
    assert len(cut) == 1


def test_a_day_in_the_future_may_be_asked_for(anthropic: Caller) -> None:
    page = anthropic.page(MESSAGES, ("starting_at", "2026-11-18T00:00:00Z"), ("ending_at", "2026-12-01T00:00:00Z"))
    assert len(page["data"]) == 1


def test_null_is_both_not_grouped_and_the_default_workspace_or_the_console(anthropic: Caller) -> None:
    plain = anthropic.page(MESSAGES, *MONDAY)["data"][0]["results"]
    assert [plain[0][name] for name in FIVE] == [None] * 5
    grouped = anthropic.page(MESSAGES, *MONDAY, *group_by("workspace_id", "api_key_id"))["data"][0]["results"]
    assert None in {r["workspace_id"] for r in grouped}
    assert None in {r["api_key_id"] for r in grouped}
    assert len({r["workspace_id"] for r in grouped}) == 3
    assert len({r["api_key_id"] for r in grouped}) == 5


def test_filters_keep_only_what_they_name(anthropic: Caller) -> None:
    everything = sums(anthropic.all_buckets(MESSAGES, *WEEK, *group_by(*FIVE)), *FIVE)
    filters = ("api_key_ids[]", "context_window[]", "models[]", "service_tiers[]", "workspace_ids[]")
    for index, parameter in enumerate(filters):
        value = sorted({key[index] for key in everything} - {None})[0]
        found = anthropic.all_buckets(MESSAGES, *WEEK, *group_by(*FIVE), (parameter, value))
        assert sums(found, *FIVE) == {key: total for key, total in everything.items() if key[index] == value}


def test_the_older_contract_lacks_the_newer_fields(anthropic: Caller, sandbox: SandboxServer) -> None:
    new = set(anthropic.page(MESSAGES, *MONDAY)["data"][0]["results"][0])
    sandbox.switch(anthropic_contract="2025")
    old = set(anthropic.page(MESSAGES, *MONDAY)["data"][0]["results"][0])
    assert new - old == {"account_id", "inference_geo", "service_account_id"}
    assert old < new


def test_usage_is_the_worlds_truth(anthropic: Caller, sandbox: SandboxServer) -> None:
    for bucket in anthropic.all_buckets(MESSAGES, *WEEK, *group_by("model")):
        truth = sandbox.world.token_totals("anthropic", date.fromisoformat(bucket["starting_at"][:10]))
        assert {r["model"] for r in bucket["results"]} == set(truth)
        for r in bucket["results"]:
            expected = truth[r["model"]]
            assert expected == TokenTotals(
                r["uncached_input_tokens"],
                r["cache_read_input_tokens"],
                sum(r["cache_creation"].values()),
                r["output_tokens"],
                expected.requests,
                r["server_tool_use"]["web_search_requests"],
            )


def test_costs_are_cents_in_text_and_the_worlds_bill_at_any_grouping(anthropic: Caller, sandbox: SandboxServer) -> None:
    for names in ((), ("workspace_id",), ("description",), ("workspace_id", "description")):
        for bucket in anthropic.all_buckets(COST_REPORT, *WEEK, *group_by(*names)):
            assert all(isinstance(r["amount"], str) and r["currency"] == "USD" for r in bucket["results"])
            cents = sum((Decimal(r["amount"]) for r in bucket["results"]), Decimal(0))
            day = date.fromisoformat(bucket["starting_at"][:10])
            assert cents / 100 == sandbox.world.bill_usd("anthropic", day)


def test_the_details_of_a_cost_come_only_with_its_description(anthropic: Caller) -> None:
    details = ("description", "cost_type", "token_type", "model", "service_tier", "context_window", "inference_geo")
    by_workspace = anthropic.page(COST_REPORT, *MONDAY, *group_by("workspace_id"))["data"][0]["results"]
    assert {r[name] for r in by_workspace for name in details} == {None}
    by_description = anthropic.page(COST_REPORT, *MONDAY, *group_by("description"))["data"][0]["results"]
    assert {r["cost_type"] for r in by_description} == {"tokens", "web_search", "code_execution"}
    assert {r["workspace_id"] for r in by_description} == {None}
    tokens = next(r for r in by_description if r["description"] == "Claude Sonnet 4.5 Usage - Input Tokens")
    assert (tokens["token_type"], tokens["model"]) == ("uncached_input_tokens", "claude-sonnet-4-5-20250929")
    assert len({r["description"] for r in by_description}) == len(by_description)


def test_the_open_day_of_the_cost_report_can_be_switched_on(anthropic: Caller, sandbox: SandboxServer) -> None:
    sandbox.switch(anthropic_cost_open_day=True)
    bucket = anthropic.page(COST_REPORT, ("starting_at", "2026-11-19T00:00:00Z"))["data"][0]
    assert bucket["ending_at"] == "2026-11-20T00:00:00Z"
    cents = sum(Decimal(r["amount"]) for r in bucket["results"])
    assert cents / 100 == sandbox.world.bill_usd("anthropic", datetime(2026, 11, 19, tzinfo=UTC).date())
