"""Peers: dlt's merge of the same pages into the same server, and pandas' to_sql, for the reader's orientation.

They come with ``make install-bench`` (requirements-bench.lock); without them this part is left out. dlt gets every row
as the answer has it, with its bucket's start and day, and replaces the day (``merge_key``), which is what a load of
ours does.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd
from sqlalchemy import text

from bench.figures import DAY, Figure, Laps
from bench.load import BUDGETED_ROWS
from bench.pages import MadeUpDay, page_bodies
from bench.store import Bench, CannedAnswers

TIMES_FASTER = 12
_SCHEMA = "bench_dlt"
_TABLE = "bench_to_sql"


def peers_are_installed() -> bool:
    """Whether dlt and what it needs for PostgreSQL are there."""
    return find_spec("dlt") is not None and find_spec("psycopg2") is not None


def measure_peers(bench: Bench, rows: int) -> Iterator[Figure]:
    """From pages to committed rows: ours held against dlt's merge, into an empty table and again with a hundredth
    restated; and to_sql of the same rows, already decoded."""
    laps = Laps()
    first, hundredth = MadeUpDay(rows), MadeUpDay(rows).restated(every=100)
    for name, day in (("empty", first), ("1 % changed", hundredth)):
        bench.record(bench.fetch(CannedAnswers(day)))
        bench.settle()
        with laps.lap(f"ours {name}"):
            bench.normalise()
    bench.empty()
    with tempfile.TemporaryDirectory(prefix="usage-bench-dlt-") as folder:
        pipeline = _pipeline(bench, Path(folder))
        for name, day in (("empty", first), ("1 % changed", hundredth)):
            pages = list(page_bodies(day))
            bench.settle()
            with laps.lap(f"dlt {name}"):
                pipeline.run(_resource(pages))
    with bench.engine.begin() as connection:
        for schema in (_SCHEMA, f"{_SCHEMA}_staging"):
            assert connection.execute(
                text("SELECT to_regnamespace(:name) IS NOT NULL"), {"name": schema}
            ).scalar_one(), "dlt loaded what is measured"
            connection.execute(text(f"DROP SCHEMA {schema} CASCADE"))
    for name in ("empty", "1 % changed"):
        ours, dlt = laps.seconds[f"ours {name}"], laps.seconds[f"dlt {name}"]
        budget = 1 / TIMES_FASTER if name == "empty" and rows >= BUDGETED_ROWS else None
        yield Figure(f"{rows:,} rows: {name}, against dlt's merge", rows, 0, "s", ours, dlt, budget)
    if rows < BUDGETED_ROWS:  # a frame of a million such rows takes gigabytes
        yield _to_sql(bench, first)


def _to_sql(bench: Bench, day: MadeUpDay) -> Figure:
    laps = Laps()
    frame = pd.DataFrame.from_records(list(_rows(page_bodies(day))))
    bench.settle()
    with laps.lap("to_sql"):
        frame.to_sql(_TABLE, bench.engine, index=False, chunksize=1000)
    with bench.engine.begin() as connection:
        connection.execute(text(f"DROP TABLE {_TABLE}"))
    return Figure(f"{day.rows:,} rows: pandas.to_sql of decoded rows", day.rows, 0, "s", laps.seconds["to_sql"])


def _pipeline(bench: Bench, folder: Path) -> Any:
    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    os.environ["RUNTIME__LOG_LEVEL"] = "CRITICAL"
    import dlt

    url = bench.engine.url
    # dlt wants a host and a password; the socket's folder in the query comes before the host, and nothing asks for one.
    place = f"host={url.query['host']}&port={url.query['port']}"
    credentials = f"postgresql://{url.username}:none@localhost/{url.database}?{place}"
    return dlt.pipeline(
        "bench",
        pipelines_dir=str(folder),
        destination=dlt.destinations.postgres(credentials=credentials),
        dataset_name=_SCHEMA,
    )


def _resource(pages: list[bytes]) -> Any:
    import dlt

    return dlt.resource(
        _rows(iter(pages)), name="completions", write_disposition="merge", merge_key="day", max_table_nesting=0
    )


def _rows(pages: Iterator[bytes]) -> Iterator[dict[str, Any]]:
    for body in pages:
        for bucket in json.loads(body)["data"]:
            for row in bucket["results"]:
                yield {"day": DAY, "start_time": bucket["start_time"], **row}
