"""However much is stored of other days, no query about one day reads all of usage_events.

The plans are those that PostgreSQL makes for the statements as the program sends them, over a table with statistics.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event, text

from usage_pipeline.ledger.counted_rows import DecidedSlice, event_sums
from usage_pipeline.ledger.reconcile_inputs import CountRule, hermes_events, provider_sums
from usage_pipeline.ledger.rows_behind import stored_events
from usage_pipeline.ledger.server import connect_engine
from usage_pipeline.ledger.stored_rows import rows_of_days
from usage_pipeline.ledger.workspaces import add_workspace

SLICES, ROWS = 150, 150
DAY = date(2026, 3, 10)
NOW = datetime(2026, 3, 20, tzinfo=UTC)

_SLICES = """
INSERT INTO slices (feed_id, endpoint, day, row_count, observed_at)
SELECT :feed, 'completions', CAST(:day AS date) - n, :rows, :now FROM generate_series(0, :slices - 1) AS n ORDER BY n
"""
_EVENTS = """
INSERT INTO usage_events (slice_id, event_id, source_id, window_start, recorded_at, output, model)
SELECT s.slice_id, CAST(md5(s.slice_id || ' ' || n) AS uuid), 1, s.day, :now, n, 'gpt-5'
FROM slices AS s, generate_series(1, :rows) AS n
"""


@pytest.fixture
def engine(migrated_database: str) -> Iterator[Engine]:
    """A store with many days of one feed, each of few rows."""
    opened = connect_engine(migrated_database)
    with opened.begin() as connection:
        workspace = add_workspace(connection, "acme", name=None, now=NOW)
        feed = connection.execute(
            text(
                "INSERT INTO feeds (workspace_id, source, slug, created_at)"
                " VALUES (:workspace, 'provider_api_key', 'acme.openai.main', :now) RETURNING feed_id"
            ),
            {"workspace": workspace.workspace_id, "now": NOW},
        ).scalar_one()
        told = {"feed": feed, "day": DAY, "now": NOW, "rows": ROWS, "slices": SLICES}
        connection.execute(text(_SLICES), told)
        connection.execute(text(_EVENTS), told)
        connection.execute(text("ANALYZE slices, usage_events"))
    yield opened
    opened.dispose()


@contextmanager
def explained(connection: Connection) -> Iterator[list[dict[str, Any]]]:
    """The plans of every statement in the block that names usage_events."""
    plans: list[dict[str, Any]] = []

    def explain(_c: Any, cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool) -> None:
        if "usage_events" in statement:
            with cursor.connection.cursor() as beside:
                beside.execute(f"EXPLAIN (FORMAT JSON) {statement}", parameters)
                plans.append(beside.fetchone()[0][0]["Plan"])

    event.listen(connection, "before_cursor_execute", explain)
    try:
        yield plans
    finally:
        event.remove(connection, "before_cursor_execute", explain)


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


def slice_of_day(connection: Connection) -> int:
    return int(connection.execute(text("SELECT slice_id FROM slices WHERE day = :day"), {"day": DAY}).scalar_one())


def sums_of_reconciling(connection: Connection) -> list[Any]:
    return list(provider_sums(connection, [CountRule(slice_of_day(connection), True, frozenset(), NOW)]))


def hermes_rows_of_reconciling(connection: Connection) -> list[Any]:
    return hermes_events(connection, [slice_of_day(connection)])


def sums_of_a_cut(connection: Connection) -> list[Any]:
    nothing = frozenset[str]()
    decided = DecidedSlice(
        slice_of_day(connection),
        DAY,
        "acme",
        "completions",
        "acme.openai.main",
        "openai",
        "text",
        "account",
        "a",
        True,
        nothing,
        nothing,
    )
    return list(event_sums(connection, [decided], ("user_id",)))


def every_event(connection: Connection) -> list[Any]:
    return list(stored_events(connection, DAY, DAY + timedelta(days=1), None))


def count_of_a_day(connection: Connection) -> list[int]:
    return [*rows_of_days(connection, "usage_events", [DAY]).values()]


def count_of_every_day(connection: Connection) -> list[int]:
    return [*rows_of_days(connection, "usage_events", [DAY - timedelta(days=n) for n in range(SLICES)]).values()]


OF_ONE_DAY = [sums_of_reconciling, hermes_rows_of_reconciling, sums_of_a_cut, every_event, count_of_a_day]


def reads_all_events(engine: Engine, query: Callable[[Connection], list[Any]]) -> bool:
    with engine.connect() as connection, explained(connection) as plans:
        assert query(connection)
        assert plans
        return any(
            node["Node Type"] == "Seq Scan" and node["Relation Name"] == "usage_events"
            for plan in plans
            for node in nodes(plan)
        )


def test_no_query_about_one_day_reads_all_events(engine: Engine) -> None:
    assert [query.__name__ for query in OF_ONE_DAY if reads_all_events(engine, query)] == []
    assert reads_all_events(engine, count_of_every_day), "what is asked about every day does, and is seen to"
