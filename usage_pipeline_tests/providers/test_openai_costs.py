"""OpenAI's costs become exact dollars, with what each line says of itself."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from usage_pipeline.ledger.learned_limits import LearnedLimits
from usage_pipeline.providers.contract import ContractBrokenError, Drift
from usage_pipeline.providers.openai import COSTS, PROVIDER
from usage_pipeline.pulls.asking import default_dimensions, request_for
from usage_pipeline_tests.providers.reading import fixture_page, lines_of, raw


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


def test_a_line_is_told_by_key_where_its_days_can_be() -> None:
    asked = default_dimensions(COSTS)

    def dimensions_of(first_day: date) -> tuple[str, ...]:
        return request_for(COSTS, first_day, date(2026, 1, 1), "1d", asked, (), LearnedLimits()).dimensions

    assert dimensions_of(date(2025, 12, 5)) == ("project_id", "label")
    assert dimensions_of(date(2025, 12, 6)) == ("project_id", "label", "api_key_id")


def test_the_user_of_a_line_is_asked_for_only_by_name() -> None:
    assert "user_id" in COSTS.dimensions
    assert "user_id" not in default_dimensions(COSTS)


def test_a_key_and_a_user_that_are_told_are_kept() -> None:
    drift = Drift()
    row = {"amount": {"value": 1, "currency": "usd"}, "api_key_id": "key_abc", "user_id": "user-abc"}

    (line,) = lines_of(PROVIDER, COSTS, raw(row), drift)

    assert (line.api_key_id, line.user_id) == ("key_abc", "user-abc")
    assert drift.answered_dimensions == {"api_key_id"}
