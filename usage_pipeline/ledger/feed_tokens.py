"""Tokens of Hermes feeds: issued once, stored as a hash, found by a public prefix, ended by rotation or revocation.

In: a feed, or a token as a request carries it. Out: a new token, or the feed that a token may write, and no other.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, text

from usage_pipeline.errors import InvalidInputError
from usage_pipeline.ledger.audit_log import record_change
from usage_pipeline.ledger.bearer_secrets import is_stored, new_secret, prefix_of
from usage_pipeline.ledger.hermes_feeds import HermesFeed, get_hermes_feed, lock_hermes_feed

GRACE_HOURS_MAX: Final = 720
"""How long an old token may go on beside the new one: thirty days."""

_KIND: Final = "uph"


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
    made = new_secret(_KIND)
    connection.execute(
        text(
            "INSERT INTO feed_tokens (prefix, feed_id, token_sha256, created_at)"
            " VALUES (:prefix, :feed_id, :token_sha256, :now)"
        ),
        {"prefix": made.prefix, "feed_id": feed.feed_id, "token_sha256": made.sha256, "now": now},
    )
    record_change(connection, now, "feed_token_issued", feed.slug, {"prefix": made.prefix})
    return made.text


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
    prefix = prefix_of(token, _KIND)
    if prefix is None:
        return None
    found = connection.execute(
        text(
            "SELECT t.token_sha256, t.ends_at, f.slug FROM feed_tokens t JOIN feeds f USING (feed_id)"
            " WHERE t.prefix = :prefix"
        ),
        {"prefix": prefix},
    ).one_or_none()
    if not is_stored(token, found.token_sha256 if found else None) or found is None:
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
