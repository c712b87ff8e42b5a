"""Version 3 states what it covers, who billed, and the hour of each call."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from usage_pipeline.hermes.payload import PayloadRefusedError, covered_days
from usage_pipeline.hermes.routes import route_of
from usage_pipeline_tests.hermes.payload_building import fixture, parse, tokens_of


def v3(**changes: Any) -> dict[str, Any]:
    return fixture("v3_call_time_hours") | changes


def with_row(**changes: Any) -> dict[str, Any]:
    payload = v3()
    payload["days"][0]["usage"][0] |= changes
    return payload


def refused(payload: dict[str, Any]) -> PayloadRefusedError:
    with pytest.raises(PayloadRefusedError) as caught:
        parse(payload)
    return caught.value


def test_the_day_adds_up() -> None:
    # gpt-5.4: 6 calls, 600 in, 120 read, 180 out of which 60 reasoning; gpt-5.4-mini for titles: 2 calls, 50 in,
    # 12 out; claude through a router: 1 call, 70 in, 5 read, 15 written, 20 out.
    rows = parse(v3()).rows
    assert tokens_of(rows, "day") == {
        "requests": 6 + 2 + 1,
        "inputTokens": 600 + 50 + 70,
        "cachedTokens": 120 + 5 + 15,
        "outputTokens": 180 + 12 + 20,
        "reasoningTokens": 60,
        "estimatedCostUsd": Decimal("0.0084"),
    }
    assert tokens_of(rows, "hour") == tokens_of(rows, "day")


def test_the_hours_are_those_of_the_calls_where_the_payload_says_so() -> None:
    batch = parse(v3())
    assert batch.hours_are_call_time
    assert sorted({row.start for row in batch.rows if row.kind == "hour"}) == [
        datetime(2026, 3, 11, 8, tzinfo=UTC),
        datetime(2026, 3, 11, 23, tzinfo=UTC),
    ]
    assert not parse(v3(hoursAreCallTime=False)).hours_are_call_time


def test_it_covers_what_it_states_whatever_the_feed_is_set_to() -> None:
    batch = parse(v3())
    assert covered_days(batch, None) == covered_days(batch, 30) == (date(2026, 3, 10), date(2026, 3, 13))
    assert (batch.revision, batch.schema_version, batch.heartbeat) == (42, 3, False)


def test_covered_days_without_rows_were_idle() -> None:
    batch = parse(v3(days=[], hours=[]))
    assert (batch.rows, batch.heartbeat) == ((), False)
    assert covered_days(batch, None) == (date(2026, 3, 10), date(2026, 3, 13))


def test_without_coverage_it_is_a_heartbeat() -> None:
    batch = parse(v3(coverage=None, days=[], hours=[]))
    assert (batch.heartbeat, covered_days(batch, 30)) == (True, None)


def test_billing_and_task_are_kept() -> None:
    main, title, routed = (row for row in parse(v3()).rows if row.kind == "day")
    assert (main.billing_provider, main.billing_mode, main.task) == ("openai", "official_docs_snapshot", "")
    assert title.task == "title_generation"
    assert routed.billing_base_url == "https://openrouter.ai/api/v1"
    assert [route_of(row.billing_provider, row.billing_base_url, row.billing_mode, row.provider) for row in (
        main, title, routed
    )] == ["account", "account", "off_account:openrouter"]  # fmt: skip


def test_the_vendor_follows_from_the_model_where_it_is_not_stated() -> None:
    routed = parse(v3()).rows[2]
    assert (routed.model, routed.provider) == ("anthropic/claude-sonnet-4.6", "anthropic")


def test_what_was_not_recorded_is_not_zero() -> None:
    row = parse(with_row(requests=None, reasoningTokens=None, estimatedCostUsd=None)).rows[0]
    assert (row.requests, row.reasoning, row.estimated_cost_usd, row.actual_cost_usd) == (None, None, None, None)
    assert parse(v3()).rows[2].actual_cost_usd == Decimal(0)


def test_absent_billing_is_empty_text() -> None:
    payload = v3()
    for name in ("billingProvider", "billingBaseUrl", "billingMode", "task"):
        del payload["days"][0]["usage"][0][name]
    row = parse(payload).rows[0]
    assert (row.billing_provider, row.billing_base_url, row.billing_mode, row.task) == ("", "", "", "")


@pytest.mark.parametrize("usage_date", ["2026-03-09", "2026-03-13"])
def test_a_day_outside_the_coverage_is_refused(usage_date: str) -> None:
    error = refused(v3(days=[{"usageDate": usage_date, "usage": []}]))
    assert (error.code, error.where) == ("payload_outside_coverage", "days[0].usageDate")


def test_an_hour_outside_the_coverage_is_refused() -> None:
    assert refused(v3(hours=[{"usageDate": "2026-03-09T23:00:00Z", "usage": []}])).where == "hours[0].usageDate"


def test_rows_without_coverage_are_refused() -> None:
    assert refused(v3(coverage=None)).code == "payload_outside_coverage"


@pytest.mark.parametrize(
    ("coverage", "where", "code"),
    [
        ({"start": "2026-03-11", "end": "2026-03-11"}, "coverage.end", "payload_contract"),
        ({"start": "2026-03-11", "end": "2026-03-14"}, "coverage.end", "payload_from_the_future"),
        ({"start": "0001-01-01", "end": "2026-03-13"}, "coverage.start", "payload_contract"),
        ({"start": "2026-03-11T00:00:00Z", "end": "2026-03-13"}, "coverage.start", "payload_contract"),
        ({"start": "2026-03-11"}, "coverage.end", "payload_contract"),
        ([], "coverage", "payload_contract"),
    ],
)
def test_coverage_is_a_range_of_days_that_have_begun(coverage: object, where: str, code: str) -> None:
    error = refused(v3(coverage=coverage))
    assert (error.where, error.code) == (where, code)


def test_the_same_day_twice_is_refused() -> None:
    assert refused(v3(days=v3()["days"] * 2)).code == "payload_duplicate_bucket"


def test_the_same_row_twice_is_refused_and_another_task_is_another_row() -> None:
    payload = v3()
    usage = payload["days"][0]["usage"]
    usage.append(usage[0] | {"task": "vision"})
    assert len(parse(payload).rows) == 8
    usage.append(usage[0])
    error = refused(payload)
    assert (error.code, error.where) == ("payload_duplicate_model", "days[0].usage[4].model")


@pytest.mark.parametrize(
    "url", ["https://user:pass@host/v1", "https://host/v1?key=abc", "https://host/v1#abc", "http://[half"]
)
def test_a_base_url_that_may_hold_a_secret_is_refused_unseen(url: str) -> None:
    error = refused(with_row(billingBaseUrl=url))
    assert (error.code, error.where) == ("payload_contract", "days[0].usage[0].billingBaseUrl")
    assert url not in str(error)


@pytest.mark.parametrize("name", ["inputTokens", "cacheReadTokens", "cacheWriteTokens", "outputTokens"])
def test_every_token_class_must_be_stated(name: str) -> None:
    assert refused(with_row(**{name: None})).where == f"days[0].usage[0].{name}"


@pytest.mark.parametrize("name", ["revision", "hoursAreCallTime", "days", "hours"])
def test_the_rest_of_the_head_must_be_stated(name: str) -> None:
    assert refused(v3(**{name: None})).where == name


def test_a_row_with_more_reasoning_than_output_is_noticed() -> None:
    (finding,) = parse(with_row(reasoningTokens=181)).findings
    assert (finding.code, finding.stated, finding.found) == ("reasoning_exceeds_output", 181, 180)


def test_rollups_are_no_part_of_version_three() -> None:
    (finding,) = parse(v3(rollups=[])).findings
    assert (finding.code, finding.where) == ("payload_unknown_field", "rollups")
