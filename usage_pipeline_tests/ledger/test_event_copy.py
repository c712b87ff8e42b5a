"""What is encoded is what PostgreSQL reads back, under a key that stays."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from usage_pipeline.errors import InvariantError
from usage_pipeline.ledger import event_copy
from usage_pipeline.ledger.event_copy import EventEncoder, Row, SliceIdentity, event_key, one_row_per_key
from usage_pipeline.ledger.replacement import binary_copy, replace_slice
from usage_pipeline.ledger.slices import EVENTS
from usage_pipeline.measures import EVENT_DIMENSIONS, EVENT_MEASURES
from usage_pipeline_tests.ledger.events import (
    BIGINT_MAX,
    IDENTITY,
    MIDNIGHT,
    EventSlice,
    as_row,
    counts,
    event_slice,
    model,
    row,
    texts,
)

dimension_tuples = st.tuples(*[texts] * len(EVENT_DIMENSIONS))
measure_tuples = st.tuples(*[counts] * len(EVENT_MEASURES))
row_lists = st.dictionaries(dimension_tuples, measure_tuples, max_size=8).map(lambda rows: list(rows.items()))


@pytest.fixture
def empty_slice(migrated_database: str) -> Iterator[EventSlice]:
    with event_slice(migrated_database) as opened:
        yield opened


def encoder(slice_id: int = 1) -> EventEncoder:
    return EventEncoder(IDENTITY, slice_id=slice_id, source_id=2, recorded_at=MIDNIGHT)


def encode(*rows: Row) -> bytes:
    return b"".join(encoder().chunks([(MIDNIGHT, lambda: rows)]))


# Encoding


@given(hours=st.lists(row_lists, max_size=3))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
def test_what_is_encoded_is_what_postgresql_reads_back(empty_slice: EventSlice, hours: list[list[Row]]) -> None:
    encoding = encoder(empty_slice.slice_id)
    buckets = [(MIDNIGHT + timedelta(hours=n), lambda rows=rows: rows) for n, rows in enumerate(hours)]

    with empty_slice.connection.begin_nested() as savepoint:
        replace_slice(
            empty_slice.connection,
            EVENTS,
            empty_slice.slice_id,
            binary_copy(encoding.chunks(buckets)),
            binary=True,
            slice_is_empty=True,
            now=MIDNIGHT,
        )
        stored = empty_slice.stored()
        savepoint.rollback()

    expected = {(MIDNIGHT + timedelta(hours=n), *one) for n, rows in enumerate(hours) for one in rows}
    assert {(found["window_start"], *as_row(found)) for found in stored} == expected
    assert encoding.rows == len(stored) == len(expected)
    for found in stored:
        assert found["event_id"] == UUID(bytes=event_key(IDENTITY, as_row(found)[0], found["window_start"]))
        assert (found["source_id"], found["recorded_at"], found["counts"]) == (2, MIDNIGHT, True)
        assert found["estimated_cost_usd"] is found["actual_cost_usd"] is None


def test_a_bucket_larger_than_a_chunk_is_sent_whole_and_in_order(empty_slice: EventSlice) -> None:
    rows = [model(f"model-{n:05}", n) for n in range(2000)]

    replace_slice(
        empty_slice.connection,
        EVENTS,
        empty_slice.slice_id,
        empty_slice.writer(rows),
        binary=True,
        slice_is_empty=True,
        now=MIDNIGHT,
    )

    assert empty_slice.outputs() == {f"model-{n:05}": n for n in range(2000)}


def test_a_bucket_is_sent_while_the_next_one_is_encoded() -> None:
    read: list[int] = []

    def rows_of(hour: int) -> Iterator[Row]:
        for n in range(1000):
            read.append(hour)
            yield model(f"model-{n}", n)

    chunks = encoder().chunks((MIDNIGHT + timedelta(hours=hour), lambda hour=hour: rows_of(hour)) for hour in range(2))
    next(chunks)  # the header
    next(chunks)

    assert 0 < read.count(1) < 1000


def test_dimensions_that_are_kept_no_more_are_encoded_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [model(f"model-{n % 7}", n) for n in range(7)]
    expected = encode(*rows)

    monkeypatch.setattr(event_copy, "_DIMENSIONS_KEPT_MAX", 2)

    assert encode(*rows) == expected


@pytest.mark.parametrize("value", [-1, BIGINT_MAX + 1, 2**64, -(2**63)])
@pytest.mark.parametrize("position", [0, 1, 300])
def test_a_figure_that_is_negative_or_over_bigint_is_refused(value: int, position: int) -> None:
    rows = [model(f"model-{n}", 5) for n in range(301)]
    rows[position] = model("bad", value)

    with pytest.raises(InvariantError, match="output") as refusal:
        encode(*rows)

    assert refusal.value.code == "measure_out_of_range"


def test_the_greatest_bigint_is_taken() -> None:
    assert encode(model("a", BIGINT_MAX), model("b", BIGINT_MAX))


def test_a_zero_character_is_refused_before_the_database_would() -> None:
    with pytest.raises(InvariantError, match="model") as refusal:
        encode(model("gpt\x005", 1))

    assert refusal.value.code == "text_unstorable"


# Rows of one key


def test_rows_that_nothing_asked_for_tells_apart_are_added_up() -> None:
    assert encode(model("a", 1), model("b", 5), model("a", 2)) == encode(model("a", 3, input=14), model("b", 5))


def test_a_null_and_a_figure_add_up_to_the_figure_and_two_nulls_to_null() -> None:
    assert one_row_per_key([model("a", None), model("a", 2), model("b", None), model("b", None)]) == [
        model("a", 2, input=14),
        model("b", None, input=14),
    ]


def test_the_same_dimensions_in_two_hours_are_two_events() -> None:
    encoding = encoder()
    list(encoding.chunks((MIDNIGHT + timedelta(hours=hour), lambda: [model("a", 1)]) for hour in range(2)))

    assert encoding.rows == 2


# Keys


def test_the_key_of_an_event_never_changes() -> None:
    dimensions, _ = row({"model": "gpt-5", "project_id": "proj_é\n"}, {})

    assert event_key(IDENTITY, dimensions, MIDNIGHT).hex() == "6aff8d8079e721e2c087daded5bda3e0"


@given(dimensions=dimension_tuples, asked=st.lists(st.sampled_from(EVENT_DIMENSIONS), unique=True))
def test_a_key_is_the_window_and_a_hash_of_canonical_json(dimensions: tuple[str | None, ...], asked: list[str]) -> None:
    identity = SliceIdentity('ac"me.openai.main', "completions", 86400, tuple(asked))
    canonical = json.dumps(
        {
            "asked": sorted(asked),
            "dimensions": {
                name: value for name, value in zip(EVENT_DIMENSIONS, dimensions, strict=True) if value is not None
            },
            "endpoint": "completions",
            "feed": 'ac"me.openai.main',
            "window_seconds": 86400,
        },
        ensure_ascii=False,
        separators=(",", ":"),
        sort_keys=True,
    )

    key = event_key(identity, dimensions, MIDNIGHT)

    assert key[:4] == int(MIDNIGHT.timestamp()).to_bytes(4, "big")
    assert key[4:] == hashlib.blake2b(canonical.encode(), digest_size=12).digest()


def test_the_order_of_what_was_asked_for_makes_no_other_key_and_the_set_does() -> None:
    dimensions, _ = model("gpt-5", None)
    keys = {
        event_key(SliceIdentity("acme.openai.main", "completions", 3600, asked), dimensions, MIDNIGHT)
        for asked in (("model", "project_id"), ("project_id", "model"), ("model",))
    }

    assert len(keys) == 2


def test_each_part_of_an_events_identity_makes_another_key() -> None:
    dimensions, _ = model("gpt-5", None)
    identities = [
        IDENTITY,
        SliceIdentity("acme.openai.other", "completions", 3600, IDENTITY.dimensions_asked),
        SliceIdentity("acme.openai.main", "embeddings", 3600, IDENTITY.dimensions_asked),
        SliceIdentity("acme.openai.main", "completions", 86400, IDENTITY.dimensions_asked),
    ]
    keys = {event_key(identity, dimensions, MIDNIGHT) for identity in identities}
    keys.add(event_key(IDENTITY, row({"project_id": "gpt-5"}, {})[0], MIDNIGHT))
    keys.add(event_key(IDENTITY, dimensions, datetime(2026, 11, 20, 1, tzinfo=UTC)))

    assert len(keys) == len(identities) + 2
