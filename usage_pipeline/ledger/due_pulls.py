"""What was pulled of the days that a key should have: the facts from which it is derived what is still to be asked for.

In: days of keys, with the endpoints and the scope that they should be answered under. Out: the days that are not, or
not for good, and how the newest attempts ended. Nothing is kept here: the facts are ``pull_days``, ``pulls``,
``slices`` (the last attempt), ``feed_settings`` and ``reconciliations``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import msgspec
from sqlalchemy import Connection, text


@dataclass(frozen=True, slots=True)
class WantedDays:
    """The half-open range of UTC days of a key under one scope (``projects``, sorted), and what should answer them.

    ``settling`` is the time after a day's end from which an answer is final.
    """

    feed_id: int
    first_day: date
    end_day: date
    projects: tuple[str, ...]
    endpoints: tuple[str, ...]
    settling: timedelta


@dataclass(frozen=True, slots=True)
class OwedDay:
    """A day that some endpoint of a key has not answered for good. ``recent``: it would not be missed yet.

    ``failed_at`` is when the newest attempt at it began, where that failed.
    """

    feed_id: int
    day: date
    recent: bool
    failed_at: datetime | None


@dataclass(frozen=True, slots=True)
class NewestAttempts:
    """The newest attempt at each endpoint of a key: whether all of them were complete, and when the first of them
    began; ``complete_at`` is when the newest complete one of them began, None where none was."""

    all_complete: bool
    since: datetime
    complete_at: datetime | None


def owed_days(
    connection: Connection, wanted: Sequence[WantedDays], now: datetime, grace: timedelta
) -> tuple[OwedDay, ...]:
    """The wanted days that were never answered, were answered under another scope, or have no final answer although
    their settling time is over by ``grace``; by key and day.

    A day that ended less than ``grace`` ago and was never answered is ``recent``. A day that the provider said to be
    beyond its reach is owed by nobody.
    """
    spans = [
        {
            "feed_id": one.feed_id,
            "first_day": one.first_day,
            "last_day": one.end_day - timedelta(days=1),
            "projects": one.projects,
            "endpoints": one.endpoints,
            "settling": one.settling.total_seconds(),
        }
        for one in wanted
        if one.first_day < one.end_day
    ]
    rows = connection.execute(
        text(
            "WITH cells AS (SELECT w.feed_id, e.endpoint, d.day, w.projects, w.settling * interval '1 second' AS"
            " settling, (d.day + 1)::timestamp AT TIME ZONE 'UTC' AS ends_at"
            " FROM jsonb_to_recordset(CAST(:wanted AS jsonb)) AS w (feed_id integer, first_day date, last_day date,"
            " projects jsonb, endpoints jsonb, settling double precision)"
            " CROSS JOIN LATERAL jsonb_array_elements_text(w.endpoints) AS e (endpoint)"
            " CROSS JOIN LATERAL (SELECT generate_series(w.first_day, w.last_day, interval '1 day')::date AS day) AS d)"
            " SELECT c.feed_id, c.day,"
            " bool_and(coalesce(a.started_at, s.observed_at) IS NULL AND c.ends_at + CAST(:grace AS interval) > :now),"
            " max(s.last_attempt_at) FILTER (WHERE s.last_attempt_error_code IS NOT NULL) FROM cells AS c"
            " LEFT JOIN slices AS s ON s.feed_id = c.feed_id AND s.endpoint = c.endpoint AND s.day = c.day"
            " LEFT JOIN LATERAL (SELECT started_at, pull_id FROM pull_days AS p WHERE p.feed_id = c.feed_id"
            " AND p.endpoint = c.endpoint AND p.day = c.day ORDER BY p.started_at DESC LIMIT 1) AS a ON true"
            " LEFT JOIN pulls AS p ON p.pull_id = a.pull_id"
            " WHERE s.last_attempt_error_code IS DISTINCT FROM 'lookback_exceeded'"
            # A slice remembers what covers it also where old pulls are no longer kept.
            " AND (coalesce(a.started_at, s.observed_at) IS NULL OR to_jsonb(p.projects) <> c.projects"
            " OR (coalesce(a.started_at, s.observed_at) < c.ends_at + c.settling"
            " AND c.ends_at + c.settling + CAST(:grace AS interval) <= :now))"
            " GROUP BY c.feed_id, c.day ORDER BY c.feed_id, c.day"
        ),
        {"wanted": msgspec.json.encode(spans).decode(), "now": now, "grace": grace},
    )
    return tuple(OwedDay(*row) for row in rows)


def final_days(connection: Connection, asked: WantedDays) -> set[date]:
    """The days that every endpoint answered for good, under whatever scope."""
    rows = connection.execute(
        text(
            "SELECT day FROM (SELECT feed_id, endpoint, day, started_at AS asked_at FROM pull_days"
            # A slice remembers what covers it also where old pulls are no longer kept.
            " UNION ALL SELECT feed_id, endpoint, day, observed_at FROM slices) AS answered"
            " WHERE feed_id = :feed_id AND endpoint = ANY(:endpoints) AND day >= :first_day AND day < :end_day"
            " AND asked_at >= (day + 1)::timestamp AT TIME ZONE 'UTC' + CAST(:settling AS interval)"
            " GROUP BY day HAVING count(DISTINCT endpoint) = cardinality(CAST(:endpoints AS text[]))"
        ),
        {
            "feed_id": asked.feed_id,
            "endpoints": list(asked.endpoints),
            "first_day": asked.first_day,
            "end_day": asked.end_day,
            "settling": asked.settling,
        },
    )
    return set(rows.scalars())


def newest_attempts(connection: Connection, endpoints: Mapping[int, Sequence[str]]) -> dict[int, NewestAttempts]:
    """How the newest attempts at the endpoints of each feed ended; without the feeds that were never tried."""
    pairs = [(feed_id, endpoint) for feed_id, names in endpoints.items() for endpoint in names]
    rows = connection.execute(
        text(
            "SELECT e.feed_id, bool_and(a.complete), min(a.started_at), max(a.started_at) FILTER (WHERE a.complete)"
            " FROM unnest(CAST(:feed_ids AS integer[]), CAST(:endpoints AS text[])) AS e (feed_id, endpoint)"
            " CROSS JOIN LATERAL (SELECT started_at, complete FROM pulls AS p WHERE p.feed_id = e.feed_id"
            " AND p.endpoint = e.endpoint ORDER BY p.started_at DESC, p.pull_id DESC LIMIT 1) AS a"
            " GROUP BY e.feed_id"
        ),
        {"feed_ids": [feed_id for feed_id, _ in pairs], "endpoints": [endpoint for _, endpoint in pairs]},
    )
    return {row[0]: NewestAttempts(*row[1:]) for row in rows}


def days_under_former_account(connection: Connection, feed_ids: Sequence[int]) -> list[tuple[int, date]]:
    """Feeds and UTC days that hold figures and were reconciled before the key became another account's."""
    rows = connection.execute(
        text(
            "SELECT DISTINCT k.feed_id, s.day FROM provider_keys AS k JOIN feeds AS f USING (feed_id)"
            " JOIN slices AS s ON s.feed_id = k.feed_id AND s.observed_at IS NOT NULL"
            " JOIN reconciliations AS c ON c.workspace_id = f.workspace_id AND c.day = s.day"
            " WHERE k.feed_id = ANY(:feed_ids) AND c.now < k.account_since ORDER BY 1, 2"
        ),
        {"feed_ids": list(feed_ids)},
    )
    return [(row[0], row[1]) for row in rows]


def settings_changed_at(connection: Connection, feed_ids: Sequence[int]) -> dict[int, datetime]:
    """When the newest value of what decides which days are pulled, and under which scope, was set, by feed."""
    rows = connection.execute(
        text(
            "SELECT feed_id, max(changed_at) FROM feed_settings WHERE feed_id = ANY(:feed_ids)"
            " AND setting IN ('enabled', 'projects') GROUP BY feed_id"
        ),
        {"feed_ids": list(feed_ids)},
    )
    return {row[0]: row[1] for row in rows}
