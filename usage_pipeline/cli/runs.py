"""``usage-pipeline runs``: what the newest runs of the stages did, as telemetry keeps it."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from usage_pipeline.cli.output import AsJson, print_json, print_line, print_table
from usage_pipeline.cli.store import opened

if TYPE_CHECKING:
    from usage_pipeline.ledger.ingestion_runs import RecordedRun

_COLUMNS = ("started, UTC", "stage", "key", "days", "outcome", "seconds", "windows", "rows", "requests", "waited, s")
_CHANGES = ("stored", "updated", "removed", "unchanged")


def runs(
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, max=1000, help="How many.")] = 20,
    key: Annotated[str | None, typer.Option("--key", metavar="KEY", help="Only pulls of this key.")] = None,
    as_json: AsJson = False,
) -> None:
    """Print what the newest runs of each stage processed, stored, asked and waited for, and what went wrong."""
    from usage_pipeline.ledger.ingestion_runs import newest_runs
    from usage_pipeline.ledger.slugs import split_slug

    if key is not None:
        split_slug(key, parts=3, where="--key")
    with opened(os.environ, writes=False) as engine, engine.begin() as connection:
        found = newest_runs(connection, limit, key=key)
    if as_json:
        print_json([_as_json(one) for one in found])
    elif not found:
        print_line("No run is recorded.")
    else:
        columns = (*_COLUMNS, *_CHANGES, "what went wrong")
        print_table("Runs", columns, [_row(one) for one in found], right=(*_COLUMNS[5:], *_CHANGES))


def _row(one: RecordedRun) -> tuple[str, ...]:
    run = one.run
    last = run.end_day - timedelta(days=1)
    figures = run.figures
    events = figures.get("events", {})
    wrong = run.error[1] if run.error else figures.get("skipped") or ""
    return (
        f"{run.started_at.astimezone(UTC):%Y-%m-%d %H:%M:%S}",
        run.stage,
        one.key or "all",
        f"{run.first_day}" if last == run.first_day else f"{run.first_day} to {last}",
        run.outcome,
        f"{run.seconds:.1f}",
        *(_number(figures.get(name)) for name in ("windows", "rows", "requests")),
        f"{figures['seconds_waited']:.1f}" if "seconds_waited" in figures else "–",
        *(_number(events.get(name)) for name in _CHANGES),
        wrong,
    )


def _as_json(one: RecordedRun) -> dict[str, Any]:
    run = one.run
    return {
        "run": one.ingestion_run_id,
        "dagster_run": run.orchestrator_run_id,
        "stage": run.stage,
        "key": one.key,
        "provider": one.provider,
        "from": run.first_day.isoformat(),
        "to": (run.end_day - timedelta(days=1)).isoformat(),
        "started_at": _instant(run.started_at),
        "finished_at": _instant(run.finished_at),
        "seconds": run.seconds,
        "outcome": run.outcome,
        "figures": run.figures,
        "issues": dict(run.issues),
        "error": None if run.error is None else {"code": run.error[0], "line": run.error[1]},
    }


def _number(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else "–"


def _instant(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")
