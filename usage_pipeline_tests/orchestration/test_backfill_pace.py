from __future__ import annotations

from datetime import date

import pytest

from usage_pipeline.orchestration.backfill_pace import Pace, PlannedRun, duration
from usage_pipeline.orchestration.partitions import DaySpan

_FIRST = DaySpan(date(2025, 1, 1), date(2025, 2, 1))
_SECOND = DaySpan(date(2025, 2, 1), date(2025, 3, 1))
_PLAN = [
    PlannedRun(_FIRST, "acme.openai.main", 1),
    PlannedRun(_FIRST, "acme.anthropic.main", 1),
    PlannedRun(_FIRST, None, 1),
    PlannedRun(_SECOND, "acme.openai.main", 2),
    PlannedRun(_SECOND, "acme.anthropic.main", 2),
    PlannedRun(_SECOND, None, 2),
]


def _told(plan: list[PlannedRun], chunks: int, took: list[float]) -> list[str]:
    """What is told when each run begins, where they take these seconds."""
    at = 0.0
    pace = Pace(plan, chunks, lambda: at)
    told: list[str] = []
    for number, seconds in enumerate(took):
        told.append(pace.begin(number))
        at += seconds
        pace.end(number)
    return told


def test_what_is_left_is_told_once_each_kind_of_run_to_come_was_timed() -> None:
    assert _told(_PLAN, 2, [10, 20, 60, 10, 20, 60]) == [
        "(chunk 1 of 2, run 1 of 6)",
        "(chunk 1 of 2, run 2 of 6; 10 s so far)",
        "(chunk 1 of 2, run 3 of 6; 30 s so far)",
        "(chunk 2 of 2, run 4 of 6; 2 min so far, about 1 min left)",
        "(chunk 2 of 2, run 5 of 6; 2 min so far, about 1 min left)",
        "(chunk 2 of 2, run 6 of 6; 2 min so far, about 54 s left)",
    ]


def test_a_kind_that_does_not_come_again_is_not_waited_for() -> None:
    assert _told([_PLAN[0], _PLAN[1]], 1, [8, 8]) == ["(run 1 of 2)", "(run 2 of 2; 8 s so far, about 8 s left)"]


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, "0 s"), (59, "59 s"), (90, "2 min"), (3570, "1 h 0 min"), (12000, "3 h 20 min")]
)
def test_a_time_is_told_in_its_largest_units(seconds: float, words: str) -> None:
    assert duration(seconds) == words
