"""A re-pull of one day beside a long history: nothing may grow with what is stored of other days.

The older days are made up by the database itself, their slices too; they take about 330 bytes a row. On request only:
ten million rows take some minutes.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from sqlalchemy import text

from bench.figures import DAY, NOW, Figure, Laps
from bench.pages import MadeUpDay
from bench.reconciling import reconcile
from bench.store import Bench, CannedAnswers

ROWS_A_DAY = 20_000
SLOWER_MAX = 1.5
"""How many times as long a re-pull beside the history may take as without one."""

_SLICES = """
INSERT INTO slices (feed_id, endpoint, day, window_seconds, dimensions_asked, observed_at, observed_digest,
    content_digest, row_count)
SELECT :feed_id, 'completions', :day - n, 3600, ARRAY['model'], :now, '\\x00', '\\x00', :rows
FROM generate_series(1, :days) AS n
"""
_EVENTS = """
INSERT INTO usage_events (slice_id, event_id, source_id, window_start, recorded_at, uncached_input, cache_read,
    cache_write_unsplit, output, requests, project_id, user_id, api_key_id, model, service_tier, batch)
SELECT s.slice_id, CAST(md5(s.slice_id || ' ' || n) AS uuid), 1, s.day + make_interval(hours => n % 24), :now,
    n * 7, n * 3, n % 5, n * 2, n % 11, 'proj_' || n % 97, 'user-' || n % 2003, 'key_' || n, 'gpt-' || n % 8,
    'default', 'false'
FROM slices AS s, generate_series(1, :rows) AS n WHERE s.feed_id = :feed_id AND s.day < :day
"""


def measure_history(bench: Bench, rows: int, older_rows: int, rounds: int) -> Iterator[Figure]:
    """The empty slice, the restated day and its reconciling, without and beside ``older_rows`` older events."""
    laps = Laps()
    for beside in ("without history", "beside history"):
        for _ in range(rounds):
            _round(bench, rows, laps, beside)
        if beside == "without history":
            _make_history(bench, older_rows)
    bench.empty()
    for name in ("empty slice", "1 % changed", "reconciled"):
        yield Figure(
            f"{rows:,} rows beside {older_rows:,} older ones: {name}",
            rows,
            0,
            "s",
            laps.seconds[f"{name} beside history"],
            laps.seconds[f"{name} without history"],
            SLOWER_MAX,
        )


def _round(bench: Bench, rows: int, laps: Laps, beside: str) -> None:
    with bench.engine.begin() as connection:
        connection.execute(
            text(
                "WITH gone AS (DELETE FROM slices WHERE day = :day RETURNING slice_id)"
                " DELETE FROM usage_events WHERE slice_id IN (SELECT slice_id FROM gone)"
            ),
            {"day": DAY},
        )
        connection.execute(text("DELETE FROM pulls"))
    bench.forget_results()
    day = MadeUpDay(rows)
    for name, told in (("empty slice", day), ("1 % changed", day.restated(every=100))):
        bench.record(bench.fetch(CannedAnswers(told)))
        bench.settle()
        with laps.lap(f"{name} {beside}"):
            bench.normalise()
    with laps.lap(f"reconciled {beside}"):
        reconcile(bench)


def _make_history(bench: Bench, older_rows: int) -> None:
    told = {"feed_id": bench.key.feed_id, "day": DAY, "now": NOW - timedelta(days=1), "rows": ROWS_A_DAY}
    with bench.engine.begin() as connection:
        connection.execute(text(_SLICES), {**told, "days": max(1, older_rows // ROWS_A_DAY)})
        connection.execute(text(_EVENTS), told)
    with bench.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM (ANALYZE) usage_events"))
