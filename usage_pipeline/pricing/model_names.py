"""Whether a library's price entry is really about a model of this name.

The library matches generously: by the beginning of a name, by a text anywhere in it, by another vendor's entry. That
would give ``claude-haiku-4-5-turbo`` the price of ``claude-haiku-4-5``, a model that we know nothing about. Here a name
belongs to an entry only if

* the entry lists it letter by letter (in any case), or by a regular expression that covers the whole name, or
* the entry covers names by their beginning, and the name without its snapshot (``-20250929``, ``@20250929``,
  ``-2025-08-07``, ``-0613``, ``-latest``, ``-preview``) is that beginning, or
* the entry covers the name by whatever rule, and the name without its snapshot is the entry's own id.

A fine-tuned model (``ft:<name>:<organisation>:…``) is named by what stands before the organisation. Else
"contains" and "ends with" never count. A snapshot that an entry lists by name is not enough for other dates of that
model: prices of snapshots do differ (``gpt-4o-2024-05-13`` costs twice what ``gpt-4o`` does).

In: the entries of one vendor and a name. Out: the one entry, or None.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from genai_prices.types import MatchLogic, ModelInfo

_YEAR_MONTH_DAY = r"20\d\d-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])"
_COMPACT_DATE = r"20\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])"
_MONTH_DAY = r"(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])"
_DATED: Final = re.compile(rf"(.+?)[-@](?:{_YEAR_MONTH_DAY}|{_COMPACT_DATE}|{_MONTH_DAY})")
_MOVING: Final = re.compile(r"(.+)-(?:latest|preview)")
_BEGUN_DATE: Final = re.compile(r"[-@][\d-]*")
_FINE_TUNED: Final = re.compile(r"(ft:[^:]+)(?::.*)?", re.DOTALL)
_COMPACT_ENDING: Final = re.compile(r"-(20\d\d)(\d\d)(\d\d)$")


def entry_of(model: str, entries: Iterable[ModelInfo]) -> ModelInfo | None:
    """The entry that is about ``model``; None where there is none, or only by a vague rule.

    A name with a compact date that is not listed is also looked for with dashes: ``gpt-5.2-20251211`` and
    ``gpt-5.2-2025-12-11`` are the same snapshot.
    """
    name = model.lower()
    known = tuple(entries)
    for spelling in dict.fromkeys((name, _COMPACT_ENDING.sub(r"-\1-\2-\3", name))):
        for entry in known:
            if entry.is_match(spelling) and (
                entry.id.lower() in _without_snapshot(spelling) or _is_about(entry.match, spelling)
            ):
                return entry
    return None


def undated_name(name: str) -> str:
    """The name without a snapshot's date; the name itself where it has none."""
    return _without_snapshot(name)[1]


def _is_about(rule: MatchLogic, name: str) -> bool:
    from genai_prices.types import ClauseEquals, ClauseOr, ClauseRegex, ClauseStartsWith

    if isinstance(rule, ClauseOr):
        return any(_is_about(clause, name) for clause in rule.or_)
    if isinstance(rule, ClauseEquals):
        return name == rule.equals.lower()
    if isinstance(rule, ClauseRegex):
        return re.fullmatch(rule.regex, name) is not None
    if isinstance(rule, ClauseStartsWith):
        return name.startswith(rule.starts_with.lower()) and _begins_exactly(name, rule.starts_with.lower())
    return False


def _begins_exactly(name: str, beginning: str) -> bool:
    if beginning in (known := _without_snapshot(name)):
        return True
    # Some beginnings reach into the date: "claude-sonnet-4-2025" is about the snapshots of claude-sonnet-4.
    whole, undated, _ = known
    reached = beginning.removeprefix(undated)
    return undated != whole and reached != beginning and _BEGUN_DATE.fullmatch(reached) is not None


def _without_snapshot(name: str) -> tuple[str, str, str]:
    """The name without its organisation; the same without a date; the same without a moving word."""
    whole = found[1] if (found := _FINE_TUNED.fullmatch(name)) is not None else name
    undated = found[1] if (found := _DATED.fullmatch(whole)) is not None else whole
    return whole, undated, found[1] if (found := _MOVING.fullmatch(undated)) is not None else undated
