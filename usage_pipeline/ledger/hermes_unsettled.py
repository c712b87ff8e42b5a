"""The days on which a Hermes batch says something else than the one that was settled: what is to be processed anew."""

from __future__ import annotations

from datetime import date, datetime, timedelta

from sqlalchemy import Connection, text


def unsettled_hermes_days(
    connection: Connection, received_since: datetime, settling: timedelta
) -> tuple[list[date], int]:
    """Days of which the newest accepted batch says otherwise than the settled one, oldest first, and the newest such
    batch's id (0: none).

    A newer batch that says the same changes a day only where it is the first one of after the day's end, or of after
    its ``settling`` time, for then the day is closed, or final. Only batches received since that instant are looked at.
    """
    rows = connection.execute(
        text(
            "WITH newest AS (SELECT DISTINCT ON (b.feed_id, d.day) b.feed_id, d.day, b.batch_id, b.generated_at,"
            " b.digest, b.day_digests, (d.day + 1)::timestamp AT TIME ZONE 'UTC' AS ends_at"
            " FROM hermes_batches AS b CROSS JOIN LATERAL"
            " (SELECT generate_series(b.first_day, b.end_day - 1, interval '1 day')::date AS day) AS d"
            " WHERE b.accepted AND b.first_day IS NOT NULL AND b.received_at >= :since"
            " ORDER BY b.feed_id, d.day, b.generated_at DESC, b.digest DESC)"
            " SELECT n.day, max(n.batch_id) FROM newest AS n"
            " LEFT JOIN hermes_days AS h ON h.feed_id = n.feed_id AND h.day = n.day"
            " LEFT JOIN hermes_batches AS s ON s.batch_id = h.batch_id"
            " WHERE h.batch_id IS NULL OR ((n.generated_at, n.digest) > (h.generated_at, h.batch_digest)"
            " AND (n.day_digests IS NULL OR s.day_digests IS NULL"
            " OR n.day_digests ->> n.day::text IS DISTINCT FROM s.day_digests ->> n.day::text"
            " OR (h.generated_at < n.ends_at AND n.generated_at >= n.ends_at)"
            " OR (h.generated_at < n.ends_at + CAST(:settling AS interval)"
            " AND n.generated_at >= n.ends_at + CAST(:settling AS interval))))"
            " GROUP BY n.day ORDER BY n.day"
        ),
        {"since": received_since, "settling": settling},
    ).all()
    return [row[0] for row in rows], max((row[1] for row in rows), default=0)
