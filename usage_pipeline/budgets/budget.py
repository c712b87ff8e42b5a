"""A budget: what may be spent in each day, ISO week or month, on what, and at which parts of it somebody is told."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Final, NamedTuple

from usage_pipeline.errors import InvalidInputError

KINDS: Final = ("workspace", "project", "api_key", "model", "cost_center", "team")
"""What a budget may be of: everything (``workspace``), or one value of a dimension of the report."""

WORDS: Final = {kind: kind for kind in KINDS} | {"api_key": "API key", "cost_center": "cost centre"}
"""The kinds as people read them."""

PERIODS: Final = ("day", "week", "month")
"""UTC days, ISO weeks (from Monday on), months."""

WARNING_PERCENT: Final = Decimal(80)
EXCEEDED_PERCENT: Final = Decimal(100)

_AMOUNT_MAX: Final = Decimal(10) ** 12
_PERCENT_MAX: Final = Decimal(1000)
_VALUE_CHARACTERS_MAX: Final = 200


class Scope(NamedTuple):
    """What a budget is of: a kind, and the value of the dimension (None: everything)."""

    kind: str
    value: str | None


class Period(NamedTuple):
    """A half-open range of UTC days, and what it is called: ``2026-11-22``, ``2026-W47``, ``2026-11``."""

    first_day: date
    end_day: date
    name: str

    @property
    def last_day(self) -> date:
        """The last day of the period."""
        return self.end_day - timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Budget:
    """US dollars per period, on the UTC days from ``effective_from`` to before ``effective_to`` (None: without end).

    ``workspace`` is a slug, None for all real workspaces together. A budget that holds on a day is about the whole
    period of that day. Percents are of the amount. Raises InvalidInputError ``budget_malformed``.
    """

    budget_id: int
    workspace: str | None
    scope: Scope
    period: str
    amount_usd: Decimal
    effective_from: date
    effective_to: date | None = None
    warning_percent: Decimal = WARNING_PERCENT
    exceeded_percent: Decimal = EXCEEDED_PERCENT

    def __post_init__(self) -> None:
        kind, value = self.scope
        if kind not in KINDS or (value is None) != (kind == "workspace"):
            raise _malformed(f"it is of everything in a workspace, or of one of {', '.join(KINDS[1:])}")
        if value is not None and not (1 <= len(value) <= _VALUE_CHARACTERS_MAX and value.isprintable()):
            raise _malformed(f"a value has 1 to {_VALUE_CHARACTERS_MAX} characters on one line")
        if self.period not in PERIODS:
            raise _malformed(f"its period is one of {', '.join(PERIODS)}")
        if not 0 < self.amount_usd <= _AMOUNT_MAX:
            raise _malformed("its amount is above 0 US dollars, and no more than a million million")
        if not 0 < self.warning_percent < self.exceeded_percent <= _PERCENT_MAX:
            raise _malformed(f"it warns above 0 %, then is exceeded at more, at most at {_PERCENT_MAX} %")
        if self.effective_to is not None and self.effective_to <= self.effective_from:
            raise _malformed("it ends before it starts")

    @property
    def place(self) -> str:
        """What it is of, with ids, the same for as long as it is of that: ``project proj_a of acme, by month``."""
        return f"{self.of({})}, by {self.period}"

    def of(self, names: dict[tuple[str, str], str]) -> str:
        """What it is of, in words; ``names`` are by column of events and id, as far as they are known."""
        kind, value = self.scope
        whose = self.workspace or "all workspaces"
        if value is None:
            return whose
        called = names.get((f"{kind}_id", value))
        return f"{WORDS[kind]} {f'{called} ({value})' if called else value} of {whose}"

    def holds_on(self, day: date) -> bool:
        """Whether the budget is there on a UTC day."""
        return self.effective_from <= day and (self.effective_to is None or day < self.effective_to)

    def is_about_the_same_as(self, other: Budget) -> bool:
        """Whether both are of the same thing in the same periods."""
        return (self.workspace, self.scope, self.period) == (other.workspace, other.scope, other.period)


def period_of(period: str, day: date) -> Period:
    """The day, ISO week or month that a UTC day lies in."""
    if period == "day":
        return Period(day, day + timedelta(days=1), day.isoformat())
    if period == "week":
        year, week, weekday = day.isocalendar()
        monday = day - timedelta(days=weekday - 1)
        return Period(monday, monday + timedelta(days=7), f"{year}-W{week:02d}")
    first = day.replace(day=1)
    return Period(first, (first + timedelta(days=31)).replace(day=1), f"{day:%Y-%m}")


def _malformed(what: str) -> InvalidInputError:
    return InvalidInputError("budget_malformed", what, where="budget", remedy="See: usage-pipeline budgets set --help.")
