"""A workspace's day, reconciled: both sides loaded, every cell decided, costs and findings found, the result stored.

In come days and "now"; out come the stored rows, replaced as a whole with history. Running it again writes nothing but
the instant. "Now" is recorded with the result and never read here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import cast

from sqlalchemy import Connection, Engine

from usage_pipeline.errors import InvariantError
from usage_pipeline.hermes.routes import ACCOUNT
from usage_pipeline.ledger.findings import Finding, days_with_findings, replace_findings
from usage_pipeline.ledger.prices import remember
from usage_pipeline.ledger.reconcile_inputs import (
    BilledSum,
    batch_findings_of_day,
    billed_sums,
    drift_of_day,
    feeds_with_two_labels,
    first_final_figures,
)
from usage_pipeline.ledger.reconciled import GROUPS, CostFigure, ReconciledRow, ShareRow, replace_reconciled
from usage_pipeline.ledger.replacement import Changes
from usage_pipeline.ledger.workspaces import Workspace
from usage_pipeline.pricing.price_book import PriceBook
from usage_pipeline.providers.contract import Provider
from usage_pipeline.reconcile.aliases import ALIAS_VERSION
from usage_pipeline.reconcile.decision import RULES_VERSION, Cell, Decided, Policy, decide
from usage_pipeline.reconcile.figures import Figures, add
from usage_pipeline.reconcile.findings import (
    NEIGHBOUR_CODES,
    NEIGHBOUR_DAYS,
    DecidedCell,
    bill_findings,
    coverage_findings,
    excess_findings,
    label_findings,
    overlap_findings,
    price_findings,
    restatement_findings,
    route_findings,
    source_findings,
    unallocated_findings,
)
from usage_pipeline.reconcile.money import CellCost, DayBills, bill_day, cost_of_cell, line_cells
from usage_pipeline.reconcile.shares import shares_of_cell
from usage_pipeline.reconcile.sides import CellKey, CellSides, DaySides, FamilyKey, load_day
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

    Raises :class:`InvariantError` ``conservation_broken``; the day at hand is then as it was.
    """
    run = _Run(workspace, now, providers, prices, settings)
    asked = sorted(set(days))
    outcomes = [run.reconcile(engine, day) for day in asked]
    return [*outcomes, *(run.reconcile(engine, day) for day in run.neighbours_to_settle(engine, asked))]


class _Run:
    """One reconciling of some days; keeps what was loaded of neighbours for as long as it lasts."""

    def __init__(
        self,
        workspace: Workspace,
        now: datetime,
        providers: Mapping[str, Provider],
        prices: PriceBook,
        settings: Settings,
    ) -> None:
        self._workspace = workspace
        self._now = now
        self._providers = providers
        self._prices = prices
        self._settings = settings
        self._loaded: dict[date, DaySides] = {}

    def neighbours_to_settle(self, engine: Engine, days: Sequence[date]) -> list[date]:
        """Days near the reconciled ones with a finding that the change may have decided anew."""
        if not days:
            return []
        reach = timedelta(days=NEIGHBOUR_DAYS)
        near = {day + timedelta(days=n) for day in days for n in range(-NEIGHBOUR_DAYS, NEIGHBOUR_DAYS + 1)}
        with engine.begin() as connection:
            found = days_with_findings(
                connection,
                self._workspace.workspace_id,
                NEIGHBOUR_CODES,
                min(days) - reach,
                max(days) + reach + timedelta(days=1),
            )
        return [day for day in found if day in near and day not in set(days)]

    def reconcile(self, engine: Engine, day: date) -> DayOutcome:
        """Reconcile one day in one transaction."""
        with engine.begin() as connection:
            sides = self._sides(connection, day)
            decided = self._decide(sides)
            bills = bill_day(sides, self._billed(connection, sides), self._prices)
            rows, shares, unpriced = self._rows(sides, decided, bills)
            assert_totals_conserved(decided)
            findings = self._findings(connection, sides, decided, bills, unpriced)
            changes = replace_reconciled(connection, self._workspace.workspace_id, day, rows, shares, self._now)
            moved = replace_findings(connection, self._workspace.workspace_id, day, findings, self._now)
            remember(connection, bills.quotes)
        return DayOutcome(self._workspace.slug, day, changes, len(findings), moved)

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
            found.append(DecidedCell(key, cell_sides, cell, base, decide(cell, policy)))
        return found

    def _billed(self, connection: Connection, sides: DaySides) -> list[BilledSum]:
        counted: dict[int, frozenset[str]] = {}
        for costs in sides.costs.values():
            leads = {f: lead for account in costs.accounts.values() for f, lead in account.leads.items() if lead.counts}
            for slice_id, row in costs.slices.items():
                if row.feed_id in leads:
                    counted[slice_id] = leads[row.feed_id].excluded_projects
        return billed_sums(connection, list(counted), counted)

    def _rows(
        self, sides: DaySides, decided: Sequence[DecidedCell], bills: DayBills
    ) -> tuple[list[ReconciledRow], list[ShareRow], dict[CellKey, set[str]]]:
        rows: list[ReconciledRow] = []
        shares: list[ShareRow] = []
        unpriced: dict[CellKey, set[str]] = {}
        for one in decided:
            cost, missing = cost_of_cell(one.key, one.sides, one.decided, bills, self._prices, sides.day)
            unpriced[one.key] = missing
            rows.append(self._row(one, cost))
            shares.extend(shares_of_cell(one.key, one.decided, one.sides.hermes_rows))
        for key, cost in line_cells(sides, bills).items():
            rows.append(self._line_row(key, cost))
        return rows, shares, unpriced

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
        provisional = cost.billed.basis != "final"
        return self._as_row(key, Decided(1, "provider", provisional, None), {}, cost)

    def _as_row(self, key: CellKey, decided: Decided, figures: Mapping[str, Figures], cost: CellCost) -> ReconciledRow:
        amounts = {"counted": cost.counted, "billed": cost.billed, "computed": cost.computed, "hermes": cost.hermes}
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
            figures={group: figures.get(group, {}) for group in GROUPS},
            costs={name: CostFigure(amount.usd, amount.basis) for name, amount in amounts.items()},
        )

    def _findings(
        self,
        connection: Connection,
        sides: DaySides,
        decided: Sequence[DecidedCell],
        bills: DayBills,
        unpriced: Mapping[CellKey, set[str]],
    ) -> list[Finding]:
        found: list[Finding] = []
        compares = self._workspace.policy in {"provider_first", "hermes_first"}
        about_provider, about_hermes = (
            self._workspace.policy != "hermes_only",
            self._workspace.policy != "provider_only",
        )
        for one in decided:
            if compares:
                found.extend(excess_findings(one, sides, self._settings, self._neighbour(connection, sides, one.key)))
            found.extend(price_findings(one, unpriced[one.key], sides))
        if about_provider:
            slices = [s for family in sides.families.values() for s in family.slices]
            found.extend(coverage_findings(sides, decided, self._settings, self._now))
            found.extend(overlap_findings(sides, decided))
            found.extend(restatement_findings(sides, first_final_figures(connection, slices)))
            found.extend(bill_findings(sides, bills, self._settings))
            found.extend(source_findings(sides, drift_of_day(connection, list(sides.keys), sides.day)))
        if about_hermes:
            feeds = list(sides.hermes_feeds)
            found.extend(route_findings(sides, decided))
            found.extend(unallocated_findings(decided, sides))
            found.extend(source_findings(sides, batch_findings_of_day(connection, feeds, sides.day)))
            found.extend(label_findings(sides, feeds_with_two_labels(connection, feeds, sides.day)))
        return found

    def _neighbour(self, connection: Connection, sides: DaySides, key: CellKey) -> Callable[[int], Cell]:
        def cell(offset: int) -> Cell:
            return self._sides(connection, sides.day + timedelta(days=offset)).cell(key)

        return cell


def _empty_cells(sides: DaySides) -> list[CellKey]:
    """Row 9: families that an enabled feed should have covered, of which nothing at all is known."""
    with_cells = {FamilyKey(key.provider, key.family) for key in sides.cells if key.route == ACCOUNT}
    return [
        CellKey(name.provider, ACCOUNT, name.family, "")
        for name, family in sides.families.items()
        if name not in with_cells
        and not family.coverage.covers
        and not family.known
        and any(feed.expected for feed in family.feeds)
    ]


def assert_totals_conserved(decided: Sequence[DecidedCell]) -> None:
    """Assert rule 1 over a day: Σ counted = Σ P + Σ stand-in + Σ hermes_only, for measures inside conservation.

    Under ``hermes_first`` and ``hermes_only`` what counts is Hermes' figure, and conservation holds cell by cell.
    Raises :class:`InvariantError` ``conservation_broken``.
    """
    provider_counts = [
        one
        for one in decided
        if one.decided.decision in {"provider", "provider_then_hermes", "hermes_standin"} and one.key.route == ACCOUNT
    ]
    counted = add(
        *({n: v for n, v in one.decided.counted.items() if n in one.decided.explained} for one in provider_counts)
    )
    expected = add(
        *({n: one.cell.provider.get(n) for n in one.decided.explained} for one in provider_counts),
        *(one.decided.stand_in for one in provider_counts),
    )
    for name, value in counted.items():
        if value != (expected.get(name) or 0):
            raise InvariantError(
                "conservation_broken",
                f"{name}: the day's counted total {value} is not {expected.get(name)}, the sum of its sources",
                remedy="Nothing was published; this is a defect of the program, report it with the day.",
            )
