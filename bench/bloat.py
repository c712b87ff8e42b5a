"""A hundred re-pulls of one day, each with some hundredths of its rows restated: what is left behind in the table.

They come within a minute here and over weeks in earnest, so every tenth is followed by the vacuum that would have come
by itself between them.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle, islice
from time import perf_counter

from sqlalchemy import text

from bench.figures import Figure
from bench.pages import MadeUpDay
from bench.store import Bench, CannedAnswers

RE_PULLS = 100
RE_PULLS_A_VACUUM = 10
GROWTH_MAX = 1.5
"""How many times its first size the table may grow to: ten re-pulls move some tenths of the rows."""

_SIZES = (
    "SELECT pg_table_size('usage_events'), pg_indexes_size('usage_events'),"
    " pg_table_size('usage_event_history'), (SELECT n_dead_tup FROM pg_stat_user_tables WHERE relname = 'usage_events')"
)


def measure_bloat(bench: Bench, rows: int) -> Iterator[Figure]:
    """MiB of the table and its index after the first load and after a hundred re-pulls, dead rows, and how the time of
    a re-pull moves."""
    day = MadeUpDay(rows)
    told = [day, day.restated(every=100), day.restated(hour=3), day.restated(hour=15)]
    answers = cycle([bench.fetch(CannedAnswers(one)) for one in told])
    bench.record(next(answers))
    bench.normalise()
    before = _sizes(bench)
    seconds: list[float] = []
    for number, answer in enumerate(islice(answers, RE_PULLS)):
        if number % RE_PULLS_A_VACUUM == 0:
            _vacuum(bench)
        bench.record(answer)
        began = perf_counter()
        done = bench.normalise()
        seconds.append(perf_counter() - began)
        assert done.changes.updated, "every re-pull restates something"
    after = _sizes(bench)
    bench.empty()
    name = f"{rows:,} rows, {RE_PULLS} re-pulls"
    grown = (after[0] + after[1]) / (before[0] + before[1])
    yield Figure(f"{name}: table and index before", rows, 0, "MiB", [(before[0] + before[1]) / 2**20])
    yield Figure(f"{name}: table and index after", rows, 0, "MiB", [(after[0] + after[1]) / 2**20])
    yield Figure(f"{name}: growth of table and index", rows, 0, "times", [grown], (), GROWTH_MAX)
    yield Figure(f"{name}: history", rows, 0, "MiB", [after[2] / 2**20])
    yield Figure(f"{name}: dead rows left", rows, 0, "rows", [float(after[3])])
    yield Figure(f"{name}: the first ten", rows, 0, "s", seconds[:10])
    yield Figure(f"{name}: the last ten", rows, 0, "s", seconds[-10:])


def _vacuum(bench: Bench) -> None:
    with bench.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM (ANALYZE) usage_events"))


def _sizes(bench: Bench) -> tuple[int, int, int, int]:
    with bench.engine.begin() as connection:
        connection.execute(text("SELECT pg_stat_force_next_flush(), pg_stat_clear_snapshot()"))
        row = connection.execute(text(_SIZES)).one()
    return int(row[0]), int(row[1]), int(row[2]), int(row[3])
