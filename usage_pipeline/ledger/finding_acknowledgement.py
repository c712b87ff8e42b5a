"""Acknowledging a finding that waits for a person: it closes, and the same figures do not raise it again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, text

from usage_pipeline.errors import InvalidInputError
from usage_pipeline.ledger.audit_log import record_change
from usage_pipeline.ledger.findings import ACKNOWLEDGED_BY_PEOPLE, StoredFinding, find_finding
from usage_pipeline.ledger.reconciled import lock_reconciliation
from usage_pipeline.ledger.workspaces import get_workspace

_WORDS_CHARACTERS_MAX = 1000


def acknowledge_findings(
    connection: Connection, finding_ids: Sequence[int], now: datetime, *, by: str | None = None, note: str | None = None
) -> list[StoredFinding]:
    """Acknowledge findings, all of them or none; returns those that were not acknowledged before.

    Raises :class:`InvalidInputError`: ``finding_unknown``, ``finding_closes_by_itself``, ``finding_closed``,
    ``words_malformed``.
    """
    by, note = _checked(by, "--by"), _checked(note, "--note")
    waiting = [one for finding_id in sorted(set(finding_ids)) if (one := _waiting(connection, finding_id)) is not None]
    # Locked before anything is written, as reconciling does: else a reconciling at the same time would see neither
    # that it is open nor that it is acknowledged, and open it anew. In one order, so that nobody waits for ever.
    for workspace, day in sorted({(one.workspace, one.finding.day) for one in waiting}):
        lock_reconciliation(connection, get_workspace(connection, workspace).workspace_id, day)
    done = [one for one in waiting if _acknowledge(connection, one.finding_id, now, by, note)]
    for one in done:
        figures = (one.finding.figure_provider, one.finding.difference)
        detail = {
            "finding": one.finding_id,
            "code": one.finding.code,
            "day": one.finding.day.isoformat(),
            "figure_provider": None if figures[0] is None else f"{figures[0]:f}",
            "difference": None if figures[1] is None else f"{figures[1]:f}",
            "by": by,
            "note": note,
        }
        record_change(connection, now, "finding_acknowledged", one.workspace, detail)
    return done


def _waiting(connection: Connection, finding_id: int) -> StoredFinding | None:
    """The finding, if it waits for a person; None where a person has acknowledged it already."""
    found = find_finding(connection, finding_id)
    if found is None:
        raise InvalidInputError(
            "finding_unknown",
            "no finding has this number",
            where=str(finding_id),
            remedy="See: usage-pipeline findings --all.",
        )
    if found.finding.code not in ACKNOWLEDGED_BY_PEOPLE:
        raise InvalidInputError(
            "finding_closes_by_itself",
            f"{found.finding.code} closes by itself once its ground is gone, and stays open until then",
            where=str(finding_id),
            remedy=f"See what to do: usage-pipeline findings show {finding_id}. "
            f"Only {', '.join(sorted(ACKNOWLEDGED_BY_PEOPLE))} waits for a person.",
        )
    if found.acknowledged is not None:
        return None
    if found.closed_at is not None:
        raise InvalidInputError(
            "finding_closed",
            "it is closed, since its ground went away",
            where=str(finding_id),
            remedy="Nothing is to be done. See those that are open: usage-pipeline findings.",
        )
    return found


def _acknowledge(connection: Connection, finding_id: int, now: datetime, by: str | None, note: str | None) -> bool:
    """Whether it was open still."""
    closed = connection.execute(
        text(
            "UPDATE findings SET acknowledged_at = :now, acknowledged_by = :by, acknowledged_note = :note,"
            " closed_at = :now, changed_at = :now WHERE finding_id = :id AND closed_at IS NULL"
        ),
        {"now": now, "by": by, "note": note, "id": finding_id},
    )
    return closed.rowcount == 1


def _checked(words: str | None, option: str) -> str | None:
    if words is None:
        return None
    stripped = words.strip()
    if not stripped or len(stripped) > _WORDS_CHARACTERS_MAX or not stripped.isprintable():
        raise InvalidInputError(
            "words_malformed",
            f"the text is empty, longer than {_WORDS_CHARACTERS_MAX} characters, or has control characters",
            where=option,
            remedy="Write it on one line.",
        )
    return stripped
