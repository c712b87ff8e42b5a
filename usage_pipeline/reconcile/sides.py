"""Both sides of a workspace's day, put together from what the ledger holds, before anything is decided.

In come the workspace's feeds and their slices; out come the cells (provider, route, family, canonical model) with the
provider's figure P, Hermes' figure H, the coverage of each provider's family, and the rows behind both.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from usage_pipeline.hermes.routes import ACCOUNT, OFF_ACCOUNT, UNKNOWN, route_of
from usage_pipeline.ledger.feed_settings import FeedSettings, list_settings
from usage_pipeline.ledger.hermes_feeds import HermesFeed, list_hermes_feeds
from usage_pipeline.ledger.provider_keys import ProviderKey, list_provider_keys
from usage_pipeline.ledger.reconcile_inputs import (
    CountRule,
    HermesEvent,
    ProviderSum,
    SliceRow,
    hermes_events,
    provider_sums,
    slices_of_days,
)
from usage_pipeline.ledger.workspaces import Workspace
from usage_pipeline.measures import CACHE_WRITES, EVENT_MEASURES, RECONCILED_MEASURES
from usage_pipeline.normalise.hermes_days import HERMES_DAYS, HERMES_HOURS
from usage_pipeline.providers.contract import Endpoint, Provider
from usage_pipeline.reconcile.aliases import canonical_model
from usage_pipeline.reconcile.coverage import Coverage, State, coverage_of, day_end
from usage_pipeline.reconcile.decision import Cell, Halves
from usage_pipeline.reconcile.figures import CACHE_WRITE_GROUP, Figures, add
from usage_pipeline.reconcile.leaders import AccountDay, FeedDay, Scope, provider_coverage, settle_account
from usage_pipeline.settings import Settings

HERMES_FAMILY = "text"
COSTS_FAMILY = "costs"
"""The family of the slices of cost endpoints: never a cell of usage."""


class CellKey(NamedTuple):
    """A cell of a workspace's day."""

    provider: str
    route: str
    family: str
    model: str


class FamilyKey(NamedTuple):
    """What coverage is decided for."""

    provider: str
    family: str


@dataclass(frozen=True, slots=True)
class PricedSum:
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
class CellSides:
    """A cell being put together."""

    key: CellKey
    provider_rows: list[PricedSum] = field(default_factory=list)
    provider_before: dict[str, int | None] = field(default_factory=dict)
    provider_after: dict[str, int | None] = field(default_factory=dict)
    counted_by_feed: dict[int, Figures] = field(default_factory=dict)
    shadowed_by_feed: dict[int, Figures] = field(default_factory=dict)
    hermes_rows: list[HermesShare] = field(default_factory=list)
    hermes_hours: dict[tuple[int, str], dict[str, Figures]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FamilyDay:
    """A provider's family on a day: its accounts, their coverage together, and where the open day is cut."""

    key: FamilyKey
    accounts: Mapping[str, AccountDay]
    coverage: Coverage
    known: bool
    feeds: tuple[FeedDay, ...]
    slices: Mapping[int, SliceRow]
    reports: frozenset[str]
    always_reports: frozenset[str]
    cut_at: datetime
    hourly: bool
    scoped_only: bool


@dataclass(frozen=True, slots=True)
class DaySides:
    """Everything that deciding one workspace's day needs."""

    workspace: Workspace
    day: date
    families: Mapping[FamilyKey, FamilyDay]
    costs: Mapping[str, FamilyDay]
    cells: Mapping[CellKey, CellSides]
    hermes_feeds: Mapping[int, HermesFeed]
    hermes_slices: Mapping[int, SliceRow]
    keys: Mapping[int, ProviderKey]
    bills_to: Mapping[int, Mapping[str, str]]
    uncounted: tuple[HermesShare, ...]
    settling_hermes: timedelta

    def cell(self, key: CellKey) -> Cell:
        """The cell as the decision wants it; for a key without rows, both sides as covered."""
        sides = self.cells.get(key) or CellSides(key)
        family = self.families.get(FamilyKey(key.provider, key.family))
        on_account = key.route == ACCOUNT
        provider, halves = _provider_side(sides, family if on_account else None)
        hermes = self._hermes_figures(sides)
        call_time, hermes_halves = _hermes_hours(self, sides)
        speaking = {row.feed_id for row in sides.hermes_rows} or set(self.hermes_slices)
        generated = [
            s.observed_at for f, s in self.hermes_slices.items() if f in speaking and s.observed_at is not None
        ]
        settled = day_end(self.day) + self.settling_hermes
        open_by_hours = call_time and family is not None and family.hourly
        return Cell(
            on_account=on_account,
            coverage=family.coverage if family else Coverage(State.NONE),
            provider_known=family.known if family else False,
            day_end=day_end(self.day),
            provider=provider,
            hermes=hermes,
            hermes_final=bool(generated) and min(generated) >= settled,
            hermes_until=min(generated) if generated else None,
            hermes_call_time=call_time,
            provider_reports=family.reports if family else None,
            provider_halves=halves if open_by_hours else None,
            hermes_halves=hermes_halves if open_by_hours else None,
        )

    def _hermes_figures(self, sides: CellSides) -> Figures | None:
        if not self.hermes_slices or sides.key.family != HERMES_FAMILY:
            return None
        zero: dict[str, int | None] = dict.fromkeys(HERMES_REPORTS, 0)
        return add(zero, *(row.figures for row in sides.hermes_rows))


HERMES_REPORTS: tuple[str, ...] = (
    "uncached_input",
    "cache_read",
    "cache_write_unsplit",
    "output",
    "reasoning",
    "requests",
)
"""What a Hermes rollup tells. Its cache writes are not split by lifetime."""


def load_day(
    connection: Connection, workspace: Workspace, day: date, providers: Mapping[str, Provider], settings: Settings
) -> DaySides:
    """Read a workspace's day."""
    keys = {key.feed_id: key for key in list_provider_keys(connection, workspace.slug)}
    hermes_feeds = {feed.feed_id: feed for feed in list_hermes_feeds(connection, workspace.slug)}
    dated = list_settings(connection, [*keys, *hermes_feeds])
    slices = slices_of_days(connection, [*keys, *hermes_feeds], [day])
    families, costs = _families(day, keys, dated, slices, providers, settings)
    cells: dict[CellKey, CellSides] = {}
    collapsed = _collapsed(families)
    for family in families.values():
        for row in provider_sums(connection, _rules(family)):
            _add_provider_sum(cells, collapsed, family, keys, row)
    counting = {
        s.feed_id: s
        for s in slices
        if s.endpoint == HERMES_DAYS and s.observed_at is not None and hermes_feeds[s.feed_id].counts
    }
    bills_to = {feed_id: dated[feed_id].bills_to_on(day) for feed_id in hermes_feeds}
    uncounted = _add_hermes(connection, cells, collapsed, slices, counting, bills_to, _cuts(families))
    return DaySides(
        workspace=workspace,
        day=day,
        families=families,
        costs=costs,
        cells=_without_shadows(cells),
        hermes_feeds=hermes_feeds,
        hermes_slices=counting,
        keys=keys,
        bills_to=bills_to,
        uncounted=uncounted,
        settling_hermes=settings.settling_hermes,
    )


def _families(
    day: date,
    keys: Mapping[int, ProviderKey],
    dated: Mapping[int, FeedSettings],
    slices: list[SliceRow],
    providers: Mapping[str, Provider],
    settings: Settings,
) -> tuple[dict[FamilyKey, FamilyDay], dict[str, FamilyDay]]:
    """The coverage of every family of every provider that the workspace has a key for."""
    by_slice = {(s.feed_id, s.endpoint): s for s in slices}
    parts: dict[FamilyKey, dict[str, list[FeedDay]]] = defaultdict(lambda: defaultdict(list))
    declared: dict[FamilyKey, list[Endpoint]] = defaultdict(list)
    found: dict[FamilyKey, dict[int, SliceRow]] = defaultdict(dict)
    for feed_id, key in keys.items():
        provider = providers.get(key.provider)
        for endpoint in provider.endpoints if provider else ():
            if key.mode not in endpoint.modes:
                continue
            family = FamilyKey(key.provider, COSTS_FAMILY if endpoint.kind == "costs" else endpoint.family)
            row = by_slice.get((feed_id, endpoint.name))
            if row is not None:
                found[family][row.slice_id] = row
            declared[family].append(endpoint)
            parts[family][key.account].append(_feed_day(day, key, dated[feed_id], row, settings))
    families: dict[FamilyKey, FamilyDay] = {}
    costs: dict[str, FamilyDay] = {}
    for name, accounts in parts.items():
        one = _family_day(day, name, accounts, declared[name], found[name])
        if name.family == COSTS_FAMILY:
            costs[name.provider] = one
        else:
            families[name] = one
    return families, costs


def _feed_day(day: date, key: ProviderKey, dated: FeedSettings, row: SliceRow | None, settings: Settings) -> FeedDay:
    projects = frozenset(dated.projects_on(day))
    kind = "key" if key.mode == "standard" else ("projects" if projects else "account")
    return FeedDay(
        feed_id=key.feed_id,
        slice_id=row.slice_id if row else None,
        scope=Scope(kind, projects),
        coverage=coverage_of(
            day,
            row.observed_at if row else None,
            settings.settling_provider,
            attempted=bool(row and row.attempted),
        ),
        window_seconds=row.window_seconds if row else None,
        dimensions_asked=row.dimensions_asked if row else frozenset(),
        expected=dated.enabled_on(day) and dated.enabled_on(day + timedelta(days=1)),
    )


def _family_day(
    day: date,
    key: FamilyKey,
    parts: Mapping[str, list[FeedDay]],
    endpoints: list[Endpoint],
    slices: Mapping[int, SliceRow],
) -> FamilyDay:
    accounts = {
        account: settle_account(feeds)
        for account, feeds in parts.items()
        if any(feed.expected or feed.coverage.covers for feed in feeds)
    }
    coverage, known = provider_coverage([account.coverage for account in accounts.values()])
    known = known or any(lead.counts for account in accounts.values() for lead in account.leads.values())
    feeds = tuple(feed for account in accounts for feed in parts[account])
    counted = [
        f for account in accounts.values() for f in feeds if (lead := account.leads.get(f.feed_id)) and lead.counts
    ]
    always = frozenset().union(*(endpoint.always_reports for endpoint in endpoints))
    may = frozenset().union(*(endpoint.may_report for endpoint in endpoints))
    reports = always | may
    if reports & set(CACHE_WRITES):
        reports = reports | {CACHE_WRITE_GROUP}
    until = coverage.until or day_end(day)
    return FamilyDay(
        key=key,
        accounts=accounts,
        coverage=coverage,
        known=known,
        feeds=feeds,
        slices=slices,
        reports=reports,
        always_reports=always,
        cut_at=until.replace(minute=0, second=0, microsecond=0),
        hourly=coverage.state is State.PROVISIONAL
        and until < day_end(day)
        and all(feed.window_seconds == 3600 for feed in counted),
        scoped_only=bool(feeds) and all(feed.scope.kind != "account" for feed in feeds),
    )


def _rules(family: FamilyDay) -> list[CountRule]:
    leads = {feed_id: lead for account in family.accounts.values() for feed_id, lead in account.leads.items()}
    return [
        CountRule(feed.slice_id, leads[feed.feed_id].counts, leads[feed.feed_id].excluded_projects, family.cut_at)
        for feed in family.feeds
        if feed.slice_id is not None and feed.feed_id in leads
    ]


def _collapsed(families: Mapping[FamilyKey, FamilyDay]) -> frozenset[FamilyKey]:
    """Families in which a counted slice did not ask for the model: everything of the day meets in one cell."""
    return frozenset(
        name
        for name, family in families.items()
        for account in family.accounts.values()
        for feed in family.feeds
        if (lead := account.leads.get(feed.feed_id))
        and lead.counts
        and "model" not in feed.dimensions_asked
        and feed.slice_id is not None
    )


def _cuts(families: Mapping[FamilyKey, FamilyDay]) -> dict[str, datetime]:
    return {name.provider: family.cut_at for name, family in families.items() if name.family == HERMES_FAMILY}


def _add_provider_sum(
    cells: dict[CellKey, CellSides],
    collapsed: frozenset[FamilyKey],
    family: FamilyDay,
    keys: Mapping[int, ProviderKey],
    row: ProviderSum,
) -> None:
    reported = row.model or ""
    model = "" if family.key in collapsed else canonical_model(reported)
    name = CellKey(family.key.provider, ACCOUNT, family.key.family, model)
    sides = cells.setdefault(name, CellSides(name))
    feed_id = family.slices[row.slice_id].feed_id
    everything = dict(zip(EVENT_MEASURES, row.figures, strict=True))
    figures = {measure: everything[measure] for measure in RECONCILED_MEASURES}
    if row.shadowed:
        sides.shadowed_by_feed[feed_id] = add(sides.shadowed_by_feed.get(feed_id, {}), figures)
        return
    sides.counted_by_feed[feed_id] = add(sides.counted_by_feed.get(feed_id, {}), figures)
    sides.provider_rows.append(PricedSum(keys[feed_id].account, reported, row.variant, everything))
    if row.after_cut:
        sides.provider_after = add(sides.provider_after, figures)
    else:
        sides.provider_before = add(sides.provider_before, figures)


def _add_hermes(
    connection: Connection,
    cells: dict[CellKey, CellSides],
    collapsed: frozenset[FamilyKey],
    slices: list[SliceRow],
    counting: Mapping[int, SliceRow],
    bills_to: Mapping[int, Mapping[str, str]],
    cuts: Mapping[str, datetime],
) -> tuple[HermesShare, ...]:
    by_id = {s.slice_id: s for s in slices if s.feed_id in counting and s.endpoint in {HERMES_DAYS, HERMES_HOURS}}
    uncounted: list[HermesShare] = []
    for event in hermes_events(connection, list(by_id)):
        row = by_id[event.slice_id]
        detail = HermesDetail.read(event)
        route = detail.route(bills_to[row.feed_id])
        model = event.model or ""
        collapse = route == ACCOUNT and FamilyKey(detail.provider, HERMES_FAMILY) in collapsed
        name = CellKey(detail.provider, route, HERMES_FAMILY, "" if collapse else canonical_model(model))
        figures = {
            measure: value
            for measure, value in zip(RECONCILED_MEASURES, event.figures, strict=True)
            if value is not None
        }
        if row.endpoint == HERMES_HOURS:
            if row.hours_are_call_time and name in cells:
                _add_hour(cells[name], row.feed_id, model, event, figures, cuts.get(detail.provider))
            continue
        share = HermesShare(
            event.event_id,
            row.feed_id,
            model,
            figures,
            event.estimated_cost_usd,
            event.actual_cost_usd,
            included=detail.included or route == f"{OFF_ACCOUNT}openai-codex",
        )
        if event.counts:
            cells.setdefault(name, CellSides(name)).hermes_rows.append(share)
        else:
            uncounted.append(share)
    return tuple(uncounted)


def _add_hour(
    sides: CellSides,
    feed_id: int,
    model: str,
    event: HermesEvent,
    figures: Mapping[str, int],
    cut_at: datetime | None,
) -> None:
    halves = sides.hermes_hours.setdefault((feed_id, model), {"before": {}, "after": {}})
    half = "after" if cut_at is not None and event.window_start >= cut_at else "before"
    halves[half] = add(halves[half], figures)


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
    def included(self) -> bool:
        """Whether a subscription includes the row's cost."""
        return (self.billing_mode or "").startswith("subscription")

    def route(self, bills_to: Mapping[str, str]) -> str:
        """The route: as the payload says, else (v1, v2) as the feed's setting says, ``account`` by default."""
        if self.billing_provider is not None:
            return route_of(self.billing_provider, self.billing_base_url, self.billing_mode, self.provider)
        stated = bills_to.get(self.provider)
        if stated is None:
            return ACCOUNT if self.provider != UNKNOWN else f"{OFF_ACCOUNT}{UNKNOWN}"
        return ACCOUNT if stated.startswith(ACCOUNT) else stated


def _provider_side(sides: CellSides, family: FamilyDay | None) -> tuple[Figures, Halves | None]:
    if family is None or not family.known:
        return {}, None
    zero = dict.fromkeys(sorted(family.always_reports & set(RECONCILED_MEASURES)), 0)
    halves = Halves(sides.provider_before, sides.provider_after)
    return add(zero, sides.provider_before, sides.provider_after), halves


def _hermes_hours(day: DaySides, sides: CellSides) -> tuple[bool, Halves | None]:
    """Whether every feed of the cell states the hour of each call, hours that add up to the daily rows."""
    if not sides.hermes_rows:
        return False, None
    daily: dict[tuple[int, str], Figures] = {}
    for row in sides.hermes_rows:
        if not day.hermes_slices[row.feed_id].hours_are_call_time:
            return False, None
        name = (row.feed_id, row.model)
        daily[name] = add(daily.get(name, {}), row.figures)
    hourly = {name: add(*halves.values()) for name, halves in sides.hermes_hours.items()}
    if any(_used(daily.get(name, {})) != _used(hourly.get(name, {})) for name in {*daily, *hourly}):
        return False, None
    before = add(*(halves["before"] for halves in sides.hermes_hours.values()))
    after = add(*(halves["after"] for halves in sides.hermes_hours.values()))
    return True, Halves(before, after)


def _used(figures: Figures) -> dict[str, int]:
    return {name: value for name, value in figures.items() if value}


def _without_shadows(cells: dict[CellKey, CellSides]) -> dict[CellKey, CellSides]:
    """Shadowed rows make no cell of their own."""
    return {name: sides for name, sides in sorted(cells.items()) if sides.counted_by_feed or sides.hermes_rows}
