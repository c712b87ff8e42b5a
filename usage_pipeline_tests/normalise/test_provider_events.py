"""A newer answer is written where it differs, and the slice is then what the whole answer says."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from usage_pipeline.ledger.pulls import PullDay
from usage_pipeline.ledger.replacement import Changes
from usage_pipeline.ledger.slices import Slice
from usage_pipeline.normalise import provider_events
from usage_pipeline.normalise.differences import differing_buckets
from usage_pipeline.normalise.provider_events import DayOfUsage
from usage_pipeline.providers.contract import Bucket
from usage_pipeline.providers.openai import COMPLETIONS, PROVIDER
from usage_pipeline_tests.ledger.events import DAY, MIDNIGHT, EventSlice, event_slice

NOON = MIDNIGHT + timedelta(hours=12)
# A row as answered: model, output, and a field that makes other bytes of the same key.
Told = tuple[str, int, int]
Hours = Sequence[Sequence[Told]]

told_rows = st.tuples(st.sampled_from("abc"), st.integers(0, 2), st.integers(0, 1))
answers = st.lists(st.lists(told_rows, max_size=4), max_size=3)


@pytest.fixture
def events(migrated_database: str) -> Iterator[EventSlice]:
    with event_slice(migrated_database) as opened:
        yield opened


def bucket(hour: int, rows: Sequence[Told]) -> Bucket:
    results: list[dict[str, Any]] = [
        {
            "input_tokens": 0,
            "output_tokens": output,
            "num_model_requests": 1,
            "model": name,
            "project_name": f"name {other}",
        }
        for name, output, other in rows
    ]
    return Bucket(MIDNIGHT + timedelta(hours=hour), msgspec.Raw(json.dumps(results).encode()))


def buckets(hours: Hours) -> Iterator[Bucket]:
    return (bucket(hour, rows) for hour, rows in enumerate(hours))


def day_of(events: EventSlice, pull_id: int, row_count: int) -> DayOfUsage:
    slice_ = Slice(events.slice_id, 1, "completions", DAY, None, None, None, row_count)
    word = PullDay(DAY, pull_id, MIDNIGHT, b"", pull_id, 3600, ("model",))
    return DayOfUsage(slice_, "acme.openai.main", PROVIDER, COMPLETIONS, word)


def summed(hours: Hours) -> dict[tuple[datetime, str], tuple[int, int]]:
    """Output and requests by hour and model: what the slice must hold, told without the code under test."""
    expected: dict[tuple[datetime, str], tuple[int, int]] = {}
    for hour, rows in enumerate(hours):
        for name, output, _ in rows:
            key = (MIDNIGHT + timedelta(hours=hour), name)
            before = expected.get(key, (0, 0))
            expected[key] = (before[0] + output, before[1] + 1)
    return expected


def held(events: EventSlice) -> dict[tuple[datetime, str], tuple[int, int]]:
    return {(one["window_start"], one["model"]): (one["output"], one["requests"]) for one in events.stored()}


@contextmanager
def rolled_back(events: EventSlice) -> Iterator[None]:
    with events.connection.begin_nested() as savepoint:
        yield
        savepoint.rollback()


@given(standing=answers, newer=answers)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
def test_after_amending_or_writing_the_slice_is_what_the_newer_answer_says(
    events: EventSlice, standing: Hours, newer: Hours
) -> None:
    with rolled_back(events):
        _, rows = day_of(events, 1, 0).write(events.connection, buckets(standing), MIDNIGHT)
        assert held(events) == summed(standing)
        usage = day_of(events, 2, rows)

        with rolled_back(events):
            by_writing = usage.write(events.connection, buckets(newer), NOON)
            written = (events.stored(), events.stored("usage_event_history"))
        amended = usage.amend(events.connection, buckets(standing), buckets(newer), NOON)

        if amended is None:
            assert held(events) == summed(standing)
        else:
            assert amended == by_writing
            assert (events.stored(), events.stored("usage_event_history")) == written
            assert held(events) == summed(newer)


def test_only_rows_whose_bytes_differ_are_decoded(events: EventSlice, monkeypatch: pytest.MonkeyPatch) -> None:
    standing = [[("a", 1, 0), ("b", 1, 0)], [("a", 1, 0), ("b", 1, 0), ("c", 1, 0)]]
    newer = [standing[0], [("a", 1, 0), ("b", 2, 0), ("c", 1, 0)]]
    _, rows = day_of(events, 1, 0).write(events.connection, buckets(standing), MIDNIGHT)
    read: list[int] = []

    class Watched:
        def usage_rows(self, endpoint: Any, results: msgspec.Raw, asked: Any, drift: Any) -> Iterator[Any]:
            read.append(len(json.loads(bytes(results))))
            return PROVIDER.usage_rows(endpoint, results, asked, drift)

    usage = replace(day_of(events, 2, rows), provider=Watched())

    assert usage.amend(events.connection, buckets(standing), buckets(newer), NOON) == (
        Changes(updated=1, unchanged=4),
        5,
    )
    assert read == [1, 1]  # the row as it stood, and as it is told now


def test_rows_in_another_order_change_nothing(events: EventSlice) -> None:
    standing = [[("a", 1, 0), ("b", 1, 0)]]
    _, rows = day_of(events, 1, 0).write(events.connection, buckets(standing), MIDNIGHT)

    amended = day_of(events, 2, rows).amend(
        events.connection, buckets(standing), buckets([[("b", 1, 0), ("a", 1, 0)]]), NOON
    )

    assert amended == (Changes(unchanged=2), 2)


def test_a_bucket_with_a_row_twice_is_not_told_by_its_bytes(events: EventSlice) -> None:
    standing = [[("a", 1, 0), ("a", 1, 0)]]
    _, rows = day_of(events, 1, 0).write(events.connection, buckets(standing), MIDNIGHT)

    assert day_of(events, 2, rows).amend(events.connection, buckets(standing), buckets([[("a", 1, 0)]]), NOON) is None


def test_a_day_of_which_too_much_differs_is_written_whole(events: EventSlice, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provider_events, "AMENDED_BYTES_MAX", 50)
    _, rows = day_of(events, 1, 0).write(events.connection, buckets([[("a", 1, 0)]]), MIDNIGHT)
    usage = day_of(events, 2, rows)

    assert usage.amend(events.connection, buckets([[("a", 1, 0)]]), buckets([[("a", 2, 0)]]), NOON) is None
    assert held(events) == summed([[("a", 1, 0)]])


def test_buckets_that_only_one_answer_has_differ_as_a_whole() -> None:
    first, second, third = bucket(0, [("a", 1, 0)]), bucket(1, [("a", 1, 0)]), bucket(2, [])

    found = list(differing_buckets(iter([first, third]), iter([second, third])))

    assert [(one.start, one.gone, one.come) for one in found] == [
        (datetime(2026, 11, 20, 0, tzinfo=UTC), first.results, msgspec.Raw(b"[]")),
        (datetime(2026, 11, 20, 1, tzinfo=UTC), msgspec.Raw(b"[]"), second.results),
    ]
