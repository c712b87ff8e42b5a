"""OpenRouter's activity becomes usage by day, model and serving endpoint, and its bill to the last decimal."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usage_pipeline.credentials.secret import Secret
from usage_pipeline.errors import InvalidInputError, PermanentError, TransientError
from usage_pipeline.providers.contract import ContractBrokenError, Drift, Endpoint, PageQuery
from usage_pipeline.providers.openrouter import ACTIVITY, ACTIVITY_COSTS, BYOK_NOT_COUNTED, PROVIDER
from usage_pipeline.providers.registry import provider
from usage_pipeline.pulls.asking import default_dimensions
from usage_pipeline.pulls.fetch import FetchedRange, fetch_range
from usage_pipeline.pulls.ranges import RangeRequest
from usage_pipeline_tests.providers.reading import FIXTURES, dimensions, lines_of, measures, raw, rows_of, tokens
from usage_pipeline_tests.pulls.answers import StoredPages

NOW = datetime(2025, 8, 26, 9, 15, tzinfo=UTC)
SUNDAY = date(2025, 8, 24)
MONDAY = date(2025, 8, 25)
TUESDAY = date(2025, 8, 26)
DOCUMENTED = (FIXTURES / "openrouter" / "activity.json").read_bytes()
TWO_DAYS = (FIXTURES / "openrouter" / "activity_two_days.json").read_bytes()


def asked(first: date = SUNDAY, days: int = 1, **fields: Any) -> PageQuery:
    start = datetime(first.year, first.month, first.day, tzinfo=UTC)
    return PageQuery(start, start + timedelta(days=days), "1d", fields.pop("dimensions", ("model",)), **fields)


def activity(**fields: Any) -> dict[str, Any]:
    return {
        "date": "2025-08-24",
        "model": "openai/gpt-4.1",
        "prompt_tokens": 0,
        "completion_tokens": 0,
        "reasoning_tokens": 0,
        "requests": 1,
        "usage": 0,
        **fields,
    }


def fetch(
    body: bytes, first: date = SUNDAY, end: date = TUESDAY, endpoint: Endpoint = ACTIVITY, **fields: Any
) -> tuple[FetchedRange, StoredPages]:
    source = StoredPages(body)
    request = RangeRequest(first, end, "1d", fields.pop("dimensions", default_dimensions(endpoint)), **fields)
    return fetch_range(source, PROVIDER, endpoint, request, NOW), source


def test_the_documented_row_is_read() -> None:
    page = PROVIDER.read_page(ACTIVITY, DOCUMENTED, asked())
    drift = Drift()

    [row] = rows_of(PROVIDER, ACTIVITY, page.buckets[0].results, drift)

    # 50 prompt + 125 completion; whether the 25 of reasoning are inside is not documented, so they are never added
    assert tokens(row) == 175
    assert measures(row) == {"uncached_input": 50, "output": 125, "reasoning": 25, "requests": 5}
    assert set(measures(row)) == ACTIVITY.always_reports
    assert dimensions(row) == {
        "model": "openai/gpt-4.1",
        "upstream_provider": "openai",
        "line_detail": (
            '{"endpoint_id":"550e8400-e29b-41d4-a716-446655440000","model_permaslug":"openai/gpt-4.1-2025-04-14",'
            '"served_by":"OpenAI"}'
        ),
    }
    assert drift == Drift(rows=1, answered_dimensions={"model"})


def test_cached_tokens_are_taken_out_of_the_prompt() -> None:
    page = PROVIDER.read_page(ACTIVITY, TWO_DAYS, asked(MONDAY))

    rows = rows_of(PROVIDER, ACTIVITY, page.buckets[0].results)

    assert [measures(row) for row in rows] == [
        {"uncached_input": 400, "cache_read": 600, "output": 400, "reasoning": 0, "requests": 3},
        {"uncached_input": 80, "cache_read": 0, "output": 20, "reasoning": 0, "requests": 2},
        {"uncached_input": 40, "cache_read": 0, "output": 10, "reasoning": 0, "requests": 1},
    ]
    assert [dimensions(row)["upstream_provider"] for row in rows] == ["anthropic", "openai", "openai"]
    assert [dimensions(row)["project_id"] for row in rows] == ["ws-research", "ws-product", "ws-product"]


def test_more_cached_than_prompt_tokens_never_make_more_tokens_than_the_prompt() -> None:
    drift = Drift()

    [row] = rows_of(PROVIDER, ACTIVITY, raw(activity(prompt_tokens=100, cached_tokens=130)), drift)

    assert measures(row) | {"reasoning": 0} == {
        "uncached_input": 0,
        "cache_read": 100,
        "output": 0,
        "reasoning": 0,
        "requests": 1,
    }
    assert drift.totals_off == {"cached_tokens": 1}


@given(st.integers(0, 10**12), st.none() | st.integers(0, 10**12))
def test_the_input_is_always_the_prompt(prompt: int, cached: int | None) -> None:
    [row] = rows_of(PROVIDER, ACTIVITY, raw(activity(prompt_tokens=prompt, cached_tokens=cached)))

    assert tokens(row) == prompt


def test_a_model_of_no_known_vendor_says_so() -> None:
    [row] = rows_of(PROVIDER, ACTIVITY, raw(activity(model="openrouter/auto")))

    assert dimensions(row)["upstream_provider"] == "unknown"


def test_the_bill_is_exact() -> None:
    page = PROVIDER.read_page(ACTIVITY_COSTS, TWO_DAYS, asked(MONDAY))

    lines = lines_of(PROVIDER, ACTIVITY_COSTS, page.buckets[0].results)

    assert [(line.label, line.model, line.amount_usd, line.cost_type) for line in lines] == [
        ("anthropic/claude-sonnet-4.5", "anthropic/claude-sonnet-4.5", Decimal("0.0081"), "tokens"),
        ("openai/gpt-4.1", "openai/gpt-4.1", Decimal("0.00032"), "tokens"),
        ("openai/gpt-4.1", "openai/gpt-4.1", Decimal("0.00016"), "tokens"),
    ]
    many = msgspec_number("0.123456789012345678901234567890")
    [line] = lines_of(PROVIDER, ACTIVITY_COSTS, many)
    assert line.amount_usd == Decimal("0.123456789012345678901234567890")


def msgspec_number(digits: str) -> Any:
    written = raw(activity(usage=0))
    return type(written)(bytes(written).replace(b'"usage": 0', f'"usage": {digits}'.encode()))


def test_what_the_vendor_bills_is_no_part_of_the_bill() -> None:
    drift = Drift()
    page = PROVIDER.read_page(ACTIVITY_COSTS, DOCUMENTED, asked())

    [line] = lines_of(PROVIDER, ACTIVITY_COSTS, page.buckets[0].results, drift)

    assert line.amount_usd == Decimal("0.015")
    assert drift.not_counted == {BYOK_NOT_COUNTED: 1}
    assert drift.answered_dimensions == {"label"}


def test_one_day_is_asked_by_its_date_and_more_days_with_one_answer_for_all() -> None:
    assert PROVIDER.query(ACTIVITY, asked(SUNDAY)) == [("date", "2025-08-24")]
    assert PROVIDER.query(ACTIVITY, asked(SUNDAY, 2)) == []
    assert PROVIDER.query(ACTIVITY_COSTS, asked(SUNDAY, 30)) == []


def test_workspaces_are_asked_for_only_where_they_are_wanted() -> None:
    assert default_dimensions(ACTIVITY) == ("model",)
    by_workspace = [("group_by", "workspace")]
    assert PROVIDER.query(ACTIVITY, asked(SUNDAY, 2, dimensions=("model", "project_id"))) == by_workspace
    assert PROVIDER.query(ACTIVITY, asked(SUNDAY, 2, projects=("ws-a", "ws-b"))) == by_workspace


def test_a_range_has_a_bucket_for_each_day_and_nothing_of_other_days() -> None:
    fetched, source = fetch(TWO_DAYS)

    assert len(source.asked) == 1
    assert [(day.day, day.rows) for day in fetched.days] == [(SUNDAY, 1), (MONDAY, 3)]
    assert [(page.first_day, page.last_day) for page in fetched.pages] == [(SUNDAY, MONDAY)]
    only_sunday, _ = fetch(TWO_DAYS, SUNDAY, MONDAY)
    assert [(day.day, day.rows) for day in only_sunday.days] == [(SUNDAY, 1)]
    assert only_sunday.days[0].digest == fetched.days[0].digest


def test_a_day_without_activity_is_an_empty_day() -> None:
    fetched, _ = fetch(TWO_DAYS, date(2025, 8, 23))

    assert [(day.day.day, day.rows, day.buckets) for day in fetched.days] == [(23, 0, 1), (24, 1, 1), (25, 3, 1)]


def test_today_is_not_answered_and_not_asked_for() -> None:
    fetched, source = fetch(TWO_DAYS, TUESDAY, date(2025, 8, 27))

    assert fetched.is_empty
    assert source.asked == []
    assert ACTIVITY.earliest_day(NOW.date()) == date(2025, 7, 27)


def test_a_time_of_day_behind_the_date_is_no_other_day() -> None:
    page = PROVIDER.read_page(ACTIVITY, json.dumps({"data": [activity(date="2025-08-24 00:00:00")]}).encode(), asked())

    assert len(rows_of(PROVIDER, ACTIVITY, page.buckets[0].results)) == 1


def test_a_scope_leaves_other_workspaces_out() -> None:
    fetched, _ = fetch(TWO_DAYS, projects=("ws-research",))

    assert [(day.day, day.rows) for day in fetched.days] == [(SUNDAY, 0), (MONDAY, 1)]


def test_a_scope_is_not_believed_of_rows_that_name_no_workspace() -> None:
    with pytest.raises(ContractBrokenError, match="workspace_missing"):
        fetch(DOCUMENTED, SUNDAY, MONDAY, projects=("ws-research",))


def test_new_fields_are_told() -> None:
    drift = Drift()

    rows_of(PROVIDER, ACTIVITY, raw(activity(cache_write_tokens=3), activity(cache_write_tokens=4)), drift)

    assert drift.unknown_fields == {"cache_write_tokens": 2}


@pytest.mark.parametrize(
    ("code", "body"),
    [
        ("page_unreadable", b"[]"),
        ("page_unreadable", b'{"data": null}'),
        ("page_unreadable", b'{"data": [{"model": "m"}]}'),
        ("page_unreadable", b'{"data": [{"date": "yesterday"}]}'),
        ("count_negative", json.dumps({"data": [activity(prompt_tokens=-1)]}).encode()),
        ("row_unreadable", json.dumps({"data": [activity(usage=None)]}).encode()),
    ],
)
def test_an_answer_that_cannot_be_is_refused(code: str, body: bytes) -> None:
    with pytest.raises(ContractBrokenError) as caught:
        fetch(body)

    assert caught.value.code == code


def test_an_absurd_amount_is_no_bill() -> None:
    with pytest.raises(ContractBrokenError, match="amount_unreadable"):
        lines_of(PROVIDER, ACTIVITY_COSTS, raw(activity(usage="1e17")))


def test_a_key_of_another_kind_is_told_which_one_is_needed() -> None:
    body = b'{"error": {"code": 403, "message": "Only management keys can perform this operation"}}'

    error = PROVIDER.refusal(ACTIVITY, 403, body)

    assert isinstance(error, PermanentError)
    assert error.code == "management_key_needed"
    assert "management" in str(error)
    assert isinstance(PROVIDER.refusal(ACTIVITY, 429, b"{}"), TransientError)


def test_where_and_how_it_is_asked() -> None:
    assert provider("openrouter") is PROVIDER
    assert PROVIDER.role == "reseller"
    assert PROVIDER.headers(Secret("sk-or-v1-x")) == {"Authorization": "Bearer sk-or-v1-x"}
    assert PROVIDER.normalise_base_url("https://openrouter.ai") == PROVIDER.default_base_url
    assert PROVIDER.normalise_base_url("http://127.0.0.1:9/api/v1/") == "http://127.0.0.1:9/api/v1"
    assert PROVIDER.account_told(ACTIVITY, DOCUMENTED) is None
    with pytest.raises(InvalidInputError):
        PROVIDER.normalise_base_url("http://openrouter.ai/api/v1")
