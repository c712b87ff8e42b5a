"""What other prices change of a day's costs: of the day as a whole, and of each changed price by itself.

In: the costs of a decided day at two sets of prices. Out: sums of the known amounts before and after, exact, as a
report's totals have them; an amount that is not known adds nothing to either.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from usage_pipeline.pricing.quotes import PriceKey, PriceQuote, PricesInForce, Quotes
from usage_pipeline.pricing.rates import exact_arithmetic
from usage_pipeline.reconcile.cells import CellKey
from usage_pipeline.reconcile.day_costs import DayCosts, DecidedDay
from usage_pipeline.reconcile.money import CellCost, price_keys

_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Effect:
    """Known amounts before and after, in US dollars, and in how many cells a computed cost became known or unknown."""

    computed_before: Decimal = _ZERO
    computed_after: Decimal = _ZERO
    counted_before: Decimal = _ZERO
    counted_after: Decimal = _ZERO
    became_known: int = 0
    became_unknown: int = 0

    def __add__(self, other: Effect) -> Effect:
        with exact_arithmetic():
            return Effect(
                self.computed_before + other.computed_before,
                self.computed_after + other.computed_after,
                self.counted_before + other.counted_before,
                self.counted_after + other.counted_after,
                self.became_known + other.became_known,
                self.became_unknown + other.became_unknown,
            )

    @property
    def computed(self) -> Decimal:
        """By how much the computed cost moves."""
        with exact_arithmetic():
            return self.computed_after - self.computed_before

    @property
    def counted(self) -> Decimal:
        """By how much the counted cost moves."""
        with exact_arithmetic():
            return self.counted_after - self.counted_before


def effect_of(before: Mapping[CellKey, CellCost], after: Mapping[CellKey, CellCost]) -> Effect:
    """The effect on the cells whose costs differ, all others left out."""
    return sum((_of_cell(before[key], new) for key, new in after.items() if before[key] != new), Effect())


def effects_by_price(
    day: DecidedDay,
    before: DayCosts,
    in_force: Mapping[PriceKey, PriceQuote],
    changes: Mapping[PriceKey, PriceQuote],
    otherwise: Quotes,
) -> dict[PriceKey, Effect]:
    """The effect of each changed price if it alone changed, all others as they are in force (else ``otherwise``).

    Prices that meet in no cell are tried at once: their effects cannot mix.
    """
    used = {one.key: price_keys(one.key, one.sides) & changes.keys() for one in day.decided}
    effects = dict.fromkeys(changes, Effect())
    for together in _apart(changes, used.values()):
        tried = {**in_force, **{key: changes[key] for key in together}}
        after = day.costs(PricesInForce(tried, otherwise))
        for cell, keys in used.items():
            for key in keys & together:
                effects[key] += effect_of({cell: before.cells[cell]}, {cell: after.cells[cell]})
    return effects


def _apart(changes: Iterable[PriceKey], meetings: Iterable[set[PriceKey]]) -> list[set[PriceKey]]:
    """The prices in groups within which no two meet in a cell."""
    met: dict[PriceKey, set[PriceKey]] = {key: set() for key in changes}
    for keys in meetings:
        for key in keys:
            met[key] |= keys - {key}
    groups: list[set[PriceKey]] = []
    for key in met:
        group = next((group for group in groups if not group & met[key]), None)
        if group is None:
            groups.append({key})
        else:
            group.add(key)
    return groups


def _of_cell(before: CellCost, after: CellCost) -> Effect:
    old, new = before.computed.usd, after.computed.usd
    return Effect(
        old or _ZERO,
        new or _ZERO,
        before.counted.usd or _ZERO,
        after.counted.usd or _ZERO,
        became_known=int(old is None and new is not None),
        became_unknown=int(old is not None and new is None),
    )
