"""What a slice covers. Silence is not zero: only a complete pull, or a batch that says so, covers.

In come a slice's newest observation and the settling time; out comes final, provisional (until when), or nothing.
Coverage is derived each time, so that a changed settling time changes the past.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from usage_pipeline.utc_days import day_end


class State(enum.IntEnum):
    """How well a slice is covered; more is better."""

    NONE = 0
    FAILED = 1
    PROVISIONAL = 2
    FINAL = 3


@dataclass(frozen=True, slots=True)
class Coverage:
    """A state, and for a provisional one the instant up to which the source had spoken."""

    state: State
    until: datetime | None = None

    @property
    def covers(self) -> bool:
        """Whether a complete answer stands."""
        return self.state >= State.PROVISIONAL

    @property
    def final(self) -> bool:
        """Whether the answer was given after the settling time."""
        return self.state is State.FINAL


NOT_COVERED = Coverage(State.NONE)


def coverage_of(day: date, observed_at: datetime | None, settling: timedelta, *, attempted: bool) -> Coverage:
    """The coverage by the newest complete observation, which started (or was generated) at ``observed_at``."""
    if observed_at is None:
        return Coverage(State.FAILED if attempted else State.NONE)
    end = day_end(day)
    if observed_at >= end + settling:
        return Coverage(State.FINAL, end)
    return Coverage(State.PROVISIONAL, min(observed_at, end))


def weakest(coverages: list[Coverage]) -> Coverage:
    """The coverage of a whole whose parts must all be covered: the least state, the least ``until``."""
    if not coverages:
        return NOT_COVERED
    state = min(part.state for part in coverages)
    if state < State.PROVISIONAL:
        return Coverage(state)
    return Coverage(state, min(part.until for part in coverages if part.until is not None))
