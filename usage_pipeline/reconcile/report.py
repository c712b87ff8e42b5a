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

from usage_pipeline.ledger.findings import StoredFinding, read_findings
from usage_pipeline.ledger.reconciled import COSTS, GROUPS, CostFigure, StoredRow, read_reconciled
from usage_pipeline.measures import LEVELS, OTHER_MEASURES, TOKEN_CLASSES
from usage_pipeline.pricing.rates import exact_arithmetic
from usage_pipeline.reconcile.cells import biller_of
from usage_pipeline.reconcile.figures import Figures, add

SLICE_CODES = frozenset({"provider_missing", "provider_stale", "window_missing", "lookback_exceeded"})
"""Findings of a slice: they show on every cell that its provider bills in its family, and also where there is none."""


def build_report(
    connection: Connection, first_day: date, end_day: date, workspace: str | None, now: datetime
) -> dict[str, Any]:
    """The report of the half-open range of days; ``workspace`` None is every real one, or the demo's.

    The demo's made-up figures are only there where no real workspace is.
    """
    findings = list(read_findings(connection, first_day, end_day, workspace))
    stored = list(read_reconciled(connection, first_day, end_day, workspace))
    by_place = _by_place(findings)
    return {
        "from": first_day.isoformat(),
        "to": (end_day - timedelta(days=1)).isoformat(),
        "now": now.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "rows": [_row(one, _codes(one, by_place)) for one in stored],
        "totals": _totals(stored),
        "findings": [_finding(one) for one in findings],
    }


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
        "cost": {name: money(row.costs[name]) for name in COSTS},
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
    costs = {name: money(_sum(one.row.costs[name] for one in stored)) for name in COSTS}
    return {**{group: measures(_total(stored, group)) for group in GROUPS}, "cost": costs}


def _total(stored: Sequence[StoredRow], group: str) -> Figures:
    """The sum of the rows; a level, which is no flow, is the highest day's sum."""
    by_day: dict[date, list[Figures]] = defaultdict(list)
    for one in stored:
        by_day[one.day].append(one.row.figures[group])
    days = [add(*figures) for figures in by_day.values()]
    levels = {name: max(known) for name in LEVELS if (known := [v for d in days if (v := d.get(name)) is not None])}
    return {**add(*days), **levels}


def _sum(costs: Iterable[CostFigure]) -> CostFigure:
    """The sum of the known amounts; its basis names every basis that is in it."""
    known = [cost for cost in costs if cost.usd is not None]
    if not known:
        return CostFigure(None, None)
    with exact_arithmetic():
        total = sum((cost.usd for cost in known if cost.usd is not None), Decimal(0))
    return CostFigure(total, "; ".join(sorted({cost.basis for cost in known if cost.basis})) or None)


def _finding(one: StoredFinding) -> dict[str, Any]:
    f = one.finding
    return {
        "code": f.code,
        "date": f.day.isoformat(),
        "workspace": one.workspace,
        "provider": f.provider,
        "account": f.account,
        "route": f.route,
        "family": f.family,
        "model": f.model,
        "endpoint": f.endpoint,
        "measure": f.measure,
        "figure_provider": _number(f.figure_provider),
        "figure_hermes": _number(f.figure_hermes),
        "difference": _number(f.difference),
        "explanation": f.explanation,
        "first_seen": one.first_seen.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "last_seen": one.last_seen.astimezone(UTC).isoformat().replace("+00:00", "Z"),
    }


def _number(figure: Decimal | int | None) -> str | None:
    """A finding's figure as text: exact, whether tokens or dollars."""
    return None if figure is None else f"{Decimal(figure):f}"
