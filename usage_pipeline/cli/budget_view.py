"""Budgets for people and scripts: what is set, and where it stands."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

from usage_pipeline.budgets.budget import Budget
from usage_pipeline.budgets.status import MEAN_DAYS, BudgetStatus
from usage_pipeline.cli.output import print_line, print_table
from usage_pipeline.cli.report_tables import NOTHING
from usage_pipeline.ledger.budgets import StoredBudget
from usage_pipeline.reconcile.report import instant, plain

Names = dict[tuple[str, str], str]


def budget_json(stored: StoredBudget, names: Names) -> dict[str, Any]:
    """A budget and its life; ``to`` is its last day."""
    one = stored.budget
    kind, value = one.scope
    return {
        "id": one.budget_id,
        "workspace": one.workspace,
        "kind": kind,
        "value": value,
        "name": names.get((f"{kind}_id", value)) if value is not None else None,
        "every": one.period,
        "amount_usd": plain(one.amount_usd),
        "warning_percent": f"{one.warning_percent:f}",
        "exceeded_percent": f"{one.exceeded_percent:f}",
        "from": one.effective_from.isoformat(),
        "to": _last_day(one),
        "taken_back": stored.taken_back,
        "note": stored.note,
        "created_at": instant(stored.created_at),
        "ended_at": None if stored.ended_at is None else instant(stored.ended_at),
    }


def budget_in_words(one: Budget, names: Names) -> str:
    """``500.00 USD every month for project Website (proj_a) of acme, from 2026-11-01 until further notice; …``."""
    return (
        f"{plain(one.amount_usd)} USD every {one.period} for {one.of(names)}, from {one.effective_from} until"
        f" {_last_day(one) or 'further notice'}; warns at {one.warning_percent:f} %, exceeded at"
        f" {one.exceeded_percent:f} %"
    )


def print_budgets(budgets: Sequence[StoredBudget], names: Names) -> None:
    """Every budget as a table."""
    rows = [
        (
            str(one.budget_id),
            one.of(names),
            one.period,
            plain(one.amount_usd),
            f"{one.warning_percent:f} %",
            f"{one.exceeded_percent:f} %",
            one.effective_from.isoformat(),
            "taken back" if stored.taken_back else _last_day(one) or "further notice",
            stored.note,
        )
        for stored in budgets
        for one in (stored.budget,)
    ]
    columns = ("id", "of", "every", "USD", "warns at", "exceeded at", "from", "to (included)", "note")
    print_table("Budgets", columns, rows, right=("id", "USD", "warns at", "exceeded at"))


def print_statuses(statuses: Sequence[BudgetStatus], names: Names, day: date) -> None:
    """Where the budgets stand in the periods of a day, to the cent."""
    rows = [
        (
            str(one.budget.budget_id),
            one.budget.of(names),
            one.period.name,
            f"{one.budget.amount_usd:,.2f}",
            f"{one.spent.usd:,.2f}",
            f"{one.percent} %",
            f"{one.spent.provisional_usd:,.2f}",
            NOTHING if one.forecast_usd is None else f"{one.forecast_usd:,.2f}",
            _state(one),
        )
        for one in statuses
    ]
    columns = ("id", "of", "period", "budget", "spent", "part", "provisional", "forecast", "state")
    right = ("id", "budget", "spent", "part", "provisional", "forecast")
    print_table(f"Budgets in the periods of {day} (UTC), in US dollars", columns, rows, right=right)
    print_line(f"Forecast: ended days as they stand; others at the mean of the last {MEAN_DAYS} days that ended.")


def _state(one: BudgetStatus) -> str:
    reached_on = one.exceeded_on or one.warning_on
    return f"{one.state} since {reached_on}" if reached_on else one.state


def _last_day(one: Budget) -> str | None:
    return None if one.effective_to is None else (one.effective_to - timedelta(days=1)).isoformat()
