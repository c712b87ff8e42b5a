"""The days on which a Hermes batch has a newer word than the one that was settled: what is to be processed anew."""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy import Connection, text


def unsettled_hermes_days(connection: Connection, received_since: datetime) -> tuple[list[date], int]:
    """Days with a newer accepted batch than the settled one, oldest first, and the newest batch's id (0: none).

    Only batches received since that instant are looked at.
    """
    rows = connection.execute(
        text(
            "SELECT d.day, max(b.batch_id) FROM hermes_batches AS b"
            " CROSS JOIN LATERAL (SELECT generate_series(b.first_day, b.end_day - 1, interval '1 day')::date AS day)"
            " AS d"
            " LEFT JOIN hermes_days AS h ON h.feed_id = b.feed_id AND h.day = d.day"
            " WHERE b.accepted AND b.first_day IS NOT NULL AND b.received_at >= :since"
            " AND (h.batch_id IS NULL OR (b.generated_at, b.digest) > (h.generated_at, h.batch_digest))"
            " GROUP BY d.day ORDER BY d.day"
        ),
        {"since": received_since},
    ).all()
    return [row[0] for row in rows], max((row[1] for row in rows), default=0)
