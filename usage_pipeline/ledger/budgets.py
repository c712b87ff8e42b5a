"""Budgets as stored. Table ``budgets``.

In: a budget from a person. Out: those that hold on a day, and all of them, for people. None is ever deleted or changed
but for its end, and every change is in ``audit_log``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import Connection, text

from usage_pipeline.budgets.budget import Budget, Scope
from usage_pipeline.errors import InvalidInputError
from usage_pipeline.ledger.audit_log import record_change
from usage_pipeline.ledger.price_overrides import check_note

_SELECT: Final = (
    "SELECT b.budget_id, w.slug, b.kind, b.value, b.period, b.amount_usd, b.effective_from, b.effective_to,"
    " b.warning_percent, b.exceeded_percent, b.note, b.created_at, b.ended_at"
    " FROM budgets AS b LEFT JOIN workspaces AS w USING (workspace_id)"
)


@dataclass(frozen=True, slots=True)
class StoredBudget:
    """A budget and its life. ``taken_back``: it has no day left, and ``budget`` tells it as if it had no end."""

    budget: Budget
    taken_back: bool
    note: str
    created_at: datetime
    ended_at: datetime | None


def list_budgets(connection: Connection, workspace: str | None = None) -> tuple[StoredBudget, ...]:
    """Every budget, the ended ones too, by what it is of and its first day; or those of one workspace alone."""
    rows = connection.execute(
        text(
            f"{_SELECT} WHERE CAST(:workspace AS text) IS NULL OR w.slug = :workspace"
            " ORDER BY w.slug NULLS FIRST, b.kind, b.value, b.period, b.effective_from, b.budget_id"
        ),
        {"workspace": workspace},
    )
    return tuple(_stored(row) for row in rows)


def budgets_on(connection: Connection, day: date, workspace: str | None = None) -> tuple[Budget, ...]:
    """The budgets that hold on a UTC day: all of them, or those of one workspace alone."""
    found = [one.budget for one in list_budgets(connection, workspace) if not one.taken_back]
    return tuple(budget for budget in found if budget.holds_on(day))


def set_budget(
    connection: Connection, budget: Budget, note: str, now: datetime
) -> tuple[StoredBudget, tuple[StoredBudget, ...]]:
    """Store a budget, whose number is given here; its workspace must be registered. From its first day on it stands
    for what was set before of the same thing and period: that ends on this day, or is taken back where it begins later.

    Returns it and those that it ended. Raises InvalidInputError ``note_malformed``.
    """
    checked = check_note(note)
    connection.execute(text("LOCK TABLE budgets IN SHARE ROW EXCLUSIVE MODE"))
    ended = [
        _end(connection, one, max(budget.effective_from, one.budget.effective_from), now)
        for one in list_budgets(connection, budget.workspace)
        if not one.taken_back and one.budget.is_about_the_same_as(budget) and _meet(one.budget, budget)
    ]
    budget_id = connection.execute(
        text(
            "INSERT INTO budgets (workspace_id, kind, value, period, amount_usd, warning_percent, exceeded_percent,"
            " effective_from, effective_to, note, created_at)"
            " SELECT (SELECT workspace_id FROM workspaces WHERE slug = :workspace), :kind, :value, :period,"
            " CAST(:amount_usd AS numeric), CAST(:warning_percent AS numeric), CAST(:exceeded_percent AS numeric),"
            " :effective_from, :effective_to, :note, :now RETURNING budget_id"
        ),
        {**_columns(budget), "note": checked, "now": now},
    ).scalar_one()
    stored = replace(budget, budget_id=budget_id)
    record_change(connection, now, "budget_set", _name(budget_id), {**_detail(stored), "note": checked})
    return StoredBudget(stored, False, checked, now, None), tuple(ended)


def end_budget(connection: Connection, budget_id: int, on: date, now: datetime) -> StoredBudget:
    """Let a budget end on a UTC day: that day is the first without it. Its first day takes it back altogether.

    Raises InvalidInputError ``budget_unknown``, ``budget_ended`` where the day is outside of its days.
    """
    connection.execute(text("LOCK TABLE budgets IN SHARE ROW EXCLUSIVE MODE"))
    before = _get(connection, budget_id)
    budget = before.budget
    if before.taken_back or not budget.holds_on(on):
        last = f"until before {budget.effective_to}" if budget.effective_to else "without end"
        words = "it was taken back" if before.taken_back else f"it holds from {budget.effective_from} {last}"
        raise InvalidInputError(
            "budget_ended",
            f"{words}, so it cannot end on {on}",
            where=_name(budget_id),
            remedy="Give one of its days; its first day takes it back.",
        )
    return _end(connection, before, on, now)


def _end(connection: Connection, before: StoredBudget, on: date, now: datetime) -> StoredBudget:
    budget = before.budget
    connection.execute(
        text("UPDATE budgets SET effective_to = :on, ended_at = :now WHERE budget_id = :id"),
        {"on": on, "now": now, "id": budget.budget_id},
    )
    former = budget.effective_to.isoformat() if budget.effective_to else None
    detail = {**_detail(budget), "effective_to": on.isoformat(), "before": former}
    record_change(connection, now, "budget_ended", _name(budget.budget_id), detail)
    return _get(connection, budget.budget_id)


def _meet(one: Budget, other: Budget) -> bool:
    """Whether the first goes on on the other's first day or begins within its days."""
    begins_in_time = other.effective_to is None or one.effective_from < other.effective_to
    return begins_in_time and (one.effective_to is None or one.effective_to > other.effective_from)


def _get(connection: Connection, budget_id: int) -> StoredBudget:
    row = connection.execute(text(f"{_SELECT} WHERE b.budget_id = :id"), {"id": budget_id}).one_or_none()
    if row is None:
        raise InvalidInputError(
            "budget_unknown",
            "there is no budget of this number",
            where=_name(budget_id),
            remedy="See: usage-pipeline budgets list.",
        )
    return _stored(row)


def _name(budget_id: int) -> str:
    return f"budget {budget_id}"


def _columns(budget: Budget) -> dict[str, object]:
    return {
        "workspace": budget.workspace,
        "kind": budget.scope.kind,
        "value": budget.scope.value,
        "period": budget.period,
        "amount_usd": budget.amount_usd,
        "warning_percent": budget.warning_percent,
        "exceeded_percent": budget.exceeded_percent,
        "effective_from": budget.effective_from,
        "effective_to": budget.effective_to,
    }


def _detail(budget: Budget) -> dict[str, object]:
    return {
        name: f"{value:f}" if isinstance(value, Decimal) else value.isoformat() if isinstance(value, date) else value
        for name, value in _columns(budget).items()
    }


def _stored(row: Sequence[Any]) -> StoredBudget:
    budget_id, workspace, kind, value, period, amount, first, end, warning, exceeded, note, created_at, ended_at = row
    taken_back = end == first
    budget = Budget(
        budget_id=budget_id,
        workspace=workspace,
        scope=Scope(kind, value),
        period=period,
        amount_usd=amount,
        effective_from=first,
        effective_to=None if taken_back else end,
        warning_percent=warning,
        exceeded_percent=exceeded,
    )
    return StoredBudget(budget, taken_back, note, created_at, ended_at)
