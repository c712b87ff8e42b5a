"""What the naive model counts in dollars: bills, prices, and what Hermes says. From docs/reconciliation.md alone.

In: a :class:`History` of one vendor, its table, and prices by model (dollars per million tokens, by class; a model that
is not there has no price). Out: the cost of every cell, the rows of the bill, and the findings about money.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from usage_pipeline_tests.reconcile.naive_coverage import (
    account_coverage,
    bill_leader,
    canonical,
    complete_pulls,
    present_accounts,
)
from usage_pipeline_tests.reconcile.naive_history import Billed, Figures, History, Line
from usage_pipeline_tests.reconcile.naive_model import GROUPS, LIFETIMES, REPORTED, Cell, hermes_lines, provider_lines

Prices = Mapping[str, Mapping[str, Decimal]]
TOLERANCE = Decimal("0.02")
FLOOR_USD = Decimal("0.01")
MILLION = Decimal(1_000_000)
_CLASSES = ("uncached_input", "cache_read", *LIFETIMES, "output")


@dataclass(frozen=True)
class Cost:
    """A cell's amounts in exact dollars, None where there is none, and what the counted one is based on."""

    counted: Decimal | None = None
    basis: str | None = None
    billed: Decimal | None = None
    computed: Decimal | None = None
    hermes: Decimal | None = None


def price_of(prices: Prices, model: str, figures: Figures) -> Decimal | None:
    """None where the model has no price and something was used."""
    if model not in prices:
        return None if any(figures.values()) else Decimal(0)
    return sum((prices[model][name] * figures.get(name, 0) / MILLION for name in _CLASSES), Decimal(0))


def price_of_line(history: History, prices: Prices, line: Line) -> Decimal | None:
    """The price of what the provider's report can tell of a line: Anthropic's knows no requests."""
    told = REPORTED[history.provider]
    return price_of(prices, line.model, {name: count for name, count in line.figures.items() if name in told})


# --- bills -----------------------------------------------------------------------------------------------------------


def bill(history: History, account: str, day: date) -> tuple[list[Billed], bool] | None:
    """The lines of the account's bill of the day by the newest complete pull of the key that leads, and whether it is
    final; None where no bill is known."""
    leader = bill_leader(history, account, day)
    if leader is None:
        return None
    key, coverage = leader
    newest = complete_pulls(history, key, day, costs=True)[-1]
    return [line for line in newest.bills if line.day == day], coverage.final


def billed_rows(history: History, cells: Mapping[tuple[date, str, str], Cell], day: date) -> dict[str, Cost]:
    """The lines of the day's bills that are in no cell, by their model or their words."""
    rows: dict[str, list[tuple[Decimal, bool]]] = {}
    for account in history.accounts("account"):
        lines, final = bill(history, account, day) or ([], False)
        for line in lines:
            if line.model is None or (day, "account", canonical(line.model)) not in cells:
                words = line.words if line.model is None else canonical(line.model)
                rows.setdefault(words, []).append((line.usd, final))
    return {words: _billed_row(history, amounts) for words, amounts in rows.items()}


def _billed_row(history: History, amounts: Sequence[tuple[Decimal, bool]]) -> Cost:
    billed = sum((usd for usd, _ in amounts), Decimal(0))
    final = [usd for usd, is_final in amounts if is_final]
    if not final or history.policy == "hermes_only":
        return Cost(billed=billed)
    return Cost(sum(final, Decimal(0)), "billed", billed)


# --- cells -----------------------------------------------------------------------------------------------------------


def cost_of(history: History, name: tuple[date, str, str], cell: Cell, prices: Prices) -> Cost:
    """What a cell costs."""
    day, route, model = name
    said, said_basis = _by_hermes(history, day, route, model)
    if route != "account":
        counts = history.policy != "provider_only"
        return Cost(said if counts else None, said_basis if counts else None, hermes=said)
    billed = _billed_of(history, day, model)
    computed = _computed(history, day, model, cell, prices)
    if history.policy == "hermes_only":
        return Cost(said, said_basis, billed, computed, said)
    counted, basis = _counted(history, day, model, cell, prices)
    return Cost(counted, basis, billed, computed, said)


def _billed_of(history: History, day: date, model: str) -> Decimal | None:
    found = [
        line.usd
        for account in history.accounts("account")
        for line in (bill(history, account, day) or ([], False))[0]
        if line.model is not None and canonical(line.model) == model
    ]
    return sum(found, Decimal(0)) if found else None


def _beyond(history: History, day: date, model: str, cell: Cell) -> Figures:
    """What counts beyond the provider's figure: by Hermes alone, its cache writes not split."""
    if history.policy == "hermes_only":
        return {}
    beyond = {}
    for group in GROUPS:
        if group in cell.lower_bound:
            continue
        name = "cache_write_unsplit" if group == "cache_write" else group
        beyond[name] = max(0, (cell.counted[group] or 0) - (cell.provider[group] or 0))
    return beyond


def _computed(history: History, day: date, model: str, cell: Cell, prices: Prices) -> Decimal | None:
    """List price of what counts: of the provider's rows, and of what stands in. None where nothing is priced."""
    parts = _priced_parts(history, day, model, cell, prices)
    return _sum_or_none(parts) if parts else None


def _priced_parts(history: History, day: date, model: str, cell: Cell, prices: Prices) -> list[Decimal | None]:
    told = [price_of_line(history, prices, line) for _, _, line in provider_lines(history, day, "account", model)]
    beyond = _beyond(history, day, model, cell)
    return [*told, price_of(prices, model, beyond)] if any(beyond.values()) else told


def _counted(history: History, day: date, model: str, cell: Cell, prices: Prices) -> tuple[Decimal | None, str | None]:
    """The bill where it is final, else the estimate, account by account; what stands in adds dollars only where a bill
    is not final."""
    parts: list[tuple[Decimal | None, str]] = []
    accounts = present_accounts(history, "account", day)
    open_accounts = 0
    billed_by_name = False
    for account in accounts:
        known = bill(history, account, day)
        lines = [line for of, _, line in provider_lines(history, day, "account", model) if of == account]
        if known is not None and known[1]:
            named = [line.usd for line in known[0] if line.model and canonical(line.model) == model]
            billed_by_name = billed_by_name or bool(named)
            if named or cell.decision != "no_data":
                parts.append((sum(named, Decimal(0)), "billed"))
            continue
        open_accounts += 1
        if lines:
            parts.append((_sum_or_none([price_of_line(history, prices, line) for line in lines]), "estimate"))
    beyond = _beyond(history, day, model, cell)
    if any(beyond.values()) and (open_accounts or not accounts):
        parts.append((price_of(prices, model, beyond), "estimate"))
    if not parts:
        return None, None
    bases = {"unpriced" if usd is None else basis for usd, basis in parts}
    if "unpriced" in bases and not billed_by_name:
        return None, "unpriced"  # else the bill of one account stands, whatever is not known of another
    return sum((usd for usd, _ in parts if usd is not None), Decimal(0)), " and ".join(sorted(bases))


def _sum_or_none(amounts: Sequence[Decimal | None]) -> Decimal | None:
    return None if None in amounts else sum((one for one in amounts if one is not None), Decimal(0))


def _by_hermes(history: History, day: date, route: str, model: str) -> tuple[Decimal | None, str | None]:
    """Actual where every row has it, else the estimates; a subscription includes its calls."""
    lines = hermes_lines(history, day, route, model)
    lines = [line for line in lines if any(line.figures.values()) or line.actual or line.estimated] or lines
    if lines and all(line.included for line in lines):
        return Decimal(0), "included"
    for kind in ("actual", "estimated"):
        amounts = [getattr(line, kind) for line in lines]
        if amounts and None not in amounts:
            return sum(amounts, Decimal(0)), kind
    return None, None


# --- findings --------------------------------------------------------------------------------------------------------


def unpriced(history: History, name: tuple[date, str, str], cell: Cell, prices: Prices) -> bool:
    """Whether something that counts on the account has no price."""
    day, route, model = name
    counts = route == "account" and history.policy != "hermes_only"
    return counts and None in _priced_parts(history, day, model, cell, prices)


def bills_that_differ(
    history: History, cells: Mapping[tuple[date, str, str], Cell], days: Sequence[date], prices: Prices
) -> set[tuple[date, str]]:
    """(day, account) whose final bill and final usage don't agree."""
    found: set[tuple[date, str]] = set()
    if history.policy == "hermes_only":
        return found
    for day in days:
        for account in history.accounts("account"):
            known = bill(history, account, day)
            usage = account_coverage(history, "account", account, day)
            if known is None or not known[1] or usage is None or not usage.final:
                continue
            lines = [
                line
                for (cell_day, route, model) in cells
                if (cell_day, route) == (day, "account")
                for of, _, line in provider_lines(history, day, route, model)
                if of == account
            ]
            without = {canonical(line.model) for line in lines if price_of_line(history, prices, line) is None}
            computed = sum((price_of_line(history, prices, line) or Decimal(0) for line in lines), Decimal(0))
            named = sum(
                (line.usd for line in known[0] if line.model is not None and canonical(line.model) not in without),
                Decimal(0),
            )
            unnamed = sum((line.usd for line in known[0] if line.model is None), Decimal(0))
            difference = abs(computed - named - unnamed)
            if without:  # what has no price may explain lines that name no model, or any part of them
                low, high = sorted((named, named + unnamed))
                difference = max(low - computed, computed - high, Decimal(0))
            # The part of the bill that is compared. The document says "of the bill", which may also be all of it.
            if difference > TOLERANCE * abs(named + unnamed) and difference > FLOOR_USD:
                found.add((day, account))
    return found
