"""Reading back: the report of a reconciled day, cuts of it, and every event one by one, as the commands make them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection

from bench.figures import DAY, NOW, Figure, Laps
from bench.pages import MadeUpDay
from bench.reconciling import reconcile
from bench.store import Bench, CannedAnswers
from usage_pipeline.reconcile.cut_report import build_cut
from usage_pipeline.reconcile.report import build_report
from usage_pipeline.reconcile.row_report import event_rows

_RANGE = (DAY, DAY + timedelta(days=1), None)


def measure_reading(bench: Bench, rows: int) -> Iterator[Figure]:
    """Seconds of each, with the JSON that is printed."""
    laps = Laps()
    day = MadeUpDay(rows)
    bench.record(bench.fetch(CannedAnswers(day)))
    bench.normalise()
    reconcile(bench)
    asked: dict[str, Callable[[Connection], object]] = {
        "report": lambda connection: json.dumps(build_report(connection, *_RANGE, NOW)),
        "report --by model": lambda connection: json.dumps(build_cut(connection, *_RANGE, ("model",), NOW)),
        "report --by project,model": lambda connection: json.dumps(
            build_cut(connection, *_RANGE, ("project", "model"), NOW)
        ),
        "report --by user": lambda connection: json.dumps(build_cut(connection, *_RANGE, ("user",), NOW)),
        "report --rows events": _events,
    }
    for name, ask in asked.items():
        with bench.engine.connect() as connection, laps.lap(name):
            ask(connection)
    bench.empty()
    for name, seconds in laps.seconds.items():
        yield Figure(f"{rows:,} rows: {name}", rows, 0, "s", seconds)


def _events(connection: Connection) -> int:
    printed: Iterator[dict[str, Any]] = event_rows(connection, *_RANGE)
    return sum(len(json.dumps(row, ensure_ascii=False)) for row in printed)
