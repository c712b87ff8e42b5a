"""What a check of stored rows found: where, on which day, and what is wrong, in words that hold no value of a row."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True, slots=True)
class Offence:
    """Something stored that breaks a rule.

    ``day`` is the UTC day, ``where`` the key, feed, endpoint or cell. ``grave`` is False for what a person should look
    at although no number is wrong yet. ``key`` is the provider key's slug where the rule is about one key's pulls.
    ``details`` are more columns, as (name, text): of a finding its code, figures, cause, evidence and since when.
    """

    day: date
    where: str
    what: str
    grave: bool = True
    key: str | None = None
    details: tuple[tuple[str, str], ...] = ()
