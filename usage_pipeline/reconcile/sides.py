"""Both sides of a workspace's day, put together from what the ledger holds, before anything is decided.

In come the workspace's feeds and their slices; out come the cells (provider, route, family, canonical model) with the
provider's figure P, Hermes' figure H, the coverage of each provider's family, and the rows behind both.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta

from sqlalchemy import Connection

from usage_pipeline.hermes.routes import ACCOUNT, UNKNOWN, vendor_of_model
from usage_pipeline.ledger.feed_settings import list_settings
from usage_pipeline.ledger.hermes_feeds import HermesFeed, list_hermes_feeds
from usage_pipeline.ledger.provider_keys import ProviderKey, list_provider_keys
from usage_pipeline.ledger.reconcile_inputs import (
    ProviderSum,
    SliceRow,
    hermes_events,
    level_sums,
    provider_sums,
    slices_of_days,
)
from usage_pipeline.ledger.workspaces import Workspace
from usage_pipeline.measures import LEVELS, RECONCILED_MEASURES
from usage_pipeline.normalise.hermes_days import HERMES_DAYS, HERMES_HOURS
from usage_pipeline.providers.contract import Provider
from usage_pipeline.reconcile.aliases import canonical_model
from usage_pipeline.reconcile.cells import CellKey, CellSides, FamilyKey, PricedSum
from usage_pipeline.reconcile.coverage import NOT_COVERED, weakest
from usage_pipeline.reconcile.decision import Cell, Halves
from usage_pipeline.reconcile.families import (
    FamilyDay,
    Reports,
    count_rules,
    declared_reports,
    family_of_cell,
    provider_families,
)
from usage_pipeline.reconcile.figures import Figures, add, add_to
from usage_pipeline.reconcile.hermes_rows import HERMES_FAMILY, HERMES_REPORTS, call_time_halves, sort_hermes_rows
from usage_pipeline.settings import Settings
from usage_pipeline.utc_days import day_end

_SUMMED = frozenset(RECONCILED_MEASURES) - LEVELS


@dataclass(frozen=True, slots=True)
class DaySides:
    """Everything that deciding one workspace's day needs.

    ``families`` are those of every provider that the workspace has keys of, resellers and proxies too.
    ``shadowed`` are the cells that only shadowed rows fall into: no cells of their own, but worth a look.
    ``counted_rows`` is the sum of every provider row that counts, made apart from the cells. ``without_model`` are the
    families whose rows all meet in one cell. ``hermes_slices`` are the daily slices of the Hermes feeds that count and
    were heard of, by feed.
    """

    workspace: Workspace
    day: date
    families: Mapping[FamilyKey, FamilyDay]
    costs: Mapping[str, FamilyDay]
    reports: Mapping[FamilyKey, Reports]
    cells: Mapping[CellKey, CellSides]
    shadowed: Mapping[CellKey, CellSides]
    counted_rows: Figures
    without_model: frozenset[FamilyKey]
    hermes_feeds: Mapping[int, HermesFeed]
    hermes_slices: Mapping[int, SliceRow]
    keys: Mapping[int, ProviderKey]
    bills_to: Mapping[int, Mapping[str, str]]
    settling_hermes: timedelta

    def family_of(self, key: CellKey) -> FamilyDay | None:
        """The family that reports the cell's provider side; None where the workspace has no key of whoever bills it."""
        return family_of_cell(self.families, key)

    def upstreams(self, key: CellKey) -> frozenset[str]:
        """Whose own figures, known that day, have calls of the cell that a proxy passed on: the vendor's of its models,
        and every other that its rows name.
        """
        family = self.family_of(key)
        if family is None or not family.passed_on_to:
            return frozenset()
        sides = self.cells.get(key) or self.shadowed.get(key)
        return (frozenset({key.provider}) & family.passed_on_to) | (sides.passed_on_to if sides else frozenset())

    def provider_decides(self, key: CellKey) -> bool:
        """Whether a provider's figure can decide the cell.

        Off the account nothing but the biller's own report does; where it is silent, and Hermes is not, H counts.
        """
        family = self.family_of(key)
        return (
            key.route == ACCOUNT
            or bool(self.upstreams(key))
            or (family is not None and (family.known or not self.cells.get(key)))
        )

    def cell(self, key: CellKey) -> Cell:
        """The cell as the decision wants it; for a key without rows, both sides as covered."""
        sides = self.cells.get(key) or CellSides(key)
        family = self.family_of(key)
        upstreams = self.upstreams(key)
        provider_decides = self.provider_decides(key)
        reports = self.reports.get(key.reported_in) if provider_decides else None
        coverage = family.coverage if family else NOT_COVERED
        if upstreams:
            behind = [self.families[FamilyKey(name, key.family)].coverage for name in sorted(upstreams)]
            coverage = weakest([*behind, coverage] if sides.counted_by_feed else behind)
        halves = call_time_halves(sides, self.hermes_slices)
        is_cut = halves is not None and family is not None and family.hourly
        # Where no feed has a row in the cell, it is their silence that counts, and all of them must be final.
        speaking = {row.feed_id for row in sides.hermes_rows} or set(self.hermes_slices)
        generated = [seen for feed in speaking if (seen := self.hermes_slices[feed].observed_at) is not None]
        return Cell(
            provider_decides=provider_decides,
            coverage=coverage,
            provider_known=family is not None and family.known,
            day_end=day_end(self.day),
            # Of what was passed on, only rows say what was not; a cell without any has no figure of its own.
            provider={} if upstreams and not sides.counted_by_feed else self._provider_figures(sides, family, reports),
            hermes=self._hermes_figures(sides),
            hermes_final=bool(generated) and min(generated) >= day_end(self.day) + self.settling_hermes,
            hermes_until=min(generated, default=None),
            hermes_call_time=halves is not None,
            provider_reports=reports.declared if reports and not upstreams else None,
            provider_halves=Halves(sides.provider_before, sides.provider_after) if is_cut else None,
            hermes_halves=halves if is_cut else None,
            passed_on=bool(upstreams),
        )

    def _provider_figures(self, sides: CellSides, family: FamilyDay | None, reports: Reports | None) -> Figures:
        """P: 0 where nothing was used of what every row has, None where the provider does not report."""
        if family is None or not family.known or reports is None:
            return {}
        return add(reports.nothing_used, sides.provider_before, sides.provider_after, sides.levels)

    def _hermes_figures(self, sides: CellSides) -> Figures | None:
        """H: None where no batch covers the day; of a cell with rows, None for what none of its rows tells."""
        if not self.hermes_slices or sides.key.family != HERMES_FAMILY:
            return None
        if not sides.hermes_rows:
            return dict.fromkeys(HERMES_REPORTS, 0)
        return add(*(row.figures for row in sides.hermes_rows))


def load_day(
    connection: Connection, workspace: Workspace, day: date, providers: Mapping[str, Provider], settings: Settings
) -> DaySides:
    """Read a workspace's day."""
    keys = {key.feed_id: key for key in list_provider_keys(connection, workspace.slug)}
    hermes_feeds = {feed.feed_id: feed for feed in list_hermes_feeds(connection, workspace.slug)}
    dated = list_settings(connection, [*keys, *hermes_feeds])
    slices = slices_of_days(connection, [*keys, *hermes_feeds], [day])
    families, costs = provider_families(day, keys, dated, slices, providers, settings)
    reports = declared_reports(providers)
    bills_to = {feed_id: dated[feed_id].bills_to_on(day) for feed_id in hermes_feeds}
    provider_side = _ProviderRows(connection, families, keys, reports)
    heard = [s for s in slices if s.observed_at is not None and s.feed_id in hermes_feeds]
    counting = [s for s in heard if hermes_feeds[s.feed_id].counts and s.endpoint in {HERMES_DAYS, HERMES_HOURS}]
    hermes_side = sort_hermes_rows(
        hermes_events(connection, [s.slice_id for s in counting]),
        {s.slice_id: s for s in counting},
        bills_to,
        provider_side.without_model,
        families,
    )
    cells = provider_side.cells
    for key, rows in hermes_side.days.items():
        sides = cells.setdefault(key, CellSides(key))
        sides.hermes_rows.extend(rows)
        sides.hermes_hours.update(hermes_side.hours.get(key, {}))
    return DaySides(
        workspace=workspace,
        day=day,
        families=families,
        costs=costs,
        reports=reports,
        cells={key: one for key, one in sorted(cells.items()) if one.counted_by_feed or one.hermes_rows},
        shadowed={key: one for key, one in sorted(cells.items()) if not one.counted_by_feed and not one.hermes_rows},
        counted_rows=provider_side.counted,
        without_model=provider_side.without_model,
        hermes_feeds=hermes_feeds,
        hermes_slices={s.feed_id: s for s in counting if s.endpoint == HERMES_DAYS},
        keys=keys,
        bills_to=bills_to,
        settling_hermes=settings.settling_hermes,
    )


class _ProviderRows:
    """The provider's rows of a day, sorted to their cells.

    ``without_model`` are the families in which a row that counts has no model, because its pull did not ask for it:
    everything of the day meets in one cell there.
    """

    def __init__(
        self,
        connection: Connection,
        families: Mapping[FamilyKey, FamilyDay],
        keys: Mapping[int, ProviderKey],
        reports: Mapping[FamilyKey, Reports],
    ) -> None:
        self._keys = keys
        self.cells: dict[CellKey, CellSides] = {}
        self.counted: dict[str, int | None] = {}
        sums = [(family, list(provider_sums(connection, count_rules(family)))) for family in families.values()]
        self.without_model = frozenset(family.key for family, rows in sums if _model_not_asked(family, rows))
        for family, rows in sums:
            for row in rows:
                self._add_sum(family, row)
            if reports[family.key].declared & LEVELS:
                self._add_levels(connection, family)

    def _sides(self, family: FamilyDay, upstream: str | None, reported: str) -> CellSides:
        model = "" if family.key in self.without_model else canonical_model(reported)
        vendor = family.key.provider if family.role == "vendor" else _vendor(reported, upstream)
        key = CellKey(vendor, family.route, family.key.family, model)
        found = self.cells.get(key)
        if found is None:
            found = self.cells[key] = CellSides(key)
        return found

    def _add_sum(self, family: FamilyDay, row: ProviderSum) -> None:
        sides = self._sides(family, row.upstream, row.model or "")
        feed_id = family.slices[row.slice_id].feed_id
        figures = {name: value for name, value in row.figures.items() if name in _SUMMED}
        if row.shadowed:
            add_to(sides.shadowed_by_feed.setdefault(feed_id, {}), figures)
            sides.passed_on_to |= family.passed_on_to & {row.upstream}
            return
        add_to(self.counted, figures)
        add_to(sides.counted_by_feed.setdefault(feed_id, {}), figures)
        sides.provider_rows.append(PricedSum(self._keys[feed_id].account, row.model or "", row.variant, row.figures))
        add_to(sides.provider_after if row.after_cut else sides.provider_before, figures)

    def _add_levels(self, connection: Connection, family: FamilyDay) -> None:
        """Levels are added over the projects of an account at one instant, never over time."""
        for row in level_sums(connection, count_rules(family)):
            account = self._keys[family.slices[row.slice_id].feed_id].account
            cell = self._sides(family, row.upstream, row.model or "")
            add_to(cell.peaks.setdefault(account, {}).setdefault(row.window_start, {}), row.figures)


def _vendor(model: str, upstream: str | None) -> str:
    """Whose model a reseller's or a proxy's row is about, as for Hermes' rows: by its name, else who answered it.

    Behind a proxy the one who answers may be a cloud (Bedrock, Azure) and not the vendor.
    """
    vendor = vendor_of_model(model)
    return vendor if vendor != UNKNOWN else upstream or UNKNOWN


def _model_not_asked(family: FamilyDay, rows: Iterable[ProviderSum]) -> bool:
    return any(
        not row.model and not row.shadowed and "model" not in family.slices[row.slice_id].dimensions_asked
        for row in rows
    )
