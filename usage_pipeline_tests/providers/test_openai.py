"""OpenAI's answers become disjoint token classes and exact dollars."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from usage_pipeline.credentials.secret import Secret
from usage_pipeline.errors import InvariantError, PermanentError
from usage_pipeline.providers.contract import ContractBrokenError, Drift, PageQuery
from usage_pipeline.providers.openai import COMPLETIONS, COSTS, PROVIDER
from usage_pipeline.providers.refusals import LookbackExceededError
from usage_pipeline_tests.providers.reading import (
    FIXTURES,
    dimensions,
    fixture_page,
    lines_of,
    measures,
    raw,
    rows_of,
    tokens,
)

FIRST_OF_NOVEMBER = datetime(2024, 11, 1, tzinfo=UTC)  # 1730419200


def completion(**fields: Any) -> dict[str, Any]:
    return {"input_tokens": 0, "output_tokens": 0, "num_model_requests": 0, **fields}


def query(**changes: Any) -> PageQuery:
    values: dict[str, Any] = {
        "start": FIRST_OF_NOVEMBER,
        "end": datetime(2024, 11, 3, tzinfo=UTC),
        "width": "1d",
        "dimensions": ("model", "project_id"),
    }
    return PageQuery(**{**values, **changes})


# The way of one day


def test_the_documented_rows_become_disjoint_classes_that_add_up_to_the_totals() -> None:
    first, second = fixture_page(PROVIDER, COMPLETIONS, "completions.json").buckets

    plain, grouped = rows_of(PROVIDER, COMPLETIONS, first.results)

    # input 1000 = uncached 500 + cached 400 + written 100; output 500 = text 400 + audio 50 + image 50
    assert measures(plain) == {
        "uncached_input": 500,
        "cache_read": 400,
        "cache_write_unsplit": 100,
        "output": 500,
        "requests": 5,
        "input_text": 400,
        "input_audio": 50,
        "input_image": 50,
        "cache_read_text": 300,
        "cache_read_audio": 50,
        "cache_read_image": 50,
        "output_text": 400,
        "output_audio": 50,
        "output_image": 50,
    }
    assert tokens(plain) == 1000 + 500
    assert dimensions(plain) == {}
    # input 5000 = uncached 3000 + cached 1800 + written 200; output 1000
    assert tokens(grouped) == 5000 + 1000
    assert dimensions(grouped) == {
        "project_id": "proj_abc",
        "user_id": "user-abc",
        "api_key_id": "key_abc",
        "model": "gpt-4o-mini-2024-07-18",
        "batch": "false",
        "service_tier": "default",
    }
    assert first.start == FIRST_OF_NOVEMBER
    assert rows_of(PROVIDER, COMPLETIONS, second.results) == []


def test_the_documented_rows_show_no_drift() -> None:
    drift = Drift()

    rows_of(PROVIDER, COMPLETIONS, fixture_page(PROVIDER, COMPLETIONS, "completions.json").buckets[0].results, drift)

    assert (drift.rows, drift.unknown_fields, drift.totals_off) == (2, {}, {})
    assert drift.answered_dimensions == {"project_id", "user_id", "api_key_id", "model", "batch", "service_tier"}


# Two generations of the token contract


def test_before_july_2026_audio_stands_beside_the_text_totals() -> None:
    page = fixture_page(PROVIDER, COMPLETIONS, "completions_before_july_2026.json")

    audio, text = rows_of(PROVIDER, COMPLETIONS, page.buckets[0].results)

    # text input 1000, 800 of it cached, and 300 of audio beside: 200 + 300 uncached; text output 500 + audio 200
    assert measures(audio) == {
        "uncached_input": 500,
        "cache_read": 800,
        "cache_write_unsplit": 0,
        "output": 700,
        "requests": 5,
        "input_audio": 300,
        "output_audio": 200,
    }
    assert tokens(audio) == 1000 + 300 + 500 + 200
    assert measures(text) == {
        "uncached_input": 40,
        "cache_read": 0,
        "cache_write_unsplit": 0,
        "output": 2,
        "requests": 1,
    }


def test_an_empty_project_is_no_project() -> None:
    page = fixture_page(PROVIDER, COMPLETIONS, "completions_before_july_2026.json")

    audio, text = rows_of(PROVIDER, COMPLETIONS, page.buckets[0].results)

    assert "project_id" not in dimensions(audio)
    assert dimensions(audio)["batch"] == "true"
    assert dimensions(text)["project_id"] == "proj_abc"


def test_since_july_2026_audio_is_inside_the_totals_and_never_added() -> None:
    row = completion(input_tokens=100, input_uncached_tokens=60, input_cached_tokens=40, input_audio_tokens=30)

    [read] = rows_of(PROVIDER, COMPLETIONS, raw(row))

    assert tokens(read) == 100


def test_a_row_of_the_new_contract_without_its_uncached_field_is_split_by_what_is_left() -> None:
    row = completion(input_tokens=100, input_cached_tokens=30, input_cache_write_tokens=20, input_audio_tokens=10)

    [read] = rows_of(PROVIDER, COMPLETIONS, raw(row))

    assert measures(read)["uncached_input"] == 50
    assert tokens(read) == 100


def test_cache_writes_are_split_by_lifetime_and_the_rest_stays_unsplit() -> None:
    row = completion(
        input_tokens=100,
        input_uncached_tokens=10,
        input_cached_tokens=20,
        input_cache_write_tokens=70,
        input_cache_write_30m_tokens=40,
        input_cache_write_12h_tokens=25,
    )

    [read] = rows_of(PROVIDER, COMPLETIONS, raw(row))

    got = measures(read)
    assert (got["cache_write_30m"], got["cache_write_12h"], got["cache_write_unsplit"]) == (40, 25, 5)
    assert tokens(read) == 100


def test_parts_that_do_not_add_up_are_counted_and_the_input_total_is_kept() -> None:
    drift = Drift()
    row = completion(
        input_tokens=100, input_uncached_tokens=90, input_cached_tokens=20, input_cache_write_tokens=5, output_tokens=7
    )

    [read] = rows_of(PROVIDER, COMPLETIONS, raw(row), drift)

    assert drift.totals_off == {"input_tokens": 1}
    assert measures(read)["uncached_input"] == 75
    assert tokens(read) == 107


def test_parts_that_leave_a_rest_untold_are_counted_too() -> None:
    drift = Drift()

    [read] = rows_of(PROVIDER, COMPLETIONS, raw(completion(input_tokens=100, input_uncached_tokens=90)), drift)

    assert drift.totals_off == {"input_tokens": 1}
    assert tokens(read) == 100


def test_modality_parts_that_do_not_add_up_are_counted() -> None:
    drift = Drift()
    row = completion(
        input_tokens=10,
        input_uncached_tokens=6,
        input_cached_tokens=4,
        input_cache_write_tokens=0,
        input_text_tokens=5,
        input_cached_text_tokens=3,
        output_tokens=9,
        output_text_tokens=8,
    )

    rows_of(PROVIDER, COMPLETIONS, raw(row), drift)

    assert drift.totals_off == {"input_uncached_tokens": 1, "input_cached_tokens": 1, "output_tokens": 1}


counts = st.integers(min_value=0, max_value=10**12)


@given(uncached=counts, cached=counts, thirty=counts, twelve=counts, rest=counts, output=counts, spelled=st.booleans())
def test_classes_of_any_new_row_sum_to_input_and_output(
    uncached: int, cached: int, thirty: int, twelve: int, rest: int, output: int, spelled: bool
) -> None:
    written = thirty + twelve + rest
    row = completion(
        input_tokens=uncached + cached + written,
        input_cached_tokens=cached,
        input_cache_write_tokens=written,
        input_cache_write_30m_tokens=thirty,
        input_cache_write_12h_tokens=twelve,
        output_tokens=output,
        **({"input_uncached_tokens": uncached} if spelled else {}),
    )
    drift = Drift()

    [read] = rows_of(PROVIDER, COMPLETIONS, raw(row), drift)

    assert tokens(read) == row["input_tokens"] + row["output_tokens"]
    assert measures(read)["uncached_input"] == uncached
    assert drift.totals_off == {}


@given(uncached=counts, cached=counts, audio_in=counts, output=counts, audio_out=counts)
def test_classes_of_any_old_row_sum_to_text_and_audio(
    uncached: int, cached: int, audio_in: int, output: int, audio_out: int
) -> None:
    row = completion(
        input_tokens=uncached + cached,
        input_cached_tokens=cached,
        input_audio_tokens=audio_in,
        output_tokens=output,
        output_audio_tokens=audio_out,
    )

    [read] = rows_of(PROVIDER, COMPLETIONS, raw(row))

    assert tokens(read) == uncached + cached + audio_in + output + audio_out


# Broken and drifted rows


@pytest.mark.parametrize(
    ("code", "row"),
    [
        ("count_negative", completion(input_tokens=-1)),
        ("count_negative", completion(output_audio_tokens=-1)),
        ("row_unreadable", {"input_tokens": 1, "output_tokens": 1}),
        ("row_unreadable", completion(input_tokens=1.5)),
        ("row_unreadable", completion(input_tokens=2**63)),
        ("row_unreadable", completion(input_tokens="1")),
        ("row_unreadable", "text"),
        ("cached_over_input", completion(input_tokens=5, input_cached_tokens=6)),
        (
            "cached_over_input",
            completion(input_tokens=5, input_uncached_tokens=0, input_cached_tokens=3, input_cache_write_tokens=3),
        ),
        (
            "cache_writes_over_total",
            completion(input_tokens=9, input_cache_write_tokens=3, input_cache_write_30m_tokens=4),
        ),
    ],
)
def test_a_row_that_cannot_be_is_refused(code: str, row: Any) -> None:
    with pytest.raises(ContractBrokenError) as caught:
        rows_of(PROVIDER, COMPLETIONS, raw(completion(), row))

    assert caught.value.code == code
    assert caught.value.where == "openai /organization/usage/completions"


@pytest.mark.parametrize("results", [b"{}", b"[1", b"3"])
def test_results_that_are_no_list_are_refused(results: bytes) -> None:
    with pytest.raises(ContractBrokenError, match="results_unreadable"):
        rows_of(PROVIDER, COMPLETIONS, msgspec.Raw(results))


def test_text_that_is_no_utf8_is_refused() -> None:
    with pytest.raises(ContractBrokenError, match="row_unreadable"):
        rows_of(PROVIDER, COMPLETIONS, msgspec.Raw(json.dumps([completion(model="?")]).encode().replace(b"?", b"\xff")))


def test_unknown_fields_are_counted_by_row_and_the_row_is_read() -> None:
    drift = Drift()
    new = completion(input_tokens=3, input_cache_write_24h_tokens=1)

    read = rows_of(PROVIDER, COMPLETIONS, raw(new, completion(), {**new, "shoe_size": 42}), drift)

    assert drift.unknown_fields == {"input_cache_write_24h_tokens": 2, "shoe_size": 1}
    assert [tokens(row) for row in read] == [3, 0, 3]


def test_fields_that_the_live_api_adds_are_known() -> None:
    drift = Drift()
    row = completion(organization_id="org-x", organization_name="Example", project_name="Web", user_email="a@b.example")

    rows_of(PROVIDER, COMPLETIONS, raw(row), drift)

    assert drift.unknown_fields == {}


# Costs


def test_amounts_are_exact_dollars_from_numbers_and_from_strings() -> None:
    drift = Drift()

    lines = lines_of(PROVIDER, COSTS, fixture_page(PROVIDER, COSTS, "costs.json").buckets[0].results, drift)

    assert [line.amount_usd for line in lines] == [
        Decimal("0.06"),
        Decimal("0.0000045"),
        Decimal("0.123456789012345678901234567890123456789"),
        Decimal(0),
        Decimal(0),
    ]
    assert str(lines[3].amount_usd) == "0"
    assert [line.quantity for line in lines] == [Decimal(10000), Decimal(30), None, None, None]
    assert [line.project_id for line in lines] == ["proj_abc", "proj_abc", None, None, None]
    assert drift.answered_dimensions == {"project_id", "label"}


def test_a_line_without_an_amount_is_kept_as_zero_and_counted() -> None:
    drift = Drift()

    lines_of(PROVIDER, COSTS, fixture_page(PROVIDER, COSTS, "costs.json").buckets[0].results, drift)

    assert drift.totals_off == {"amount.value": 1}


def test_a_line_item_tells_model_token_class_and_tier() -> None:
    lines = lines_of(PROVIDER, COSTS, fixture_page(PROVIDER, COSTS, "costs.json").buckets[0].results)

    assert [(line.model, line.token_type, line.service_tier, line.cost_type) for line in lines] == [
        (None, "uncached_input", None, "tokens"),
        ("gpt-4o-mini-2024-07-18", "uncached_input", None, "tokens"),
        ("gpt-4o-mini-2024-07-18", "cache_read", "priority", "tokens"),
        (None, None, None, None),
        (None, None, None, None),
    ]
    assert lines[2].label == "priority | gpt-4o-mini-2024-07-18, cached input, long context"


@given(st.decimals(min_value=-(10**9), max_value=10**9, places=30, allow_nan=False), st.booleans())
def test_any_amount_is_read_without_rounding(amount: Decimal, as_text: bool) -> None:
    value = f'"{amount:f}"' if as_text else f"{amount:f}"
    results = msgspec.Raw(f'[{{"amount": {{"value": {value}, "currency": "usd"}}}}]'.encode())

    [line] = lines_of(PROVIDER, COSTS, results)

    assert line.amount_usd == amount


@pytest.mark.parametrize(
    ("code", "amount"),
    [
        ("amount_unreadable", {"value": "NaN", "currency": "usd"}),
        ("amount_unreadable", {"value": "Infinity", "currency": "usd"}),
        ("amount_unreadable", {"value": "1e40", "currency": "usd"}),
        ("row_unreadable", {"value": "six", "currency": "usd"}),
        ("currency_unknown", {"value": 1, "currency": "eur"}),
        ("currency_unknown", {"value": 1, "currency": None}),
    ],
)
def test_an_amount_that_is_no_dollars_is_refused(code: str, amount: dict[str, Any]) -> None:
    with pytest.raises(ContractBrokenError) as caught:
        lines_of(PROVIDER, COSTS, raw({"amount": amount}))

    assert caught.value.code == code


def test_an_unknown_field_of_the_amount_is_named_with_its_parent() -> None:
    drift = Drift()

    lines_of(PROVIDER, COSTS, raw({"amount": {"value": 1, "currency": "usd", "taxed": True}}), drift)

    assert drift.unknown_fields == {"amount.taxed": 1}


# Asking


def test_arrays_are_repeated_bare_names_in_a_stable_order() -> None:
    assert list(PROVIDER.query(COMPLETIONS, query(projects=("proj_a", "proj_b"), cursor="page_2"))) == [
        ("start_time", "1730419200"),
        ("end_time", "1730592000"),
        ("bucket_width", "1d"),
        ("limit", "31"),
        ("group_by", "project_id"),
        ("group_by", "model"),
        ("project_ids", "proj_a"),
        ("project_ids", "proj_b"),
        ("page", "page_2"),
    ]


def test_the_largest_pages_are_asked_for() -> None:
    assert dict(PROVIDER.query(COMPLETIONS, query(width="1h")))["limit"] == "168"
    assert dict(PROVIDER.query(COSTS, query(dimensions=("label",))))["limit"] == "180"
    assert ("group_by", "line_item") in PROVIDER.query(COSTS, query(dimensions=("label",)))


@pytest.mark.parametrize(
    ("given_url", "normal"),
    [
        ("https://api.openai.com", "https://api.openai.com/v1"),
        ("https://api.openai.com/", "https://api.openai.com/v1"),
        ("https://api.openai.com/v1/", "https://api.openai.com/v1"),
        ("https://gateway.example/openai/v1", "https://gateway.example/openai/v1"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080/v1"),
    ],
)
def test_the_base_url_gets_its_version_once(given_url: str, normal: str) -> None:
    assert PROVIDER.normalise_base_url(given_url) == normal
    assert PROVIDER.normalise_base_url(normal) == normal


def test_the_key_is_sent_as_a_bearer_token() -> None:
    assert PROVIDER.headers(Secret("sk-admin-x")) == {"Authorization": "Bearer sk-admin-x"}


# The envelope and refusals


@pytest.mark.parametrize(
    ("code", "body"),
    [
        ("page_unreadable", b"[]"),
        ("page_unreadable", b'{"error": {"message": "no"}}'),
        ("page_unreadable", b'{"data": [{"start_time": 99999999999999999}]}'),
        ("page_unreadable", b'{"data": [{"start_time": "soon", "results": []}]}'),
        ("results_missing", b'{"data": [{"start_time": 1730419200}]}'),
        ("results_missing", b'{"data": [{"start_time": 1730419200, "results": null}]}'),
        ("cursor_missing", b'{"data": [], "has_more": true, "next_page": null}'),
        ("cursor_missing", b'{"data": [], "has_more": true, "next_page": ""}'),
    ],
)
def test_an_envelope_that_is_no_page_is_refused(code: str, body: bytes) -> None:
    with pytest.raises(ContractBrokenError) as caught:
        PROVIDER.read_page(COMPLETIONS, body)

    assert caught.value.code == code


def test_a_cursor_beside_the_end_is_no_next_page() -> None:
    assert PROVIDER.read_page(COMPLETIONS, b'{"data": [], "has_more": false, "next_page": "x"}').next_cursor is None


def test_a_start_before_the_kept_year_tells_the_earliest_day() -> None:
    body = (FIXTURES / "openai" / "lookback_exceeded.json").read_bytes()

    error = PROVIDER.refusal(COMPLETIONS, 400, body)

    assert isinstance(error, LookbackExceededError)
    assert error.code == "lookback_exceeded"
    assert error.earliest == date(2030, 1, 1)


def test_a_missing_scope_is_named() -> None:
    body = b'{"error": {"message": "You have insufficient permissions. Missing scopes: api.usage.read."}}'

    for status in (401, 403):
        error = PROVIDER.refusal(COMPLETIONS, status, body)
        assert isinstance(error, PermanentError)
        assert error.code == "scope_missing"
        assert "api.usage.read" in error.what


def test_usage_and_costs_are_not_mixed_up() -> None:
    with pytest.raises(InvariantError):
        rows_of(PROVIDER, COSTS, raw())
    with pytest.raises(InvariantError):
        lines_of(PROVIDER, COMPLETIONS, raw())
