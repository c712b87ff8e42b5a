"""Checks of a provider key's pulls by day: whether they are complete, and whether they answered what was asked.

In: a connection, a key, its endpoints, UTC days. Out: :class:`Offence` records, none where all is well.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from typing import Final

from sqlalchemy import Connection, text

from usage_pipeline.ledger.offences import Offence
from usage_pipeline.ledger.provider_keys import ProviderKey

ROWS_TO_MISS_A_DIMENSION: Final = 100
"""In fewer rows a dimension may be null in all of them by chance."""

_NEWEST: Final = """
    WITH asked AS (
        SELECT e.endpoint, d.day FROM unnest(CAST(:endpoints AS text[])) AS e (endpoint)
        CROSS JOIN unnest(CAST(:days AS date[])) AS d (day)
    ), newest AS (
        SELECT DISTINCT ON (a.endpoint, a.day) a.endpoint, a.day, p.pull_id, p.complete, p.error_code,
               p.dimensions_asked, p.projects, p.drift, p.rows_read, p.started_at,
               (p.started_at AT TIME ZONE 'UTC')::date AS started_on
        FROM asked AS a LEFT JOIN pulls AS p ON p.feed_id = :feed_id AND p.endpoint = a.endpoint
            AND p.first_day <= a.day AND a.day < p.end_day
        ORDER BY a.endpoint, a.day, p.started_at DESC NULLS LAST, p.pull_id DESC
    )
"""


def incomplete_pulls(
    connection: Connection, key: ProviderKey, endpoints: Sequence[str], days: Sequence[date]
) -> Iterator[Offence]:
    """Endpoints whose newest pull of a day failed, never was, leaves a closed day out, or lost its raw pages.

    Nothing where the newest run over the key and the days says that it skipped it.
    """
    if _skipped(connection, key, days):
        return
    rows = connection.execute(
        text(
            _NEWEST
            + """
            SELECT n.day, n.endpoint, CASE
                WHEN n.pull_id IS NULL THEN 'never asked for'
                WHEN NOT n.complete THEN 'the newest pull failed: ' || n.error_code
                WHEN d.pull_id IS NULL AND n.day < n.started_on THEN 'the newest pull says nothing about the day'
                WHEN d.pull_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM raw_pages AS r
                    WHERE r.pull_id = d.content_pull_id AND r.first_day <= n.day AND n.day <= r.last_day)
                THEN 'the raw pages are not there' END AS what
            FROM newest AS n LEFT JOIN pull_days AS d ON d.pull_id = n.pull_id AND d.day = n.day
            ORDER BY n.day, n.endpoint
            """
        ),
        {"feed_id": key.feed_id, "endpoints": list(endpoints), "days": list(days)},
    )
    for day, endpoint, what in rows:
        if what is not None:
            yield Offence(day, f"{key.slug} {endpoint}", what, key=key.slug)


def unanswered_dimensions(
    connection: Connection, key: ProviderKey, endpoints: Sequence[str], days: Sequence[date]
) -> Iterator[Offence]:
    """Dimensions that were asked for and are null in every row of a day's newest complete pull.

    Grave is a missing model, and a missing project where the key's scope is projects: rows then meet in the wrong cell
    or scope. Any other dimension may be null by right (nobody used a service account); it is worth a look only where
    an earlier pull of the endpoint had it and this one has rows enough.
    """
    rows = connection.execute(
        text(
            _NEWEST
            + """
            SELECT n.day, n.endpoint, u.name,
                   u.name = 'model' OR (u.name = 'project_id' AND n.projects <> '{}') AS grave,
                   n.rows_read >= :rows_enough AND EXISTS (
                       SELECT 1 FROM pulls AS p WHERE p.feed_id = :feed_id AND p.endpoint = n.endpoint AND p.complete
                       AND p.started_at < n.started_at AND p.rows_read > 0 AND u.name = ANY(p.dimensions_asked)
                       AND NOT coalesce(jsonb_exists(p.drift -> 'unanswered_dimensions', u.name), false)) AS lost
            FROM newest AS n
            CROSS JOIN LATERAL jsonb_array_elements_text(n.drift -> 'unanswered_dimensions') AS u (name)
            WHERE n.complete ORDER BY n.day, n.endpoint, u.name
            """
        ),
        {
            "feed_id": key.feed_id,
            "endpoints": list(endpoints),
            "days": list(days),
            "rows_enough": ROWS_TO_MISS_A_DIMENSION,
        },
    )
    for day, endpoint, name, grave, lost in rows:
        if grave or lost:
            what = f"{name} was asked for and is null in every row" + ("" if grave else ", unlike in an earlier pull")
            yield Offence(day, f"{key.slug} {endpoint}", what, grave=grave, key=key.slug)


def _skipped(connection: Connection, key: ProviderKey, days: Sequence[date]) -> bool:
    newest = connection.execute(
        text(
            "SELECT outcome FROM ingestion_runs WHERE feed_id = :feed_id AND stage = 'raw_provider_pulls'"
            " AND first_day <= :first_day AND :last_day < end_day ORDER BY started_at DESC, ingestion_run_id DESC"
            " LIMIT 1"
        ),
        {"feed_id": key.feed_id, "first_day": min(days), "last_day": max(days)},
    ).scalar()
    return newest == "skipped"
