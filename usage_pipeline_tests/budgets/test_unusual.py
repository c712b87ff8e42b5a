"""The rule about unusual days, for all histories, and as the store tells them."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from statistics import median as median_of_floats

from hypothesis import given
from hypothesis import strategies as st

from usage_pipeline.budgets.unusual import HISTORY_DAYS_MIN, Usual, median, usual
from usage_pipeline.settings import Settings

RULE = Settings()
cents = st.integers(0, 10**7).map(lambda amount: Decimal(amount).scaleb(-2))
histories = st.lists(cents, min_size=HISTORY_DAYS_MIN, max_size=28)


def limit(history: list[Decimal], rule: Settings = RULE) -> Decimal:
    found = usual(history, rule)
    assert found is not None
    return found.limit


@given(histories)
def test_the_limit_is_above_the_median_by_each_of_the_three_margins(history: list[Decimal]) -> None:
    found = usual(history, RULE)
    assert found is not None
    assert float(found.median) == float(median_of_floats(history))
    margin = found.limit - found.median
    assert margin >= RULE.unusual_floor_usd
    assert margin >= RULE.unusual_fraction * found.median
    assert margin >= RULE.unusual_factor * found.distance
    assert margin in {
        RULE.unusual_floor_usd,
        RULE.unusual_fraction * found.median,
        RULE.unusual_factor * found.distance,
    }


@given(histories, st.randoms())
def test_the_order_of_the_history_says_nothing(history: list[Decimal], random: object) -> None:
    shuffled = list(history)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert usual(shuffled, RULE) == usual(history, RULE)


@given(histories, cents)
def test_less_than_half_of_the_days_moved_anywhere_leave_a_typical_day_usual(
    history: list[Decimal], odd: Decimal
) -> None:
    """A day that costs what most days cost is never unusual, whatever the other days are."""
    typical = [Decimal(100)] * len(history)
    disturbed = [*typical, *([odd] * (len(history) - 1))]
    assert limit(disturbed) > Decimal(100)


@given(histories, st.integers(2, 50))
def test_without_a_floor_the_currency_does_not_matter(history: list[Decimal], times: int) -> None:
    rule = replace(RULE, unusual_floor_usd=Decimal(0))
    assert limit([amount * times for amount in history], rule) == times * limit(history, rule)


@given(st.lists(cents, max_size=HISTORY_DAYS_MIN - 1))
def test_a_short_history_tells_nothing(history: list[Decimal]) -> None:
    assert usual(history, RULE) is None


def test_an_even_day_needs_the_fraction_a_cheap_one_the_floor_and_factor_0_is_never() -> None:
    assert usual([Decimal(100)] * 7, RULE) == Usual(Decimal(100), Decimal(0), Decimal(150), 7)
    assert limit([Decimal(1)] * 7) == Decimal(11)
    wild = [Decimal(100 + 20 * n) for n in range(-3, 4)]  # 40 to 160: 40 from the median at most days
    assert limit(wild) == Decimal(100 + 5 * 40)
    assert usual([Decimal(100)] * 28, replace(RULE, unusual_factor=Decimal(0))) is None


@given(st.lists(cents, min_size=1, max_size=9))
def test_the_median_is_exact(amounts: list[Decimal]) -> None:
    found = median(amounts)
    assert sum(amount <= found for amount in amounts) * 2 >= len(amounts)
    assert sum(amount >= found for amount in amounts) * 2 >= len(amounts)
