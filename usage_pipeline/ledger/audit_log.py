"""Who changed what: one row for every change of a workspace, key, feed, policy, price, setting, or of what is kept.

In: what changed, its name, a few plain facts. Out: rows of ``audit_log``. Never a secret, sealed or plain.
"""

from __future__ import annotations

import getpass
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, text

ACTOR_VARIABLE: Final = "USAGE_ACTOR"
ACTOR_LENGTH_MAX: Final = 100


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One change, at an instant in UTC. ``what`` is a snake_case verb phrase, ``subject`` the slug it is about.

    ``actor`` is who made it, None where that was not recorded yet.
    """

    audit_id: int
    at: datetime
    what: str
    subject: str
    detail: Mapping[str, object]
    actor: str | None


def actor(environ: Mapping[str, str] = os.environ) -> str:
    """Who acts: ``USAGE_ACTOR``, else the user of the operating system (``uid 1000`` where it has no name)."""
    stated = " ".join(environ.get(ACTOR_VARIABLE, "").split())
    if stated:
        return stated[:ACTOR_LENGTH_MAX]
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def record_change(connection: Connection, at: datetime, what: str, subject: str, detail: Mapping[str, object]) -> None:
    """Write one entry in the caller's transaction: the change and its trace stand or fall together."""
    connection.execute(
        text(
            "INSERT INTO audit_log (at, what, subject, detail, actor)"
            " VALUES (:at, :what, :subject, CAST(:detail AS jsonb), :actor)"
        ),
        {
            "at": at,
            "what": what,
            "subject": subject,
            "detail": json.dumps(detail, sort_keys=True),
            "actor": actor(),
        },
    )


def list_changes(
    connection: Connection,
    subject: str | None = None,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
) -> tuple[AuditEntry, ...]:
    """The entries, oldest first; where they are given, those about ``subject`` alone, and those of the half-open range
    of instants (UTC)."""
    rows = connection.execute(
        text(
            "SELECT audit_id, at, what, subject, detail, actor FROM audit_log"
            " WHERE (CAST(:subject AS text) IS NULL OR subject = :subject)"
            " AND (CAST(:since AS timestamptz) IS NULL OR at >= :since)"
            " AND (CAST(:until AS timestamptz) IS NULL OR at < :until) ORDER BY audit_id"
        ),
        {"subject": subject, "since": since, "until": until},
    )
    return tuple(AuditEntry(*row) for row in rows)
