"""Showback's rules for people and scripts: in words, with what comes first before each, and why one takes a row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any, Final

from usage_pipeline.cli.output import print_line, print_note, print_table
from usage_pipeline.ledger.showback_rules import StoredRule
from usage_pipeline.reconcile.report import instant
from usage_pipeline.showback.assigning import Verdict
from usage_pipeline.showback.reach import Reach, reaches
from usage_pipeline.showback.rules import CONDITIONS, NAMED, UNASSIGNED, Belonging, ShowbackRule, Told

_SHOWN_VALUES_MAX: Final = 5

KnownNames = Mapping[tuple[str, str], str]
"""What ids are called, by the column of events and the id."""


def rule_json(stored: StoredRule, rules: Sequence[StoredRule]) -> dict[str, Any]:
    """A rule and its life; ``to`` is its last day, ``hidden_by`` and ``shared_with`` are the numbers of rules."""
    rule, reach = stored.rule, _reaches(rules).get(stored.rule.rule_id)
    return {
        "id": rule.rule_id,
        "position": stored.position,
        "cost_center": rule.cost_center,
        "team": rule.team,
        "conditions": {name: list(values) for name, values in rule.conditions.items()},
        "from": rule.effective_from.isoformat(),
        "to": _last_day(rule),
        "taken_back": stored.taken_back,
        "hidden_by": reach.hidden_by.rule_id if reach and reach.hidden_by else None,
        "shared_with": [one.rule_id for one in reach.shared_with] if reach else [],
        "note": stored.note,
        "created_at": instant(stored.created_at),
        "ended_at": None if stored.ended_at is None else instant(stored.ended_at),
    }


def print_rules(rules: Sequence[StoredRule], names: KnownNames) -> None:
    """Every rule as a table, in their order."""
    reach = _reaches(rules)
    rows = [
        (
            str(stored.position),
            str(rule.rule_id),
            _conditions_in_words(rule, names),
            rule.belonging.cost_center,
            rule.belonging.team,
            rule.effective_from.isoformat(),
            "taken back" if stored.taken_back else _last_day(rule) or "further notice",
            _reach_in_words(reach.get(rule.rule_id)),
            stored.note,
        )
        for stored in rules
        for rule in (stored.rule,)
    ]
    columns = ("no.", "id", "what", "cost centre", "team", "from", "to (included)", "before it", "note")
    print_table("Showback rules: the first one that matches takes a row", columns, rows, right=("no.", "id"))
    print_line(f"What no rule takes is {UNASSIGNED}.")


def note_reach(before: Sequence[StoredRule], after: Sequence[StoredRule]) -> None:
    """Say which rules are not reached, or share what they match with one before them, and did not until now."""
    known = _reaches(before)
    for rule_id, reach in _reaches(after).items():
        former = known.get(rule_id, Reach(None, ()))
        if reach.hidden_by and not former.hidden_by:
            print_note(
                f"rule {rule_id} is never reached: rule {reach.hidden_by.rule_id} comes first and takes all of it"
            )
        come = [one for one in reach.shared_with if one not in former.shared_with]
        if come and not reach.hidden_by:
            print_note(f"rule {rule_id}: {_numbers(come)} before it may take a part of what it matches")


def rule_in_words(stored: StoredRule, names: KnownNames) -> str:
    """``project Website (proj_a) belongs to cost centre 4711, team Web, from 2026-11-01 until further notice``."""
    rule = stored.rule
    until = _last_day(rule) or "further notice"
    return f"{_conditions_in_words(rule, names)} {_belongs(rule.belonging)}, from {rule.effective_from} until {until}"


def verdicts_json(day: date, told: Told, names: Mapping[str, str], verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """Where a row belongs, and what each rule of the day says of it."""
    belonging = _belonging(verdicts)
    return {
        "day": day.isoformat(),
        "row": {name: getattr(told, name) for name in CONDITIONS},
        "names": dict(names),
        "rule": next((one.rule.rule_id for one in verdicts if one.is_first), None),
        "cost_center": belonging.cost_center,
        "team": belonging.team,
        "rules": [{"id": one.rule.rule_id, "matches": one.failing is None, "failing": one.failing} for one in verdicts],
    }


def print_verdicts(
    day: date, told: Told, names: Mapping[str, str], verdicts: Sequence[Verdict], everywhere: KnownNames
) -> None:
    """What each rule says, up to the one that takes the row, and where it belongs."""
    for one in verdicts:
        conditions = _conditions_in_words(one.rule, everywhere)
        print_line(f"Rule {one.rule.rule_id} ({conditions}): {_verdict_in_words(one, told, names)}")
        if one.is_first:
            break
    if not any(one.is_first for one in verdicts):
        print_line(f"No rule of {day} takes it." if verdicts else f"No rule holds on {day}.")
    print_line(f"On {day} it {_belongs(_belonging(verdicts))}.")


def _verdict_in_words(one: Verdict, told: Told, names: Mapping[str, str]) -> str:
    if one.failing is None:
        return "takes it."
    words = one.failing.replace("_", " ")
    value: str | None = getattr(told, one.failing)
    if value is None:
        return f"no, the {words} is not told."
    shown = f"{names[one.failing]} ({value})" if one.failing in names else value
    unnamed = ", of which no name is known" if one.failing in NAMED and one.failing not in names else ""
    return f"no, the {words} is {shown}{unnamed}."


def _belonging(verdicts: Sequence[Verdict]) -> Belonging:
    return next((one.rule.belonging for one in verdicts if one.is_first), Belonging())


def _belongs(belonging: Belonging) -> str:
    if belonging == Belonging():
        return f"is {UNASSIGNED}"
    return f"belongs to cost centre {belonging.cost_center}, team {belonging.team}"


def _conditions_in_words(rule: ShowbackRule, names: KnownNames) -> str:
    told = []
    for name, values in rule.conditions.items():
        column = NAMED.get(name, "")
        shown = " or ".join(
            f"{names[column, value]} ({value})" if (column, value) in names else value
            for value in values[:_SHOWN_VALUES_MAX]
        )
        more = f" or {len(values) - _SHOWN_VALUES_MAX} more" if len(values) > _SHOWN_VALUES_MAX else ""
        told.append(f"{name.replace('_', ' ')} {shown}{more}")
    return ", ".join(told) or "everything"


def _reach_in_words(reach: Reach | None) -> str:
    if reach is None:
        return ""
    if reach.hidden_by:
        return f"never reached: rule {reach.hidden_by.rule_id} takes all of it"
    return f"{_numbers(reach.shared_with)} may take a part" if reach.shared_with else ""


def _numbers(rules: Sequence[ShowbackRule]) -> str:
    word = "rule" if len(rules) == 1 else "rules"
    shown = ", ".join(str(one.rule_id) for one in rules[:_SHOWN_VALUES_MAX])
    return f"{word} {shown}{', …' if len(rules) > _SHOWN_VALUES_MAX else ''}"


def _reaches(rules: Sequence[StoredRule]) -> dict[int, Reach]:
    return reaches([one.rule for one in rules if not one.taken_back])


def _last_day(rule: ShowbackRule) -> str | None:
    return None if rule.effective_to is None else (rule.effective_to - timedelta(days=1)).isoformat()
