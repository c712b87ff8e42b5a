"""Days as a person writes them: ``--from`` and ``--to``, both inclusive, into a half-open range of UTC days."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Annotated, Final

import typer

from usage_pipeline.errors import InvalidInputError

_WRITTEN: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_SHOWN_CHARACTERS_MAX: Final = 40

FromDay = Annotated[str, typer.Option("--from", metavar="DAY", help="The first UTC day, as YYYY-MM-DD.")]
ToDay = Annotated[str, typer.Option("--to", metavar="DAY", help="The last UTC day, as YYYY-MM-DD, itself included.")]

EndDay = Annotated[
    str, typer.Option("--on", metavar="DAY", help="The first UTC day without it; its own first day takes it back.")
]


@dataclass(frozen=True, slots=True)
class DayRange:
    """The UTC days from ``first_day`` up to ``end_day``, which is the day after the last; never empty."""

    first_day: date
    end_day: date

    @property
    def last_day(self) -> date:
        """The last day of the range."""
        return self.end_day - timedelta(days=1)


def read_range(from_day: str, to_day: str) -> DayRange:
    """The range that a person wrote, ``to_day`` included.

    Raises :class:`InvalidInputError`: ``date_malformed``, ``range_reversed``.
    """
    first, last = read_day(from_day, "--from"), read_day(to_day, "--to")
    if first > last:
        raise InvalidInputError(
            "range_reversed",
            f"{first} is after {last}",
            where="--from",
            remedy="Give the first day as --from and the last one as --to; both are included.",
        )
    return DayRange(first, last + timedelta(days=1))


def refuse_future(days: DayRange, now: datetime) -> None:
    """Refuse a range with days that have not begun in UTC. Raises :class:`InvalidInputError` ``day_in_future``."""
    if days.last_day > now.date():
        raise InvalidInputError(
            "day_in_future",
            f"{days.last_day} has not begun in UTC, where it is {now.date()}",
            where="--to",
            remedy="Give today or an earlier day.",
        )


def read_day(written: str, option: str) -> date:
    """The UTC day that a person wrote as ``option``. Raises :class:`InvalidInputError` ``date_malformed``."""
    try:
        day = date.fromisoformat(written) if _WRITTEN.fullmatch(written) else None
    except ValueError:
        day = None
    if day is None or day == date.max:
        shown = repr(written) if len(written) <= _SHOWN_CHARACTERS_MAX else "the value"
        raise InvalidInputError(
            "date_malformed", f"{shown} is no day", where=option, remedy="Write it like 2026-10-31 (year, month, day)."
        )
    return day
