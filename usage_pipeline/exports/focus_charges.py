"""Charges: what counts on a workspace's day as FOCUS tells it, a row for each measure of each part, with its costs.

In: the parts of a day as believed at an instant. Out: charges by what tells them apart, each with exact quantities,
prices and costs. A part's counted cost is spread over its measures in proportion to what they cost; the bill's amount
of a cell over the cell's charges in proportion to their counted cost.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Final, NamedTuple

from sqlalchemy import Connection

from usage_pipeline.exports.parts import PART_DIMENSIONS, PRICE_DIMENSIONS, Part, cells_of, day_parts, event_parts
from usage_pipeline.ledger.export_rows import FLOWS, WorkspaceDay
from usage_pipeline.ledger.reconciled import StoredRow
from usage_pipeline.ledger.showback_rules import load_showback
from usage_pipeline.measures import OTHER_MEASURES, TOKEN_CLASSES
from usage_pipeline.pricing.list_quotes import ListQuotes
from usage_pipeline.pricing.rates import PRICED_PARTS, RATE_NAMES, Rates, exact_arithmetic, rate_unit
from usage_pipeline.pricing.variants import PriceVariant
from usage_pipeline.reconcile.aliases import vendors_name
from usage_pipeline.reconcile.cut_costs import UsedPrices, spread_amount, weights_of, whole_numbers
from usage_pipeline.reconcile.cut_lines import Place, Source
from usage_pipeline.reconcile.figures import Figures, add_to
from usage_pipeline.showback.assigning import Showback
from usage_pipeline.showback.rules import Told

CHARGED: Final = tuple(name for name in FLOWS if name in TOKEN_CLASSES or name in OTHER_MEASURES)
"""The measures that are charges of their own. ``reasoning`` is a part of ``output``; ``requests`` are a charge only
where they have a cost and nothing else was measured."""

_ZERO: Final = Decimal(0)


class ChargeKey(NamedTuple):
    """What tells charges apart: the cell, the hour (None: the day), the values of the dimensions, the measure (None: an
    amount without any)."""

    place: Place
    hour: datetime | None
    values: tuple[str | None, ...]
    measure: str | None

    @property
    def dimensions(self) -> Mapping[str, str | None]:
        """The values by the dimension's name."""
        return dict(zip(PART_DIMENSIONS, self.values, strict=True))


@dataclass(frozen=True, slots=True)
class Charge:
    """The figures of a charge: whole units of its measure, exact US dollars, prices per :func:`pricing_unit`.

    A cost or price that is None is not known. ``effective_usd`` is the counted cost.
    """

    quantity: int | None
    billed_usd: Decimal | None
    effective_usd: Decimal | None
    list_price: Decimal | None
    contracted_price: Decimal | None


@dataclass(frozen=True, slots=True)
class DayCharges:
    """The charges of a day, in a fixed order, and the cells that they are parts of."""

    charges: Mapping[ChargeKey, Charge]
    cells: Mapping[Place, StoredRow]


def pricing_unit(measure: str) -> int:
    """How many units of the measure its price is for."""
    return rate_unit(measure)[0] if measure in RATE_NAMES else 1


def day_charges(
    connection: Connection, day: WorkspaceDay, lists: ListQuotes, *, hourly: bool, as_of: datetime | None
) -> DayCharges:
    """The charges of a workspace's day, as they stand or as believed at an instant."""
    cells = cells_of(connection, day, as_of)
    used = UsedPrices(connection, [day.day])
    showback = load_showback(connection)
    by_cell: dict[Place, list[Part]] = defaultdict(list)
    for part in _parts(connection, day, hourly=hourly, as_of=as_of):
        by_cell[part.place].append(part)
    charges: dict[ChargeKey, Charge] = {}
    for place in sorted({*by_cell, *cells}):
        cell = cells.get(place)
        version = cell.row.costs["computed"].version if cell else None
        of_cell: dict[ChargeKey, Charge] = {}
        for part in _told_as_a_whole(place, by_cell.get(place, []), cell, showback):
            of_cell.update(_of_part(part, used, lists, version))
        charges.update(_with_bill(of_cell, place, cell, showback))
    return DayCharges(charges, cells)


def _parts(connection: Connection, day: WorkspaceDay, *, hourly: bool, as_of: datetime | None) -> Iterator[Part]:
    """The day's parts; by the hour, the events of one hour and the same dimensions together."""
    if not hourly:
        yield from day_parts(connection, day, as_of)
        return
    figures: dict[tuple[Place, datetime | None, tuple[str | None, ...]], dict[str, int | None]] = defaultdict(dict)
    usd: dict[tuple[Place, datetime | None, tuple[str | None, ...]], Decimal] = {}
    for one in event_parts(connection, day, as_of):
        if (part := one.part) is None:
            continue
        key = part.place, part.hour, tuple(part.dimensions[name] for name in PART_DIMENSIONS)
        add_to(figures[key], part.figures)
        if part.usd is not None:
            with exact_arithmetic():
                usd[key] = usd.get(key, _ZERO) + part.usd
    for (place, hour, values), sums in figures.items():
        dimensions = dict(zip(PART_DIMENSIONS, values, strict=True))
        yield Part(place, dimensions, hour, sums, usd.get((place, hour, values)))


def _told_as_a_whole(place: Place, parts: Sequence[Part], cell: StoredRow | None, showback: Showback) -> Sequence[Part]:
    """The parts; where rows moved after the last reconciling, which no quantity of FOCUS can tell, the whole cell."""
    if not any(part.dimensions["source"] == Source.NOT_RECONCILED_YET for part in parts):
        return parts
    if cell is None:
        return []  # rows of a cell that was never reconciled: they count nowhere yet
    counted = {name: cell.row.figures["counted"].get(name) for name in FLOWS}
    told = _told_of_cell(place, Source.NOT_RECONCILED_YET, showback)
    return [Part(place, told, None, counted, cell.row.costs["counted"].usd)]


def _of_part(
    part: Part, used: UsedPrices, lists: ListQuotes, version: str | None
) -> Iterator[tuple[ChargeKey, Charge]]:
    """The charges of a part, one for each measure that it has."""
    told = part.dimensions
    measures = [name for name in CHARGED if part.figures.get(name)]
    if not measures and part.figures.get("requests") and part.usd is not None:
        measures = ["requests"]
    values = tuple(told[name] for name in PART_DIMENSIONS)
    if not measures:
        if part.usd is not None:
            yield ChargeKey(part.place, part.hour, values, None), Charge(None, None, part.usd, None, None)
        return
    model = told["reported_model"] or part.place.model
    variant = tuple(told[name] for name in PRICE_DIMENSIONS)
    figures: list[Figures] = [{name: part.figures[name]} for name in measures]
    place = part.place.day, part.place.provider, model, variant, version
    usd: Sequence[Decimal | None] = [None] * len(measures)
    if part.usd is not None:
        weights = weights_of([used.cost(*place, one) for one in figures], figures)
        usd = spread_amount(part.usd, weights if any(weights) else [1] * len(measures))
    rates = lists.quote(part.place.provider, vendors_name(model), PriceVariant(*variant), part.place.day).rates
    for name, amount in zip(measures, usd, strict=True):
        listed = _one_rate(rates, name) if rates is not None else None
        contracted = used.cost(*place, {name: pricing_unit(name)})
        charge = Charge(part.figures[name], None, amount, listed, contracted if contracted is not None else listed)
        yield ChargeKey(part.place, part.hour, values, name), charge


def _with_bill(
    charges: Mapping[ChargeKey, Charge], place: Place, cell: StoredRow | None, showback: Showback
) -> dict[ChargeKey, Charge]:
    """The charges of a cell with their parts of what the bill says of it; a bill without any is a charge of its own."""
    billed = cell.row.costs["billed"].usd if cell else None
    if billed is None:
        return dict(charges)
    if not charges:
        values = tuple(_told_of_cell(place, Source.BILLED_LINE, showback).values())
        return {ChargeKey(place, None, values, None): Charge(None, billed, None, None, None)}
    weights = whole_numbers([abs(one.effective_usd or _ZERO) for one in charges.values()])
    if not any(weights):
        weights = [abs(one.quantity or 0) for one in charges.values()]
    parts = spread_amount(billed, weights if any(weights) else [1] * len(charges))
    return {key: replace(one, billed_usd=usd) for (key, one), usd in zip(charges.items(), parts, strict=True)}


def _told_of_cell(place: Place, source: str, showback: Showback) -> dict[str, str | None]:
    """The values of :data:`PART_DIMENSIONS`, in their order, of what is told of a whole cell."""
    belongs = showback.of(place.day, Told(place.workspace, model=place.model or None))
    told = {**place._asdict(), **belongs._asdict(), "day": place.day.isoformat(), "source": source}
    return {name: told.get(name) for name in PART_DIMENSIONS}


def _one_rate(rates: Rates, measure: str) -> Decimal | None:
    """The rate of a measure; None where a part of it has another one, so that no single price is true."""
    rate: Decimal | None = getattr(rates, measure, None)
    others = [getattr(rates, part) for part in PRICED_PARTS.get(measure, ())]
    return rate if all(other in (None, rate) for other in others) else None
