"""The load path: the same day loaded whole, again, with a hundredth of its rows changed, and with one hour changed.

Each round takes a bare COPY of the same rows beside every load, so that a busy machine slows both.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import zstandard

from bench.figures import NOW, Figure, Laps
from bench.pages import MadeUpDay
from bench.store import REQUEST, Bench, CannedAnswers
from usage_pipeline.ledger.event_copy import EventEncoder, SliceIdentity
from usage_pipeline.providers.contract import Drift
from usage_pipeline.providers.openai import COMPLETIONS, PROVIDER
from usage_pipeline.pulls.fetch import FetchedRange

BUDGETED_ROWS = 1_000_000  # fewer rows do not outweigh what a load costs by itself
BUDGETS = {"empty slice": 3.0, "unchanged": 0.3, "1 % changed": 3.5, "one hour changed": 1.0}
CHANGED_HOUR = 13


@dataclass(frozen=True, slots=True)
class Variants:
    """A day as it is told first, then with every hundredth row restated, then with as many rows of one hour."""

    first: FetchedRange
    hundredth: FetchedRange
    hour: FetchedRange


def measure_loads(bench: Bench, rows: int, rounds: int) -> Iterator[Figure]:
    """Every figure of the load of a day of ``rows`` result rows."""
    laps = Laps()
    day = MadeUpDay(rows)
    canned = CannedAnswers(day)
    with laps.lap("pull"):
        first = bench.fetch(canned)
    variants = Variants(
        first,
        bench.fetch(CannedAnswers(day.restated(every=100))),
        bench.fetch(CannedAnswers(day.restated(every=100, hour=CHANGED_HOUR))),
    )
    chunks = encoded(bench, first)
    for _ in range(rounds):
        _round(bench, variants, chunks, laps)
    bench.empty()
    size = sum(len(chunk) for chunk in chunks)
    bare = laps.seconds["bare empty slice"]
    yield Figure(f"{rows:,} rows: bare COPY", rows, size, "s", bare)
    for name, budget in BUDGETS.items():
        yield Figure(
            f"{rows:,} rows: {name}",
            rows,
            size,
            "s",
            laps.seconds[name],
            laps.seconds[f"bare {name}"],
            budget if rows >= BUDGETED_ROWS else None,
        )
    body_bytes = sum(page.body_bytes for page in first.pages)
    pulled = laps.seconds["pull"]
    yield Figure(f"{rows:,} rows: fetch, validate, digest, pack", rows, body_bytes, "s", pulled, bare[: len(pulled)])


def encoded(bench: Bench, fetched: FetchedRange) -> list[bytes]:
    """The day's events in the loader's own format."""
    unpacker = zstandard.ZstdDecompressor()
    identity = SliceIdentity(bench.key.slug, COMPLETIONS.name, 3600, REQUEST.dimensions)
    encoder = EventEncoder(identity, slice_id=1, source_id=1, recorded_at=NOW)
    pages = (PROVIDER.read_page(COMPLETIONS, unpacker.decompress(p.body_zstd), p.asked) for p in fetched.pages)
    return list(
        encoder.chunks(
            (bucket.start, partial(PROVIDER.usage_rows, COMPLETIONS, bucket.results, REQUEST.dimensions, Drift()))
            for page in pages
            for bucket in page.buckets
        )
    )


def _round(bench: Bench, variants: Variants, chunks: list[bytes], laps: Laps) -> None:
    bench.empty()
    rows = sum(day.rows for day in variants.first.days)
    steps = (
        ("empty slice", variants.first, (rows, 0, 0)),
        ("unchanged", variants.first, (0, 0, 0)),
        ("1 % changed", variants.hundredth, (0, -(-rows // 100), 0)),
        ("one hour changed", variants.hour, (0, -(-rows // 100), 0)),
    )
    for name, fetched, expected in steps:
        bench.settle()
        with laps.lap(f"bare {name}"):
            bench.bare_copy(chunks)
        bench.record(fetched)
        with laps.lap(name):
            done = bench.normalise()
        found = (done.changes.stored, done.changes.updated, done.changes.removed)
        assert found == expected, f"{name}: a load that does something else is not what is measured: {found}"
