"""The store's figures for monitoring, read in a few short queries.

What is counted comes from sums that stay when old runs are deleted (``ledger.ingestion_runs``); what is measured is as
of now. Batches are counted as rows of the inbox, which stay when their old payloads are emptied.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import Connection, text

VARIANCE_DAYS: Final = 30
"""How many of an account's newest final days its bill is compared over."""


@dataclass(frozen=True, slots=True)
class StageTotals:
    """Every run that ever was of a stage, provider and outcome, added up. ``durations`` are by
    ``ingestion_runs.DURATION_BOUNDS``, each run in one place; seconds are those that runs took."""

    stage: str
    provider: str
    outcome: str
    runs: int
    seconds: float
    durations: tuple[int, ...]
    requests: int
    pages: int
    rows_read: int
    seconds_waited: float
    events_stored: int
    events_updated: int
    events_removed: int
    events_unchanged: int


@dataclass(frozen=True, slots=True)
class NewestWindow:
    """Until when (UTC) a feed's newest complete pull covers, None where it has none."""

    feed_id: int
    covered_until: datetime | None


@dataclass(frozen=True, slots=True)
class Variance:
    """An account's newest final days: what was billed, and what the same usage costs by price, in US dollars."""

    workspace: str
    provider: str
    account: str
    billed_usd: Decimal
    computed_usd: Decimal


def stage_totals(connection: Connection) -> list[StageTotals]:
    """The sums of every stage, provider (empty for a stage over every key) and outcome."""
    rows = connection.execute(
        text(
            "SELECT stage, provider, outcome, runs, seconds, durations, requests, pages, rows_read, seconds_waited,"
            " events_stored, events_updated, events_removed, events_unchanged FROM ingestion_totals ORDER BY 1, 2, 3"
        )
    )
    return [StageTotals(**{**row, "durations": tuple(row["durations"])}) for row in rows.mappings()]


def issue_counts(connection: Connection) -> list[tuple[str, str, int]]:
    """(provider, code, how often) of what went wrong in runs."""
    return _tuples(connection, "SELECT provider, code, count FROM ingestion_issues ORDER BY 1, 2")


def open_finding_counts(connection: Connection) -> list[tuple[str, int]]:
    """(code, how many are open and not acknowledged)."""
    return _tuples(
        connection,
        "SELECT code, count(*) FROM findings WHERE closed_at IS NULL AND acknowledged_at IS NULL GROUP BY code"
        " ORDER BY code",
    )


def open_alert_counts(connection: Connection) -> list[tuple[str, str, int, int]]:
    """(cause, severity, how many are open, how many of these are to be told and not every receiver accepted one)."""
    return _tuples(
        connection,
        "SELECT cause, severity, count(*), count(*) FILTER (WHERE notified_at IS NULL AND NOT quiet) FROM alerts"
        " WHERE recovered_at IS NULL GROUP BY cause, severity ORDER BY 1, 2",
    )


def batch_counts(connection: Connection) -> tuple[int, int]:
    """Hermes batches that are kept: accepted, refused."""
    row = connection.execute(
        text("SELECT count(*) FILTER (WHERE accepted), count(*) FILTER (WHERE NOT accepted) FROM hermes_batches")
    ).one()
    return row[0], row[1]


def newest_windows(connection: Connection, feed_ids: Sequence[int]) -> list[NewestWindow]:
    """Until when the newest covered day of each feed is covered: its end, or the pull's start before that."""
    rows = connection.execute(
        text(
            "SELECT f.feed_id, newest.covered_until FROM unnest(CAST(:feeds AS integer[])) AS f (feed_id)"
            " LEFT JOIN LATERAL (SELECT max(least(s.observed_at, (s.day + 1)::timestamp AT TIME ZONE 'UTC'))"
            " AS covered_until FROM slices AS s WHERE s.feed_id = f.feed_id AND s.observed_at IS NOT NULL"
            ") AS newest ON true ORDER BY 1"
        ),
        {"feeds": list(feed_ids)},
    )
    return [NewestWindow(*row) for row in rows]


def cost_variances(connection: Connection, today: date) -> list[Variance]:
    """What final bills and prices say of each account's newest final days, where something was billed."""
    rows = connection.execute(
        text(
            "WITH days AS (SELECT w.slug, b.provider, b.account, b.compared_billed_usd AS billed,"
            " b.compared_computed_usd AS computed,"
            " row_number() OVER (PARTITION BY w.slug, b.provider, b.account ORDER BY r.day DESC) AS place"
            " FROM account_bills AS b JOIN reconciliations AS r USING (reconciliation_id)"
            " JOIN workspaces AS w USING (workspace_id) WHERE b.final AND r.day >= :since"
            " AND b.compared_billed_usd IS NOT NULL AND b.compared_computed_usd IS NOT NULL)"
            " SELECT slug, provider, account, sum(billed), sum(computed) FROM days WHERE place <= :days"
            " GROUP BY 1, 2, 3 HAVING sum(billed) > 0 ORDER BY 1, 2, 3"
        ),
        {"since": today - timedelta(days=4 * VARIANCE_DAYS), "days": VARIANCE_DAYS},
    )
    return [Variance(*row) for row in rows]


def _tuples(connection: Connection, statement: str) -> list[Any]:
    return [tuple(row) for row in connection.execute(text(statement))]
