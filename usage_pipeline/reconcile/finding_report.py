"""A finding in the shape that ``report --json`` and ``findings --json`` promise, and where its evidence can be read."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from usage_pipeline.ledger.finding_evidence import Record
from usage_pipeline.ledger.findings import FormerWords, StoredFinding


def finding_as_json(one: StoredFinding) -> dict[str, Any]:
    """Everything about a finding; figures are exact texts, whether tokens or dollars, and null where there is none."""
    f = one.finding
    return {
        "id": one.finding_id,
        "code": f.code,
        "date": f.day.isoformat(),
        "workspace": one.workspace,
        "provider": f.provider,
        "account": f.account,
        "route": f.route,
        "family": f.family,
        "model": f.model,
        "feed": one.feed,
        "endpoint": f.endpoint,
        "measure": f.measure,
        "figure_provider": _number(f.figure_provider),
        "figure_hermes": _number(f.figure_hermes),
        "difference": _number(f.difference),
        "explanation": f.explanation,
        "evidence": one.evidence,
        "first_seen": _instant(one.first_seen),
        "last_seen": _instant(one.last_seen),
        "stated_at": _instant(one.stated_at),
        "closed_at": _instant(one.closed_at),
        "acknowledged": {
            "at": _instant(one.acknowledged.at),
            "by": one.acknowledged.by,
            "note": one.acknowledged.note,
        }
        if one.acknowledged
        else None,
    }


def former_as_json(one: FormerWords) -> dict[str, Any]:
    """What a finding said before, and from when until when."""
    return {
        "explanation": one.explanation,
        "figure_provider": _number(one.figure_provider),
        "figure_hermes": _number(one.figure_hermes),
        "difference": _number(one.difference),
        "stated_at": _instant(one.stated_at),
        "superseded_at": _instant(one.superseded_at),
    }


def evidence_in_words(record: Record) -> str:
    """One piece of evidence for people."""
    if record["kind"] == "pull":
        return f"pull {record['pull_id']} of {record['key']} {record['endpoint']}, started {record['started_at']}"
    if record["kind"] == "batch":
        return f"batch {record['batch_id']} of {record['feed']}, generated {record['generated_at']}"
    if record["attempted_at"] is None:
        return f"{record['key']} {record['endpoint']} was never tried"
    failure = f"failed: {record['error']}" if record["error"] else "did not fail"
    return f"the last attempt at {record['key']} {record['endpoint']}, {record['attempted_at']}, {failure}"


def evidence_commands(record: Record) -> list[str]:
    """The commands that show a piece of evidence as it came."""
    if record["kind"] == "pull":
        return [f"usage-pipeline raw {page}" for page in record["raw_pages"]]
    if record["kind"] == "batch":
        return [f"usage-pipeline hermes payload {record['batch_id']}"]
    return []


def _number(figure: Decimal | int | None) -> str | None:
    return None if figure is None else f"{Decimal(figure):f}"


def _instant(at: datetime | None) -> str | None:
    return None if at is None else at.astimezone(UTC).isoformat().replace("+00:00", "Z")
