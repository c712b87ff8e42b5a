"""What refusals taught about an endpoint under one key: which dimensions it does not take, and how large its pages are.

Kept so that a refusal is met once. Forgotten when the key gets another secret, which may have other rights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import msgspec
from sqlalchemy import Connection, text


@dataclass(frozen=True, slots=True)
class LearnedLimits:
    """What an endpoint's refusals taught about one key: it is asked for no more than this from then on.

    ``refused_dimensions`` are our names; ``page_limits`` holds buckets by width.
    """

    refused_dimensions: frozenset[str] = frozenset()
    dimensions_max: int | None = None
    page_limits: Mapping[str, int] | None = None


def read_learned_limits(connection: Connection, feed_id: int, endpoint: str) -> LearnedLimits:
    """What is known of the endpoint under this feed's key; nothing where it never refused."""
    row = connection.execute(
        text(
            "SELECT refused_dimensions, dimensions_max, page_limits FROM learned_limits"
            " WHERE feed_id = :feed_id AND endpoint = :endpoint"
        ),
        {"feed_id": feed_id, "endpoint": endpoint},
    ).one_or_none()
    return LearnedLimits() if row is None else LearnedLimits(frozenset(row[0]), row[1], row[2])


def keep_learned_limits(
    connection: Connection, feed_id: int, endpoint: str, learned: LearnedLimits, said: str, now: datetime
) -> None:
    """Keep what is known of the endpoint from now on; ``said`` is the refusal in words, without a secret."""
    connection.execute(
        text(
            "INSERT INTO learned_limits (feed_id, endpoint, refused_dimensions, dimensions_max, page_limits, said,"
            " learned_at) VALUES (:feed_id, :endpoint, :refused_dimensions, :dimensions_max,"
            " CAST(:page_limits AS jsonb), :said, :now) ON CONFLICT (feed_id, endpoint) DO UPDATE SET"
            " refused_dimensions = excluded.refused_dimensions, dimensions_max = excluded.dimensions_max,"
            " page_limits = excluded.page_limits, said = excluded.said, learned_at = excluded.learned_at"
        ),
        {
            "feed_id": feed_id,
            "endpoint": endpoint,
            "refused_dimensions": sorted(learned.refused_dimensions),
            "dimensions_max": learned.dimensions_max,
            "page_limits": msgspec.json.encode(learned.page_limits or {}).decode(),
            "said": said,
            "now": now,
        },
    )


def forget_learned_limits(connection: Connection, feed_id: int) -> None:
    """Ask every endpoint of the feed for everything again."""
    connection.execute(text("DELETE FROM learned_limits WHERE feed_id = :feed_id"), {"feed_id": feed_id})


def limits_in_words(connection: Connection, feed_id: int) -> list[tuple[str, str]]:
    """What was learned of the feed's endpoints, for people: (endpoint, what its refusal said)."""
    rows = connection.execute(
        text("SELECT endpoint, said FROM learned_limits WHERE feed_id = :feed_id ORDER BY endpoint"),
        {"feed_id": feed_id},
    )
    return [(endpoint, said) for endpoint, said in rows]
