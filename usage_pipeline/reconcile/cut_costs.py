"""Spreading a cell's counted cost over the rows that it counts, so that a cut of the cost sums to the cell exactly.

A cell has one counted cost, and its rows have tokens. The cost is spread in proportion to what each row costs at the
list prices that were used on its day; where a row has no price, to tokens; where there are none, to requests, then to
the measure of its own unit. What Hermes alone says is spread as Hermes says it. Parts are whole units of the amount's
last decimal place (at least the twelfth), by largest remainder: they sum to the amount to the last digit.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from decimal import Decimal
from functools import lru_cache
from typing import Final

from sqlalchemy import Connection

from usage_pipeline.ledger.prices import load
from usage_pipeline.measures import LEVELS, OTHER_MEASURES, TOKEN_CLASSES
from usage_pipeline.pricing.rates import Rates, cost_usd, exact_arithmetic
from usage_pipeline.pricing.variants import PriceVariant
from usage_pipeline.reconcile.aliases import canonical_model, vendors_name
from usage_pipeline.reconcile.figures import Figures, any_positive
from usage_pipeline.reconcile.shares import spread

HERMES_BASES: Final = frozenset({"actual", "estimated", "included"})
"""The bases of a counted cost that is what Hermes says."""

_PLACES_MIN: Final = 12
_UNITS: Final[tuple[tuple[str, ...], ...]] = (
    TOKEN_CLASSES,
    ("requests",),
    tuple(name for name in OTHER_MEASURES if name not in LEVELS),
)


class UsedPrices:
    """The list prices that reconciling used, by day. Of several versions the one that a cell was computed with is
    taken, else the newest stored."""

    def __init__(self, connection: Connection, days: Iterable[date]) -> None:
        self._rates: dict[tuple[date, str, str, str], dict[str, Rates]] = {}
        self._base: dict[tuple[date, str, str], dict[str, Rates]] = {}
        for day in sorted(set(days)):
            for quote in load(connection, day):
                if quote.rates is None:
                    continue
                place = (day, quote.provider, quote.model, quote.variant.text)
                self._rates.setdefault(place, {})[quote.version] = quote.rates
                if quote.variant == PriceVariant():
                    of_model = (day, quote.provider, canonical_model(quote.model))
                    self._base.setdefault(of_model, {})[quote.version] = quote.rates

    def cost(
        self,
        day: date,
        vendor: str,
        model: str,
        variant: Sequence[str | None],
        version: str | None,
        figures: Figures,
    ) -> Decimal | None:
        """What the figures cost at the price of the reported model and variant, else at the model's base price; None
        where nobody used such a price. ``version`` names the versions that the cell was computed with, by ``"; "``.
        """
        if not any_positive(figures):
            return Decimal(0)
        by_version = self._rates.get((day, vendor, vendors_name(model), _text_of(tuple(variant))))
        by_version = by_version or self._base.get((day, vendor, canonical_model(model)))
        if not by_version:
            return None
        used = [one for one in by_version if one in (version or "").split("; ")] or list(by_version)
        return cost_usd(by_version[used[-1]], figures).amount_usd


@lru_cache(maxsize=1024)
def _text_of(variant: tuple[str | None, ...]) -> str:
    """The text of a row's price variant; a day has many rows and few variants."""
    return PriceVariant(*variant).text


def weights_of(costs: Sequence[Decimal | None], figures: Sequence[Figures]) -> list[int]:
    """Whole weights for spreading a cost: by the rows' costs where all are known, else by one unit that they have."""
    known = [cost for cost in costs if cost is not None]
    if len(known) == len(costs) and any(known):
        return whole_numbers(known)
    for names in _UNITS:
        weights = [sum(max(0, row.get(name) or 0) for name in names) for row in figures]
        if any(weights):
            return weights
    return [0] * len(figures)


def whole_numbers(amounts: Sequence[Decimal]) -> list[int]:
    """The amounts as multiples of one common power of ten."""
    places = max((_places(amount) for amount in amounts), default=0)
    with exact_arithmetic():
        return [int(amount.scaleb(places)) for amount in amounts]


def spread_amount(usd: Decimal, weights: Sequence[int]) -> list[Decimal]:
    """The amount in exact parts proportional to ``weights``, of which one at least is above 0; they sum to it."""
    places = max(_places(usd), _PLACES_MIN)
    with exact_arithmetic():
        units = int(usd.scaleb(places))
        parts = spread(abs(units), weights)
        return [Decimal(part if units >= 0 else -part).scaleb(-places) for part in parts]


def _places(amount: Decimal) -> int:
    exponent = amount.as_tuple().exponent
    assert isinstance(exponent, int), "an amount is finite"
    return max(0, -exponent)
