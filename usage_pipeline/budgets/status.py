"""Where a budget stands: what was spent in a period, which part of the budget that is, and what it may come to.

The forecast is plain: days that have ended count as they stand; today counts as the mean of the last seven days that
ended, or as what is spent already if that is more; every day to come counts as that mean. Of the seven, days that were
never reconciled are left out; where none is left there is no forecast.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final, Literal

from sqlalchemy import Connection

from usage_pipeline.budgets.budget import Budget, Period, Scope, period_of
from usage_pipeline.budgets.spending import Amount, added, spending
from usage_pipeline.errors import InvalidInputError
from usage_pipeline.ledger.budgets import budgets_on
from usage_pipeline.pricing.rates import exact_arithmetic
from usage_pipeline.reconcile.report import nano_usd, plain

MEAN_DAYS: Final = 7
"""The forecast rests on so many days: a whole week, so that weekends have their part."""

State = Literal["within", "warning", "exceeded"]


@dataclass(frozen=True, slots=True)
class BudgetStatus:
    """A budget in one of its periods. Amounts are exact US dollars, but for the forecast, which is a whole number of
    nano-dollars (None: there is nothing to tell it from).

    ``warning_on`` and ``exceeded_on`` are the UTC days on which the amounts of the period so far reached the threshold,
    None where they did not.
    """

    budget: Budget
    period: Period
    spent: Amount
    forecast_usd: Decimal | None
    warning_on: date | None
    exceeded_on: date | None

    @property
    def state(self) -> State:
        """Which threshold is reached."""
        return "exceeded" if self.exceeded_on else "warning" if self.warning_on else "within"

    @property
    def percent(self) -> Decimal:
        """What is spent of the budget, in percent, rounded half even to two decimals; to be shown, not compared."""
        return _percent(self.spent.usd, self.budget.amount_usd)

    @property
    def forecast_percent(self) -> Decimal | None:
        """The same of the forecast."""
        return None if self.forecast_usd is None else _percent(self.forecast_usd, self.budget.amount_usd)


def budget_statuses(
    connection: Connection, today: date, *, on: date | None = None, workspace: str | None = None
) -> list[BudgetStatus]:
    """The budgets that hold on a UTC day (today), each in the period of that day; of all workspaces, or those of one.

    Budgets over all workspaces together are only among the former. Raises InvalidInputError ``day_in_future``.
    """
    day = today if on is None else on
    if day > today:
        raise InvalidInputError(
            "day_in_future", f"{day} has not begun in UTC", where="on", remedy="Give today or an earlier day."
        )
    return statuses_of(connection, [(budget, day) for budget in budgets_on(connection, day, workspace)], today)


def statuses_of(connection: Connection, wanted: Iterable[tuple[Budget, date]], today: date) -> list[BudgetStatus]:
    """Where budgets stand in the periods of the given days, in the same order."""
    asked = [(budget, period_of(budget.period, day)) for budget, day in wanted]
    ranges: dict[str | None, list[Period]] = defaultdict(list)
    scopes: dict[str | None, set[Scope]] = defaultdict(set)
    for budget, period in asked:
        ranges[budget.workspace].append(period)
        scopes[budget.workspace].add(budget.scope)
    by_day = {
        workspace: spending(
            connection,
            min(_first_day_needed(period, today) for period in periods),
            max(period.end_day for period in periods),
            workspace,
            scopes[workspace],
        )
        for workspace, periods in ranges.items()
    }
    return [status_of(budget, period, by_day[budget.workspace][budget.scope], today) for budget, period in asked]


def _first_day_needed(period: Period, today: date) -> date:
    """Of a period that goes on the forecast needs the days before today."""
    return period.first_day if period.end_day <= today else min(period.first_day, today - timedelta(days=MEAN_DAYS))


def status_of(budget: Budget, period: Period, amounts: Mapping[date, Amount], today: date) -> BudgetStatus:
    """Where a budget stands in a period, given the amount of each reconciled day."""
    spent = Amount()
    warning_on = exceeded_on = None
    with exact_arithmetic():
        warning_usd = (budget.amount_usd * budget.warning_percent).scaleb(-2)
        exceeded_usd = (budget.amount_usd * budget.exceeded_percent).scaleb(-2)
    for day in sorted(amounts):
        if period.first_day <= day < period.end_day:
            spent = added(spent, amounts[day])
            # A correction may take back what was reached: only what still stands is told.
            warning_on = (warning_on or day) if spent.usd >= warning_usd else None
            exceeded_on = (exceeded_on or day) if spent.usd >= exceeded_usd else None
    return BudgetStatus(budget, period, spent, _forecast(period, amounts, today), warning_on, exceeded_on)


def status_json(status: BudgetStatus, names: dict[tuple[str, str], str]) -> dict[str, Any]:
    """A status for scripts; ``names`` are by column of events and id. Days are both included."""
    budget, period = status.budget, status.period
    kind, value = budget.scope
    return {
        "id": budget.budget_id,
        "workspace": budget.workspace,
        "kind": kind,
        "value": value,
        "name": names.get((f"{kind}_id", value)) if value is not None else None,
        "every": budget.period,
        "period": period.name,
        "from": period.first_day.isoformat(),
        "to": period.last_day.isoformat(),
        "budget": _money(budget.amount_usd),
        "spent": _money(status.spent.usd),
        "provisional": _money(status.spent.provisional_usd),
        "percent": f"{status.percent}",
        "forecast": None if status.forecast_usd is None else _money(status.forecast_usd),
        "forecast_percent": None if status.forecast_percent is None else f"{status.forecast_percent}",
        "warning_percent": f"{budget.warning_percent:f}",
        "exceeded_percent": f"{budget.exceeded_percent:f}",
        "state": status.state,
        "warning_on": status.warning_on.isoformat() if status.warning_on else None,
        "exceeded_on": status.exceeded_on.isoformat() if status.exceeded_on else None,
    }


def _money(usd: Decimal) -> dict[str, Any]:
    return {"nano_usd": nano_usd(usd), "usd": plain(usd)}


def _forecast(period: Period, amounts: Mapping[date, Amount], today: date) -> Decimal | None:
    ended = sum(
        (Fraction(amounts[day].usd) for day in amounts if period.first_day <= day < min(period.end_day, today)),
        Fraction(),
    )
    if period.end_day <= today:
        return _nano(ended)
    before = [today - timedelta(days=n) for n in range(1, MEAN_DAYS + 1)]
    known = [Fraction(amounts[day].usd) for day in before if day in amounts]
    if not known:
        return None
    mean = sum(known, Fraction()) / len(known)
    of_today = max(mean, Fraction(amounts[today].usd) if today in amounts else Fraction())
    return _nano(ended + of_today + mean * (period.last_day - today).days)


def _nano(usd: Fraction) -> Decimal:
    return Decimal(round(usd * 10**9)).scaleb(-9)


def _percent(usd: Decimal, of: Decimal) -> Decimal:
    return Decimal(round(Fraction(usd) / Fraction(of) * 10_000)).scaleb(-2)
