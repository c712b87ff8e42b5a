"""Reconciling a day of many events into many cells, beside a bare COPY of the same events."""

from __future__ import annotations

from collections.abc import Iterator

from bench.figures import DAY, NOW, Figure, Laps
from bench.load import BUDGETED_ROWS, encoded
from bench.pages import MadeUpDay
from bench.store import Bench, CannedAnswers
from usage_pipeline.ledger.reconcile_inputs import CountRule, provider_sums
from usage_pipeline.ledger.slices import slices_of_endpoint
from usage_pipeline.pricing.price_book import PriceBook
from usage_pipeline.providers.openai import COMPLETIONS, PROVIDER
from usage_pipeline.reconcile.day import reconcile_workspace_days
from usage_pipeline.settings import Settings

BUDGET = 1.0


def measure_reconciling(bench: Bench, rows: int, cells: int, rounds: int) -> Iterator[Figure]:
    """The database's sums alone, the first reconciling of a loaded day, and the same again with nothing changed."""
    laps = Laps()
    fetched = bench.fetch(CannedAnswers(MadeUpDay(rows, models=cells)))
    chunks = encoded(bench, fetched)
    bench.record(fetched)
    bench.normalise()
    for _ in range(rounds):
        bench.forget_results()
        bench.settle()
        with laps.lap("bare sums"):
            bench.bare_copy(chunks)
        with laps.lap("sums"):
            _sums(bench)
        for name in ("first", "again"):
            bench.settle()
            with laps.lap(f"bare {name}"):
                bench.bare_copy(chunks)
            with laps.lap(name):
                reconcile(bench)
    bench.empty()
    size = sum(len(chunk) for chunk in chunks)
    for name in ("sums", "first", "again"):
        yield Figure(
            f"{rows:,} events into {cells:,} cells: {name}",
            rows,
            size,
            "s",
            laps.seconds[name],
            laps.seconds[f"bare {name}"],
            BUDGET if rows >= BUDGETED_ROWS else None,
        )


def reconcile(bench: Bench) -> None:
    """The day's reconciling, by a price book that has not been asked yet."""
    reconcile_workspace_days(
        bench.engine, bench.workspace, [DAY], NOW, {PROVIDER.name: PROVIDER}, PriceBook(), Settings()
    )


def _sums(bench: Bench) -> None:
    """The database's part alone: the day's events by model and price variant."""
    with bench.engine.begin() as connection:
        slice_ = slices_of_endpoint(connection, bench.key.feed_id, COMPLETIONS.name, [DAY])[DAY]
        for _ in provider_sums(connection, [CountRule(slice_.slice_id, True, frozenset(), NOW)]):
            pass
