"""Silence is not zero: what a slice's newest complete observation covers."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usage_pipeline.reconcile.coverage import Coverage, State, coverage_of, weakest
from usage_pipeline.utc_days import day_end, day_start

D = date(2026, 3, 10)
SETTLING = timedelta(days=3)
NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
END = datetime(2026, 3, 11, tzinfo=UTC)


def seen_at(instant: datetime | None, *, attempted: bool = True) -> Coverage:
    return coverage_of(D, instant, SETTLING, attempted=attempted)


@pytest.mark.parametrize(
    ("instant", "coverage"),
    [
        (NOON, Coverage(State.PROVISIONAL, NOON)),
        (END, Coverage(State.PROVISIONAL, END)),
        (END + timedelta(days=1), Coverage(State.PROVISIONAL, END)),
        (END + SETTLING - timedelta(microseconds=1), Coverage(State.PROVISIONAL, END)),
        (END + SETTLING, Coverage(State.FINAL, END)),
    ],
)
def test_a_pull_covers_until_its_start_and_is_final_after_the_settling_time(
    instant: datetime, coverage: Coverage
) -> None:
    assert seen_at(instant) == coverage


def test_without_a_complete_pull_a_slice_is_failed_if_one_was_tried() -> None:
    assert seen_at(None, attempted=True) == Coverage(State.FAILED)
    assert seen_at(None, attempted=False) == Coverage(State.NONE)


def test_a_complete_pull_covers_whatever_the_last_attempt_did() -> None:
    assert seen_at(NOON, attempted=True) == seen_at(NOON, attempted=False)


def test_a_days_bounds_are_midnights_in_utc() -> None:
    assert (day_start(D), day_end(D)) == (datetime(2026, 3, 10, tzinfo=UTC), END)


def test_nothing_covers_nothing() -> None:
    assert weakest([]) == Coverage(State.NONE)


@given(st.lists(st.one_of(st.none(), st.datetimes(timezones=st.just(UTC))), min_size=1))
def test_a_whole_is_covered_as_its_worst_part(instants: list[datetime | None]) -> None:
    parts = [seen_at(instant) for instant in instants]
    whole = weakest(parts)
    assert whole.state == min(part.state for part in parts)
    if whole.covers:
        assert whole.until == min(part.until for part in parts if part.until is not None)
    else:
        assert whole.until is None
