"""What the last attempt at each endpoint of a key said, for people.

In: a feed. Out: one line's worth per endpoint: when, for which days, and complete or why not.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import Connection, text


@dataclass(frozen=True, slots=True)
class LastPull:
    """The newest attempt at an endpoint, for the half-open range of UTC days. ``started_at`` is in UTC; the error's
    code and line are None where it was complete."""

    endpoint: str
    started_at: datetime
    first_day: date
    end_day: date
    rows: int
    error_code: str | None
    error: str | None


def last_pulls(connection: Connection, feed_id: int) -> tuple[LastPull, ...]:
    """The newest attempt at each endpoint of the feed that was ever tried, by endpoint."""
    rows = connection.execute(
        text(
            "SELECT DISTINCT ON (endpoint) endpoint, started_at, first_day, end_day, rows_read, error_code, error"
            " FROM pulls WHERE feed_id = :feed_id ORDER BY endpoint, pull_id DESC"
        ),
        {"feed_id": feed_id},
    )
    return tuple(LastPull(*row) for row in rows)
