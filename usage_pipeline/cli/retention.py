"""``usage-pipeline retention``: what of the past goes by the settings, and what is held back."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Final

import typer

from usage_pipeline.cli.output import AsJson, print_json, print_line, print_table

if TYPE_CHECKING:
    from usage_pipeline.retention import Pruned

_COLUMNS: Final = ("what", "older than, UTC", "rows", "bytes", "days", "held back")


def retention(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would go.")] = False,
    as_json: AsJson = False,
) -> None:
    """Prune what the settings USAGE_RETENTION_… no longer keep; of what figures rest on, only confirmed days."""
    from usage_pipeline.orchestration.instance import open_instance
    from usage_pipeline.orchestration.retention import is_off, prune_dagster_runs
    from usage_pipeline.retention import prune
    from usage_pipeline.stages import open_runtime

    with open_runtime(os.environ) as runtime:
        kinds = [*prune(runtime, dry_run=dry_run)]
        if runtime.settings.retention_dagster_days:
            with open_instance(os.environ) as instance:
                kinds.append(prune_dagster_runs(instance, runtime.settings, runtime.clock(), dry_run=dry_run))
        off = is_off(runtime.settings)
    if as_json:
        print_json({"dry_run": dry_run, "kinds": [_as_json(one) for one in kinds]})
    elif off:
        print_line("Nothing is pruned: every USAGE_RETENTION_…_DAYS is 0, which keeps for ever.")
    else:
        title = "What would be pruned" if dry_run else "What was pruned"
        print_table(title, _COLUMNS, [_row(one) for one in kinds], right=("rows", "bytes"))


def _row(one: Pruned) -> tuple[str, ...]:
    if one.older_than is None:
        return (one.kind, "kept for ever", "–", "–", "–", f"{one.setting} is 0")
    days = sorted(one.days)
    span = f"{days[0]} to {days[-1]} ({len(days)})" if days else "–"
    held = "; ".join(f"{rows:,}: {why}" for why, rows in sorted(one.held_back.items()))
    return (one.kind, f"{one.older_than.astimezone(UTC):%Y-%m-%d %H:%M}", f"{one.rows:,}", f"{one.bytes:,}", span, held)


def _as_json(one: Pruned) -> dict[str, object]:
    return {
        "kind": one.kind,
        "setting": one.setting,
        "older_than": _instant(one.older_than),
        "rows": one.rows,
        "bytes": one.bytes,
        "days": [day.isoformat() for day in sorted(one.days)],
        "held_back": [{"why": why, "rows": rows} for why, rows in sorted(one.held_back.items())],
    }


def _instant(at: datetime | None) -> str | None:
    return None if at is None else at.astimezone(UTC).isoformat().replace("+00:00", "Z")
