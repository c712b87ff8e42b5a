"""Anthropic's answers become disjoint token classes and exact dollars."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal, localcontext
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from usage_pipeline.credentials.secret import Secret
from usage_pipeline.errors import PermanentError
from usage_pipeline.providers.anthropic import COST_REPORT, MESSAGES, PROVIDER, dollars_of_cents
from usage_pipeline.providers.contract import ContractBrokenError, Drift, PageQuery
from usage_pipeline.pulls.asking import default_dimensions
from usage_pipeline_tests.providers.reading import (
    ASKED,
    dimensions,
    fixture_page,
    lines_of,
    measures,
    raw,
    rows_of,
    tokens,
)


def message(**fields: Any) -> dict[str, Any]:
    return {"uncached_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 0, **fields}


def cost(**fields: Any) -> dict[str, Any]:
    return {"amount": "1", "currency": "USD", **fields}


@pytest.mark.parametrize("year", ["2025", "2026"])
def test_both_generations_of_the_documented_row_become_disjoint_classes(year: str) -> None:
    page = fixture_page(PROVIDER, MESSAGES, f"messages_{year}.json")

    [row] = rows_of(PROVIDER, MESSAGES, page.buckets[0].results)

    assert measures(row) == {
        "uncached_input": 1500,
        "cache_read": 200,
        "cache_write_5m": 500,
        "cache_write_1h": 1000,
        "output": 500,
        "searches": 10,
    }
    # input 1500 + 200 + 500 + 1000 = 3200, output 500
    assert tokens(row) == 3700
    assert page.buckets[0].start == datetime(2025, 8, 1, tzinfo=UTC)


def test_dimensions_have_our_names() -> None:
    page = fixture_page(PROVIDER, MESSAGES, "messages_2026.json")

    [row] = rows_of(PROVIDER, MESSAGES, page.buckets[0].results)

    assert dimensions(row) == {
        "project_id": "wrkspc_01JwQvzr7rXLA5AGx3HKfFUJ",
        "user_id": "user_01WCz1FkmYMm4gnmykNKUu3Q",
        "service_account_id": "svac_01Hk3R9TWxq7CfQak00OiVw4",
        "api_key_id": "apikey_01Rj2N8SVvo6BePZj99NhmiT",
        "model": "claude-opus-4-6",
        "service_tier": "standard",
        "context_window": "0-200k",
        "inference_geo": "global",
    }
    assert page.next_cursor == "2019-12-27T18:11:19.117Z"


def test_what_was_not_written_nor_searched_is_zero() -> None:
    for row in (message(), message(cache_creation=None, server_tool_use=None), message(cache_creation={})):
        [read] = rows_of(PROVIDER, MESSAGES, raw(row))
        assert set(measures(read)) == set(MESSAGES.always_reports)
        assert set(measures(read).values()) == {0}


def test_a_new_cache_lifetime_is_told() -> None:
    drift = Drift()
    row = message(cache_creation={"ephemeral_5m_input_tokens": 1, "ephemeral_12h_input_tokens": 7}, vip=True)

    [read] = rows_of(PROVIDER, MESSAGES, raw(row), drift)

    assert drift.unknown_fields == {"cache_creation.ephemeral_12h_input_tokens": 1, "vip": 1}
    assert measures(read)["cache_write_5m"] == 1


@pytest.mark.parametrize(
    ("code", "row"),
    [
        ("count_negative", message(output_tokens=-1)),
        ("count_negative", message(cache_creation={"ephemeral_1h_input_tokens": -1})),
        ("row_unreadable", {"output_tokens": 1}),
        ("row_unreadable", message(model=7)),
    ],
)
def test_a_row_that_cannot_be_is_refused(code: str, row: dict[str, Any]) -> None:
    with pytest.raises(ContractBrokenError) as caught:
        rows_of(PROVIDER, MESSAGES, raw(row))

    assert caught.value.code == code


def test_at_most_five_dimensions_are_asked_for_by_default() -> None:
    assert default_dimensions(MESSAGES) == ("model", "api_key_id", "project_id", "service_tier", "context_window")
    assert len(MESSAGES.dimensions) == 9


def test_cents_become_dollars_exactly() -> None:
    lines = lines_of(PROVIDER, COST_REPORT, fixture_page(PROVIDER, COST_REPORT, "cost_report.json").buckets[0].results)

    assert [line.amount_usd for line in lines] == [
        Decimal("1.2378912"),  # 123.78912 cents
        Decimal("0.000000000000000000000000000000000000000123"),
        Decimal("10.00"),
    ]
    assert [(line.cost_type, line.token_type, line.model, line.service_tier) for line in lines] == [
        ("tokens", "uncached_input", "claude-opus-5", "standard"),
        ("tokens", "cache_write_1h", "claude-opus-5", "batch"),
        ("web_search", None, None, None),
    ]
    assert [line.label for line in lines] == [
        "Claude Opus 5 Usage - Input Tokens",
        "Claude Opus 5 Usage - Cache Write 1h",
        "Web Search Usage",
    ]


@given(st.integers(min_value=-(10**60), max_value=10**60), st.integers(min_value=0, max_value=50))
def test_any_amount_of_cents_is_divided_without_rounding(digits: int, places: int) -> None:
    cents = Decimal(f"{digits}E-{places}")

    dollars = dollars_of_cents(cents)

    with localcontext(prec=200):
        assert dollars * 100 == cents


@pytest.mark.parametrize(
    ("code", "row"),
    [
        ("currency_unknown", cost(currency="EUR")),
        ("row_unreadable", cost(amount=None)),
        ("row_unreadable", cost(currency=None)),
        ("amount_unreadable", cost(amount="NaN")),
    ],
)
def test_an_amount_that_is_no_cents_is_refused(code: str, row: dict[str, Any]) -> None:
    with pytest.raises(ContractBrokenError) as caught:
        lines_of(PROVIDER, COST_REPORT, raw(row))

    assert caught.value.code == code


def test_arrays_carry_brackets_and_times_are_utc() -> None:
    vienna = timezone(timedelta(hours=2))
    page = PageQuery(
        start=datetime(2025, 8, 1, 2, tzinfo=vienna),
        end=datetime(2025, 8, 2, tzinfo=UTC),
        width="1h",
        dimensions=("project_id", "model"),
        projects=("wrkspc_a",),
        cursor="page_2",
    )

    assert list(PROVIDER.query(MESSAGES, page)) == [
        ("starting_at", "2025-08-01T00:00:00Z"),
        ("ending_at", "2025-08-02T00:00:00Z"),
        ("bucket_width", "1h"),
        ("limit", "168"),
        ("group_by[]", "model"),
        ("group_by[]", "workspace_id"),
        ("workspace_ids[]", "wrkspc_a"),
        ("page", "page_2"),
    ]


def test_the_cost_report_is_never_narrowed_since_it_has_no_such_filter() -> None:
    page = PageQuery(
        start=datetime(2025, 8, 1, tzinfo=UTC),
        end=datetime(2025, 8, 2, tzinfo=UTC),
        width="1d",
        dimensions=("project_id", "label"),
        projects=("wrkspc_a",),
    )
    assert "workspace_ids[]" not in dict(PROVIDER.query(COST_REPORT, page))


@pytest.mark.parametrize(
    ("given_url", "normal"),
    [
        ("https://api.anthropic.com", "https://api.anthropic.com"),
        ("https://api.anthropic.com/v1/", "https://api.anthropic.com"),
        ("https://gateway.example/anthropic/v1", "https://gateway.example/anthropic"),
    ],
)
def test_the_base_url_loses_the_version_that_the_paths_have(given_url: str, normal: str) -> None:
    assert PROVIDER.normalise_base_url(given_url) == normal


def test_the_key_and_the_version_are_sent() -> None:
    assert PROVIDER.headers(Secret("sk-ant-admin01-x")) == {
        "x-api-key": "sk-ant-admin01-x",
        "anthropic-version": "2023-06-01",
    }


def test_open_buckets_are_not_expected() -> None:
    assert not any(endpoint.returns_open_bucket for endpoint in PROVIDER.endpoints)


@pytest.mark.parametrize("body", [b"{}", b'{"data": [{"starting_at": "yesterday", "results": []}]}', b"no"])
def test_an_envelope_that_is_no_page_is_refused(body: bytes) -> None:
    with pytest.raises(ContractBrokenError, match="page_unreadable"):
        PROVIDER.read_page(MESSAGES, body, ASKED)


def test_a_start_without_an_offset_is_utc() -> None:
    page = PROVIDER.read_page(MESSAGES, b'{"data": [{"starting_at": "2025-08-01T00:00:00", "results": []}]}', ASKED)

    assert page.buckets[0].start == datetime(2025, 8, 1, tzinfo=UTC)
    assert msgspec.json.decode(page.buckets[0].results) == []


def test_a_refused_key_is_permanent_and_does_not_show_itself() -> None:
    body = (
        b'{"type":"error","error":{"type":"authentication_error","message":"invalid x-api-key sk-ant-admin01-abcDEF"}}'
    )

    error = PROVIDER.refusal(MESSAGES, 401, body)

    assert isinstance(error, PermanentError)
    assert error.code == "credential_refused"
    assert "sk-ant" not in str(error)
    assert "invalid x-api-key [redacted]" in str(error)
