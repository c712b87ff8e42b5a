"""How far a backfill is, and how long the rest will take, in words for the person who waits for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Final

from usage_pipeline.orchestration.partitions import DaySpan

_MINUTE: Final = 60
_HOUR: Final = 3600


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """A run to come: the pull of a key's days, or with ``key`` None the days' reconciling."""

    span: DaySpan
    key: str | None
    chunk: int


class Pace:
    """The runs of a backfill in their order, and how long those that are over took.

    Pulls and reconciling are timed apart, by the day, since one waits for providers and the other for the database.
    What is left is said once a run of each kind that is still to come is over.
    """

    def __init__(self, plan: Sequence[PlannedRun], chunks: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._plan, self._chunks, self._clock = plan, chunks, clock
        self._seconds_per_day: dict[bool, list[float]] = {True: [], False: []}
        self._started = self._run_started = clock()

    def begin(self, number: int) -> str:
        """Note that the run of this number, from 0, begins; how far the backfill is, in parentheses."""
        self._run_started = self._clock()
        words = f"run {number + 1} of {len(self._plan)}"
        if self._chunks > 1:
            words = f"chunk {self._plan[number].chunk} of {self._chunks}, {words}"
        if number:
            words += f"; {duration(self._run_started - self._started)} so far"
            left = self._left(self._plan[number:])
            words += "" if left is None else f", about {duration(left)} left"
        return f"({words})"

    def end(self, number: int) -> None:
        """Note that the run is over."""
        run = self._plan[number]
        self._seconds_per_day[run.key is None].append((self._clock() - self._run_started) / len(run.span.days))

    def _left(self, runs: Sequence[PlannedRun]) -> float | None:
        left = 0.0
        for reconciles, paces in self._seconds_per_day.items():
            days = sum(len(run.span.days) for run in runs if (run.key is None) == reconciles)
            if days and not paces:
                return None
            left += days * fmean(paces) if paces else 0.0
        return left


def duration(seconds: float) -> str:
    """A time in its two largest units: ``45 s``, ``12 min``, ``3 h 20 min``."""
    if seconds < _MINUTE:
        return f"{seconds:.0f} s"
    minutes = round(seconds / _MINUTE)
    if minutes < _MINUTE:
        return f"{minutes} min"
    return f"{minutes // _MINUTE} h {minutes % _MINUTE} min"
