"""Tokens of Hermes feeds: issued once, stored as a hash, found by a public prefix, ended by rotation or revocation.

In: a feed, or a token as a request carries it. Out: a new token, or the feed that a token may write, and no other.

A token is 256 random bits, so its SHA-256 cannot be searched backwards; a slow hash would protect only secrets that
people choose, and cost every request its time.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, text

from usage_pipeline.errors import InvalidInputError
from usage_pipeline.ledger.audit_log import record_change
from usage_pipeline.ledger.hermes_feeds import HermesFeed, get_hermes_feed, lock_hermes_feed

GRACE_HOURS_MAX: Final = 720
"""How long an old token may go on beside the new one: thirty days."""

_TOKEN: Final = re.compile(r"(uph_[0-9a-f]{10})_[0-9a-f]{64}", re.ASCII)
_PREFIX_BYTES: Final = 5
_SECRET_BYTES: Final = 32
_NO_HASH: Final = bytes(32)


@dataclass(frozen=True, slots=True)
class FeedToken:
    """What is known of a token: not the token. ``ends_at`` (UTC) is when it stops or stopped, None for never."""

    prefix: str
    created_at: datetime
    ends_at: datetime | None

    def lives(self, at: datetime) -> bool:
        """Whether the token opens its feed at that instant."""
        return self.ends_at is None or at < self.ends_at


def issue_token(connection: Connection, feed: HermesFeed, now: datetime) -> str:
    """A new token of the feed, which is not stored and cannot be shown again."""
    prefix = f"uph_{secrets.token_hex(_PREFIX_BYTES)}"
    token = f"{prefix}_{secrets.token_hex(_SECRET_BYTES)}"
    connection.execute(
        text(
            "INSERT INTO feed_tokens (prefix, feed_id, token_sha256, created_at)"
            " VALUES (:prefix, :feed_id, :token_sha256, :now)"
        ),
        {"prefix": prefix, "feed_id": feed.feed_id, "token_sha256": _sha256(token), "now": now},
    )
    record_change(connection, now, "feed_token_issued", feed.slug, {"prefix": prefix})
    return token


def rotate_token(connection: Connection, slug: str, grace: timedelta, now: datetime) -> str:
    """A new token for a feed, whose others end after ``grace``; the feed and what it sent stay as they are.

    Raises :class:`InvalidInputError`: ``slug_malformed``, ``feed_unknown``, ``grace_malformed``.
    """
    if not timedelta() <= grace <= timedelta(hours=GRACE_HOURS_MAX):
        raise InvalidInputError(
            "grace_malformed",
            f"the old token may go on for 0 to {GRACE_HOURS_MAX} hours",
            where="--grace-hours",
            remedy="Give a number of hours, or leave the option out to end the old token now.",
        )
    feed = lock_hermes_feed(connection, get_hermes_feed(connection, slug))
    _end_tokens(connection, feed, now + grace, now)
    return issue_token(connection, feed, now)


def revoke_tokens(connection: Connection, slug: str, now: datetime) -> int:
    """End every token of a feed now; return how many lived. The feed stays, and takes nothing in over HTTP.

    Raises :class:`InvalidInputError`: ``slug_malformed``, ``feed_unknown``.
    """
    return _end_tokens(connection, lock_hermes_feed(connection, get_hermes_feed(connection, slug)), now, now)


def list_tokens(connection: Connection, feed: HermesFeed) -> tuple[FeedToken, ...]:
    """The feed's tokens, those that ended too, oldest first."""
    rows = connection.execute(
        text(
            "SELECT prefix, created_at, ends_at FROM feed_tokens WHERE feed_id = :feed_id ORDER BY created_at, prefix"
        ),
        {"feed_id": feed.feed_id},
    )
    return tuple(FeedToken(*row) for row in rows)


def slug_of_token(connection: Connection, token: str, at: datetime) -> str | None:
    """The slug of the feed that ``token`` opens at that instant; None for one that is unknown, wrong or ended."""
    parts = _TOKEN.fullmatch(token)
    if parts is None:
        return None
    found = connection.execute(
        text(
            "SELECT t.token_sha256, t.ends_at, f.slug FROM feed_tokens t JOIN feeds f USING (feed_id)"
            " WHERE t.prefix = :prefix"
        ),
        {"prefix": parts[1]},
    ).one_or_none()
    stored = bytes(found.token_sha256) if found else _NO_HASH
    if not hmac.compare_digest(stored, _sha256(token)) or found is None:
        return None
    return str(found.slug) if found.ends_at is None or at < found.ends_at else None


def any_token(connection: Connection) -> bool:
    """Whether a token was ever issued: without one, no request can be let in."""
    return bool(connection.execute(text("SELECT EXISTS (SELECT 1 FROM feed_tokens)")).scalar_one())


def _end_tokens(connection: Connection, feed: HermesFeed, ends_at: datetime, now: datetime) -> int:
    """Let every living token of the feed end then, unless it ends earlier by itself."""
    ended = connection.execute(
        text(
            "UPDATE feed_tokens SET ends_at = :ends_at WHERE feed_id = :feed_id"
            " AND (ends_at IS NULL OR ends_at > :ends_at) RETURNING prefix"
        ),
        {"feed_id": feed.feed_id, "ends_at": ends_at},
    ).scalars()
    prefixes = sorted(ended)
    for prefix in prefixes:
        record_change(
            connection, now, "feed_token_ended", feed.slug, {"prefix": prefix, "ends_at": ends_at.isoformat()}
        )
    return len(prefixes)


def _sha256(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
