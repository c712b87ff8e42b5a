"""A LiteLLM proxy's spend logs become usage by hour, and its daily activity is kept beside them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usage_pipeline.credentials.registration import KeyRequest
from usage_pipeline.credentials.secret import Secret
from usage_pipeline.errors import InvalidInputError, PermanentError, TransientError
from usage_pipeline.providers.contract import ContractBrokenError, Drift, Endpoint, PageQuery
from usage_pipeline.providers.litellm import DAILY_ACTIVITY, PROVIDER, SPEND_LOGS
from usage_pipeline.providers.litellm_spend_logs import FROM_CACHE, TOOL_CALLS
from usage_pipeline.providers.refusals import AskedTooMuchError
from usage_pipeline.providers.registry import provider
from usage_pipeline.pulls.asking import default_dimensions
from usage_pipeline.pulls.fetch import FetchedRange, fetch_range
from usage_pipeline.pulls.ranges import RangeRequest
from usage_pipeline_tests.providers.reading import FIXTURES, dimensions, measures, raw, rows_of, tokens
from usage_pipeline_tests.pulls.answers import StoredPages

NOW = datetime(2026, 11, 21, 12, 34, 56, tzinfo=UTC)
FRIDAY = date(2026, 11, 20)
SATURDAY = date(2026, 11, 21)
LOGS = (FIXTURES / "litellm" / "spend_logs.json").read_bytes()
DAILY = (FIXTURES / "litellm" / "daily_activity.json").read_bytes()
KEY = "88dc28d0f030c55ed4ab77ed8faf098196cb1c05df778539800c9f1243fe6b4b"


def asked(day: date = FRIDAY, width: str = "1h", **fields: Any) -> PageQuery:
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return PageQuery(start, fields.pop("end", start + timedelta(days=1)), width, (), **fields)


def call(start: str = "2026-11-20T10:00:00Z", **fields: Any) -> dict[str, Any]:
    return {
        "startTime": start,
        "prompt_tokens": 0,
        "completion_tokens": 0,
        "model": "gpt-5",
        "api_key": KEY,
        "custom_llm_provider": "openai",
        "status": "success",
        **fields,
    }


def logs(*calls: dict[str, Any], number: int = 1, size: int = 1000, total: int | None = None, **fields: Any) -> bytes:
    total = len(calls) if total is None else total
    return json.dumps({"data": calls, "total": total, "page": number, "page_size": size, **fields}).encode()


def fetch(source: StoredPages, endpoint: Endpoint = SPEND_LOGS, **fields: Any) -> FetchedRange:
    first, end = fields.pop("first", FRIDAY), fields.pop("end", SATURDAY)
    width = fields.pop("width", endpoint.widths[0])
    request = RangeRequest(first, end, width, default_dimensions(endpoint), **fields)
    return fetch_range(source, PROVIDER, endpoint, request, NOW)


def broken_by(*bodies: bytes, endpoint: Endpoint = SPEND_LOGS) -> str:
    with pytest.raises(ContractBrokenError) as caught:
        fetch(StoredPages(*bodies), endpoint)
    return caught.value.code


# What a call is


def test_calls_fall_into_the_hour_in_which_they_began() -> None:
    page = PROVIDER.read_page(SPEND_LOGS, LOGS, asked())

    assert [bucket.start.hour for bucket in page.buckets] == [9, 23]
    by_day = PROVIDER.read_page(SPEND_LOGS, LOGS, asked(width="1d"))
    assert [bucket.start for bucket in by_day.buckets] == [datetime(2026, 11, 20, tzinfo=UTC)]


def test_cached_and_written_tokens_are_taken_out_of_the_prompt() -> None:
    page = PROVIDER.read_page(SPEND_LOGS, LOGS, asked())
    drift = Drift()

    nine = rows_of(PROVIDER, SPEND_LOGS, page.buckets[0].results, drift)

    # Anthropic: 1700 = 200 + 1000 read + 500 written; OpenAI: 900 = 388 + 512 cached, 64 of the 120 output reasoning
    assert [measures(row) for row in nine] == [
        {"uncached_input": 200, "cache_read": 1000, "cache_write_unsplit": 500, "output": 300, "requests": 1},
        {
            "uncached_input": 388,
            "cache_read": 512,
            "cache_write_unsplit": 0,
            "output": 120,
            "requests": 1,
            "reasoning": 64,
        },
    ]
    assert [tokens(row) for row in nine] == [2000, 1020]
    assert [dimensions(row) for row in nine] == [
        {
            "model": "claude-sonnet-4-5",
            "upstream_provider": "anthropic",
            "api_key_id": KEY,
            "user_id": "anna",
            "project_id": "team-research",
        },
        {"model": "gpt-5", "upstream_provider": "openai", "api_key_id": KEY},
    ]
    assert drift.not_counted == {FROM_CACHE: 1}
    assert (drift.unknown_fields, drift.totals_off) == ({}, {})


def test_a_failed_call_is_no_request() -> None:
    page = PROVIDER.read_page(SPEND_LOGS, LOGS, asked())

    [row] = rows_of(PROVIDER, SPEND_LOGS, page.buckets[1].results)

    assert (measures(row)["requests"], tokens(row)) == (0, 0)
    assert dimensions(row)["upstream_provider"] == "azure"
    [old] = rows_of(PROVIDER, SPEND_LOGS, raw(call(status=None)))
    assert measures(old)["requests"] == 1


def test_calls_that_no_model_answered_are_left_out_and_told() -> None:
    drift = Drift()
    left_out = raw(call(cache_hit="True"), call(cache_hit="true"), call(mcp_namespaced_tool_name="github/search"))

    assert rows_of(PROVIDER, SPEND_LOGS, left_out, drift) == []
    assert drift.not_counted == {FROM_CACHE: 2, TOOL_CALLS: 1}
    assert drift.rows == 3
    assert "model" in drift.answered_dimensions


@pytest.mark.parametrize(
    ("usage", "read", "written"),
    [
        ({"cache_read_input_tokens": 30, "cache_creation_input_tokens": 20}, 30, 20),
        ({"prompt_tokens_details": {"cached_tokens": 30, "cache_write_tokens": 20}}, 30, 20),
        ({"prompt_tokens_details": {"cached_tokens": 30, "cache_creation_tokens": 20}}, 30, 20),
        ({"cache_read_input_tokens": 0, "prompt_tokens_details": {"cached_tokens": 30}}, 30, 0),
        ({"prompt_tokens_details": None}, 0, 0),
        (None, 0, 0),
    ],
)
@pytest.mark.parametrize("place", ["usage_object", "additional_usage_values"])
def test_the_parts_are_found_wherever_the_proxy_writes_them(place: str, usage: Any, read: int, written: int) -> None:
    as_object = call(prompt_tokens=100, metadata={"anything": [1], place: usage})
    as_text = {**as_object, "metadata": json.dumps(as_object["metadata"])}

    for row in rows_of(PROVIDER, SPEND_LOGS, raw(as_object, as_text)):
        assert (measures(row)["cache_read"], measures(row)["cache_write_unsplit"], tokens(row)) == (read, written, 100)


@pytest.mark.parametrize(
    "metadata", [{"usage_object": "none"}, "no JSON", [1], {"usage_object": {"cache_read_input_tokens": -1}}]
)
def test_metadata_that_cannot_be_read_leaves_the_totals_and_is_told(metadata: Any) -> None:
    drift = Drift()

    [row] = rows_of(PROVIDER, SPEND_LOGS, raw(call(prompt_tokens=100, metadata=metadata)), drift)

    assert measures(row)["uncached_input"] == 100
    assert drift.totals_off == {"metadata": 1}


@given(st.integers(0, 1000), st.integers(0, 2000), st.integers(0, 2000))
def test_the_input_is_always_the_prompt(prompt: int, cached: int, written: int) -> None:
    usage = {"cache_read_input_tokens": cached, "cache_creation_input_tokens": written}
    drift = Drift()

    [row] = rows_of(PROVIDER, SPEND_LOGS, raw(call(prompt_tokens=prompt, metadata={"usage_object": usage})), drift)

    assert tokens(row) == prompt
    assert drift.totals_off == ({"prompt_tokens": 1} if cached + written > prompt else {})


def test_new_fields_are_told() -> None:
    drift = Drift()

    rows_of(PROVIDER, SPEND_LOGS, raw(call(batch_cost_tier="half")), drift)

    assert drift.unknown_fields == {"batch_cost_tier": 1}


# A day of calls


def test_a_day_is_asked_with_its_midnight_and_the_oldest_first() -> None:
    assert list(PROVIDER.query(SPEND_LOGS, asked(cursor="3+2"))) == [
        ("start_date", "2026-11-20 00:00:00"),
        ("end_date", "2026-11-21 00:00:00"),
        ("sort_by", "startTime"),
        ("sort_order", "asc"),
        ("page", "3"),
        ("page_size", "1000"),
    ]


def test_of_a_day_that_is_not_over_the_last_second_is_left_for_later() -> None:
    assert ("end_date", "2026-11-21 12:34:55") in PROVIDER.query(SPEND_LOGS, asked(SATURDAY, end=NOW))
    just_begun = datetime(2026, 11, 21, tzinfo=UTC) + timedelta(seconds=1)
    assert ("end_date", "2026-11-21 00:00:00") in PROVIDER.query(SPEND_LOGS, asked(SATURDAY, end=just_begun))


def test_a_call_at_midnight_is_the_next_day_s() -> None:
    fetched = fetch(StoredPages(LOGS))

    assert [(day.day, day.rows) for day in fetched.days] == [(FRIDAY, 4)]
    assert fetched.unanswered_dimensions == ()


def many(count: int, size: int, **fields: Any) -> Iterator[bytes]:
    """Pages of calls one second apart, cut at ``size``, the last one not full."""
    began = datetime(2026, 11, 20, 1, tzinfo=UTC)
    calls = [call((began + timedelta(seconds=n)).isoformat(), prompt_tokens=1) for n in range(count)]
    for number in range(count // size + 1):
        yield logs(*calls[number * size : (number + 1) * size], number=number + 1, size=size, **fields)


@pytest.mark.parametrize(("count", "pages"), [(0, 1), (4, 1), (5, 2), (12, 3)])
def test_pages_are_read_until_one_is_not_full(count: int, pages: int) -> None:
    source = StoredPages(*many(count, 5, total=count))

    fetched = fetch(source)

    assert len(source.asked) == pages
    assert fetched.days[0].rows == count


def test_a_count_that_stopped_at_its_cap_ends_nothing() -> None:
    source = StoredPages(*many(12, 5, total=10, total_is_capped=True))

    assert fetch(source).days[0].rows == 12


def test_a_cap_that_an_older_proxy_does_not_tell_of_is_known() -> None:
    assert PROVIDER.read_page(SPEND_LOGS, logs(total=10_000), asked()).rows_in_all is None
    assert PROVIDER.read_page(SPEND_LOGS, logs(total=10_000, total_is_capped=False), asked()).rows_in_all == 10_000


def test_calls_at_midnight_are_not_missed_in_the_count_on_whatever_page_they_come() -> None:
    midnight = "2026-11-21T00:00:00Z"
    source = StoredPages(
        logs(call(), call(midnight), size=2, total=3),
        logs(call(midnight), number=2, size=2, total=3),
    )

    fetched = fetch(source)

    assert fetched.days[0].rows == 1
    assert [query.cursor for query in source.asked] == [None, "2+1"]


def test_rows_that_moved_while_pages_were_read_are_asked_for_again_later() -> None:
    with pytest.raises(TransientError, match="rows_moved"):
        fetch(StoredPages(*many(7, 5, total=8)))


def test_an_hour_may_come_in_parts_and_a_scope_leaves_other_teams_out() -> None:
    source = StoredPages(
        logs(call(team_id="a"), call(team_id="b"), size=2, total=3), logs(call(team_id="a"), number=2, size=2, total=3)
    )

    fetched = fetch(source, projects=("a",))

    assert [(day.rows, day.buckets) for day in fetched.days] == [(2, 2)]


@pytest.mark.parametrize(
    ("code", "bodies"),
    [
        ("page_unreadable", [b"[]"]),
        ("page_unreadable", [b'{"data": [{"model": "m"}], "total": 1, "page": 1, "page_size": 1}']),
        ("page_unreadable", [b'{"data": []}']),
        ("bucket_unexpected", [logs(call("2026-11-19T23:59:59Z"))]),
        ("bucket_unexpected", [logs(call("2026-11-21T00:00:01Z"))]),
        ("cursor_repeated", [logs(call(), size=1), logs(call(), size=1)]),
        ("count_negative", [logs(call(prompt_tokens=-1))]),
        ("row_unreadable", [logs(call(prompt_tokens=None))]),
    ],
)
def test_an_answer_that_cannot_be_is_refused(code: str, bodies: Sequence[bytes]) -> None:
    assert broken_by(*bodies) == code


# The proxy's own sums


def test_one_cut_of_the_daily_activity_is_read() -> None:
    page = PROVIDER.read_page(DAILY_ACTIVITY, DAILY, asked(width="1d"))
    drift = Drift()

    rows = rows_of(PROVIDER, DAILY_ACTIVITY, page.buckets[0].results, drift)

    assert [(dimensions(row)["model"], dimensions(row)["api_key_id"][:4], tokens(row)) for row in rows] == [
        ("claude-sonnet-4-5", "88dc", 2000),
        ("gpt-5", "88dc", 700),
        ("gpt-5", "c9f1", 320),
    ]
    # the day's own total: 2,600 in + 420 out, each once though four cuts of it are answered
    assert sum(tokens(row) for row in rows) == 3020
    assert measures(rows[0]) == {
        "uncached_input": 200,
        "cache_read": 1000,
        "cache_write_unsplit": 500,
        "output": 300,
        "requests": 1,
    }
    assert measures(rows[2])["requests"] == 0
    assert [dimensions(row)["upstream_provider"] for row in rows] == ["anthropic", "openai", "openai"]
    assert (drift.totals_off, drift.unknown_fields) == ({}, {})


def daily(models: dict[str, Any], number: int = 1, *, more: bool = False, total: int, day: str = "2026-11-20") -> bytes:
    result = {"date": day, "metrics": {"prompt_tokens": total}, "breakdown": {"models": models}}
    return json.dumps({"results": [result], "metadata": {"page": number, "has_more": more}}).encode()


def test_a_day_in_parts_is_the_sum_of_its_parts() -> None:
    source = StoredPages(
        daily({"gpt-5": {"metrics": {"prompt_tokens": 5}}}, more=True, total=5),
        daily({"gpt-5": {"metrics": {"prompt_tokens": 7}}}, 2, total=7),
    )

    fetched = fetch(source, DAILY_ACTIVITY)

    assert [query.cursor for query in source.asked] == [None, "2"]
    assert [(day.rows, day.buckets) for day in fetched.days] == [(2, 2)]
    assert fetched.drift.totals_off == {}


def test_a_cut_that_is_not_the_whole_is_told() -> None:
    drift = Drift()
    of_keys = {"k": {"metrics": {"prompt_tokens": 3}}}
    day = {
        "date": "2026-11-20",
        "metrics": {"prompt_tokens": 9},
        "breakdown": {"models": {"gpt-5": {"metrics": {"prompt_tokens": 5}, "api_key_breakdown": of_keys}}},
    }

    rows_of(PROVIDER, DAILY_ACTIVITY, raw(day), drift)

    assert drift.totals_off == {"metrics.prompt_tokens": 1, "models.prompt_tokens": 1}


def test_the_daily_activity_is_kept_and_never_counted() -> None:
    assert DAILY_ACTIVITY.informational
    assert not SPEND_LOGS.informational
    assert PROVIDER.query(DAILY_ACTIVITY, asked(width="1d", cursor="2", page_limit=100)) == [
        ("start_date", "2026-11-20"),
        ("end_date", "2026-11-20"),
        ("page", "2"),
        ("page_size", "100"),
    ]


@pytest.mark.parametrize(
    ("code", "body"),
    [
        ("page_unreadable", b'{"results": []}'),
        ("bucket_unexpected", daily({}, total=0, day="2026-11-19")),
        ("count_negative", daily({"m": {"metrics": {"prompt_tokens": -1}}}, total=0)),
        ("row_unreadable", daily({"m": {}}, total=0)),
    ],
)
def test_sums_that_cannot_be_are_refused(code: str, body: bytes) -> None:
    assert broken_by(body, endpoint=DAILY_ACTIVITY) == code


# The proxy as a host


def test_a_proxy_without_a_host_is_not_registered() -> None:
    with pytest.raises(InvalidInputError) as caught:
        KeyRequest("acme", PROVIDER, "main", "admin", Secret("sk-1234"))

    assert caught.value.code == "base_url_missing"
    assert "--base-url" in str(caught.value)
    with pytest.raises(InvalidInputError, match="base_url_missing"):
        PROVIDER.normalise_base_url("")
    with_host = KeyRequest("acme", PROVIDER, "main", "admin", Secret("sk-1234"), base_url="https://llm.example/v1/")
    assert with_host.checked_base_url() == "https://llm.example"


def test_an_older_proxy_is_asked_for_smaller_pages() -> None:
    body = (
        b'{"detail":[{"type":"less_than_equal","loc":["query","page_size"],'
        b'"msg":"Input should be less than or equal to 100"}]}'
    )

    error = PROVIDER.refusal(SPEND_LOGS, 422, body)

    assert isinstance(error, AskedTooMuchError)
    assert error.page_limit == 100
    assert ("page_size", "100") in PROVIDER.query(SPEND_LOGS, asked(page_limit=100))


def test_a_key_that_is_no_master_key_is_a_permanent_refusal() -> None:
    error = PROVIDER.refusal(SPEND_LOGS, 401, b'{"error":{"message":"Invalid proxy server token passed"}}')

    assert isinstance(error, PermanentError)
    assert provider("litellm") is PROVIDER
    assert PROVIDER.role == "proxy"
    assert PROVIDER.headers(Secret("sk-1234")) == {"Authorization": "Bearer sk-1234"}
    assert PROVIDER.account_told(SPEND_LOGS, LOGS) is None
