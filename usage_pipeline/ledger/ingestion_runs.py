"""Telemetry of runs as stored: what each processed, skipped or failed, and its figures."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import msgspec
from sqlalchemy import Connection, text


@dataclass(frozen=True, slots=True)
class IngestionRun:
    """One stage over one key. ``outcome`` is processed, skipped or failed; ``error`` is (code, one line)."""

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


def record_run(connection: Connection, run: IngestionRun) -> None:
    """Keep the record of a run."""
    code, error = run.error or (None, None)
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
            "figures": msgspec.json.encode(run.figures).decode(),
            "error_code": code,
            "error": error,
        },
    )
