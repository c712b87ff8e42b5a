"""Who changed what: one row for every change of a workspace, key, feed, policy or dated setting.

In: what changed, its name, a few plain facts. Out: rows of ``audit_log``. Never a secret, sealed or plain.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One change, at an instant in UTC. ``what`` is a snake_case verb phrase, ``subject`` the slug it is about."""

    audit_id: int
    at: datetime
    what: str
    subject: str
    detail: Mapping[str, object]


def record_change(connection: Connection, at: datetime, what: str, subject: str, detail: Mapping[str, object]) -> None:
    """Write one entry in the caller's transaction: the change and its trace stand or fall together."""
    connection.execute(
        text("INSERT INTO audit_log (at, what, subject, detail) VALUES (:at, :what, :subject, CAST(:detail AS jsonb))"),
        {"at": at, "what": what, "subject": subject, "detail": json.dumps(detail, sort_keys=True)},
    )


def list_changes(connection: Connection, subject: str | None = None) -> tuple[AuditEntry, ...]:
    """The entries, oldest first; those about ``subject`` alone where it is given."""
    rows = connection.execute(
        text(
            "SELECT audit_id, at, what, subject, detail FROM audit_log"
            " WHERE CAST(:subject AS text) IS NULL OR subject = :subject ORDER BY audit_id"
        ),
        {"subject": subject},
    )
    return tuple(AuditEntry(*row) for row in rows)
