"""The report: reconciled rows of a range of days and their totals, in the shape that ``report --json`` promises.

Token figures are ints or null; ``nano_usd`` is rounded once, half even, from the exact decimal that stands beside it
as ``usd``. Keys may join this shape; none is renamed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

from sqlalchemy import Connection

from usage_pipeline.ledger.account_bills import read_bills
from usage_pipeline.ledger.findings import StoredFinding, read_findings
from usage_pipeline.ledger.reconciled import COSTS, GROUPS, CostFigure, StoredRow, read_reconciled
from usage_pipeline.ledger.retention import require_history
from usage_pipeline.measures import LEVELS, OTHER_MEASURES, TOKEN_CLASSES
from usage_pipeline.pricing.rates import exact_arithmetic
from usage_pipeline.reconcile.account_bills import bill_as_json
from usage_pipeline.reconcile.cells import biller_of
from usage_pipeline.reconcile.figures import Figures, add
from usage_pipeline.reconcile.finding_report import finding_as_json

SLICE_CODES = frozenset({"provider_missing", "provider_stale", "window_missing", "lookback_exceeded"})
"""Findings of a slice: they show on every cell that its provider bills in its family, and also where there is none."""


def build_report(
    connection: Connection,
    first_day: date,
    end_day: date,
    workspace: str | None,
    now: datetime,
    as_of: datetime | None = None,
) -> dict[str, Any]:
    """The report of the half-open range of days; ``workspace`` None is every real one, or the demo's.

    The demo's made-up figures are only there where no real workspace is. With ``as_of`` it is what was believed at that
    instant: rows, totals and findings; ``as_of`` joins the report, and ``recorded_at`` every row.
    """
    require_history(connection, first_day, end_day, workspace, as_of)
    findings = list(read_findings(connection, first_day, end_day, workspace, as_of=as_of))
    stored = list(read_reconciled(connection, first_day, end_day, workspace, as_of))
    bills = read_bills(connection, first_day, end_day, workspace, as_of=as_of)
    by_place = _by_place(findings)
    rows = [_row(one, _codes(one, by_place)) for one in stored]
    if as_of is not None:
        rows = [{**row, "recorded_at": instant(one.recorded_at)} for row, one in zip(rows, stored, strict=True)]
    return {
        **report_head(first_day, end_day, now, as_of),
        "rows": rows,
        "totals": _totals(stored),
        "findings": [finding_as_json(one) for one in findings],
        "bills": [bill_as_json(one) for one in bills],
    }


def report_head(first_day: date, end_day: date, now: datetime, as_of: datetime | None) -> dict[str, Any]:
    """What every report begins with: the days (both included), the instant, and which instant it is about."""
    return {
        "from": first_day.isoformat(),
        "to": (end_day - timedelta(days=1)).isoformat(),
        "now": instant(now),
        **({"as_of": instant(as_of)} if as_of else {}),
    }


def instant(at: datetime) -> str:
    """An instant as every report writes it: RFC 3339, UTC."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


_Place = tuple[str, date, str | None, str | None, str | None, str | None]


def _by_place(findings: Iterable[StoredFinding]) -> dict[_Place, set[str]]:
    """Codes by (workspace, day, provider, route, family, model); a slice's finding has no model."""
    places: dict[_Place, set[str]] = defaultdict(set)
    for one in findings:
        f = one.finding
        model = None if f.code in SLICE_CODES else f.model
        places[(one.workspace, f.day, f.provider, f.route, f.family, model)].add(f.code)
    return places


def _codes(one: StoredRow, places: Mapping[_Place, set[str]]) -> list[str]:
    row = one.row
    of_cell = places.get((one.workspace, one.day, row.provider, row.route, row.family, row.model), set())
    biller = biller_of(row.provider, row.route)
    return sorted(of_cell | places.get((one.workspace, one.day, biller, row.route, row.family, None), set()))


def _row(one: StoredRow, codes: list[str]) -> dict[str, Any]:
    row = one.row
    return {
        "date": one.day.isoformat(),
        "workspace": one.workspace,
        "provider": row.provider,
        "route": row.route,
        "family": row.family,
        "model": row.model,
        "decision": row.decision,
        "provisional": row.provisional,
        "covered_until": row.covered_until.astimezone(UTC).isoformat().replace("+00:00", "Z")
        if row.covered_until
        else None,
        "policy": row.policy,
        "rules_version": row.rules_version,
        "alias_version": row.alias_version,
        "lower_bound": list(row.lower_bound),
        **{group: measures(row.figures[group]) for group in GROUPS},
        "cost": _costs(row.costs),
        "findings": codes,
    }


def measures(figures: Figures) -> dict[str, Any]:
    """Figures in the report's shape: token classes, reasoning, requests, and the measures in units of their own."""
    return {
        "tokens": {name: figures.get(name) for name in TOKEN_CLASSES},
        "reasoning": figures.get("reasoning"),
        "requests": figures.get("requests"),
        "other": {name: figures[name] for name in OTHER_MEASURES if figures.get(name) is not None},
    }


def money(cost: CostFigure) -> dict[str, Any]:
    """An amount in the report's shape; null where it is not known."""
    if cost.usd is None:
        return {"nano_usd": None, "usd": None, "basis": cost.basis}
    return {"nano_usd": nano_usd(cost.usd), "usd": plain(cost.usd), "basis": cost.basis}


def _costs(costs: Mapping[str, CostFigure]) -> dict[str, Any]:
    """The four costs; the computed one names the versions of the prices behind it."""
    told = {name: money(costs[name]) for name in COSTS}
    return {**told, "computed": {**told["computed"], "version": costs["computed"].version}}


def nano_usd(usd: Decimal) -> int:
    """Billionths of a US dollar, rounded half even."""
    with exact_arithmetic():
        return int(usd.scaleb(9).to_integral_value(ROUND_HALF_EVEN))


def plain(usd: Decimal) -> str:
    """An exact amount in digits, at least two after the point, without zeros that say nothing."""
    text = f"{usd:f}" if usd else "0"  # a zero may come with thousands of decimals, or negative
    whole, _, fraction = text.partition(".")
    return f"{whole}.{fraction.rstrip('0').ljust(2, '0')}"


def _totals(stored: Sequence[StoredRow]) -> dict[str, Any]:
    costs = {name: _sum(one.row.costs[name] for one in stored) for name in COSTS}
    return {**{group: measures(_total(stored, group)) for group in GROUPS}, "cost": _costs(costs)}


def _total(stored: Sequence[StoredRow], group: str) -> Figures:
    """The sum of the rows; a level, which is no flow, is the highest day's sum."""
    by_day: dict[date, list[Figures]] = defaultdict(list)
    for one in stored:
        by_day[one.day].append(one.row.figures[group])
    days = [add(*figures) for figures in by_day.values()]
    levels = {name: max(known) for name in LEVELS if (known := [v for d in days if (v := d.get(name)) is not None])}
    return {**add(*days), **levels}


def _sum(costs: Iterable[CostFigure]) -> CostFigure:
    """The sum of the known amounts; its basis names every basis that is in it, its version every version."""
    known = [cost for cost in costs if cost.usd is not None]
    if not known:
        return CostFigure(None, None)
    with exact_arithmetic():
        total = sum((cost.usd for cost in known if cost.usd is not None), Decimal(0))
    versions = {version for cost in known if cost.version for version in cost.version.split("; ")}
    basis = "; ".join(sorted({cost.basis for cost in known if cost.basis}))
    return CostFigure(total, basis or None, "; ".join(sorted(versions)) or None)
