"""What measured usage costs at given rates."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usage_pipeline.errors import InvalidInputError, InvariantError
from usage_pipeline.measures import OTHER_MEASURES, TOKEN_CLASSES
from usage_pipeline.pricing.rates import RATE_NAMES, Rates, cost_usd, exact_arithmetic, rate_unit

SONNET = Rates(
    uncached_input=Decimal(3),
    cache_read=Decimal("0.3"),
    cache_write_5m=Decimal("3.75"),
    cache_write_1h=Decimal(6),
    cache_write_unsplit=Decimal("3.75"),
    output=Decimal(15),
    searches=Decimal(10),
    stand_ins=(("cache_write_unsplit", "at the 5m rate"),),
)
REALTIME = Rates(uncached_input=Decimal(4), input_audio=Decimal(32), output=Decimal(16), output_audio=Decimal(64))

rate = st.decimals(min_value=0, max_value=1000, places=9)
full_rates = st.builds(Rates, **dict.fromkeys(RATE_NAMES, rate))
rates = st.builds(Rates, **{name: st.none() | rate for name in RATE_NAMES})
tokens = st.integers(min_value=0, max_value=2**62)


@st.composite
def full_rows(draw: st.DrawFn) -> dict[str, int]:
    parts = {name: draw(tokens) for name in RATE_NAMES if name not in (*TOKEN_CLASSES, *OTHER_MEASURES)}
    row = {name: draw(tokens) for name in ("searches", "seconds", "characters", *TOKEN_CLASSES)}
    row["uncached_input"] += parts["input_audio"] + parts["input_image"]
    row["cache_read"] += parts["cache_read_audio"] + parts["cache_read_image"]
    row["output"] += parts["output_audio"] + parts["output_image"]
    return row | parts


def test_a_row_costs_what_the_list_says() -> None:
    row = {"uncached_input": 20_000, "cache_read": 50_000, "cache_write_5m": 20_000, "cache_write_1h": 10_000}
    found = cost_usd(SONNET, row | {"output": 10_000, "searches": 10, "requests": 7})
    assert found.amount_usd == Decimal("0.06") + Decimal("0.015") + Decimal("0.075") + Decimal("0.06") + Decimal(
        "0.15"
    ) + Decimal("0.1")
    assert found.unpriced == ()


@given(full_rates, full_rows(), full_rows())
def test_the_costs_of_two_rows_add_up_to_the_cost_of_their_sum(
    priced: Rates, first: dict[str, int], second: dict[str, int]
) -> None:
    both = cost_usd(priced, {name: first[name] + second[name] for name in first}).amount_usd
    one, other = cost_usd(priced, first).amount_usd, cost_usd(priced, second).amount_usd
    assert one is not None
    assert other is not None
    with exact_arithmetic():
        assert one + other == both


def test_not_a_digit_is_lost_beyond_the_precision_of_ordinary_decimals() -> None:
    found = cost_usd(Rates(output=Decimal("0.123456789123456789")), {"output": 9_223_372_036_854_775_807})
    assert str(found.amount_usd) == "1138687896561.168175869584003447103723"


def test_a_class_without_a_rate_leaves_no_amount_and_is_named() -> None:
    found = cost_usd(SONNET, {"uncached_input": 5, "cache_write_12h": 1, "images": 2})
    assert found.amount_usd is None
    assert found.unpriced == ("cache_write_12h", "images")


def test_zero_tokens_need_no_rate() -> None:
    assert cost_usd(Rates(output=Decimal(1)), {"output": 1_000_000, "cache_read": 0}).amount_usd == 1


def test_reasoning_is_in_the_output_and_never_added() -> None:
    assert cost_usd(SONNET, {"output": 1_000_000, "reasoning": 600_000}).amount_usd == 15


def test_what_was_not_measured_has_no_cost_and_that_is_not_zero() -> None:
    assert cost_usd(SONNET, {"uncached_input": None, "requests": 3}).amount_usd is None
    assert cost_usd(SONNET, {"uncached_input": 0}).amount_usd == 0


def test_requests_cost_only_where_the_list_charges_them() -> None:
    assert cost_usd(Rates(requests=Decimal(5)), {"requests": 200}).amount_usd == 1


def test_audio_is_told_apart_from_text() -> None:
    row = {"uncached_input": 1_000_000, "input_audio": 400_000, "output": 100_000, "output_audio": 100_000}
    assert cost_usd(REALTIME, row).amount_usd == Decimal("2.4") + Decimal("12.8") + Decimal("6.4")


def test_unmeasured_audio_is_not_priced_as_text() -> None:
    assert cost_usd(REALTIME, {"uncached_input": 1_000_000, "output": 0}).unpriced == ("uncached_input",)


def test_parts_that_exceed_their_class_are_not_priced() -> None:
    assert cost_usd(REALTIME, {"uncached_input": 10, "input_audio": 11}).unpriced == ("uncached_input",)


def test_a_stand_in_rate_is_named_where_it_was_used() -> None:
    assert cost_usd(SONNET, {"cache_write_unsplit": 1}).assumed == ("cache_write_unsplit at the 5m rate",)
    assert cost_usd(SONNET, {"cache_write_5m": 1, "cache_write_unsplit": 0}).assumed == ()


def test_a_negative_measure_is_refused() -> None:
    with pytest.raises(InvariantError, match="negative_measure"):
        cost_usd(SONNET, {"output": -1})


@pytest.mark.parametrize("wrong", [Decimal("NaN"), Decimal("Infinity"), Decimal(-1), Decimal("1e-70"), 1.5])
def test_what_is_no_price_is_refused(wrong: Decimal) -> None:
    with pytest.raises(InvalidInputError, match="rate_invalid"):
        Rates(output=wrong)


@given(rates)
def test_stored_rates_come_back_as_they_were(priced: Rates) -> None:
    assert Rates.from_json(priced.to_json()) == priced


@pytest.mark.parametrize("stored", ["[]", "{", '{"output": "x"}', '{"gold": "1"}'])
def test_malformed_stored_rates_are_refused(stored: str) -> None:
    with pytest.raises(InvariantError, match="stored_rates_malformed"):
        Rates.from_json(stored)


def test_rates_times_a_factor_are_exact_and_unknown_ones_stay_unknown() -> None:
    odd = Rates(output=Decimal("0.000000000000000000000000000001"), searches=Decimal(10))
    found = odd.times(Decimal("0.123456789012"))
    assert found.output == Decimal("0.000000000000000000000000000000123456789012")
    assert (found.searches, found.cache_read) == (Decimal("1.23456789012"), None)
    assert odd.times(Decimal("0.5"), but={"searches"}).searches == Decimal(10)


def test_every_rate_has_the_unit_that_the_cost_is_computed_with() -> None:
    for name in RATE_NAMES:
        per, unit = rate_unit(name)
        whole_class = {"audio": "uncached_input", "image": "uncached_input"}.get(name.rsplit("_", 1)[-1], name)
        if name == whole_class:
            assert cost_usd(Rates(**{name: Decimal(7)}, stand_ins=()), {name: per}).amount_usd == 7, unit
