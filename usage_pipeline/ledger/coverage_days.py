"""What stands about each feed's days: the newest complete answer of every endpoint, and the last attempt.

In: a workspace and a range of days. Out: one :class:`SliceState` a slice, of provider keys and of Hermes feeds alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import Connection, text


@dataclass(frozen=True, slots=True)
class SliceState:
    """An endpoint's day of a feed: when its newest complete answer was observed, and how the last attempt ended."""

    feed_id: int
    endpoint: str
    day: date
    observed_at: datetime | None
    last_attempt_at: datetime | None
    error_code: str | None


def slice_states(connection: Connection, workspace_id: int, first_day: date, end_day: date) -> Iterator[SliceState]:
    """The slices of a workspace's feeds in the half-open range of days, by feed, day and endpoint."""
    rows = connection.execute(
        text(
            "SELECT s.feed_id, s.endpoint, s.day, s.observed_at, s.last_attempt_at, s.last_attempt_error_code"
            " FROM slices AS s JOIN feeds AS f USING (feed_id)"
            " WHERE f.workspace_id = :workspace_id AND s.day >= :first_day AND s.day < :end_day"
            " ORDER BY s.feed_id, s.day, s.endpoint"
        ),
        {"workspace_id": workspace_id, "first_day": first_day, "end_day": end_day},
    )
    for row in rows:
        yield SliceState(*row)
