"""What the plugin in use sends (v2), read from a fixture: rows, head, digest, coverage."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from usage_pipeline.errors import InvalidInputError
from usage_pipeline.hermes.payload import batch_digest, covered_days, parse_payload
from usage_pipeline_tests.hermes.payload_building import RECEIVED_AT, bucket, fixture, model, parse, tokens_of, v2


def test_the_days_add_up_to_their_models() -> None:
    # 11 March: gpt-5.4 (4 calls, 1200 in, 800 read, 300 out of which 120 reasoning) and claude-sonnet-4-6 (2 calls,
    # 500 in, 2000 read, 400 written, 250 out); 12 March: gpt-5.4 (1 call, 100 in, 40 out of which 10 reasoning).
    assert tokens_of(parse(fixture("v2_two_days")).rows, "day") == {
        "requests": 4 + 2 + 1,
        "inputTokens": 1200 + 500 + 100,
        "cachedTokens": 800 + 2400,
        "outputTokens": 300 + 250 + 40,
        "reasoningTokens": 120 + 10,
        "estimatedCostUsd": Decimal("0.0123") + Decimal("0.0087") + Decimal("0.0049"),
    }


def test_days_and_hours_are_rows_of_their_own_kind() -> None:
    rows = parse(fixture("v2_two_days")).rows
    assert [(row.kind, row.start) for row in rows if row.kind != "repository"] == [
        ("day", datetime(2026, 3, 11, tzinfo=UTC)),
        ("day", datetime(2026, 3, 11, tzinfo=UTC)),
        ("hour", datetime(2026, 3, 11, 22, tzinfo=UTC)),
        ("hour", datetime(2026, 3, 11, 23, tzinfo=UTC)),
        ("day", datetime(2026, 3, 12, tzinfo=UTC)),
        ("hour", datetime(2026, 3, 12, 7, tzinfo=UTC)),
    ]


def test_a_row_keeps_every_token_class_and_the_model_as_reported() -> None:
    row = next(row for row in parse(fixture("v2_two_days")).rows if row.provider == "anthropic")
    assert (row.model, row.uncached_input, row.cache_read, row.cache_write_unsplit) == (
        "claude-sonnet-4-6",
        500,
        2000,
        400,
    )
    assert (row.output, row.reasoning, row.requests, row.counts) == (250, 0, 2, True)


def test_no_actual_cost_is_not_an_actual_cost_of_zero() -> None:
    free = model("free", "Unknown", actual=0)
    rows = {row.model: row for row in parse(v2(bucket("2026-03-11", model(), free))).rows if row.kind == "day"}
    assert rows["gpt-5.4"].actual_cost_usd is None
    assert rows["free"].actual_cost_usd == Decimal(0)


def test_a_cost_keeps_its_decimals() -> None:
    body = json.dumps(v2(bucket("2026-03-11", model(estimated=0.5)))).replace("0.5", "0.50000000000000000000000000001")
    batch = parse_payload(body.encode(), received_at=RECEIVED_AT)
    assert batch.rows[0].estimated_cost_usd == Decimal("0.50000000000000000000000000001")


def test_billing_is_unknown_before_version_three() -> None:
    for row in parse(fixture("v2_two_days")).rows:
        assert (row.billing_provider, row.billing_base_url, row.billing_mode, row.task) == (None, None, None, None)


@pytest.mark.parametrize(
    ("label", "slug"),
    [("OpenAI", "openai"), ("Anthropic", "anthropic"), ("Google", "google"), ("Unknown", "unknown"), ("X AI", "x-ai")],
)
def test_a_vendors_label_becomes_its_slug(label: str, slug: str) -> None:
    assert parse(v2(bucket("2026-03-11", model(provider=label)))).rows[0].provider == slug


def test_the_head_is_kept() -> None:
    batch = parse(fixture("v2_two_days"))
    assert (batch.schema_version, batch.environment, batch.source_label) == (2, "production", "hermes on build-7")
    assert (batch.workspace_slug, batch.workspace_name, batch.revision) == ("acme", "Acme", None)
    assert batch.generated_at == datetime(2026, 3, 12, 9, 30, tzinfo=UTC)
    assert (batch.first_daily, batch.covered_days, batch.hours_are_call_time) == (date(2026, 3, 11), None, False)
    assert (batch.heartbeat, batch.findings) == (False, ())


def test_an_empty_payload_is_a_heartbeat() -> None:
    batch = parse(fixture("v2_heartbeat"))
    assert (batch.heartbeat, batch.rows, batch.first_daily) == (True, (), None)


def test_optional_health_figures_and_issues_are_known() -> None:
    day = bucket("2026-03-11", model()) | {"errorCount": 2, "avgLatencyMs": 812.5, "p95LatencyMs": None}
    day["issues"] = [{"severity": "low", "title": "slow", "count": 1, "metadata": {"anything": 1}}]
    assert parse(v2(day)).findings == ()


def test_an_unknown_field_is_reported_once_by_name_and_refuses_nothing() -> None:
    days = [bucket(f"2026-03-{day}", model() | {"flavour": "mint"}) for day in ("10", "11")]
    findings = parse(v2(*days, mood="good")).findings
    assert [(finding.code, finding.where) for finding in findings] == [
        ("payload_unknown_field", "mood"),
        ("payload_unknown_field", "rollups[0].models[0].flavour"),
    ]


def test_unknown_fields_cannot_flood_the_findings() -> None:
    assert len(parse(v2(**{f"field_{index}": 1 for index in range(500)})).findings) == 50


def test_a_total_without_reasoning_is_noticed_and_changes_nothing() -> None:
    day = bucket("2026-03-11", model()) | {"totalTokens": 170}
    payload = v2(day)
    payload["repositoryRollups"][0]["models"][0]["tokens"] = 170
    batch = parse(payload)
    assert {finding.code for finding in batch.findings} == {"total_tokens_differ"}
    assert (batch.findings[0].stated, batch.findings[0].found) == (170, 175)
    assert tokens_of(batch.rows, "day")["outputTokens"] == 40


def test_more_reasoning_than_output_is_noticed() -> None:
    (finding,) = parse(v2(bucket("2026-03-11", model(output=3, reasoning=5)))).findings
    assert (finding.code, finding.where) == ("reasoning_exceeds_output", "rollups[0].models[0].reasoningTokens")


def test_the_digest_ignores_layout_and_trailing_zeros() -> None:
    one = b'{"a": [1.50, 2, "x"], "b": {"c": 5.0, "d": null}}'
    other = b'{"b":{"d":null,"c":5},"a":[1.5,2,"\\u0078"]}'
    assert batch_digest(one) == batch_digest(other)
    assert len(batch_digest(one)) == 32


@pytest.mark.parametrize(
    "other", [b'{"a":"1.5"}', b'{"a":1.51}', b'{"a":[1.5]}', b'{"b":1.5}', b'{"a":1.5', b'{"a":null}']
)
def test_the_digest_tells_contents_apart(other: bytes) -> None:
    assert batch_digest(b'{"a":1.5}') != batch_digest(other)


@pytest.mark.parametrize("body", [b"", b"{", b"[" * 100_000, b"\xff", b"1e999999999999", b"9" * 5000])
def test_what_is_not_a_payload_has_a_digest_all_the_same(body: bytes) -> None:
    assert len(batch_digest(body)) == 32


def test_v2_covers_from_its_earliest_day_to_the_day_of_generation() -> None:
    assert covered_days(parse(fixture("v2_two_days")), None) == (date(2026, 3, 11), date(2026, 3, 13))


def test_v2_covers_the_days_that_its_feed_is_set_to_report() -> None:
    assert covered_days(parse(fixture("v2_two_days")), 30) == (date(2026, 2, 11), date(2026, 3, 13))
    assert covered_days(parse(fixture("v2_two_days")), 1) == (date(2026, 3, 12), date(2026, 3, 13))


def test_hours_alone_cover_no_day() -> None:
    assert covered_days(parse(v2(bucket("2026-03-11T23:00:00Z", model()))), None) is None


def test_a_heartbeat_covers_nothing() -> None:
    assert covered_days(parse(fixture("v2_heartbeat")), 30) is None


@pytest.mark.parametrize("days_back", [0, -1, 366])
def test_a_feed_cannot_look_back_an_absurd_number_of_days(days_back: int) -> None:
    with pytest.raises(InvalidInputError, match="days_back_invalid"):
        covered_days(parse(fixture("v2_two_days")), days_back)
