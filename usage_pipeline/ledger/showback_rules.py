"""The rules of showback as stored, in their order. Table ``showback_rules``.

In: a rule from a person. Out: every rule, for reports and for people. None is ever deleted or changed but for its end
and its place in the order, and every change is in ``audit_log``. The order is of all days: it is not dated.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any, Final

from sqlalchemy import Connection, text

from usage_pipeline.errors import InvalidInputError
from usage_pipeline.ledger.audit_log import record_change
from usage_pipeline.ledger.dimension_names import names_by_id
from usage_pipeline.ledger.price_overrides import check_note
from usage_pipeline.showback.assigning import Showback
from usage_pipeline.showback.rules import CONDITIONS, ShowbackRule

_SELECT: Final = (
    "SELECT rule_id, position, cost_center, team, conditions, effective_from, effective_to, note, created_at, ended_at"
    " FROM showback_rules"
)
_RULES_MAX: Final = 1_000


@dataclass(frozen=True, slots=True)
class StoredRule:
    """A rule, its place in the order (1 comes first) and its life. ``taken_back``: it has no day left, and
    ``rule`` tells it as if it had no end."""

    rule: ShowbackRule
    position: int
    taken_back: bool
    note: str
    created_at: datetime
    ended_at: datetime | None


def load_showback(connection: Connection) -> Showback:
    """The rules that hold on some day, ready to be applied; names are asked for once an account."""
    known: dict[tuple[str, str, str], Mapping[str, str]] = {}

    def names(provider: str, account: str, column: str) -> Mapping[str, str]:
        place = provider, account, column
        if place not in known:
            known[place] = names_by_id(connection, *place)
        return known[place]

    return Showback([stored.rule for stored in list_rules(connection) if not stored.taken_back], names)


def list_rules(connection: Connection) -> tuple[StoredRule, ...]:
    """Every rule, the ended ones too, in their order."""
    return tuple(_stored(row) for row in connection.execute(text(f"{_SELECT} ORDER BY position")))


def add_rule(
    connection: Connection, rule: ShowbackRule, note: str, now: datetime, before: int | None = None
) -> StoredRule:
    """Store a rule, as the last one or before another; its number is given here.

    Raises InvalidInputError ``note_malformed``, ``showback_rule_unknown``, ``showback_rules_too_many``.
    """
    checked = check_note(note)
    order = _locked_order(connection)
    place = len(order) if before is None else _place(order, before)
    if len(order) >= _RULES_MAX:
        raise InvalidInputError(
            "showback_rules_too_many",
            f"there are {len(order):,} rules already",
            where="showback add",
            remedy="Use patterns, or several values in one rule.",
        )
    rule_id = connection.execute(
        text(
            "INSERT INTO showback_rules (position, cost_center, team, conditions, effective_from, effective_to, note,"
            " created_at) VALUES (:position, :cost_center, :team, CAST(:conditions AS jsonb), :effective_from,"
            " :effective_to, :note, :now) RETURNING rule_id"
        ),
        {**_columns(rule), "position": len(order) + 1, "note": checked, "now": now},
    ).scalar_one()
    _write_order(connection, [*order[:place], rule_id, *order[place:]])
    detail = {**_detail(replace(rule, rule_id=rule_id)), "position": place + 1, "note": checked}
    record_change(connection, now, "showback_rule_added", _name(rule_id), detail)
    return _get(connection, rule_id)


def end_rule(connection: Connection, rule_id: int, on: date, now: datetime) -> StoredRule:
    """Let a rule end on a UTC day: that day is the first without it. Its first day takes it back altogether.

    Raises InvalidInputError ``showback_rule_unknown``, ``showback_rule_ended`` where the day is outside of its days.
    """
    _locked_order(connection)
    before = _get(connection, rule_id)
    rule = before.rule
    if before.taken_back or not rule.holds_on(on):
        last = f"until before {rule.effective_to}" if rule.effective_to else "without end"
        words = "it was taken back" if before.taken_back else f"it holds from {rule.effective_from} {last}"
        raise InvalidInputError(
            "showback_rule_ended",
            f"{words}, so it cannot end on {on}",
            where=_name(rule_id),
            remedy="Give one of its days; its first day takes it back.",
        )
    connection.execute(
        text("UPDATE showback_rules SET effective_to = :on, ended_at = :now WHERE rule_id = :id"),
        {"on": on, "now": now, "id": rule_id},
    )
    former = rule.effective_to.isoformat() if rule.effective_to else None
    detail = {**_detail(rule), "effective_to": on.isoformat(), "before": former}
    record_change(connection, now, "showback_rule_ended", _name(rule_id), detail)
    return _get(connection, rule_id)


def move_rule(connection: Connection, rule_id: int, before: int | None, now: datetime) -> StoredRule:
    """Put a rule before another one, or (None) behind all; writes nothing where it stands there already.

    Raises InvalidInputError ``showback_rule_unknown``.
    """
    order = _locked_order(connection)
    others = [one for one in order if one != rule_id]
    stood = _place(order, rule_id)
    if before == rule_id:
        return _get(connection, rule_id)
    place = len(others) if before is None else _place(others, before)
    if place != stood:
        _write_order(connection, [*others[:place], rule_id, *others[place:]])
        detail = {"position": place + 1, "former_position": stood + 1}
        record_change(connection, now, "showback_rule_moved", _name(rule_id), detail)
    return _get(connection, rule_id)


def _locked_order(connection: Connection) -> list[int]:
    """The numbers of all rules in their order; one change at a time."""
    connection.execute(text("LOCK TABLE showback_rules IN SHARE ROW EXCLUSIVE MODE"))
    return list(connection.execute(text("SELECT rule_id FROM showback_rules ORDER BY position")).scalars())


def _write_order(connection: Connection, order: Sequence[int]) -> None:
    connection.execute(
        text(
            "UPDATE showback_rules AS r SET position = o.position"
            " FROM unnest(CAST(:ids AS bigint[])) WITH ORDINALITY AS o (rule_id, position)"
            " WHERE r.rule_id = o.rule_id AND r.position <> o.position"
        ),
        {"ids": list(order)},
    )


def _place(order: Sequence[int], rule_id: int) -> int:
    if rule_id not in order:
        raise _unknown(rule_id)
    return order.index(rule_id)


def _get(connection: Connection, rule_id: int) -> StoredRule:
    row = connection.execute(text(f"{_SELECT} WHERE rule_id = :id"), {"id": rule_id}).one_or_none()
    if row is None:
        raise _unknown(rule_id)
    return _stored(row)


def _unknown(rule_id: int) -> InvalidInputError:
    return InvalidInputError(
        "showback_rule_unknown",
        "there is no rule of this number",
        where=_name(rule_id),
        remedy="See: usage-pipeline showback list.",
    )


def _name(rule_id: int) -> str:
    return f"showback rule {rule_id}"


def _columns(rule: ShowbackRule) -> dict[str, object]:
    return {
        "cost_center": rule.cost_center,
        "team": rule.team,
        "conditions": json.dumps(dict(rule.conditions), ensure_ascii=False, sort_keys=True),
        "effective_from": rule.effective_from,
        "effective_to": rule.effective_to,
    }


def _detail(rule: ShowbackRule) -> dict[str, object]:
    return {
        "cost_center": rule.cost_center,
        "team": rule.team,
        "conditions": {name: list(values) for name, values in rule.conditions.items()},
        "effective_from": rule.effective_from.isoformat(),
        "effective_to": rule.effective_to.isoformat() if rule.effective_to else None,
    }


def _stored(row: Sequence[Any]) -> StoredRule:
    rule_id, position, cost_center, team, conditions, first, end, note, created_at, ended_at = row
    taken_back = end == first
    asked = {name: tuple(conditions[name]) for name in CONDITIONS if name in conditions}
    rule = ShowbackRule(rule_id, asked, cost_center, team, first, None if taken_back else end)
    return StoredRule(rule, position, taken_back, note, created_at, ended_at)
