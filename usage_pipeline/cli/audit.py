"""``usage-pipeline audit``: who changed what."""

from __future__ import annotations

import json
import os
from datetime import UTC
from typing import TYPE_CHECKING, Annotated

import typer

from usage_pipeline.cli.days import read_day
from usage_pipeline.cli.output import AsJson, print_json, print_line, print_table
from usage_pipeline.cli.store import opened
from usage_pipeline.utc_days import day_end, day_start

if TYPE_CHECKING:
    from usage_pipeline.ledger.audit_log import AuditEntry

_COLUMNS = ("at, UTC", "who", "what", "subject", "detail")


def audit(
    from_day: Annotated[str | None, typer.Option("--from", metavar="DAY", help="Not before this UTC day.")] = None,
    to_day: Annotated[str | None, typer.Option("--to", metavar="DAY", help="Not after this UTC day.")] = None,
    subject: Annotated[
        str | None, typer.Option("--subject", metavar="NAME", help="Only about this key, feed, workspace, …")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the changes of keys, tokens, policies, prices and settings, and what was acknowledged, pruned or erased."""
    from usage_pipeline.ledger.audit_log import list_changes

    since = day_start(read_day(from_day, "--from")) if from_day is not None else None
    until = day_end(read_day(to_day, "--to")) if to_day is not None else None
    with opened(os.environ, writes=False) as engine, engine.begin() as connection:
        found = list_changes(connection, subject, since=since, until=until)
    if as_json:
        print_json([_as_json(entry) for entry in found])
    elif not found:
        print_line("No change is recorded.")
    else:
        print_table("Changes", _COLUMNS, [_row(entry) for entry in found])


def _row(entry: AuditEntry) -> tuple[str, ...]:
    detail = json.dumps(entry.detail, ensure_ascii=False, sort_keys=True) if entry.detail else ""
    at = f"{entry.at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
    return (at, entry.actor or "not recorded", entry.what, entry.subject, detail)


def _as_json(entry: AuditEntry) -> dict[str, object]:
    return {
        "entry": entry.audit_id,
        "at": entry.at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "actor": entry.actor,
        "what": entry.what,
        "subject": entry.subject,
        "detail": dict(entry.detail),
    }
