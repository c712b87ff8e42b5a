"""A workspace's day, reconciled: both sides loaded, every cell decided, costs and findings found, the result stored.

In come days and "now"; out come the stored rows, replaced as a whole with history. Running it again writes nothing but
the instant. "Now" is recorded with the result and never read here.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import partial
from typing import cast

from sqlalchemy import Connection, Engine

from usage_pipeline.errors import InvariantError
from usage_pipeline.ledger.account_bills import replace_bills
from usage_pipeline.ledger.counted_slices import replace_counted_slices
from usage_pipeline.ledger.finding_replacement import replace_findings
from usage_pipeline.ledger.findings import days_with_findings
from usage_pipeline.ledger.price_overrides import load_overrides
from usage_pipeline.ledger.prices_in_force import InForce, keep_in_force, load_in_force
from usage_pipeline.ledger.reconcile_inputs import BilledSum, billed_sums, slices_of_days
from usage_pipeline.ledger.reconciled import (
    ReconciledRow,
    ShareRow,
    lock_reconciliation,
    replace_reconciled,
)
from usage_pipeline.ledger.replacement import Changes
from usage_pipeline.ledger.workspaces import Workspace
from usage_pipeline.measures import LEVELS, RECONCILED_MEASURES
from usage_pipeline.pricing.price_book import PriceBook
from usage_pipeline.pricing.quotes import PricesInForce, Quotes
from usage_pipeline.providers.contract import Provider
from usage_pipeline.reconcile.account_bills import compared_bills
from usage_pipeline.reconcile.aliases import ALIAS_VERSION
from usage_pipeline.reconcile.cells import CellKey, CellSides, DecidedCell
from usage_pipeline.reconcile.counted import counted_slices
from usage_pipeline.reconcile.day_costs import DayCosts, DecidedDay
from usage_pipeline.reconcile.decision import RULES_VERSION, Decided, Policy, decide
from usage_pipeline.reconcile.excess_findings import NEIGHBOUR_DAYS
from usage_pipeline.reconcile.figures import Figures, add
from usage_pipeline.reconcile.findings import NEIGHBOUR_REACH, findings_of_day
from usage_pipeline.reconcile.money import CellCost, DayBills, bill_day
from usage_pipeline.reconcile.shares import shares_of_cell
from usage_pipeline.reconcile.sides import DaySides, load_day
from usage_pipeline.settings import Settings


@dataclass(frozen=True, slots=True)
class DayOutcome:
    """What reconciling a workspace's day did: rows by what became of them, and how many findings opened or closed."""

    workspace: str
    day: date
    changes: Changes
    findings: int
    findings_moved: int


def reconcile_workspace_days(
    engine: Engine,
    workspace: Workspace,
    days: Sequence[date],
    now: datetime,
    providers: Mapping[str, Provider],
    prices: PriceBook,
    settings: Settings,
) -> list[DayOutcome]:
    """Reconcile the days, and those around them whose findings hang on their neighbours. One transaction a day.

    Prices in force stay; for what has none, ``prices`` is asked, the stored overrides of the workspace before it.
    Raises :class:`InvariantError` ``conservation_broken``; the day at hand is then as it was.
    """
    with engine.begin() as connection:
        book = prices.with_overrides(load_overrides(connection, workspace.workspace_id))
    run = DayRun(workspace, now, providers, book, settings)
    asked = sorted(set(days))
    outcomes = [run.reconcile(engine, day) for day in asked]
    return [*outcomes, *(run.reconcile(engine, day) for day in run.neighbours_to_settle(engine, asked))]


class DayRun:
    """One reconciling of some days, in order; keeps what was loaded of the days around the one at hand.

    ``prices_of`` makes the day's prices of those in force there and the book's.
    """

    def __init__(
        self,
        workspace: Workspace,
        now: datetime,
        providers: Mapping[str, Provider],
        prices: Quotes,
        settings: Settings,
        prices_of: Callable[[InForce, Quotes], Quotes] = PricesInForce,
    ) -> None:
        self._workspace = workspace
        self._now = now
        self._providers = providers
        self._prices = prices
        self._settings = settings
        self._prices_of = prices_of
        self._bill_counts = workspace.policy != "hermes_only"
        self._loaded: dict[date, DaySides] = {}

    def neighbours_to_settle(self, engine: Engine, days: Sequence[date]) -> list[date]:
        """Days near the reconciled ones with a finding that the change may have decided anew."""
        if not days:
            return []
        found: set[date] = set()
        with engine.begin() as connection:
            for codes, reach in NEIGHBOUR_REACH.items():
                near = {day + timedelta(days=n) for day in days for n in range(-reach, reach + 1)}
                first_day, end_day = min(near), max(near) + timedelta(days=1)
                of_codes = days_with_findings(connection, self._workspace.workspace_id, codes, first_day, end_day)
                found.update(near.intersection(of_codes))
        return sorted(found - set(days))

    def reconcile(self, engine: Engine, day: date) -> DayOutcome:
        """Reconcile one day in one transaction."""
        with _no_cycles_to_look_for(), engine.begin() as connection:
            return self.reconcile_within(connection, day)

    def reconcile_within(self, connection: Connection, day: date) -> DayOutcome:
        """Reconcile one day in the caller's transaction."""
        workspace_id = self._workspace.workspace_id
        # Locked before anything is read: of two that reconcile a day at once, the later one reads what is newest.
        locked = lock_reconciliation(connection, workspace_id, day)
        # One that began earlier may come later: what it writes is believed from then on, not from before.
        now = max(self._now, locked.now or self._now)
        in_force = load_in_force(connection, workspace_id, day)
        at_hand = self.decided_day(connection, day)
        sides = at_hand.sides
        prices = self._prices_of(in_force, self._prices)
        costs = at_hand.costs(prices)
        nearby = partial(self._bills_nearby, connection, day) if self._bill_counts else None
        compared = compared_bills(sides, costs.bills, prices, self._settings, nearby)
        rows, shares = self._rows(at_hand, costs)
        assert_totals_conserved(at_hand.decided, sides.counted_rows)
        findings = findings_of_day(
            connection,
            sides,
            at_hand.decided,
            costs.bills,
            costs.unpriced,
            compared,
            self._settings,
            self._now,
            lambda key, n: self._sides(connection, day + timedelta(days=n)).cell(key),
        )
        changes = replace_reconciled(connection, workspace_id, day, rows, shares, now)
        slices = slices_of_days(connection, [*sides.keys, *sides.hermes_feeds], [day])
        replace_counted_slices(connection, locked.reconciliation_id, counted_slices(sides, slices), now)
        replace_bills(connection, workspace_id, day, compared, now)
        moved = replace_findings(connection, workspace_id, day, findings, now)
        keep_in_force(connection, workspace_id, day, costs.bills.quotes.values(), in_force)
        return DayOutcome(self._workspace.slug, day, changes, len(findings), moved)

    def decided_day(self, connection: Connection, day: date) -> DecidedDay:
        """The day as it would be reconciled now, but for its prices; read anew."""
        self._forget_all_but_near(day)
        sides = self._sides(connection, day)
        return DecidedDay(sides, self._decide(sides), self._billed(connection, sides), self._bill_counts)

    def _bills_nearby(self, connection: Connection, day: date, days_later: int) -> tuple[DaySides, DayBills]:
        """Both sides and the bills of a day around ``day``, at the prices that are in force there."""
        other = day + timedelta(days=days_later)
        sides = self._sides(connection, other)
        prices = self._prices_of(load_in_force(connection, self._workspace.workspace_id, other), self._prices)
        return sides, bill_day(sides, self._billed(connection, sides), prices)

    def _forget_all_but_near(self, day: date) -> None:
        """Forget the day itself, which is read anew under its lock, and days that no neighbour of it will ask for."""
        self._loaded = {d: sides for d, sides in self._loaded.items() if 0 < abs((d - day).days) <= NEIGHBOUR_DAYS}

    def _sides(self, connection: Connection, day: date) -> DaySides:
        if day not in self._loaded:
            self._loaded[day] = load_day(connection, self._workspace, day, self._providers, self._settings)
        return self._loaded[day]

    def _decide(self, sides: DaySides) -> list[DecidedCell]:
        policy = cast("Policy", self._workspace.policy)
        found: list[DecidedCell] = []
        for key in [*sides.cells, *_empty_cells(sides)]:
            cell = sides.cell(key)
            cell_sides = sides.cells.get(key) or CellSides(key)
            base = decide(cell)
            decided = base if policy == "provider_first" else decide(cell, policy)
            found.append(DecidedCell(key, cell_sides, cell, base, decided))
        return found

    def _billed(self, connection: Connection, sides: DaySides) -> list[BilledSum]:
        counted: dict[int, frozenset[str]] = {}
        for costs in sides.costs.values():
            leads = {f: lead for account in costs.accounts.values() for f, lead in account.leads.items() if lead.counts}
            for slice_id, row in costs.slices.items():
                if row.feed_id in leads:
                    counted[slice_id] = leads[row.feed_id].excluded_projects
        return billed_sums(connection, list(counted), counted)

    def _rows(self, at_hand: DecidedDay, costs: DayCosts) -> tuple[list[ReconciledRow], list[ShareRow]]:
        rows = [self._row(one, costs.cells[one.key]) for one in at_hand.decided]
        rows.extend(self._line_row(key, cost) for key, cost in costs.lines.items())
        shares: list[ShareRow] = []
        for one in at_hand.decided:
            shares.extend(shares_of_cell(one.key, one.decided, one.sides.hermes_rows))
        return rows, shares

    def _row(self, one: DecidedCell, cost: CellCost) -> ReconciledRow:
        return self._as_row(
            one.key,
            one.decided,
            {
                "reported_by_provider": one.cell.provider,
                "reported_by_hermes": one.cell.hermes or {},
                "counted": one.decided.counted,
                "explained": one.decided.explained,
                "unattributed": one.decided.unattributed,
                "excess": one.decided.excess,
                "stand_in": one.decided.stand_in,
            },
            cost,
        )

    def _line_row(self, key: CellKey, cost: CellCost) -> ReconciledRow:
        decision = "provider" if self._bill_counts else "no_data"
        return self._as_row(key, Decided(1, decision, cost.billed.basis != "final", None), {}, cost)

    def _as_row(self, key: CellKey, decided: Decided, figures: Mapping[str, Figures], cost: CellCost) -> ReconciledRow:
        return ReconciledRow(
            provider=key.provider,
            route=key.route,
            family=key.family,
            model=key.model,
            decision=decided.decision,
            provisional=decided.provisional,
            covered_until=decided.until,
            policy=self._workspace.policy,
            rules_version=RULES_VERSION,
            alias_version=ALIAS_VERSION,
            lower_bound=decided.lower_bound,
            figures=figures,
            costs={"counted": cost.counted, "billed": cost.billed, "computed": cost.computed, "hermes": cost.hermes},
        )


@contextmanager
def _no_cycles_to_look_for() -> Iterator[None]:
    """Turn Python's search for garbage cycles off: a large day is a million small objects that all stay until it is
    stored, and going through them again and again took a fifth of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _empty_cells(sides: DaySides) -> list[CellKey]:
    """Row 9: families that an enabled feed should have covered, of which nothing at all is known."""
    with_cells = {family.key for key in sides.cells if (family := sides.family_of(key)) is not None}
    return [
        CellKey(name.provider, family.route, name.family, "")
        for name, family in sides.families.items()
        if name not in with_cells
        and not family.coverage.covers
        and not family.known
        and any(feed.expected for feed in family.feeds)
    ]


def assert_totals_conserved(decided: Sequence[DecidedCell], counted_rows: Figures) -> None:
    """Assert rule 1 over a day: Σ P = Σ counted provider rows, and Σ counted = Σ P + Σ stand-in + Σ ``hermes_only``.

    The second holds where the provider's figure is what counts; under ``hermes_first`` and ``hermes_only`` conservation
    holds cell by cell. Raises :class:`InvariantError` ``conservation_broken``.
    """
    with_provider = [one for one in decided if one.cell.provider_decides]
    provider = add(*(one.cell.provider for one in with_provider))
    _assert_same("provider figure", provider, "counted provider rows", counted_rows)
    by_provider = [one for one in with_provider if one.decided.decision not in {"hermes", "no_data"}]
    counted = add(*(_conserved(one, one.decided.counted) for one in by_provider))
    sources = add(
        *(_conserved(one, one.cell.provider) for one in by_provider), *(one.decided.stand_in for one in by_provider)
    )
    _assert_same("counted total", counted, "provider figure and stand-in", sources)


def _conserved(one: DecidedCell, figures: Figures) -> dict[str, int | None]:
    """The figures of measures inside conservation."""
    return {name: figures.get(name) for name in one.decided.explained}


def _assert_same(what: str, total: Figures, of: str, expected: Figures) -> None:
    for name in RECONCILED_MEASURES:
        if name not in LEVELS and (total.get(name) or 0) != (expected.get(name) or 0):
            raise InvariantError(
                "conservation_broken",
                f"{name}: the day's {what} {total.get(name)} is not {expected.get(name)}, the sum of {of}",
                remedy="Nothing was published; this is a defect of the program, report it with the day.",
            )
