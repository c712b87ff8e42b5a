"""The decision for every cell, once more: slowly, over plain lists, sharing no code with the package.

Belongs here: one workspace, one vendor, perhaps a reseller of its models and a proxy to its accounts, the family
``text``, written from docs/reconciliation.md alone and as literally as possible, so that where this and the package
differ, one of them has misread the rules. In: a :class:`History`. Out: :func:`table`, the cells by (day, route, model).
Beside it: ``naive_coverage`` (what is known), ``naive_findings``, ``naive_money``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime

from usage_pipeline_tests.reconcile.naive_coverage import (
    SETTLING,
    account_coverage,
    canonical,
    daily,
    end_of,
    hourly,
    is_expected,
    is_known,
    is_passed_on,
    leading_keys,
    leads,
    present_accounts,
    route_of,
    words,
)
from usage_pipeline_tests.reconcile.naive_history import Batch, Figures, History, Key, Line

LIFETIMES = ("cache_write_5m", "cache_write_30m", "cache_write_1h", "cache_write_12h", "cache_write_unsplit")
TOKEN_GROUPS = ("uncached_input", "cache_read", "cache_write", "output")
GROUPS = (*TOKEN_GROUPS, "requests")
"""What is compared: the cache writes as one group, every other measure for itself."""

_BY_COMPLETIONS = {"uncached_input", "cache_read", "cache_write_unsplit", "output", "requests"}
REPORTED = {
    "openai": _BY_COMPLETIONS,
    "anthropic": {"uncached_input", "cache_read", "cache_write_5m", "cache_write_1h", "output"},
}
REPORTED_BY_STANDARD_KEYS = {"uncached_input", "cache_read", "output", "requests"}


@dataclass
class Cell:
    """A cell's result. The figures are by group; ``lifetimes`` splits the cache writes. None: nobody reports it.

    ``row`` is the decision's by ``provider_first``, whatever the policy is.
    """

    decision: str = ""
    row: str = ""
    provisional: bool = False
    provider: dict[str, int | None] = field(default_factory=dict)
    hermes: dict[str, int | None] = field(default_factory=dict)
    counted: dict[str, int | None] = field(default_factory=dict)
    explained: Figures = field(default_factory=dict)
    unattributed: Figures = field(default_factory=dict)
    excess: Figures = field(default_factory=dict)
    stand_in: Figures = field(default_factory=dict)
    lower_bound: set[str] = field(default_factory=set)
    lifetimes: dict[str, Figures] = field(default_factory=dict)


def table(history: History, days: Sequence[date]) -> dict[tuple[date, str, str], Cell]:
    """Every cell of the days by (day, route, model)."""
    cells: dict[tuple[date, str, str], Cell] = {}
    for day in days:
        for route, model in sorted(_cell_names(history, day)):
            cells[day, route, model] = _cell(history, day, route, model)
        for route in sorted({key.route for key in history.keys}):
            has_cell = any((cell_day, cell_route) == (day, route) for cell_day, cell_route, _ in cells)
            expected = any(key.route == route and is_expected(key, day) for key in history.keys)
            if not has_cell and expected and not is_known(history, route, day):
                cells[day, route, ""] = _under_policy(history, day, route, "", _no_data(history, day))
    return cells


def _cell_names(history: History, day: date) -> set[tuple[str, str]]:
    """A cell exists when a row of either source falls into it; shadowed rows, and feeds that don't count, make none."""
    names = set()
    for route in {key.route for key in history.keys}:
        if is_passed_on(history, route, day):
            continue
        for account in history.accounts(route):
            for _, line, shadowed_by in leads(history, route, account, day):
                if not shadowed_by:
                    names.add((route, canonical(line.model)))
    for batch in words(history, day):
        for line in batch.days:
            if line.at.date() == day:
                names.add((route_of(history, batch, line), canonical(line.model)))
    return names


def _cell(history: History, day: date, route: str, model: str) -> Cell:
    """Where an account's report decides rows 1 to 9, else row 10, or row 11; then the policy."""
    if is_passed_on(history, route, day):
        cell = _counted_upstream(history, day, route, model)
    elif route == "account" or is_known(history, route, day):
        cell = _account_cell(history, day, route, model)
    else:
        return _off_account(history, day, route, model)
    return _under_policy(history, day, route, model, cell)


def provider_lines(history: History, day: date, route: str, model: str) -> list[tuple[str, Key, Line]]:
    """The lines that count in a cell, with their account and key."""
    return [
        (account, key, line)
        for account in history.accounts(route)
        for key, line, shadowed_by in leads(history, route, account, day)
        if not shadowed_by and canonical(line.model) == model
    ]


def hermes_lines(history: History, day: date, route: str, model: str) -> list[Line]:
    return [line for batch in words(history, day) for line in daily(history, batch, day, route, model)]


def speaking(history: History, day: date, route: str, model: str) -> list[Batch]:
    """The batches with a figure in the cell."""
    return [batch for batch in words(history, day) if daily(history, batch, day, route, model)]


def is_hermes_final(batches: Sequence[Batch], day: date) -> bool:
    return all(batch.generated_at >= end_of(day) + SETTLING for batch in batches)


def sum_of(lines: Sequence[Line], group: str) -> int:
    names = LIFETIMES if group == "cache_write" else (group,)
    return sum(line.figures.get(name, 0) for line in lines for name in names)


def reported_by(history: History, key: Key) -> set[str]:
    return REPORTED_BY_STANDARD_KEYS if key.standard else REPORTED[history.provider]


# --- rows 1 to 11 ----------------------------------------------------------------------------------------------------


def _account_cell(history: History, day: date, route: str, model: str) -> Cell:
    accounts = present_accounts(history, route, day)
    coverages = [account_coverage(history, route, account, day) for account in accounts]
    counting = [key for account in accounts for key in leading_keys(history, route, account, day)]
    told = [line for _, _, line in provider_lines(history, day, route, model)]
    said = hermes_lines(history, day, route, model)
    spoke = speaking(history, day, route, model)
    hermes_is_something = any(sum_of(said, group) > 0 for group in (*GROUPS, "reasoning"))

    cell = Cell()
    for group in GROUPS:
        reported = group == "cache_write" or group in REPORTED[history.provider]
        cell.provider[group] = sum_of(told, group) if counting and reported else None
        cell.hermes[group] = sum_of(said, group) if words(history, day) else None

    hours_count = all(_hours_are_of_calls(history, batch, day, route, model) for batch in spoke)
    cut: datetime | None = None
    stands_in = True
    known = [coverage for coverage in coverages if coverage is not None]
    if len(known) < len(coverages) or not coverages:
        if hermes_is_something:
            cell.row, cell.decision, cell.provisional = "7", "hermes_standin", True
        elif counting:
            cell.row, cell.decision, cell.provisional = "8", "provider", True
        else:
            return _no_data(history, day, cell)
    elif all(coverage.final for coverage in known):
        cell.row, cell.decision, stands_in = "1-3", "provider", False
    else:
        cell.row, cell.provisional = "4-6", True
        until = min(coverage.until for coverage in known)
        if until == end_of(day):
            stands_in = hours_count
        elif hours_count and all(key.grain == "1h" for key in counting):
            cut = until.replace(minute=0, second=0, microsecond=0)

    hours = [line for batch in spoke for line in hourly(history, batch, day, route, model)]
    for group in GROUPS:
        if group == "requests" and group not in REPORTED[history.provider] and route == "account":
            # Never reported by the provider: outside of the arithmetic, Hermes' figure where there is one.
            cell.counted[group] = cell.hermes[group]
            cell.explained[group] = cell.unattributed[group] = cell.excess[group] = cell.stand_in[group] = 0
            if cell.hermes[group] is not None:
                cell.lower_bound.add(group)
            continue
        _arithmetic(cell, group, told, hours, cut, stands_in)
    if not cell.decision:
        cell.decision = "provider_then_hermes" if any(cell.stand_in.values()) else "provider"
    _split_lifetimes(cell, told)
    return cell


def _arithmetic(
    cell: Cell, group: str, told: Sequence[Line], hours: Sequence[Line], cut: datetime | None, stands_in: bool
) -> None:
    """Fill in one group's figures. Without ``cut`` the day is compared whole, with it each half for itself."""
    p, h = cell.provider[group], cell.hermes[group]
    halves = [(p or 0, h or 0)]
    if cut is not None:
        halves = [
            (
                sum_of([line for line in told if (line.at < cut) == before], group),
                sum_of([line for line in hours if (line.at < cut) == before], group),
            )
            for before in (True, False)
        ]
    cell.explained[group] = sum(min(p, h) for p, h in halves)
    cell.stand_in[group] = sum(max(0, h - p) for p, h in halves) if stands_in else 0
    cell.unattributed[group] = (p or 0) - cell.explained[group]
    cell.excess[group] = (h or 0) - cell.explained[group] - cell.stand_in[group]
    cell.counted[group] = None if p is None and h is None else (p or 0) + cell.stand_in[group]


def _hours_are_of_calls(history: History, batch: Batch, day: date, route: str, model: str) -> bool:
    """Whether the batch's hours may be calculated with: call-time hours that add up to its daily rows."""
    if batch.version < 3 or not batch.call_time:
        return False
    total, shape = daily(history, batch, day, route, model), hourly(history, batch, day, route, model)
    return all(sum_of(total, group) == sum_of(shape, group) for group in (*GROUPS, "reasoning"))


def _split_lifetimes(cell: Cell, told: Sequence[Line]) -> None:
    """Explained cache writes fill the provider's lifetimes in their order; what is beyond them is unsplit."""
    left = cell.explained["cache_write"]
    cell.lifetimes = {"counted": {}, "explained": {}, "unattributed": {}}
    for name in LIFETIMES:
        p = sum(line.figures.get(name, 0) for line in told)
        explained = min(left, p)
        left -= explained
        cell.lifetimes["explained"][name] = explained
        cell.lifetimes["unattributed"][name] = p - explained
    cell.lifetimes["explained"]["cache_write_unsplit"] += left
    for name in LIFETIMES:
        cell.lifetimes["counted"][name] = sum(cell.lifetimes[part][name] for part in ("explained", "unattributed"))
    cell.lifetimes["counted"]["cache_write_unsplit"] += cell.stand_in["cache_write"]


def _off_account(history: History, day: date, route: str, model: str) -> Cell:
    """Row 10: what no account sees counts as Hermes says, but under the policy that leaves Hermes out."""
    spoke = speaking(history, day, route, model)
    said = hermes_lines(history, day, route, model)
    counts = history.policy != "provider_only"
    cell = Cell("hermes_only", "10", provisional=counts and not is_hermes_final(spoke, day))
    for group in GROUPS:
        cell.provider[group] = None
        cell.hermes[group] = sum_of(said, group)
        cell.counted[group] = cell.hermes[group] if counts else None
        cell.explained[group] = sum_of(said, group) if counts else 0
        cell.excess[group] = 0 if counts else sum_of(said, group)
        cell.unattributed[group] = cell.stand_in[group] = 0
    return cell


def _counted_upstream(history: History, day: date, route: str, model: str) -> Cell:
    """Row 11: shown, and counted in the account."""
    said = hermes_lines(history, day, route, model)
    coverages = [
        account_coverage(history, "account", account, day) for account in present_accounts(history, "account", day)
    ]
    final = all(coverage is not None and coverage.final for coverage in coverages)
    cell = Cell("provider", "11", provisional=not final)
    for group in GROUPS:
        cell.provider[group] = None
        cell.hermes[group] = cell.excess[group] = sum_of(said, group)
        cell.counted[group] = cell.explained[group] = cell.unattributed[group] = cell.stand_in[group] = 0
    return cell


def _no_data(history: History, day: date, cell: Cell | None = None) -> Cell:
    cell = cell or Cell()
    cell.decision, cell.row, cell.provisional = "no_data", "9", True
    for group in GROUPS:
        cell.provider[group] = None
        cell.hermes[group] = 0 if words(history, day) else None
        cell.counted[group] = None
        cell.explained[group] = cell.unattributed[group] = cell.excess[group] = cell.stand_in[group] = 0
    return cell


# --- policies --------------------------------------------------------------------------------------------------------


def _under_policy(history: History, day: date, route: str, model: str, cell: Cell) -> Cell:
    """The cell as the workspace's policy counts it; both sides' figures stay what they are."""
    told = [line for _, _, line in provider_lines(history, day, route, model)]
    hermes_final = is_hermes_final(speaking(history, day, route, model) or words(history, day), day)
    provider_final = cell.row == "1-3" or (cell.row == "11" and not cell.provisional)
    hermes_is_null = all(value is None for value in cell.hermes.values())
    if history.policy in ("hermes_first", "hermes_only") and cell.row == "9" and not hermes_is_null:
        cell.lower_bound |= {"requests"} - REPORTED[history.provider] if route == "account" else set()
    if history.policy == "hermes_first" and not hermes_is_null and cell.row != "11":
        cell.decision = "hermes"
        for group in GROUPS:
            p, h = cell.provider[group], cell.hermes[group] or 0
            if group in cell.lower_bound:
                cell.counted[group] = cell.hermes[group]
                continue
            cell.explained[group], cell.unattributed[group] = h, max(0, (p or 0) - h)
            cell.excess[group] = cell.stand_in[group] = 0
            cell.counted[group] = h + cell.unattributed[group]
        beyond = any(cell.unattributed.values())
        cell.provisional = not hermes_final or (beyond and not provider_final)
        _split_lifetimes(cell, told)
    elif history.policy == "provider_only" and cell.row not in ("9", "11"):
        known = any(value is not None for value in cell.provider.values())
        cell.decision = "provider" if known else "no_data"
        cell.provisional = not provider_final
        for group in GROUPS:
            p, h = cell.provider[group], 0 if group in cell.lower_bound else cell.hermes[group] or 0
            cell.counted[group] = p
            cell.explained[group] = 0 if p is None else min(p, h)
            cell.unattributed[group] = (p or 0) - cell.explained[group]
            cell.excess[group] = h - cell.explained[group]
            cell.stand_in[group] = 0
        cell.lower_bound = set()
        _split_lifetimes(cell, told)
    elif history.policy == "hermes_only":
        cell.decision = "no_data" if hermes_is_null else "hermes"
        cell.provisional = not hermes_final
        for group in GROUPS:
            cell.counted[group] = cell.hermes[group]
            cell.explained[group] = 0 if group in cell.lower_bound else cell.hermes[group] or 0
            cell.unattributed[group] = cell.excess[group] = cell.stand_in[group] = 0
        _split_lifetimes(cell, [])
    return cell
