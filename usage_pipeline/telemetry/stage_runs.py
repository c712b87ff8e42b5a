"""What a stage did, recorded: one row of ``ingestion_runs`` and one event of the log, whatever becomes of the stage."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from usage_pipeline.errors import UsagePipelineError
from usage_pipeline.ledger.ingestion_runs import IngestionRun, record_run
from usage_pipeline.ledger.replacement import Changes
from usage_pipeline.telemetry.logs import get_logger

_log = get_logger(__name__)


def record_stage(engine: Engine, run: IngestionRun, *, key: str | None = None) -> None:
    """Keep the record of a stage that is over, and log it; ``key`` is the slug of its key, None for every key."""
    with engine.begin() as connection:
        record_run(connection, run)
    write = _log.error if run.outcome == "failed" else _log.info
    write(
        "stage",
        stage=run.stage,
        key=key,
        run_id=run.orchestrator_run_id,
        first_day=run.first_day,
        end_day=run.end_day,
        outcome=run.outcome,
        seconds=round(run.seconds, 3),
        **{name: value for name, value in run.figures.items() if value is not None},
        issues=dict(run.issues) or None,
        error=run.error[1] if run.error else None,
    )


@contextmanager
def recorded_stage(
    engine: Engine, clock: Callable[[], datetime], run_id: str | None, stage: str, days: Sequence[date]
) -> Iterator[dict[str, Any]]:
    """Record a stage over every key. The block fills in its figures; what it raises is recorded and passes on."""
    started_at = clock()
    figures: dict[str, Any] = {"days": len(days)}

    def record(error: tuple[str, str] | None) -> None:
        if not days:
            return
        run = IngestionRun(
            orchestrator_run_id=run_id,
            feed_id=None,
            stage=stage,
            first_day=min(days),
            end_day=max(days) + timedelta(days=1),
            started_at=started_at,
            finished_at=max(clock(), started_at),
            outcome="failed" if error else "processed",
            figures=figures,
            error=error,
            issues={error[0]: 1} if error else {},
        )
        record_stage(engine, run)

    try:
        yield figures
    except BaseException as failure:
        with suppress(SQLAlchemyError):  # where the store is what failed, its own error is the one to tell
            record(_told(failure))
        raise
    record(None)


def _told(failure: BaseException) -> tuple[str, str]:
    if isinstance(failure, UsagePipelineError):
        return failure.code, failure.line()
    # Only the type: an unexpected error's text may hold anything, a secret included.
    return "internal_error", f"[internal_error] it broke off with an unexpected {type(failure).__name__}."


def events(changes: Changes) -> dict[str, int]:
    """Rows by what became of them, as ``ingestion_runs`` keeps them."""
    return {
        "stored": changes.stored,
        "updated": changes.updated,
        "removed": changes.removed,
        "unchanged": changes.unchanged,
    }
