"""After a replacement the slice is what was sent, the history what it was before, and what did not change stays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from usage_pipeline.errors import InvariantError
from usage_pipeline.ledger.event_copy import Row
from usage_pipeline.ledger.replacement import Changes, StandsOtherwiseError, amend_slice, binary_copy, replace_slice
from usage_pipeline.ledger.slices import EVENTS
from usage_pipeline_tests.ledger.events import MIDNIGHT, EventSlice, event_slice, model

NOON = MIDNIGHT + timedelta(hours=12)
EVENING = MIDNIGHT + timedelta(hours=18)

outputs = st.dictionaries(st.sampled_from("abcdef"), st.none() | st.integers(0, 2), max_size=6)
Outputs = Mapping[str, int | None]


@pytest.fixture
def events(migrated_database: str) -> Iterator[EventSlice]:
    with event_slice(migrated_database) as opened:
        yield opened


def rows_of(models: Outputs) -> list[Row]:
    return [model(name, output) for name, output in models.items()]


def replace(events: EventSlice, models: Outputs, source_id: int, now: datetime, *, empty: bool = False) -> Changes:
    return replace_slice(
        events.connection,
        EVENTS,
        events.slice_id,
        events.writer(rows_of(models), source_id=source_id, at=now),
        binary=True,
        slice_is_empty=empty,
        now=now,
    )


def amend(events: EventSlice, standing: Outputs, newer: Outputs, *, row_count: int = 0) -> Changes:
    return amend_slice(
        events.connection,
        EVENTS,
        events.slice_id,
        events.writer(rows_of(standing), source_id=2, at=NOON),
        events.writer(rows_of(newer), source_id=2, at=NOON),
        row_count=row_count,
        now=NOON,
    )


def assert_replaced(events: EventSlice, before: Outputs, after: Outputs, changes: Changes) -> None:
    """The slice is ``after``, and everything about it and its history follows from ``before`` alone."""
    kept = {name for name in before if name in after and before[name] == after[name]}
    stored = events.stored()
    assert {found["model"]: found["output"] for found in stored} == after
    for found in stored:
        expected = (1, MIDNIGHT) if found["model"] in kept else (2, NOON)
        assert (found["source_id"], found["recorded_at"]) == expected
    history = events.stored("usage_event_history")
    assert {found["model"]: found["output"] for found in history} == {
        name: output for name, output in before.items() if name not in kept
    }
    assert len(history) == len(before) - len(kept)
    for found in history:
        assert (found["source_id"], found["recorded_at"], found["superseded_at"]) == (1, MIDNIGHT, NOON)
    assert changes == Changes(
        stored=len(after.keys() - before.keys()),
        updated=len(before.keys() & after.keys()) - len(kept),
        removed=len(before.keys() - after.keys()),
        unchanged=len(kept),
    )


# Replacing whole


@given(before=outputs, after=outputs)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
def test_the_slice_becomes_what_is_sent_and_the_history_what_it_was(
    events: EventSlice, before: Outputs, after: Outputs
) -> None:
    with events.connection.begin_nested() as savepoint:
        assert replace(events, before, 1, MIDNIGHT, empty=True) == Changes(stored=len(before))
        assert_replaced(events, before, after, replace(events, after, 2, NOON))
        savepoint.rollback()


def test_replacing_twice_in_one_transaction_keeps_both_versions(events: EventSlice) -> None:
    replace(events, {"a": 1, "b": 1}, 1, MIDNIGHT, empty=True)
    replace(events, {"a": 2, "b": 1}, 2, NOON)
    replace(events, {"a": 3, "b": 1}, 3, EVENING)

    assert events.outputs() == {"a": 3, "b": 1}
    believed = [
        (one["output"], one["recorded_at"], one["superseded_at"]) for one in events.stored("usage_event_history")
    ]
    assert believed == [(1, MIDNIGHT, NOON), (2, NOON, EVENING)]


def test_the_same_rows_again_write_nothing(events: EventSlice) -> None:
    replace(events, {"a": 1, "b": None}, 1, MIDNIGHT, empty=True)
    before = events.stored()

    changes = replace(events, {"b": None, "a": 1}, 2, NOON)

    assert changes == Changes(unchanged=2)
    assert not changes.any
    assert events.stored() == before
    assert events.stored("usage_event_history") == []


def test_a_null_and_a_zero_are_different(events: EventSlice) -> None:
    replace(events, {"a": None}, 1, MIDNIGHT, empty=True)

    assert replace(events, {"a": 0}, 2, NOON) == Changes(updated=1)


@pytest.mark.parametrize("empty", [True, False])
def test_two_rows_of_one_key_are_refused_and_the_slice_is_as_it_was(events: EventSlice, empty: bool) -> None:
    standing = {} if empty else {"a": 1, "z": 1}
    replace(events, standing, 1, MIDNIGHT, empty=True)
    first = events.writer([model("a", 2)])
    second = events.writer([model("a", 3)])
    sent: list[bytes] = []

    class Sink:
        def write(self, chunk: bytes) -> None:
            sent.append(chunk)

    first(Sink())  # type: ignore[arg-type]
    second(Sink())  # type: ignore[arg-type]
    # One stream of both: the first without its trailer, the second without its header.
    one_stream = b"".join(sent[: len(sent) // 2])[:-2] + b"".join(sent[len(sent) // 2 :])[19:]

    with pytest.raises(InvariantError) as refusal, events.connection.begin_nested():
        replace_slice(
            events.connection,
            EVENTS,
            events.slice_id,
            binary_copy([one_stream]),
            binary=True,
            slice_is_empty=empty,
            now=NOON,
        )

    assert refusal.value.code == "duplicate_rows"
    assert events.outputs() == standing
    assert events.stored("usage_event_history") == []


def test_another_slice_is_not_touched(migrated_database: str) -> None:
    with event_slice(migrated_database) as events:
        other = EventSlice(events.connection, events.slice_id + 1)
        replace(other, {"a": 1}, 1, MIDNIGHT, empty=True)
        replace(events, {"a": 1, "b": 1}, 1, MIDNIGHT, empty=True)
        replace(events, {}, 2, NOON)

        assert other.outputs() == {"a": 1}
        assert events.outputs() == {}


# Amending


@given(before=outputs, after=outputs)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
def test_amending_with_what_differs_does_what_replacing_does(
    events: EventSlice, before: Outputs, after: Outputs
) -> None:
    gone = {name: output for name, output in before.items() if after.get(name, -1) != output}
    come = {name: output for name, output in after.items() if before.get(name, -1) != output}
    with events.connection.begin_nested() as savepoint:
        replace(events, before, 1, MIDNIGHT, empty=True)
        assert_replaced(events, before, after, amend(events, gone, come, row_count=len(before)))
        savepoint.rollback()


def test_rows_that_are_sent_unchanged_stay(events: EventSlice) -> None:
    replace(events, {"a": 1, "b": 1}, 1, MIDNIGHT, empty=True)

    changes = amend(events, {"a": 1, "b": 1}, {"a": 1, "b": 2}, row_count=2)

    assert_replaced(events, {"a": 1, "b": 1}, {"a": 1, "b": 2}, changes)


@pytest.mark.parametrize(
    ("standing", "newer"),
    [
        ({"c": 1}, {"c": 2}),  # not stored at all
        ({"a": 5}, {"a": 2}),  # stored otherwise
        ({}, {"b": 2}),  # stored, and not said to stand
    ],
)
def test_a_slice_that_stands_otherwise_is_not_amended(events: EventSlice, standing: Outputs, newer: Outputs) -> None:
    replace(events, {"a": 1, "b": 1}, 1, MIDNIGHT, empty=True)

    with pytest.raises(StandsOtherwiseError), events.connection.begin_nested():
        amend(events, standing, newer, row_count=2)

    assert events.outputs() == {"a": 1, "b": 1}
    assert events.stored("usage_event_history") == []
