"""Read tokens: who may see a workspace's figures over HTTP, what of them, and until when; and sessions begun with one.

In: a workspace and scopes, or a token or a session's secret as a request carries it. Out: a new token, or the
:class:`Reader` that it makes of whoever sends it: of one workspace, and of no other. Both are stored as hashes.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, Row, text

from usage_pipeline.errors import InvalidInputError
from usage_pipeline.ledger.audit_log import record_change
from usage_pipeline.ledger.bearer_secrets import is_stored, new_secret, prefix_of
from usage_pipeline.ledger.workspaces import Workspace, check_name

USAGE: Final = "usage"
EVENTS: Final = "events"
FINDINGS: Final = "findings"
EXPORTS: Final = "exports"
RAW: Final = "raw"

SCOPES: Final = {
    USAGE: "sums, coverage, bills, the workspace itself",
    EVENTS: "single usage events, with the ids of projects, keys and users",
    FINDINGS: "findings with their explanations",
    EXPORTS: "downloads",
    RAW: "providers' answers as they came, which may hold more than figures",
}
"""What a token may be for."""

SCOPES_BY_DEFAULT: Final = (USAGE, EVENTS, FINDINGS, EXPORTS)

_TOKEN: Final = "upr"  # noqa: S105 - how every read token begins
_SESSION: Final = "ups"
_PREFIX: Final = re.compile(r"(upr_[0-9a-f]{10})(_[0-9a-f]{64})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Reader:
    """Whoever sent a request with a living token or session. It may see ``workspace`` alone, and of it the ``scopes``.

    ``token_prefix`` names the token, ``through`` is ``token`` or ``session``; ``ends_at`` (UTC) is when that ends by
    itself, None for never.
    """

    workspace_id: int
    workspace: str
    scopes: frozenset[str]
    token_prefix: str
    through: str
    ends_at: datetime | None


@dataclass(frozen=True, slots=True)
class ReadToken:
    """What is known of a token: not the token. Instants are UTC; None for one that never was or never will be."""

    prefix: str
    workspace: str
    name: str
    scopes: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None

    def state(self, at: datetime) -> str:
        """``active``, ``expired`` or ``revoked`` at that instant."""
        if self.revoked_at is not None and self.revoked_at <= at:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= at else "active"


def issue_read_token(
    connection: Connection,
    workspace: Workspace,
    scopes: Collection[str],
    now: datetime,
    *,
    name: str = "",
    expires_at: datetime | None = None,
) -> str:
    """A new token of the workspace, which is not stored and cannot be shown again.

    Raises :class:`InvalidInputError`: ``scope_unknown``, ``expiry_passed``, ``name_malformed``.
    """
    wanted = check_scopes(scopes)
    if expires_at is not None and expires_at <= now:
        raise InvalidInputError(
            "expiry_passed",
            f"the token would have ended already, it is {now:%Y-%m-%dT%H:%M:%SZ} (UTC)",
            where="--expires",
            remedy="Give today or a later day; the token opens until its end.",
        )
    made = new_secret(_TOKEN)
    connection.execute(
        text(
            "INSERT INTO read_tokens (prefix, workspace_id, token_sha256, name, scopes, created_at, expires_at)"
            " VALUES (:prefix, :workspace_id, :token_sha256, :name, :scopes, :now, :expires_at)"
        ),
        {
            "prefix": made.prefix,
            "workspace_id": workspace.workspace_id,
            "token_sha256": made.sha256,
            "name": check_name(name) if name else "",
            "scopes": list(wanted),
            "now": now,
            "expires_at": expires_at,
        },
    )
    detail = {
        "prefix": made.prefix,
        "scopes": list(wanted),
        "expires_at": expires_at.isoformat() if expires_at else None,
    }
    record_change(connection, now, "read_token_issued", workspace.slug, detail)
    return made.text


def check_scopes(scopes: Collection[str]) -> tuple[str, ...]:
    """The scopes, each once, in the order of :data:`SCOPES`; the usual ones where none is named.

    Raises :class:`InvalidInputError` ``scope_unknown``.
    """
    unknown = sorted(set(scopes) - set(SCOPES))
    if unknown:
        raise InvalidInputError(
            "scope_unknown",
            f"{unknown[0][:40]!r} is no scope",
            where="--scope",
            remedy=f"Choose of {', '.join(SCOPES)}.",
        )
    return tuple(scope for scope in SCOPES if scope in scopes) or SCOPES_BY_DEFAULT


def list_read_tokens(connection: Connection, workspace: str | None = None) -> tuple[ReadToken, ...]:
    """The tokens of a workspace or of all, those that ended too, by workspace, oldest first."""
    rows = connection.execute(
        text(
            f"{_SELECT} WHERE CAST(:workspace AS text) IS NULL OR w.slug = :workspace"
            " ORDER BY w.slug, t.created_at, t.prefix"
        ),
        {"workspace": workspace},
    )
    return tuple(_read(row) for row in rows)


def revoke_read_token(connection: Connection, written: str, now: datetime) -> ReadToken:
    """End a token and its sessions now; nothing is written where it was revoked before. ``written`` is its prefix.

    Raises :class:`InvalidInputError` ``token_unknown``, which never repeats what was written.
    """
    found = _PREFIX.fullmatch(written)
    row = connection.execute(text(f"{_SELECT} WHERE t.prefix = :prefix"), {"prefix": found[1] if found else ""}).first()
    if row is None:
        raise InvalidInputError(
            "token_unknown",
            "no read token begins like this",
            where="PREFIX",
            remedy="See: usage-pipeline tokens list. A prefix is upr_ and ten digits.",
        )
    token = _read(row)
    if token.revoked_at is not None:
        return token
    key = {"prefix": token.prefix, "now": now}
    connection.execute(text("UPDATE read_tokens SET revoked_at = :now WHERE prefix = :prefix"), key)
    connection.execute(text("DELETE FROM read_sessions WHERE token_prefix = :prefix"), key)
    record_change(connection, now, "read_token_revoked", token.workspace, {"prefix": token.prefix})
    return _read(connection.execute(text(f"{_SELECT} WHERE t.prefix = :prefix"), key).one())


def reader_of_token(connection: Connection, token: str, at: datetime) -> Reader | None:
    """Whom the token makes of its bearer at that instant; None for one that is unknown, wrong, expired or revoked."""
    prefix = prefix_of(token, _TOKEN)
    if prefix is None:
        return None
    row = connection.execute(
        text(
            "SELECT t.token_sha256, t.workspace_id, w.slug, t.scopes, t.expires_at FROM read_tokens AS t"
            f" JOIN workspaces AS w USING (workspace_id) WHERE t.prefix = :prefix AND {_LIVES}"
        ),
        {"prefix": prefix, "at": at},
    ).one_or_none()
    if not is_stored(token, row.token_sha256 if row else None) or row is None:
        return None
    return Reader(row.workspace_id, row.slug, frozenset(row.scopes), prefix, "token", row.expires_at)


def begin_session(connection: Connection, reader: Reader, now: datetime, lasts: timedelta) -> tuple[str, datetime]:
    """A new session's secret, which is not stored, and when it ends (UTC). Sessions that ended are swept away."""
    made = new_secret(_SESSION)
    ends_at = now + lasts if reader.ends_at is None else min(now + lasts, reader.ends_at)
    connection.execute(text("DELETE FROM read_sessions WHERE expires_at <= :now"), {"now": now})
    connection.execute(
        text(
            "INSERT INTO read_sessions (prefix, token_prefix, session_sha256, created_at, expires_at)"
            " VALUES (:prefix, :token_prefix, :session_sha256, :now, :ends_at)"
        ),
        {
            "prefix": made.prefix,
            "token_prefix": reader.token_prefix,
            "session_sha256": made.sha256,
            "now": now,
            "ends_at": ends_at,
        },
    )
    return made.text, ends_at


def reader_of_session(connection: Connection, secret: str, at: datetime) -> Reader | None:
    """Whom a session makes of its bearer at that instant: as its token would, which must live too; None otherwise."""
    prefix = prefix_of(secret, _SESSION)
    if prefix is None:
        return None
    row = connection.execute(
        text(
            "SELECT s.session_sha256, t.workspace_id, w.slug, t.scopes, t.prefix, s.expires_at FROM read_sessions AS s"
            " JOIN read_tokens AS t ON t.prefix = s.token_prefix JOIN workspaces AS w USING (workspace_id)"
            f" WHERE s.prefix = :prefix AND s.expires_at > :at AND {_LIVES}"
        ),
        {"prefix": prefix, "at": at},
    ).one_or_none()
    if not is_stored(secret, row.session_sha256 if row else None) or row is None:
        return None
    return Reader(row.workspace_id, row.slug, frozenset(row.scopes), row.prefix, "session", row.expires_at)


def end_session(connection: Connection, secret: str, at: datetime) -> bool:
    """End a living session; whether there was one."""
    if reader_of_session(connection, secret, at) is None:
        return False
    key = {"prefix": prefix_of(secret, _SESSION)}
    return connection.execute(text("DELETE FROM read_sessions WHERE prefix = :prefix"), key).rowcount > 0


_LIVES: Final = "(t.expires_at IS NULL OR t.expires_at > :at) AND (t.revoked_at IS NULL OR t.revoked_at > :at)"
_SELECT: Final = (
    "SELECT t.prefix, w.slug AS workspace, t.name, t.scopes, t.created_at, t.expires_at, t.revoked_at, u.last_used_at"
    " FROM read_tokens AS t JOIN workspaces AS w USING (workspace_id) LEFT JOIN read_token_uses AS u USING (prefix)"
)


def _read(row: Row[Any]) -> ReadToken:
    told = row._mapping
    return ReadToken(**{**told, "scopes": tuple(told["scopes"])})
