"""The fixed cost of a slice: a month of few rows a day, as a backfill of a small organisation writes it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from functools import partial

from bench.figures import DAY, NOW, Figure, Laps
from bench.store import REQUEST, Bench
from usage_pipeline.ledger.event_copy import EventEncoder, SliceIdentity
from usage_pipeline.ledger.replacement import binary_copy, replace_slice
from usage_pipeline.ledger.slices import EVENTS, Observation, cover, lock_slice
from usage_pipeline.measures import EVENT_DIMENSIONS, EVENT_MEASURES

SLICES = 120
ROWS_A_SLICE = 12


def measure_small_slices(bench: Bench, rounds: int) -> Iterator[Figure]:
    """Milliseconds for a slice of a dozen rows, its transaction and coverage included: written, and written again."""
    laps = Laps()
    for _ in range(rounds):
        bench.empty()
        for name in ("written", "compared"):
            with laps.lap(name):
                for n in range(SLICES):
                    _write(bench, n)
    bench.empty()
    for name, seconds in laps.seconds.items():
        samples = [1000 * one / SLICES for one in seconds]
        yield Figure(f"slice of {ROWS_A_SLICE} rows: {name}", ROWS_A_SLICE, 0, "ms", samples)


def _write(bench: Bench, number: int) -> None:
    day = DAY - timedelta(days=number)
    identity = SliceIdentity(bench.key.slug, "completions", 86400, REQUEST.dimensions)
    start = datetime.combine(day, time(), UTC)
    with bench.engine.begin() as connection:
        slice_ = lock_slice(connection, bench.key.feed_id, "completions", day)
        encoder = EventEncoder(identity, slice_id=slice_.slice_id, source_id=1, recorded_at=NOW)
        replace_slice(
            connection,
            EVENTS,
            slice_.slice_id,
            binary_copy(encoder.chunks([(start, partial(_rows, number))])),
            binary=True,
            slice_is_empty=slice_.row_count == 0,
            now=NOW,
        )
        cover(connection, slice_.slice_id, Observation(NOW, b"", b"", 86400, REQUEST.dimensions, encoder.rows))


def _rows(number: int) -> list[tuple[tuple[str | None, ...], tuple[int | None, ...]]]:
    measures = tuple(number if name in {"uncached_input", "output"} else None for name in EVENT_MEASURES)
    return [
        (tuple(f"model-{n}" if name == "model" else None for name in EVENT_DIMENSIONS), measures)
        for n in range(ROWS_A_SLICE)
    ]
