"""The findings of the naive model: of cells, and of slices. Written from docs/reconciliation.md alone.

In: a :class:`History`, its days and its table. Out: codes by cell, and those about coverage by slice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal

from usage_pipeline_tests.reconcile.naive_coverage import (
    SETTLING,
    account_coverage,
    bill_leader,
    canonical,
    complete_pulls,
    end_of,
    is_expected,
    is_passed_on,
    is_scoped,
    is_tagged,
    key_coverage,
    leading_keys,
    leads,
    lines_of_pull,
    present_accounts,
    words,
)
from usage_pipeline_tests.reconcile.naive_history import History, Key
from usage_pipeline_tests.reconcile.naive_model import (
    TOKEN_GROUPS,
    Cell,
    hermes_lines,
    is_hermes_final,
    provider_lines,
    reported_by,
    speaking,
    sum_of,
)

MISSING_AFTER = timedelta(hours=24)
TOLERANCE = Decimal("0.02")
TOLERANCE_FLOOR = 10
SliceFinding = tuple[date, str, str, bool]
"""Day, key, code, and whether it is about the bill."""

COVERAGE_CODES = {"provider_stale", "provider_missing", "window_missing"}
"""Findings about slices, not about cells."""


def cell_findings(history: History, name: tuple[date, str, str], cell: Cell) -> set[str]:
    """The codes of a cell, those about coverage left out."""
    day, route, model = name
    found = set()
    if cell.row in ("10", "11"):
        return found
    if cell.row == "1-3" and history.policy in ("provider_first", "hermes_first"):
        found |= _comparison(history, day, route, model, cell)
    if history.policy != "hermes_only":
        found |= _restated(history, day, route, model) | _overlapping(history, day, route, model)
    return found


def slice_findings(
    history: History, days: Sequence[date], cells: Mapping[tuple[date, str, str], Cell]
) -> set[SliceFinding]:
    """Findings about the coverage of usage."""
    found: set[SliceFinding] = set()
    if history.policy == "hermes_only":
        return found
    for key in history.keys:
        for day in days:
            if not is_expected(key, day):
                continue
            coverage = key_coverage(history, key, day)
            of_account = account_coverage(history, key.route, key.account, day)
            settled = history.now >= end_of(day) + SETTLING
            if coverage is not None:
                leads_there = key in leading_keys(history, key.route, key.account, day)
                if settled and not coverage.final and leads_there:
                    found.add((day, key.name, "provider_stale", False))
            elif of_account is None:
                rows = {
                    cell.row for (cell_day, route, _), cell in cells.items() if (cell_day, route) == (day, key.route)
                }
                if settled and rows & {"7", "10"}:
                    found.add((day, key.name, "provider_missing", False))
                if history.now >= end_of(day) + MISSING_AFTER and (not rows or rows - {"7", "10"}):
                    found.add((day, key.name, "window_missing", False))  # rows 8, 9 and 11, or no cell
    return found


def bill_slice_findings(history: History, days: Sequence[date]) -> set[SliceFinding]:
    """The same of bills, for keys of whole accounts. No Hermes stands in for a bill."""
    found: set[SliceFinding] = set()
    if history.policy == "hermes_only":
        return found
    for key in history.keys:
        for day in days:
            leader = bill_leader(history, key.account, day)
            settled = history.now >= end_of(day) + SETTLING
            if leader is not None and leader[0] == key and settled and not leader[1].final:
                found.add((day, key.name, "provider_stale", True))
            if leader is None and history.now >= end_of(day) + MISSING_AFTER:
                found.add((day, key.name, "window_missing", True))
    return found


def _exceeds(p: int, h: int) -> bool:
    return h - p > max(TOLERANCE * p, TOLERANCE_FLOOR)


def _comparison(history: History, day: date, route: str, model: str, cell: Cell) -> set[str]:
    """Row 3, and which of its names the excess gets."""
    found = set()
    unknown_scope = _is_scope_unknown(history, day, route, model)
    for group in TOKEN_GROUPS:
        if group not in cell.lower_bound and _exceeds(cell.provider[group] or 0, cell.hermes[group] or 0):
            boundary = _vanishes_nearby(history, day, route, model, group)
            found.add(
                "scope_unknown" if unknown_scope else "session_boundary" if boundary else "hermes_exceeds_provider"
            )
    requests = cell.provider["requests"]
    if not found and requests is not None and _exceeds(requests, cell.hermes["requests"] or 0):
        found.add("scope_unknown" if unknown_scope else "requests_differ")
    return found


def _is_scope_unknown(history: History, day: date, route: str, model: str) -> bool:
    """Only scoped keys, and Hermes does not say what it billed."""
    untagged = any(not is_tagged(history, batch, day) for batch in speaking(history, day, route, model))
    return is_scoped(history, route, day) and untagged


def _vanishes_nearby(history: History, day: date, route: str, model: str, group: str) -> bool:
    """Whether the excess is gone in the sum of D-1…D+1 or of the 7 days around D: a session dated by its end."""
    spoke = speaking(history, day, route, model)
    if any(batch.version >= 3 for batch in spoke) or _both_final(history, day, route, model, group) is None:
        return False
    for reach in (1, 3):
        pairs = [
            pair
            for n in range(-reach, reach + 1)
            if (pair := _both_final(history, day + timedelta(days=n), route, model, group)) is not None
        ]
        if not _exceeds(sum(p for p, _ in pairs), sum(h for _, h in pairs)):
            return True
    return False


def _both_final(history: History, day: date, route: str, model: str, group: str) -> tuple[int, int] | None:
    """Both figures of a day on which both sides are known and final."""
    accounts = present_accounts(history, route, day)
    coverages = [account_coverage(history, route, account, day) for account in accounts]
    spoke = speaking(history, day, route, model)
    # Where none has a figure, nothing was said by all that cover the day, and each of them must have settled.
    if (
        is_passed_on(history, route, day)
        or not words(history, day)
        or not is_hermes_final(spoke or words(history, day), day)
        or not accounts
        or not all(coverage is not None and coverage.final for coverage in coverages)
    ):
        return None
    told = [line for _, _, line in provider_lines(history, day, route, model)]
    return sum_of(told, group), sum_of(hermes_lines(history, day, route, model), group)


def _restated(history: History, day: date, route: str, model: str) -> set[str]:
    """Whether any pull newer than a leading key's first final one says something else of the cell."""
    for account in history.accounts(route):
        for key in leading_keys(history, route, account, day):
            final = [pull for pull in complete_pulls(history, key, day) if pull.started_at >= end_of(day) + SETTLING]
            told = [
                [line for line in lines_of_pull(history, key, pull, day) if canonical(line.model) == model]
                for pull in final
            ]
            figures = [[sum_of(lines, name) for name in sorted(reported_by(history, key))] for lines in told]
            if any(one != figures[0] for one in figures):
                return {"restated_after_final"}
    return set()


def _overlapping(history: History, day: date, route: str, model: str) -> set[str]:
    """Whether a shadowed key reports more in the cell than the leaders of its account, or scopes cross."""
    for account in history.accounts(route):
        told = [one for one in leads(history, route, account, day) if canonical(one[1].model) == model]
        counted = [line for _, line, shadowed_by in told if not shadowed_by]
        for key in {key for key, _, _ in told}:
            shadowed = [line for teller, line, by in told if teller == key and by]
            if any(sum_of(shadowed, name) > sum_of(counted, name) for name in reported_by(history, key)):
                return {"overlapping_feeds"}
        if counted and _crossing(leading_keys(history, route, account, day)):
            return {"overlapping_feeds"}
    return set()


def _crossing(keys: Sequence[Key]) -> bool:
    """Whether two scopes share a project without one containing the other."""
    scopes = [set(key.projects) for key in keys if key.projects]
    return any(a & b and not a <= b and not b <= a for a in scopes for b in scopes)
