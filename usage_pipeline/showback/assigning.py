"""Applying the rules: the cost centre and team of a row, found once for all rows that tell the same.

In: rules in their order, and what ids are called. Out: the :class:`~usage_pipeline.showback.rules.Belonging` of a row.
Rows are many and what they tell of themselves is not: each set of values meets the rules once for all days on which the
same rules hold.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from usage_pipeline.showback.rules import NAMED, Belonging, ShowbackRule, Told

NamesOf = Callable[[str, str, str], Mapping[str, str]]
"""The names by id, of a provider, an account and a column of events (``project_id``, …)."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a rule says of a row: ``failing`` is the dimension of the first condition that does not match, None where
    all match; ``is_first`` marks the rule that takes the row."""

    rule: ShowbackRule
    failing: str | None
    is_first: bool


class Showback:
    """Rules in their order, ready to be applied."""

    def __init__(self, rules: Sequence[ShowbackRule], names: NamesOf) -> None:
        self._rules = tuple(rules)
        self._names = names
        self._of_day: dict[date, tuple[tuple[ShowbackRule, ...], dict[Told, Belonging]]] = {}
        self._known: dict[tuple[int, ...], dict[Told, Belonging]] = {}
        self._asked = frozenset(name for rule in rules for name in rule.conditions)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of events that a rule asks for."""
        return tuple(column for dimension, column in NAMED.items() if dimension in self._asked)

    def of(self, day: date, told: Told) -> Belonging:
        """The cost centre and team of a row on a UTC day."""
        rules, known = self._of_day.get(day) or self._begin(day)
        if not rules:
            return Belonging()
        found = known.get(told)
        if found is None:
            names = self._called(told)
            taken_by = next((rule for rule in rules if rule.failing(told, names) is None), None)
            found = known[told] = taken_by.belonging if taken_by else Belonging()
        return found

    def explain(self, day: date, told: Told, names: Mapping[str, str]) -> list[Verdict]:
        """What each rule of a UTC day says of a row, in their order. ``names`` are by dimension."""
        verdicts: list[Verdict] = []
        for rule in self._begin(day)[0]:
            failing = rule.failing(told, names)
            is_first = failing is None and not any(one.is_first for one in verdicts)
            verdicts.append(Verdict(rule, failing, is_first))
        return verdicts

    def _called(self, told: Told) -> dict[str, str]:
        """What the ids of a row are called, by dimension, as far as a rule asks for them."""
        if told.provider is None or told.account is None:
            return {}
        found = {}
        for dimension, column in NAMED.items():
            value: str | None = getattr(told, dimension)
            if value is not None and dimension in self._asked:
                called = self._names(told.provider, told.account, column).get(value)
                if called is not None:
                    found[dimension] = called
        return found

    def _begin(self, day: date) -> tuple[tuple[ShowbackRule, ...], dict[Told, Belonging]]:
        rules = tuple(rule for rule in self._rules if rule.holds_on(day))
        known = self._known.setdefault(tuple(rule.rule_id for rule in rules), {})
        self._of_day[day] = rules, known
        return rules, known
