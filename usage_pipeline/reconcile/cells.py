"""A cell while it is being put together: its key, and the rows of both sides that fall into it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from usage_pipeline.hermes.routes import ACCOUNT, OFF_ACCOUNT
from usage_pipeline.measures import LEVELS
from usage_pipeline.reconcile.decision import Cell, Decided
from usage_pipeline.reconcile.figures import NOTHING, Figures, add


class FamilyKey(NamedTuple):
    """What coverage is decided for: a family of the provider that reports and bills it."""

    provider: str
    family: str


class CellKey(NamedTuple):
    """A cell of a workspace's day. ``provider`` is the vendor of the model, whoever bills it."""

    provider: str
    route: str
    family: str
    model: str

    @property
    def biller(self) -> str:
        """Who bills the cell: the vendor itself on its account, else the name in the route."""
        return biller_of(self.provider, self.route)

    @property
    def reported_in(self) -> FamilyKey:
        """The family whose figures the cell's provider side would come from."""
        return FamilyKey(self.biller, self.family)


def biller_of(provider: str, route: str) -> str:
    """Who bills a model of ``provider`` on ``route``: the vendor on its account, else whom the route names."""
    return provider if route == ACCOUNT else route.removeprefix(OFF_ACCOUNT)


class PricedSum(NamedTuple):
    """Counted provider rows of one account that share a price: the reported model, the variant, the figures."""

    account: str
    model: str
    variant: tuple[str | None, ...]
    figures: Mapping[str, int | None]


@dataclass(frozen=True, slots=True)
class HermesShare:
    """One Hermes row of a cell, with what it says of its cost."""

    event_id: UUID
    feed_id: int
    model: str
    figures: Mapping[str, int | None]
    estimated_cost_usd: Decimal | None
    actual_cost_usd: Decimal | None
    included: bool


@dataclass(slots=True)
class HermesHours:
    """A feed's hours of one reported model, before and after the cut of an open day."""

    before: Figures = field(default_factory=dict)
    after: Figures = field(default_factory=dict)

    def enter(self, figures: Figures, *, after: bool) -> None:
        """Add an hour to its half."""
        if after:
            self.after = add(self.after, figures)
        else:
            self.before = add(self.before, figures)


@dataclass(slots=True)
class CellSides:
    """Both sides of a cell. The feeds' sums tell counted from shadowed rows; ``peaks`` are levels by account and
    instant, of which the day's maximum counts. ``passed_on_to`` are the accounts' providers in whose own reports the
    shadowed rows of a proxy are.
    """

    key: CellKey
    provider_rows: list[PricedSum] = field(default_factory=list)
    provider_before: dict[str, int | None] = field(default_factory=dict)
    provider_after: dict[str, int | None] = field(default_factory=dict)
    peaks: dict[str, dict[datetime, dict[str, int | None]]] = field(default_factory=dict)
    counted_by_feed: dict[int, dict[str, int | None]] = field(default_factory=dict)
    shadowed_by_feed: dict[int, dict[str, int | None]] = field(default_factory=dict)
    passed_on_to: set[str] = field(default_factory=set)
    hermes_rows: list[HermesShare] = field(default_factory=list)
    hermes_hours: dict[tuple[int, str], HermesHours] = field(default_factory=dict)

    @property
    def levels(self) -> Figures:
        """The day's maximum of each account's level, the accounts added up."""
        if not self.peaks:
            return NOTHING
        highest = [
            {
                name: max(values)
                for name in LEVELS
                if (values := [v for one in by_instant.values() if (v := one.get(name)) is not None])
            }
            for by_instant in self.peaks.values()
        ]
        return add(*highest)


@dataclass(frozen=True, slots=True)
class DecidedCell:
    """A cell with its rows and its decision under ``provider_first`` (``base``) and under the workspace's policy."""

    key: CellKey
    sides: CellSides
    cell: Cell
    base: Decided
    decided: Decided
