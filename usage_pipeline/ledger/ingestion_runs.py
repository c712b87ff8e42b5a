"""Telemetry of runs as stored: what each processed, skipped or failed, its figures, and the sums over all.

The sums (``ingestion_totals``, ``ingestion_issues``) move in the transaction of the run's own row and stay when old
rows are deleted: what is counted for monitoring never falls.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, text

PULL_STAGE: Final = "raw_provider_pulls"

DURATION_BOUNDS: Final = (1, 5, 15, 60, 300, 900, 3600)
"""Seconds: the upper bounds, included, by which the durations of runs are counted; one more place for longer ones."""


@dataclass(frozen=True, slots=True)
class IngestionRun:
    """One stage over one key, or over every key where ``feed_id`` is None, for a half-open range of UTC days.

    ``outcome`` is processed, skipped or failed; ``error`` is (code, one line). Of ``figures`` these names are added up:
    ``requests``, ``pages``, ``rows`` (read), ``seconds_waited``, and ``events`` with ``stored``, ``updated``,
    ``removed`` and ``unchanged``. ``issues`` are the codes of what went wrong, and how often.
    """

    orchestrator_run_id: str | None
    feed_id: int | None
    stage: str
    first_day: date
    end_day: date
    started_at: datetime
    finished_at: datetime
    outcome: str
    figures: dict[str, Any]
    error: tuple[str, str] | None = None
    issues: Mapping[str, int] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """How long it took."""
        return (self.finished_at - self.started_at).total_seconds()


@dataclass(frozen=True, slots=True)
class RecordedRun:
    """An ingestion run as kept, with the slug and provider of its key (None for a stage over every key)."""

    ingestion_run_id: int
    key: str | None
    provider: str | None
    run: IngestionRun


def record_run(connection: Connection, run: IngestionRun) -> None:
    """Keep the record of a run, and add it to the sums."""
    code, error = run.error or (None, None)
    figures = {**run.figures, "issues": dict(run.issues)} if run.issues else run.figures
    connection.execute(
        text(
            "INSERT INTO ingestion_runs (orchestrator_run_id, feed_id, stage, first_day, end_day, started_at,"
            " finished_at, outcome, figures, error_code, error) VALUES (:orchestrator_run_id, :feed_id, :stage,"
            " :first_day, :end_day, :started_at, :finished_at, :outcome, CAST(:figures AS jsonb), :error_code, :error)"
        ),
        {
            "orchestrator_run_id": run.orchestrator_run_id,
            "feed_id": run.feed_id,
            "stage": run.stage,
            "first_day": run.first_day,
            "end_day": run.end_day,
            "started_at": run.started_at,
            "finished_at": run.finished_at,
            "outcome": run.outcome,
            "figures": msgspec.json.encode(figures).decode(),
            "error_code": code,
            "error": error,
        },
    )
    provider = _provider(connection, run.feed_id)
    _add_to_totals(connection, run, provider)
    if run.issues:
        connection.execute(
            text(
                "INSERT INTO ingestion_issues (provider, code, count) VALUES (:provider, :code, :count)"
                " ON CONFLICT (provider, code) DO UPDATE SET count = ingestion_issues.count + excluded.count"
            ),
            [{"provider": provider, "code": c, "count": n} for c, n in sorted(run.issues.items())],
        )


def newest_runs(connection: Connection, limit: int, *, key: str | None = None) -> tuple[RecordedRun, ...]:
    """The newest runs, the newest first; those over one key alone where its slug is given."""
    rows = connection.execute(
        text(
            "SELECT r.ingestion_run_id, f.slug, k.provider, r.orchestrator_run_id, r.feed_id, r.stage, r.first_day,"
            " r.end_day, r.started_at, r.finished_at, r.outcome, r.figures, r.error_code, r.error"
            " FROM ingestion_runs AS r LEFT JOIN feeds AS f USING (feed_id)"
            " LEFT JOIN provider_keys AS k USING (feed_id)"
            " WHERE CAST(:key AS text) IS NULL OR f.slug = :key"
            " ORDER BY r.started_at DESC, r.ingestion_run_id DESC LIMIT :limit"
        ),
        {"key": key, "limit": limit},
    )
    return tuple(_recorded(row) for row in rows)


def _recorded(row: Any) -> RecordedRun:
    run = IngestionRun(
        orchestrator_run_id=row.orchestrator_run_id,
        feed_id=row.feed_id,
        stage=row.stage,
        first_day=row.first_day,
        end_day=row.end_day,
        started_at=row.started_at,
        finished_at=row.finished_at,
        outcome=row.outcome,
        figures={name: value for name, value in row.figures.items() if name != "issues"},
        error=None if row.error_code is None else (row.error_code, row.error),
        issues=row.figures.get("issues", {}),
    )
    return RecordedRun(row.ingestion_run_id, row.slug, row.provider, run)


def _provider(connection: Connection, feed_id: int | None) -> str:
    found = connection.execute(
        text("SELECT provider FROM provider_keys WHERE feed_id = :feed_id"), {"feed_id": feed_id}
    ).scalar()
    return found or ""


def _add_to_totals(connection: Connection, run: IngestionRun, provider: str) -> None:
    events = run.figures.get("events", {})
    durations = [0] * (len(DURATION_BOUNDS) + 1)
    durations[bisect_left(DURATION_BOUNDS, run.seconds)] = 1
    connection.execute(
        text(
            "INSERT INTO ingestion_totals AS t (stage, provider, outcome, runs, seconds, durations, requests, pages,"
            " rows_read, seconds_waited, events_stored, events_updated, events_removed, events_unchanged)"
            " VALUES (:stage, :provider, :outcome, 1, :seconds, :durations, :requests, :pages, :rows_read,"
            " :seconds_waited, :stored, :updated, :removed, :unchanged)"
            " ON CONFLICT (stage, provider, outcome) DO UPDATE SET runs = t.runs + 1,"
            " seconds = t.seconds + excluded.seconds, durations = (SELECT array_agg(a + b ORDER BY place)"
            " FROM unnest(t.durations, excluded.durations) WITH ORDINALITY AS both_of (a, b, place)),"
            " requests = t.requests + excluded.requests, pages = t.pages + excluded.pages,"
            " rows_read = t.rows_read + excluded.rows_read,"
            " seconds_waited = t.seconds_waited + excluded.seconds_waited,"
            " events_stored = t.events_stored + excluded.events_stored,"
            " events_updated = t.events_updated + excluded.events_updated,"
            " events_removed = t.events_removed + excluded.events_removed,"
            " events_unchanged = t.events_unchanged + excluded.events_unchanged"
        ),
        {
            "stage": run.stage,
            "provider": provider,
            "outcome": run.outcome,
            "seconds": run.seconds,
            "durations": durations,
            "requests": run.figures.get("requests", 0),
            "pages": run.figures.get("pages", 0),
            "rows_read": run.figures.get("rows", 0),
            "seconds_waited": run.figures.get("seconds_waited", 0.0),
            **{name: events.get(name, 0) for name in ("stored", "updated", "removed", "unchanged")},
        },
    )
