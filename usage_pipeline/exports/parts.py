"""What counts on a workspace's day, in parts that sum to the reconciled cells: by all dimensions, or event by event.

In: a connection in one snapshot and a workspace's day, so that memory holds the groups of one day at most. Out: parts
with their exact share of the counted cost. The shares are those of ``reconcile.cuts``; here each group of a cut is only
divided further, over its events, in proportion to what they cost at the same prices.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from usage_pipeline.ledger.export_rows import WorkspaceDay, window_widths
from usage_pipeline.ledger.reconciled import StoredRow, read_reconciled
from usage_pipeline.ledger.showback_rules import load_showback
from usage_pipeline.measures import OTHER_MEASURES, TOKEN_CLASSES
from usage_pipeline.pricing.rates import exact_arithmetic
from usage_pipeline.reconcile.cut_costs import HERMES_BASES, UsedPrices, spread_amount, weights_of, whole_numbers
from usage_pipeline.reconcile.cut_dimensions import DIMENSIONS, EVENT_COLUMNS, OF_HERMES
from usage_pipeline.reconcile.cut_lines import CUT_MEASURES, Line, Place, Source, counted_lines
from usage_pipeline.reconcile.cuts import CutRow, cut
from usage_pipeline.reconcile.figures import Figures, add
from usage_pipeline.reconcile.row_report import event_rows
from usage_pipeline.showback.rules import Told

PART_DIMENSIONS: Final = tuple(name for name in DIMENSIONS if name not in OF_HERMES)
"""Every dimension that the rows of both sources can be told apart by at once."""

PRICE_DIMENSIONS: Final = ("service_tier", "batch", "context_window", "speed", "inference_geo")
"""The dimensions that select a price, in the order of ``PriceVariant``."""

_CELL: Final = ("day", "workspace", "provider", "route", "family", "model")
_GROUP: Final = (
    *_CELL,
    "reported_model",
    "account",
    "feed",
    "source",
    *PRICE_DIMENSIONS,
    "upstream",
)
_HERMES_SOURCES: Final = frozenset({Source.STAND_IN, Source.LOWER_BOUND, Source.HERMES, Source.HERMES_ONLY})
_HOUR_SECONDS: Final = 3600
_PLACES_MIN: Final = 12
_CHARGED: Final = frozenset({*TOKEN_CLASSES, *OTHER_MEASURES})
_MANY: Final = 10**9


class Part(NamedTuple):
    """A part of what a cell counts: its values by :data:`PART_DIMENSIONS`, and its exact US dollars (None: not known).

    ``hour`` is the start of the UTC hour in which it was used, None where the source tells days only.
    """

    place: Place
    dimensions: Mapping[str, str | None]
    hour: datetime | None
    figures: Figures
    usd: Decimal | None


@dataclass(frozen=True, slots=True)
class EventPart:
    """A stored event with what counts by it (None: nothing), or, ``event`` None, a part that no stored event tells.

    An event is as ``report --rows events`` tells it, but ``window_start`` an instant, and with ``window_seconds``.
    """

    event: Mapping[str, Any] | None
    part: Part | None


def cells_of(connection: Connection, day: WorkspaceDay, as_of: datetime | None = None) -> dict[Place, StoredRow]:
    """The reconciled cells of a workspace's day."""
    found = read_reconciled(connection, day.day, _after(day.day), day.workspace, as_of)
    return {
        Place(one.day, one.workspace, one.row.provider, one.row.route, one.row.family, one.row.model): one
        for one in found
    }


def day_parts(connection: Connection, day: WorkspaceDay, as_of: datetime | None = None) -> Iterator[Part]:
    """The day by all of :data:`PART_DIMENSIONS`, in their order."""
    made = cut(connection, day.day, _after(day.day), day.workspace, PART_DIMENSIONS, as_of)
    for row in made.rows:
        dimensions = dict(zip(made.by, row.values, strict=True))
        yield Part(_place(dimensions), dimensions, None, row.figures, row.cost.usd)


def event_parts(connection: Connection, day: WorkspaceDay, as_of: datetime | None = None) -> Iterator[EventPart]:
    """Every stored event of the day, streamed, each with what counts by it; then what no event tells."""
    groups = _Groups(connection, day, as_of)
    widths = window_widths(connection, day)
    for event in event_rows(connection, day.day, _after(day.day), day.workspace, as_of):
        width = widths.get((event["feed"], event["endpoint"]))
        start = datetime.fromisoformat(event["window_start"])
        hour = start if width is not None and width <= _HOUR_SECONDS else None
        yield EventPart({**event, "window_start": start, "window_seconds": width}, groups.of_event(event, hour))
    for part in groups.rest():
        yield EventPart(None, part)


class _Groups:
    """The groups of a day's cut, from which events take their parts until only what no event tells is left."""

    def __init__(self, connection: Connection, day: WorkspaceDay, as_of: datetime | None) -> None:
        self._cells = cells_of(connection, day, as_of)
        self._prices = UsedPrices(connection, [day.day])
        self._showback = load_showback(connection)
        self._of_provider: dict[tuple[str | None, ...], _ProviderGroup] = {}
        of_hermes: dict[tuple[Place, str | None, str | None, str | None], Part] = {}
        self._rest: list[Part] = []
        made = cut(connection, day.day, _after(day.day), day.workspace, _GROUP, as_of)
        for row in made.rows:
            part = self._with_belonging(_part_of_group(row), None)
            told = part.dimensions
            if told["source"] == Source.PROVIDER:
                self._of_provider[_provider_key(told)] = _ProviderGroup(part, self._weights(part))
            elif told["source"] in _HERMES_SOURCES:
                of_hermes[part.place, told["source"], told["feed"], told["reported_model"]] = part
            else:
                self._rest.append(part)
        self._of_hermes = self._spread_over_lines(connection, day, of_hermes, as_of) if of_hermes else {}

    def of_event(self, event: Mapping[str, Any], hour: datetime | None) -> Part | None:
        """What counts by the event."""
        if event["provider"] is None:
            parts = self._of_hermes.pop(UUID(event["event_id"]), None)
            return _merged(parts)._replace(hour=hour) if parts else None
        if event["state"] != "counted":
            return None
        told = {name: event[column] for name, column in EVENT_COLUMNS.items()}
        place = {name: event[name] for name in ("feed", "family", "route", "account")}
        group = self._of_provider.get(_provider_key({**told, **place, "reported_model": event["model"]}))
        if group is None:
            return None
        figures = {name: event[name] for name in CUT_MEASURES}
        part = Part(group.part.place, {**group.part.dimensions, **told}, hour, figures, group.take(figures))
        return self._with_belonging(part, event["provider"])

    def rest(self) -> Iterator[Part]:
        """What no stored event tells, in the order of the cut; then shares whose event is not stored any more."""
        yield from self._rest
        for parts in self._of_hermes.values():
            yield from parts

    def _with_belonging(self, part: Part, biller: str | None) -> Part:
        """The part with the cost centre and the team that the rules of showback give it."""
        told = part.dimensions
        asked = Told(
            workspace=part.place.workspace,
            project=told["project"],
            api_key=told["api_key"],
            user=told["user"],
            feed=told["feed"],
            model=part.place.model or None,
            provider=biller,
            account=told["account"],
        )
        return part._replace(dimensions={**told, **self._showback.of(part.place.day, asked)._asdict()})

    def _weights(self, part: Part) -> Mapping[str, int]:
        """What one unit of each measure weighs: its price, else 1 for what the cost was spread by."""
        told, cell = part.dimensions, self._cells.get(part.place)
        version = cell.row.costs["computed"].version if cell else None
        used = [name for name, value in part.figures.items() if value and name in _CHARGED]
        variant = tuple(told[name] for name in PRICE_DIMENSIONS)
        model = told["reported_model"] or part.place.model
        prices = [
            self._prices.cost(part.place.day, part.place.provider, model, variant, version, {name: _MANY})
            for name in used
        ]
        known = [price for price in prices if price is not None]
        if used and len(known) == len(used) and any(known):
            return dict(zip(used, whole_numbers(known), strict=True))
        for names in (TOKEN_CLASSES, ("requests",), OTHER_MEASURES):
            if any(part.figures.get(name) for name in names):
                return dict.fromkeys(names, 1)
        return {}

    def _spread_over_lines(
        self,
        connection: Connection,
        day: WorkspaceDay,
        groups: Mapping[tuple[Place, str | None, str | None, str | None], Part],
        as_of: datetime | None,
    ) -> dict[UUID, list[Part]]:
        """The parts of each Hermes event; its shares are few, one row a session or model and day."""
        lines: dict[tuple[Place, str | None, str | None, str | None], list[Line]] = defaultdict(list)
        found = counted_lines(connection, day.day, _after(day.day), day.workspace, (), by_hermes=True, as_of=as_of)
        for cell in found.cells.values():
            for line in cell.lines:
                if line.event_id is not None and line.source in _HERMES_SOURCES:
                    told = line.dimensions
                    lines[cell.place, line.source, told["feed"], told["reported_model"]].append(line)
        parts: dict[UUID, list[Part]] = defaultdict(list)
        for key, of_group in lines.items():
            group = groups[key]
            for line, usd in zip(of_group, self._amounts(group, of_group), strict=True):
                assert line.event_id is not None
                parts[line.event_id].append(group._replace(figures=line.figures, usd=usd))
        return parts

    def _amounts(self, group: Part, lines: Sequence[Line]) -> Sequence[Decimal | None]:
        if group.usd is None:
            return [None] * len(lines)
        cell = self._cells[group.place].row
        basis = cell.costs["counted"].basis
        stated = [line.stated_usd.get(basis or "", Decimal(0)) for line in lines]
        if basis in HERMES_BASES and any(stated):
            weights = whole_numbers(stated)
        else:
            model, version = group.dimensions["reported_model"] or cell.model, cell.costs["computed"].version
            place = group.place.day, group.place.provider, model, (), version
            costs = [self._prices.cost(*place, line.figures) for line in lines]
            weights = weights_of(costs, [line.figures for line in lines])
        return spread_amount(group.usd, weights if any(weights) else [1] * len(lines))


class _ProviderGroup:
    """A group of provider rows whose cost its events take one after the other, each in proportion to its weight.

    An event takes what brings the sum so far to its rounded-down proportion of the whole: exact in the end, and no
    event is held.
    """

    def __init__(self, part: Part, weights: Mapping[str, int]) -> None:
        self.part = part
        self._weights = weights
        self._whole = self._weight(part.figures)
        self._come, self._given = 0, 0
        usd = part.usd or Decimal(0)
        exponent = usd.as_tuple().exponent
        assert isinstance(exponent, int), "an amount is finite"
        self._places = max(-exponent, _PLACES_MIN)
        with exact_arithmetic():
            self._units = int(usd.scaleb(self._places))

    def take(self, figures: Figures) -> Decimal | None:
        """The event's part of the cost."""
        if self.part.usd is None:
            return None
        self._come += self._weight(figures)
        proportion = abs(self._units) * self._come // self._whole if self._whole else abs(self._units)
        taken, self._given = proportion - self._given, proportion
        with exact_arithmetic():
            return Decimal(taken if self._units >= 0 else -taken).scaleb(-self._places)

    def _weight(self, figures: Figures) -> int:
        return sum(weight * (figures.get(name) or 0) for name, weight in self._weights.items())


def _merged(parts: Sequence[Part]) -> Part:
    """The shares of one event as one part; it keeps the place of the first."""
    known = [part.usd for part in parts if part.usd is not None]
    with exact_arithmetic():
        usd = sum(known, Decimal(0)) if known else None
    return parts[0]._replace(figures=add(*(part.figures for part in parts)), usd=usd)


def _part_of_group(row: CutRow) -> Part:
    dimensions = {**dict.fromkeys(PART_DIMENSIONS), **dict(zip(_GROUP, row.values, strict=True))}
    return Part(_place(dimensions), dimensions, None, row.figures, row.cost.usd)


def _place(dimensions: Mapping[str, str | None]) -> Place:
    day, workspace, provider, route, family, model = (dimensions[name] or "" for name in _CELL)
    return Place(date.fromisoformat(day), workspace, provider, route, family, model)


def _provider_key(told: Mapping[str, str | None]) -> tuple[str | None, ...]:
    """What tells the groups of provider rows apart: an event's cell follows from it."""
    names = ("feed", "account", "family", "route", "reported_model", *PRICE_DIMENSIONS, "upstream")
    return tuple(told[name] for name in names)


def _after(day: date) -> date:
    return day + timedelta(days=1)
