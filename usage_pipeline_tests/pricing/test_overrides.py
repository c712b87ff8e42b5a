"""Prices of one's own: which one holds, what it makes of a list price, and what is refused."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usage_pipeline.errors import InvalidInputError
from usage_pipeline.pricing.overrides import EVERY_MODEL, PriceOverride
from usage_pipeline.pricing.price_book import PriceBook
from usage_pipeline.pricing.quotes import PriceQuote
from usage_pipeline.pricing.rates import Rates
from usage_pipeline.pricing.variants import PriceVariant

DAY = date(2026, 11, 20)
FIRST = date(2026, 1, 1)
LONG = PriceVariant(context_window="200k-1M")
BATCH = PriceVariant(batch="true")
OUTPUT = Rates(output=Decimal(1))


def rates(number: int, model: str = "gpt-5", usd: str = "1", **more: object) -> PriceOverride:
    return PriceOverride(number, "openai", model, Rates(output=Decimal(usd)), FIRST, **more)  # type: ignore[arg-type]


def off(number: int, model: str = "gpt-5", factor: str = "0.85", **more: object) -> PriceOverride:
    of_all: dict[str, object] = {"variant": None, **more}
    return PriceOverride(number, "openai", model, None, FIRST, factor=Decimal(factor), **of_all)  # type: ignore[arg-type]


def quote(*overrides: PriceOverride, model: str = "gpt-5", variant: PriceVariant | None = None) -> PriceQuote:
    return PriceBook(overrides).quote("openai", model, variant or PriceVariant(), DAY)


def test_rates_go_before_the_list_on_their_days_only() -> None:
    book = PriceBook([PriceOverride(7, "openai", "gpt-5", OUTPUT, FIRST, date(2026, 2, 1))])
    found = book.quote("openai", "GPT-5", PriceVariant(), date(2026, 1, 31))
    assert (found.rates, found.version, found.basis) == (OUTPUT, "override 7", "override 7")
    assert book.quote("openai", "gpt-5", PriceVariant(), date(2026, 2, 1)).basis == "base tier"


def test_rates_of_the_ordinary_variant_are_not_those_of_another() -> None:
    flex = PriceVariant(service_tier="flex")
    assert quote(rates(1), variant=flex) == quote(variant=flex)


def test_rates_hold_in_every_window_but_one_that_is_named() -> None:
    both = rates(1, "ours"), rates(2, "ours", "2", variant=LONG)
    assert quote(*both, model="ours", variant=PriceVariant(context_window="0-200k")).version == "override 1"
    assert quote(*both, model="ours", variant=LONG).version == "override 2"


def test_a_discount_is_a_factor_of_the_list_price_and_names_both() -> None:
    listed, found = quote(), quote(off(12))
    assert listed.rates is not None
    assert found.rates is not None
    assert found.rates.output == Decimal("8.5")
    assert found.rates.uncached_input == Decimal("1.0625")
    assert found.version == f"override 12: 0.85 × {listed.version}"
    assert found.basis == "override 12: 0.85 × base tier"


def test_a_discount_holds_for_every_variant_unless_it_names_one() -> None:
    sonnet = PriceOverride(1, "anthropic", EVERY_MODEL, None, FIRST, variant=None, factor=Decimal("0.5"))
    book = PriceBook([sonnet])
    found = book.quote("anthropic", "claude-sonnet-4-5", BATCH, DAY)
    assert found.rates is not None
    assert found.rates.output == Decimal("3.75")  # half of the batch price, which is half of 15
    only_batch = PriceBook([PriceOverride(2, "anthropic", EVERY_MODEL, None, FIRST, None, BATCH, Decimal("0.5"))])
    assert "override" not in only_batch.quote("anthropic", "claude-sonnet-4-5", PriceVariant(), DAY).basis


def test_a_discount_of_an_unknown_price_is_unknown() -> None:
    assert quote(off(1, EVERY_MODEL), model="gpt-99") == quote(model="gpt-99")


@pytest.mark.parametrize(
    ("overrides", "holds"),
    [
        ((rates(1), rates(2, workspace="acme")), "override 2"),
        ((off(1, EVERY_MODEL), rates(2)), "override 2"),
        ((rates(1), off(2, EVERY_MODEL, workspace="acme")), "override 2: 0.85 ×"),
        ((off(1), rates(2)), "override 2"),
        ((off(1), off(2, variant=PriceVariant())), "override 2: 0.85 ×"),
    ],
    ids=["own before all", "model before every", "own before model", "variant before every", "named variant first"],
)
def test_the_nearer_override_goes_first(overrides: tuple[PriceOverride, ...], holds: str) -> None:
    for order in (overrides, overrides[::-1]):
        assert quote(*order).version.startswith(holds)


def test_a_model_is_meant_under_every_name_that_the_list_has_one_price_for() -> None:
    assert quote(rates(1), model="gpt-5-2025-08-07").version == "override 1"
    # This snapshot costs twice what gpt-4o does: a price of gpt-4o is none of it.
    assert quote(rates(1, "gpt-4o"), model="gpt-4o-2024-05-13").basis == "base tier"
    assert quote(rates(1, "gpt-4o"), model="gpt-4o-2024-08-06").version == "override 1"


def test_a_price_of_one_snapshot_is_no_price_of_the_model() -> None:
    assert quote(rates(1, "gpt-5-2025-08-07")).basis == "base tier"
    both = rates(1), rates(2, "gpt-5-2025-08-07")
    assert quote(*both, model="gpt-5-2025-08-07").version == "override 2"


def test_two_that_say_the_same_of_one_day_are_refused() -> None:
    july = PriceOverride(2, "openai", "GPT-5", OUTPUT, date(2026, 6, 1), date(2026, 7, 1))
    with pytest.raises(InvalidInputError, match="price_overrides_overlap"):
        PriceBook([rates(1), july])
    with pytest.raises(InvalidInputError, match="price_overrides_overlap"):
        PriceBook([off(1), off(2)])


@pytest.mark.parametrize(
    ("given_", "code"),
    [
        ({"rates": None}, "price_override_malformed"),
        ({"factor": Decimal("0.5")}, "price_override_malformed"),
        ({"model": "*"}, "price_override_malformed"),
        ({"variant": None}, "price_override_malformed"),
        ({"rates": None, "factor": Decimal(1)}, "price_override_malformed"),
        ({"rates": None, "factor": Decimal("-0.1")}, "price_override_malformed"),
        ({"rates": None, "factor": Decimal("0.1234567890123")}, "price_override_malformed"),
        ({"effective_to": FIRST}, "price_override_empty"),
    ],
)
def test_what_says_nothing_clear_is_refused(given_: dict[str, object], code: str) -> None:
    whole: dict[str, object] = {
        "override_id": 1,
        "provider": "openai",
        "model": "gpt-5",
        "rates": OUTPUT,
        "effective_from": FIRST,
    }
    with pytest.raises(InvalidInputError, match=code):
        PriceOverride(**{**whole, **given_})  # type: ignore[arg-type]


days = st.integers(0, 20).map(lambda n: FIRST + timedelta(days=n))
spans = st.tuples(days, st.integers(1, 5) | st.none()).map(
    lambda span: (span[0], None if span[1] is None else span[0] + timedelta(days=span[1]))
)


@given(st.lists(spans, max_size=5), st.integers(0, 30))
def test_on_each_day_at_most_one_holds_or_the_book_is_refused(
    ends: list[tuple[date, date | None]], offset: int
) -> None:
    overrides = [PriceOverride(n, "openai", "ours", OUTPUT, first, end) for n, (first, end) in enumerate(ends)]
    every_day = [FIRST + timedelta(days=n) for n in range(40)]
    contradict = any(sum(one.holds_on(day) for one in overrides) > 1 for day in every_day)
    if contradict:
        with pytest.raises(InvalidInputError, match="price_overrides_overlap"):
            PriceBook(overrides)
        return
    day = FIRST + timedelta(days=offset)
    holding = [one.name for one in overrides if one.holds_on(day)]
    found = PriceBook(overrides).quote("openai", "ours", PriceVariant(), day)
    assert ([found.version] if found.rates else []) == holding
