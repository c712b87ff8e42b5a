"""A rule of showback: its conditions, the days on which it holds, and the cost centre and team that it gives.

In: what a row's source tells of it. Out: whether the rule takes the row, and if not, why. Of all rules the first one
takes it; a row that none takes is ``unassigned``.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date
from fnmatch import fnmatchcase
from typing import Final, NamedTuple

from usage_pipeline.errors import InvalidInputError
from usage_pipeline.reconcile.aliases import canonical_model

UNASSIGNED: Final = "unassigned"
"""The cost centre and team of what no rule gives one."""

CONDITIONS: Final = ("workspace", "project", "api_key", "user", "feed", "model")
"""What a rule may ask for, in the words of the report's dimensions; ``model`` is the canonical one."""

NAMED: Final = {"project": "project_id", "api_key": "api_key_id", "user": "user_id"}
"""The conditions that a name answers too, and the columns of an event with their ids."""

_WORD_CHARACTERS_MAX: Final = 200
_VALUES_MAX: Final = 1000
_WILDCARD: Final = re.compile(r"[*?\[]")


class Told(NamedTuple):
    """What is told of a row: its values of the dimensions (None: not told), and whose ids they are.

    ``provider`` is who reports the row (its key's provider), with ``account`` the place at which ids have their names.
    """

    workspace: str
    project: str | None = None
    api_key: str | None = None
    user: str | None = None
    feed: str | None = None
    model: str | None = None
    provider: str | None = None
    account: str | None = None


class Belonging(NamedTuple):
    """The cost centre and the team that a row belongs to."""

    cost_center: str = UNASSIGNED
    team: str = UNASSIGNED


@dataclass(frozen=True, slots=True)
class ShowbackRule:
    """A rule on the UTC days from ``effective_from`` to before ``effective_to`` (None: without end).

    ``conditions`` are by dimension the values of which one must match: an id, a name, or a shell-style pattern. None at
    all match everything. A cost centre or team that it does not give is ``unassigned``. Raises InvalidInputError
    ``showback_rule_malformed``.
    """

    rule_id: int
    conditions: Mapping[str, tuple[str, ...]]
    cost_center: str | None
    team: str | None
    effective_from: date
    effective_to: date | None = None

    def __post_init__(self) -> None:
        if self.cost_center is None and self.team is None:
            raise _malformed("it gives neither a cost centre nor a team")
        for target in (self.cost_center, self.team):
            if target is not None and (not _is_word(target) or target == UNASSIGNED):
                most = _WORD_CHARACTERS_MAX
                raise _malformed(f"a cost centre or team has 1 to {most} characters on one line, not {UNASSIGNED}")
        if self.conditions.keys() - set(CONDITIONS):
            raise _malformed(f"a condition is about one of {', '.join(CONDITIONS)}")
        for values in self.conditions.values():
            if not 1 <= len(values) <= _VALUES_MAX or not all(map(_is_word, values)):
                raise _malformed(
                    f"a condition has 1 to {_VALUES_MAX:,} values of 1 to {_WORD_CHARACTERS_MAX} characters on one line"
                )
        if self.effective_to is not None and self.effective_to <= self.effective_from:
            raise _malformed("it ends before it starts")

    @property
    def belonging(self) -> Belonging:
        """What a row that the rule takes belongs to."""
        return Belonging(self.cost_center or UNASSIGNED, self.team or UNASSIGNED)

    def holds_on(self, day: date) -> bool:
        """Whether the rule is there on a UTC day."""
        return self.effective_from <= day and (self.effective_to is None or day < self.effective_to)

    def failing(self, told: Told, names: Mapping[str, str]) -> str | None:
        """The first condition (its dimension) that does not match, None where the rule takes the row.

        ``names`` are what the row's ids are called, by dimension. What is not told matches no condition.
        """
        for dimension, wanted in self.conditions.items():
            value: str | None = getattr(told, dimension)
            if value is None or not (matches(wanted, value) or matches(wanted, names.get(dimension))):
                return dimension
        return None


def new_rule(
    conditions: Mapping[str, Collection[str]],
    cost_center: str | None,
    team: str | None,
    effective_from: date,
    effective_to: date | None,
) -> ShowbackRule:
    """A rule as a person wrote it; its number is 0 until it is stored. Models get the name under which they count.

    Raises InvalidInputError ``showback_rule_malformed``.
    """
    asked = {
        name: tuple(dict.fromkeys(_written(name, value) for value in conditions.get(name, ()))) for name in CONDITIONS
    }
    return ShowbackRule(
        rule_id=0,
        conditions={name: values for name, values in asked.items() if values},
        cost_center=None if cost_center is None else cost_center.strip(),
        team=None if team is None else team.strip(),
        effective_from=effective_from,
        effective_to=effective_to,
    )


def matches(wanted: Collection[str], value: str | None) -> bool:
    """Whether a value is one of those that are wanted, or fits a pattern of them. Case matters."""
    return value is not None and (value in wanted or any(fnmatchcase(value, one) for one in wanted if is_pattern(one)))


def is_pattern(written: str) -> bool:
    """Whether a value may stand for several."""
    return _WILDCARD.search(written) is not None


def _written(dimension: str, value: str) -> str:
    stripped = value.strip()
    return canonical_model(stripped) if dimension == "model" and not is_pattern(stripped) else stripped


def _is_word(value: str) -> bool:
    return 1 <= len(value) <= _WORD_CHARACTERS_MAX and value.isprintable() and value == value.strip()


def _malformed(what: str) -> InvalidInputError:
    remedy = "See: usage-pipeline showback add --help."
    return InvalidInputError("showback_rule_malformed", what, where="showback rule", remedy=remedy)
