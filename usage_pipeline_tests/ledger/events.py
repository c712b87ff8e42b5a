"""What the tests of writing events share: a slice to write to, rows to write, and what the database then holds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, text

from usage_pipeline.ledger.event_copy import EVENT_COLUMNS, EventEncoder, Row, SliceIdentity
from usage_pipeline.ledger.replacement import CopyWriter, binary_copy
from usage_pipeline.ledger.server import connect_engine
from usage_pipeline.ledger.slices import lock_slice
from usage_pipeline.measures import EVENT_DIMENSIONS, EVENT_MEASURES
from usage_pipeline_tests.ledger.registering import register

DAY = date(2026, 11, 20)
MIDNIGHT = datetime(2026, 11, 20, tzinfo=UTC)
IDENTITY = SliceIdentity("acme.openai.main", "completions", 3600, ("model", "project_id"))
BIGINT_MAX = 2**63 - 1

counts = st.none() | st.integers(0, BIGINT_MAX)
# A zero character is refused, a lone surrogate is no text: neither comes out of an answer that was decoded.
texts = st.none() | st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=12)


def row(dimensions: Mapping[str, str | None], measures: Mapping[str, int | None]) -> Row:
    """A canonical row from named values; the rest are null."""
    return (
        tuple(dimensions.get(name) for name in EVENT_DIMENSIONS),
        tuple(measures.get(name) for name in EVENT_MEASURES),
    )


def model(name: str, output: int | None, input: int = 7) -> Row:  # noqa: A002 - the measure's own name
    """A row of one model with some input and output."""
    return row({"model": name}, {"output": output, "uncached_input": input})


@dataclass(frozen=True, slots=True)
class EventSlice:
    """A locked slice of a new key, and how to write rows of it."""

    connection: Connection
    slice_id: int

    def writer(self, rows: Iterable[Row], *, source_id: int = 1, at: datetime = MIDNIGHT) -> CopyWriter:
        """Rows of the first hour, each sent as it is."""
        listed = list(rows)
        encoder = EventEncoder(IDENTITY, slice_id=self.slice_id, source_id=source_id, recorded_at=at)
        return binary_copy(encoder.chunks([(MIDNIGHT, lambda: listed)]))

    def stored(self, table: str = "usage_events") -> list[dict[str, Any]]:
        """What the table holds of the slice, in the order of keys and then of time."""
        order = "event_id" if table == "usage_events" else "event_id, superseded_at"
        rows = self.connection.execute(
            text(f"SELECT * FROM {table} WHERE slice_id = :slice_id ORDER BY {order}"), {"slice_id": self.slice_id}
        )
        return [dict(found) for found in rows.mappings()]

    def outputs(self) -> dict[str, int | None]:
        """The output of each model."""
        return {found["model"]: found["output"] for found in self.stored()}


@contextmanager
def event_slice(url: str) -> Iterator[EventSlice]:
    """A locked, empty slice in a transaction that is rolled back."""
    engine: Engine = connect_engine(url)
    try:
        with engine.connect() as connection:
            key = register(connection)
            yield EventSlice(connection, lock_slice(connection, key.feed_id, "completions", DAY).slice_id)
            connection.rollback()
    finally:
        engine.dispose()


def as_row(found: Mapping[str, Any]) -> Row:
    """A stored event as the canonical row that it came from."""
    assert set(found) >= set(EVENT_COLUMNS)
    return tuple(found[name] for name in EVENT_DIMENSIONS), tuple(found[name] for name in EVENT_MEASURES)
