"""Which rules get nothing, or less than they seem to, because another comes first.

Told from the rules alone, one against one: an id and the name of the same thing are two values here, and a rule that
several others cover together is not found out. What is said is true.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from fnmatch import fnmatchcase

from usage_pipeline.showback.rules import ShowbackRule, is_pattern


@dataclass(frozen=True, slots=True)
class Reach:
    """What comes before a rule: ``hidden_by`` takes all that the rule could take, ``shared_with`` may take a part of it
    for another cost centre or team."""

    hidden_by: ShowbackRule | None
    shared_with: tuple[ShowbackRule, ...]


def reaches(rules: Sequence[ShowbackRule]) -> dict[int, Reach]:
    """The reach of each rule by its number; the rules are in their order."""
    found = {}
    for place, rule in enumerate(rules):
        earlier = [one for one in rules[:place] if _share_a_day(one, rule)]
        hidden_by = next((one for one in earlier if covers(one, rule)), None)
        shared = (
            () if hidden_by else tuple(one for one in earlier if one.belonging != rule.belonging and meet(one, rule))
        )
        found[rule.rule_id] = Reach(hidden_by, shared)
    return found


def covers(first: ShowbackRule, later: ShowbackRule) -> bool:
    """Whether the first rule takes every row that the later one could take, on each of its days."""
    return (
        first.effective_from <= later.effective_from
        and _end(later) <= _end(first)
        and all(
            dimension in later.conditions
            and all(any(_includes(wide, narrow) for wide in wanted) for narrow in later.conditions[dimension])
            for dimension, wanted in first.conditions.items()
        )
    )


def meet(one: ShowbackRule, other: ShowbackRule) -> bool:
    """Whether a row may match both."""
    return all(
        any(_may_meet(a, b) for a in one.conditions[dimension] for b in other.conditions[dimension])
        for dimension in one.conditions.keys() & other.conditions.keys()
    )


def _share_a_day(one: ShowbackRule, other: ShowbackRule) -> bool:
    return max(one.effective_from, other.effective_from) < min(_end(one), _end(other))


def _end(rule: ShowbackRule) -> date:
    return rule.effective_to or date.max


def _includes(wide: str, narrow: str) -> bool:
    """Whether all that ``narrow`` stands for, ``wide`` stands for too.

    Of two patterns this is only told where the wide one has stars alone: whatever a wildcard of the narrow one stands
    for then lies in a star of the wide one. A set of characters has letters in it that would be taken for themselves.
    """
    if wide == narrow:
        return True
    if not is_pattern(narrow):
        return is_pattern(wide) and fnmatchcase(narrow, wide)
    return "*" in wide and not {"?", "["} & {*wide} and "[" not in narrow and fnmatchcase(narrow, wide)


def _may_meet(a: str, b: str) -> bool:
    if a == b:
        return True
    if is_pattern(a) and is_pattern(b):
        heads = sorted((_head(a), _head(b)), key=len)
        return heads[1].startswith(heads[0])
    return (is_pattern(a) and fnmatchcase(b, a)) or (is_pattern(b) and fnmatchcase(a, b))


def _head(pattern: str) -> str:
    """What stands before the first wildcard."""
    return pattern[: min((pattern.index(mark) for mark in "*?[" if mark in pattern), default=len(pattern))]
