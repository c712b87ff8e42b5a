"""Hermes' rows of a day, sorted to their cells: the daily rows that count, and the hours that give them their shape.

In come the events of the slices of the feeds that count; out come shares by cell. Which route a row is on is decided
here: by the payload where it says who billed, else by the feed's ``bills_to``.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from usage_pipeline.hermes.routes import ACCOUNT, OFF_ACCOUNT, UNKNOWN, route_of
from usage_pipeline.ledger.reconcile_inputs import HermesEvent, SliceRow
from usage_pipeline.measures import RECONCILED_MEASURES
from usage_pipeline.normalise.hermes_days import HERMES_HOURS
from usage_pipeline.reconcile.aliases import canonical_model
from usage_pipeline.reconcile.cells import CellKey, CellSides, FamilyKey, HermesHours, HermesShare
from usage_pipeline.reconcile.decision import Halves
from usage_pipeline.reconcile.families import FamilyDay, family_of_cell
from usage_pipeline.reconcile.figures import Figures, add

HERMES_FAMILY = "text"
HERMES_REPORTS: tuple[str, ...] = (
    "uncached_input",
    "cache_read",
    "cache_write_unsplit",
    "output",
    "reasoning",
    "requests",
)
"""What a Hermes rollup can tell. Its cache writes are not split by lifetime."""

_INCLUDED_BILLER = f"{OFF_ACCOUNT}openai-codex"


@dataclass(frozen=True, slots=True)
class HermesDetail:
    """The part of a Hermes row that no other source has."""

    provider: str
    billing_provider: str | None
    billing_base_url: str | None
    billing_mode: str | None

    @classmethod
    def read(cls, event: HermesEvent) -> HermesDetail:
        """Read it from the row's ``line_detail``."""
        detail = json.loads(event.detail or "{}")
        return cls(
            detail.get("provider", UNKNOWN),
            detail.get("billing_provider"),
            detail.get("billing_base_url"),
            detail.get("billing_mode"),
        )

    @property
    def subscribed(self) -> bool:
        """Whether a subscription includes the row's cost."""
        return (self.billing_mode or "").startswith("subscription")

    def route(self, bills_to: Mapping[str, str]) -> str:
        """The route: as the payload says, else (v1, v2) as the feed's setting says, ``account`` by default."""
        if self.billing_provider is not None:
            return route_of(self.billing_provider, self.billing_base_url, self.billing_mode, self.provider)
        stated = bills_to.get(self.provider)
        if stated is None:
            return ACCOUNT if self.provider != UNKNOWN else f"{OFF_ACCOUNT}{UNKNOWN}"
        if stated == ACCOUNT or names_part_of_account(stated):
            return ACCOUNT
        return stated if stated.startswith(OFF_ACCOUNT) else f"{OFF_ACCOUNT}{stated}"


def names_part_of_account(bills_to: str) -> bool:
    """Whether a ``bills_to`` says which account, or which projects of it: ``account:<name>``."""
    return bills_to.startswith(f"{ACCOUNT}:")


@dataclass(frozen=True, slots=True)
class HermesRows:
    """Daily rows and hours by cell."""

    days: dict[CellKey, list[HermesShare]] = field(default_factory=lambda: defaultdict(list))
    hours: dict[CellKey, dict[tuple[int, str], HermesHours]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(HermesHours))
    )


def sort_hermes_rows(
    events: Iterable[HermesEvent],
    slices: Mapping[int, SliceRow],
    bills_to: Mapping[int, Mapping[str, str]],
    without_model: frozenset[FamilyKey],
    families: Mapping[FamilyKey, FamilyDay],
) -> HermesRows:
    """Sort the events to cells.

    ``without_model`` are the families whose rows all meet in one cell; ``families`` tell where an open day is cut.
    Hours that are no call times, and rows that never count, are left out.
    """
    found = HermesRows()
    for event in events:
        row = slices[event.slice_id]
        detail = HermesDetail.read(event)
        route = detail.route(bills_to[row.feed_id])
        reported = event.model or ""
        key = CellKey(detail.provider, route, HERMES_FAMILY, canonical_model(reported))
        family = family_of_cell(families, key)
        if family is not None and family.key in without_model:
            key = key._replace(model="")
        figures = {
            name: value for name, value in zip(RECONCILED_MEASURES, event.figures, strict=True) if value is not None
        }
        if row.endpoint == HERMES_HOURS:
            if row.hours_are_call_time:
                after = family is not None and event.window_start >= family.cut_at
                found.hours[key][row.feed_id, reported].enter(figures, after=after)
        elif event.counts:
            included = detail.subscribed or route == _INCLUDED_BILLER
            costs = (event.estimated_cost_usd, event.actual_cost_usd)
            found.days[key].append(HermesShare(event.event_id, row.feed_id, reported, figures, *costs, included))
    return found


def call_time_halves(sides: CellSides, slices: Mapping[int, SliceRow]) -> Halves | None:
    """The cell's hours before and after the cut; None unless every feed of the cell states the hour of each call, in
    hours that add up, per model and measure, to its daily rows.
    """
    if not sides.hermes_rows:
        return None
    daily: dict[tuple[int, str], Figures] = {}
    for row in sides.hermes_rows:
        if not slices[row.feed_id].hours_are_call_time:
            return None
        name = (row.feed_id, row.model)
        daily[name] = add(daily.get(name, {}), row.figures)
    hourly = {name: add(hours.before, hours.after) for name, hours in sides.hermes_hours.items()}
    if any(_used(daily.get(name, {})) != _used(hourly.get(name, {})) for name in {*daily, *hourly}):
        return None
    return Halves(
        before=add(*(hours.before for hours in sides.hermes_hours.values())),
        after=add(*(hours.after for hours in sides.hermes_hours.values())),
    )


def _used(figures: Figures) -> dict[str, int]:
    return {name: value for name, value in figures.items() if value}
