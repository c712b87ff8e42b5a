"""The conditions about money: budgets that are nearly or wholly spent, and days that cost far more than usual.

In: the store and now. Out: conditions, one for each budget and threshold, one for each workspace with unusual days. A
demo's workspace raises none.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Final

from sqlalchemy import Connection

from usage_pipeline.alerts.causes import BUDGET_EXCEEDED, BUDGET_WARNING, SPEND_UNUSUAL, Cause
from usage_pipeline.alerts.conditions import Condition, days_in_words, occurrences_of
from usage_pipeline.budgets.budget import Budget
from usage_pipeline.budgets.status import BudgetStatus, statuses_of
from usage_pipeline.budgets.unusual import UnusualDay, unusual_days
from usage_pipeline.ledger.budgets import budgets_on
from usage_pipeline.ledger.dimension_names import known_names
from usage_pipeline.ledger.workspaces import list_workspaces
from usage_pipeline.settings import Settings
from usage_pipeline.utc_days import day_start

_LINK: Final = "/assets/reconciled_usage"


def money_conditions(connection: Connection, settings: Settings, now: datetime) -> list[Condition]:
    """Every condition about budgets and unusual days that holds at ``now``."""
    real = {workspace.slug for workspace in list_workspaces(connection) if not workspace.demo}
    if not real:
        return []
    return [*_budgets(connection, real, settings, now), *_unusual(connection, real, settings, now)]


def _budgets(connection: Connection, real: set[str], settings: Settings, now: datetime) -> Iterator[Condition]:
    """A period is watched until the last of its days is expected to be there."""
    today = now.astimezone(UTC).date()
    watched = {(now - timedelta(hours=settings.freshness_hours)).astimezone(UTC).date(), today}
    wanted: list[tuple[Budget, date]] = []
    for day in sorted(watched):
        wanted += [(one, day) for one in budgets_on(connection, day) if one.workspace is None or one.workspace in real]
    if not wanted:
        return
    names = known_names(connection)
    by_place: dict[tuple[str, Cause], dict[str, tuple[BudgetStatus, date]]] = defaultdict(dict)
    for status in statuses_of(connection, wanted, today):
        for cause, reached_on in ((BUDGET_WARNING, status.warning_on), (BUDGET_EXCEEDED, status.exceeded_on)):
            if reached_on is not None:
                by_place[status.budget.place, cause][status.period.name] = status, reached_on
    for (place, cause), periods in by_place.items():
        newest, _ = periods[max(periods)]
        yield Condition(
            cause,
            place=place,
            since=min(day_start(reached_on) for _, reached_on in periods.values()),
            what=" ".join(_in_words(*periods[name], cause, names) for name in sorted(periods, reverse=True)),
            remedy=_report(newest),
            occurrences=occurrences_of(periods),
            link=_LINK,
        )


def _in_words(status: BudgetStatus, reached_on: date, cause: Cause, names: dict[tuple[str, str], str]) -> str:
    budget, period = status.budget, status.period
    threshold = budget.exceeded_percent if cause is BUDGET_EXCEEDED else budget.warning_percent
    provisional = f", {_usd(status.spent.provisional_usd)} of it provisional" if status.spent.provisional_usd else ""
    forecast = f" By {period.last_day} it may be {_usd(status.forecast_usd)} USD." if status.forecast_usd else ""
    return (
        f"{period.name}: {_usd(status.spent.usd)} of {_usd(budget.amount_usd)} USD ({status.percent} %) are spent on"
        f" {budget.of(names)}{provisional}; {threshold:f} % was reached on {reached_on}.{forecast}"
    )


def _report(status: BudgetStatus) -> str:
    whose = f" --workspace {status.budget.workspace}" if status.budget.workspace else ""
    kind = status.budget.scope.kind
    by = "project,model" if kind in {"workspace", "model"} else f"{kind},model"
    return f"usage-pipeline report --from {status.period.first_day} --to {status.period.last_day}{whose} --by {by}"


def _unusual(connection: Connection, real: set[str], settings: Settings, now: datetime) -> Iterator[Condition]:
    by_workspace: dict[str, list[UnusualDay]] = defaultdict(list)
    for one in unusual_days(connection, settings, now.astimezone(UTC).date()):
        if one.workspace in real:
            by_workspace[one.workspace].append(one)
    for workspace, days in by_workspace.items():
        listed = [one.day for one in days]
        several = f"{days_in_words(listed)}. " if len(days) > 1 else ""
        yield Condition(
            SPEND_UNUSUAL,
            place=workspace,
            since=day_start(min(listed)),
            what=f"{several}{_day_in_words(max(days, key=lambda one: (one.usd - one.usual.limit, one.day)))}",
            remedy=(
                f"usage-pipeline report --from {min(listed)} --to {max(listed)} --workspace {workspace}"
                " --by day,project,model"
            ),
            occurrences=occurrences_of(str(day) for day in listed),
            link=_LINK,
        )


def _day_in_words(one: UnusualDay) -> str:
    provisional = " (provisional)" if one.provisional else ""
    models = ", ".join(
        f"{model or 'no model'} {_usd(usd)} (usually {_usd(usually)})" for model, usd, usually in one.models
    )
    return (
        f"{one.day}: {_usd(one.usd)} USD{provisional}. Usual are {_usd(one.usual.median)} USD, the median of"
        f" {one.usual.days} final days before, give or take {_usd(one.usual.distance)}; unusual is more than"
        f" {_usd(one.usual.limit)}.{f' Most of it: {models}.' if models else ''}"
    )


def _usd(amount: Decimal) -> str:
    """To the cent, for reading; the exact amounts are in the report."""
    return f"{amount:,.2f}"
