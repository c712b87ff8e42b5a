"""How an alert lives, for every history: never told twice within the window, and never left open when it is over."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from usage_pipeline.alerts.life import opened, over, still_there
from usage_pipeline.ledger.alerts import AlertState
from usage_pipeline_tests.alerts.conftest import START, condition

WINDOW = timedelta(minutes=30)

# At each minute: which occurrences hold (none: the condition is gone).
HISTORIES = st.lists(st.frozensets(st.sampled_from("abcdef"), max_size=4), min_size=1, max_size=120)


def lived(history: list[frozenset[str]]) -> list[AlertState]:
    """The states of one alert, a minute apart, from when it opened on."""
    states: list[AlertState] = []
    for minute, occurrences in enumerate(history):
        now = START + timedelta(minutes=minute)
        holds = condition("somewhere", *sorted(occurrences)) if occurrences else None
        if not states:
            if holds:
                states.append(opened(holds, now))
            continue
        before = states[-1]
        if holds:
            states.append(still_there(before, holds, now, WINDOW))
        elif before.recovered_at is None:
            states.append(over(before, now))
    return states


@given(history=HISTORIES)
def test_that_it_is_open_is_told_once_in_any_window(history: list[frozenset[str]]) -> None:
    told = {state.notice: state for state in lived(history) if state.noticed_open}
    times = sorted(state.noticed_at for state in told.values())
    assert all(later - earlier >= WINDOW for earlier, later in pairwise(times))


@given(history=HISTORIES)
def test_what_is_over_was_told_to_be_over(history: list[frozenset[str]]) -> None:
    assert all(not state.noticed_open for state in lived(history) if state.recovered_at is not None)


@given(history=HISTORIES)
def test_after_the_window_everything_that_came_was_told(history: list[frozenset[str]]) -> None:
    states = lived(history)
    if states and states[-1].recovered_at is None:
        holds = condition("somewhere", *states[-1].occurrences)
        later = still_there(states[-1], holds, states[-1].noticed_at + WINDOW, WINDOW)
        assert later.noticed_open
        assert later.noticed_count == later.occurrence_count


@given(history=HISTORIES)
def test_the_count_never_falls_and_notices_go_up_by_one(history: list[frozenset[str]]) -> None:
    states = lived(history)
    for before, after in pairwise(states):
        assert after.occurrence_count >= before.occurrence_count
        assert after.notice - before.notice in {0, 1}
        assert after.first_seen == before.first_seen
