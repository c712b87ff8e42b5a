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
from usage_pipeline.ledger.pull_drift import GRAVE, LOST, UNANSWERED, unanswered_words
from usage_pipeline.ledger.reconcile_inputs import LOOKBACK_EXCEEDED

_NEWEST: Final = """
    WITH asked AS (
        SELECT e.endpoint, d.day FROM unnest(CAST(:endpoints AS text[])) AS e (endpoint)
        CROSS JOIN unnest(CAST(:days AS date[])) AS d (day)
    ), newest AS (
        SELECT DISTINCT ON (a.endpoint, a.day) p.feed_id, a.endpoint, a.day, p.pull_id, p.complete, p.error_code,
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

    Nothing where the newest run over the key and the days says that it skipped it, and nothing about a day that the
    provider said last that it does not keep any more: asking again gives the same answer.
    """
    if _skipped(connection, key, days):
        return
    rows = connection.execute(
        text(
            _NEWEST
            + """
            SELECT n.day, n.endpoint, CASE
                WHEN s.last_attempt_error_code = :out_of_reach AND (n.pull_id IS NULL
                    OR NOT n.complete AND n.started_at < s.last_attempt_at) THEN NULL
                WHEN n.pull_id IS NULL THEN 'never asked for'
                WHEN NOT n.complete THEN 'the newest pull failed: ' || n.error_code
                WHEN d.pull_id IS NULL AND n.day < n.started_on THEN 'the newest pull says nothing about the day'
                WHEN d.pull_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM raw_pages AS r
                    WHERE r.pull_id = d.content_pull_id AND r.first_day <= n.day AND n.day <= r.last_day)
                THEN 'the raw pages are not there' END AS what
            FROM newest AS n LEFT JOIN pull_days AS d ON d.pull_id = n.pull_id AND d.day = n.day
            LEFT JOIN slices AS s ON s.feed_id = :feed_id AND s.endpoint = n.endpoint AND s.day = n.day
            ORDER BY n.day, n.endpoint
            """
        ),
        {
            "feed_id": key.feed_id,
            "endpoints": list(endpoints),
            "days": list(days),
            "out_of_reach": LOOKBACK_EXCEEDED,
        },
    )
    for day, endpoint, what in rows:
        if what is not None:
            yield Offence(day, f"{key.slug} {endpoint}", what, key=key.slug)


def unanswered_dimensions(
    connection: Connection, key: ProviderKey, endpoints: Sequence[str], days: Sequence[date]
) -> Iterator[Offence]:
    """Dimensions that were asked for and are null in every row of a day's newest complete pull.

    Grave is a missing model, a proxy's missing upstream provider, and a missing project where the key's scope is
    projects: rows then meet in the wrong cell or scope, or count twice. Any other dimension may be null by
    right (nobody used a service account); it is worth a look only where an earlier pull of the endpoint had it and this
    one has rows enough.
    """
    rows = connection.execute(
        text(
            _NEWEST
            + f"""
            SELECT n.day, n.endpoint, u.name, {GRAVE} AS grave, {LOST} AS lost FROM newest AS n {UNANSWERED}
            WHERE n.complete ORDER BY n.day, n.endpoint, u.name
            """
        ),
        {
            "feed_id": key.feed_id,
            "endpoints": list(endpoints),
            "days": list(days),
        },
    )
    for day, endpoint, name, grave, lost in rows:
        if grave or lost:
            yield Offence(day, f"{key.slug} {endpoint}", unanswered_words(name, grave), grave=grave, key=key.slug)


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
