"""What counts, line by line: the rows behind the reconciled cells of a range of days, before they are cut.

In come the stored cells, the decision about each slice, the events and the Hermes shares; out come lines that sum to
what the cells count, measure by measure. There are two ways to tell the same total:

- by the provider's dimensions: the provider's rows that count, what stands in, the lower bounds, and of cells that
  Hermes decides its shares and one unattributed line;
- by Hermes' own dimensions: every share, and one unattributed line a cell. No event of a provider is read then.

If events moved after the last reconciling, what is missing or too much is a line of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from operator import itemgetter
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from usage_pipeline.hermes.routes import ACCOUNT, UNKNOWN, vendor_of_model
from usage_pipeline.ledger.counted_rows import (
    DecidedSlice,
    EventSum,
    HermesShareRow,
    decided_slices,
    event_sums,
    hermes_shares,
)
from usage_pipeline.ledger.reconciled import StoredRow, cell_id, read_reconciled
from usage_pipeline.measures import LEVELS, RECONCILED_MEASURES
from usage_pipeline.reconcile.aliases import canonical_model
from usage_pipeline.reconcile.figures import Figures, add
from usage_pipeline.reconcile.money import LINE_FAMILY

PROVIDER_DECIDES: Final = frozenset({"provider", "provider_then_hermes", "hermes_standin"})
"""The decisions of cells in which the provider's own rows count."""

CUT_MEASURES: Final = tuple(name for name in RECONCILED_MEASURES if name not in LEVELS)
_CUT_MEASURES: Final = frozenset(CUT_MEASURES)
"""What is cut: flows. A level (``usage_bytes``) is no sum of rows."""

COSTS_FAMILY: Final = "costs"


class Source:
    """Where a line comes from: the values of the dimension ``source``."""

    PROVIDER: Final = "provider"
    EXPLAINED: Final = "explained"
    UNATTRIBUTED: Final = "unattributed"
    STAND_IN: Final = "hermes_stand_in"
    LOWER_BOUND: Final = "hermes_lower_bound"
    HERMES: Final = "hermes"
    HERMES_ONLY: Final = "hermes_only"
    BILLED_LINE: Final = "billed_line"
    COST_WITHOUT_USAGE: Final = "cost_without_usage"
    NOT_RECONCILED_YET: Final = "not_reconciled_yet"


class Place(NamedTuple):
    """A cell of a workspace's day."""

    day: date
    workspace: str
    provider: str
    route: str
    family: str
    model: str


@dataclass(frozen=True, slots=True)
class Line:
    """A part of what a cell counts. ``dimensions`` holds what the line's source tells, by the dimension's name.

    ``variant`` and ``every_figure`` (with the parts by modality) are what its price hangs on. ``event_id`` is of the
    Hermes row that a share is of, ``stated_usd`` what that row says of its own cost by basis.
    """

    source: str
    dimensions: Mapping[str, str | None]
    figures: Figures
    every_figure: Figures = field(default_factory=dict)
    variant: tuple[str | None, ...] = ()
    event_id: UUID | None = None
    stated_usd: Mapping[str, Decimal] = field(default_factory=dict)


@dataclass(slots=True)
class CellLines:
    """A cell with its lines; ``stored`` is None where events fall into a cell that was never reconciled."""

    place: Place
    stored: StoredRow | None
    lines: list[Line] = field(default_factory=list)

    @property
    def counted(self) -> Figures:
        """What the cell counts, as it was reconciled."""
        return self.stored.row.figures["counted"] if self.stored else {}


@dataclass(slots=True)
class CountedLines:
    """Every cell of the range with its lines, and the slices that the decision is about."""

    cells: dict[Place, CellLines]
    slices: dict[int, DecidedSlice]


def counted_lines(
    connection: Connection,
    first_day: date,
    end_day: date,
    workspace: str | None,
    columns: Sequence[str],
    *,
    by_hermes: bool,
    as_of: datetime | None = None,
) -> CountedLines:
    """The lines of the half-open range of days, told apart by ``columns`` of the events where a provider tells them."""
    stored = list(read_reconciled(connection, first_day, end_day, workspace, as_of))
    cells = {place: CellLines(place, one) for one in stored if (place := _place(one))}
    slices = {one.slice_id: one for one in decided_slices(connection, first_day, end_day, workspace, as_of)}
    found = CountedLines(cells, slices)
    if not by_hermes:
        counting = [one for one in slices.values() if one.counts and one.family not in {None, COSTS_FAMILY}]
        for row in event_sums(connection, counting, columns, as_of):
            _enter_events(found, row)
    ids = {(one.reconciliation_id, _id(one)): _place(one) for one in stored}
    for share in hermes_shares(connection, first_day, end_day, workspace, as_of):
        _enter_share(found, cells[ids[share.reconciliation_id, share.cell_id]], share, by_hermes=by_hermes)
    for cell in cells.values():
        cell.lines.extend(_unattributed(cell, by_hermes=by_hermes))
        cell.lines.extend(_not_reconciled_yet(cell))
    return found


def _place(one: StoredRow) -> Place:
    return Place(one.day, one.workspace, one.row.provider, one.row.route, one.row.family, one.row.model)


def _id(one: StoredRow) -> UUID:
    return cell_id((one.row.provider, one.row.route, one.row.family, one.row.model))


def _enter_events(found: CountedLines, row: EventSum) -> None:
    if row.shadowed:
        return
    slice_ = found.slices[row.slice_id]
    cell = _cell_of(found.cells, slice_, row.dimensions["model"] or "", row.dimensions["upstream_provider"])
    if cell.stored is not None and cell.stored.row.decision not in PROVIDER_DECIDES:
        return
    told = {
        **row.dimensions,
        "reported_model": row.dimensions["model"],
        "account": slice_.account,
        "feed": slice_.feed,
        "biller": slice_.provider,
    }
    variant = _variant_of(row.dimensions)
    figures = {name: value for name, value in row.figures.items() if name in _CUT_MEASURES}
    cell.lines.append(Line(Source.PROVIDER, told, figures, row.figures, variant))


_variant_of = itemgetter("service_tier", "batch", "context_window", "speed", "inference_geo")


def _cell_of(cells: dict[Place, CellLines], slice_: DecidedSlice, model: str, upstream: str | None) -> CellLines:
    """The cell that a provider's row falls into: of its model, or of the family whose rows have none."""
    assert slice_.provider is not None
    assert slice_.route is not None
    assert slice_.family is not None
    vendor = slice_.provider
    if slice_.route != ACCOUNT:
        named = vendor_of_model(model)
        vendor = named if named != UNKNOWN else upstream or UNKNOWN
    place = Place(slice_.day, slice_.workspace, vendor, slice_.route, slice_.family, canonical_model(model))
    return cells.get(place) or cells.get(place._replace(model="")) or cells.setdefault(place, CellLines(place, None))


def _enter_share(found: CountedLines, cell: CellLines, share: HermesShareRow, *, by_hermes: bool) -> None:
    assert cell.stored is not None
    decision = cell.stored.row.decision
    if share.share == "explained" and decision in PROVIDER_DECIDES:
        if not by_hermes:
            return  # the provider's own rows tell it
        source = Source.EXPLAINED
    elif share.share == "explained":
        source = Source.HERMES_ONLY if decision == "hermes_only" else Source.HERMES
    else:
        source = Source.STAND_IN if share.share == "stand_in" else Source.LOWER_BOUND
    feed = found.slices[share.slice_id].feed if share.slice_id in found.slices else None
    told = {
        "reported_model": share.model,
        "feed": feed,
        "hermes_feed": feed,
        "profile": share.profile,
        "task": share.task,
    }
    # A row with several shares states its cost once.
    first = not any(line.event_id == share.event_id for line in cell.lines)
    stated = _stated_usd(share) if first else {}
    cell.lines.append(Line(source, told, share.figures, share.figures, event_id=share.event_id, stated_usd=stated))


def _stated_usd(share: HermesShareRow) -> dict[str, Decimal]:
    """What a Hermes row says of its own cost, by the basis; what a subscription includes costs nothing."""
    if (share.billing_mode or "").startswith("subscription"):
        return {}
    stated = {"actual": share.actual_cost_usd, "estimated": share.estimated_cost_usd}
    return {basis: usd for basis, usd in stated.items() if usd is not None}


def _unattributed(cell: CellLines, *, by_hermes: bool) -> Iterator[Line]:
    """The one line of what no share explains, where the provider's own rows do not tell it."""
    if cell.stored is None or (cell.stored.row.decision in PROVIDER_DECIDES and not by_hermes):
        return
    figures = {name: value for name in CUT_MEASURES if (value := cell.stored.row.figures["unattributed"].get(name))}
    if figures:
        yield Line(Source.UNATTRIBUTED, {}, figures, figures)


def _not_reconciled_yet(cell: CellLines) -> Iterator[Line]:
    """What the rows say less (or, negative, more) than the cell counts: events moved after the last reconciling."""
    told = add(*(line.figures for line in cell.lines))
    missing = {
        name: difference
        for name in CUT_MEASURES
        if (difference := (cell.counted.get(name) or 0) - (told.get(name) or 0))
    }
    if missing:
        yield Line(Source.NOT_RECONCILED_YET, {}, missing)


def is_only_a_line(place: Place) -> bool:
    """Whether the cell is nothing but a line of a bill."""
    return place.family == LINE_FAMILY
