"""What the store holds that a person should know of: refused keys, open differences, days without a complete pull.

In: a connection, days, codes. Out: plain records; what becomes an alert is decided in ``alerts.facts``. A demo's
made-up workspace is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Final

from sqlalchemy import Connection, text

from usage_pipeline.ledger.ingestion_runs import PULL_STAGE
from usage_pipeline.ledger.reconcile_inputs import LOOKBACK_EXCEEDED

_RUNS_MAX: Final = 500
"""So many refused pulls of a key are told apart, the newest; whether it is refused does not go by them."""


@dataclass(frozen=True, slots=True)
class RefusedKey:
    """A key whose newest pull that tells was refused: with which code and words, since when, and in which runs."""

    feed_id: int
    slug: str
    code: str
    error: str
    since: datetime
    runs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class OpenDifference:
    """An open finding with a difference of two figures, in the measure's unit or US dollars."""

    code: str
    workspace: str
    day: date
    provider: str
    account: str | None
    model: str | None
    measure: str | None
    figure: Decimal | None
    difference: Decimal
    explanation: str
    first_seen: datetime


@dataclass(frozen=True, slots=True)
class UncoveredSlice:
    """An open finding about the coverage of a key's day, at an endpoint where it has one."""

    code: str
    feed_id: int
    endpoint: str | None
    day: date
    explanation: str
    first_seen: datetime


def refused_keys(connection: Connection, codes: Sequence[str]) -> list[RefusedKey]:
    """Keys whose newest pull that went through or failed with one of the codes is one that failed so.

    Other failures say nothing about the key: they do not end its refusal.
    """
    rows = connection.execute(
        text(
            "SELECT k.feed_id, f.slug, newest.error_code, newest.error, refused.since, refused.runs"
            " FROM provider_keys AS k JOIN feeds AS f USING (feed_id) JOIN workspaces AS w USING (workspace_id)"
            " CROSS JOIN LATERAL (SELECT r.error_code, r.error, r.outcome FROM ingestion_runs AS r"
            " WHERE r.feed_id = k.feed_id AND r.stage = :stage"
            " AND (r.outcome = 'processed' OR r.error_code = ANY(:codes))"
            " ORDER BY r.started_at DESC, r.ingestion_run_id DESC LIMIT 1) AS newest"
            " CROSS JOIN LATERAL (SELECT min(b.started_at) AS since,"
            " array_agg(b.ingestion_run_id ORDER BY b.ingestion_run_id) AS runs"
            " FROM (SELECT r.started_at, r.ingestion_run_id FROM ingestion_runs AS r"
            " WHERE r.feed_id = k.feed_id AND r.stage = :stage AND r.error_code = ANY(:codes)"
            " AND r.started_at > coalesce((SELECT max(g.started_at) FROM ingestion_runs AS g"
            " WHERE g.feed_id = k.feed_id AND g.stage = :stage AND g.outcome = 'processed'), '-infinity')"
            " ORDER BY r.started_at DESC LIMIT :runs_max) AS b) AS refused"
            " WHERE NOT w.demo AND newest.outcome = 'failed' AND refused.runs IS NOT NULL ORDER BY f.slug"
        ),
        {"stage": PULL_STAGE, "codes": list(codes), "runs_max": _RUNS_MAX},
    )
    return [RefusedKey(row.feed_id, row.slug, row.error_code, row.error, row.since, tuple(row.runs)) for row in rows]


def open_differences(connection: Connection, codes: Sequence[str], fraction: Decimal) -> list[OpenDifference]:
    """Open findings of the codes whose difference is above ``fraction`` of the provider's figure, the newest first."""
    rows = connection.execute(
        text(
            "SELECT f.code, w.slug, f.day, f.provider, f.account, f.model, f.measure, f.figure_provider, f.difference,"
            " f.explanation, f.first_seen FROM findings AS f JOIN workspaces AS w USING (workspace_id)"
            " WHERE f.closed_at IS NULL AND f.acknowledged_at IS NULL AND f.code = ANY(:codes) AND NOT w.demo"
            " AND abs(f.difference) > :fraction * abs(coalesce(f.figure_provider, 0))"
            " ORDER BY f.day DESC, f.finding_id"
        ),
        {"codes": list(codes), "fraction": fraction},
    )
    return [OpenDifference(*row) for row in rows]


def uncovered_slices(connection: Connection, codes: Sequence[str]) -> list[UncoveredSlice]:
    """Open findings of the codes that are about a feed's slices, the newest days first."""
    rows = connection.execute(
        text(
            "SELECT f.code, f.feed_id, f.endpoint, f.day, f.explanation, f.first_seen FROM findings AS f"
            " JOIN workspaces AS w USING (workspace_id) WHERE f.closed_at IS NULL AND f.acknowledged_at IS NULL"
            " AND f.code = ANY(:codes) AND f.feed_id IS NOT NULL AND NOT w.demo"
            " ORDER BY f.day DESC, f.finding_id"
        ),
        {"codes": list(codes)},
    )
    return [UncoveredSlice(*row) for row in rows]


def days_without_answer(
    connection: Connection, first_days: Mapping[int, date], end_day: date
) -> list[tuple[int, date]]:
    """(feed, UTC day) of each feed from its first day to before ``end_day`` that no complete pull covers.

    Days that the provider said it does not keep are left out: asking again gives the same answer.
    """
    rows = connection.execute(
        text(
            "SELECT f.feed_id, CAST(d.day AS date) FROM unnest(CAST(:feeds AS integer[]), CAST(:days AS date[]))"
            " AS f (feed_id, first_day) CROSS JOIN LATERAL"
            " generate_series(CAST(f.first_day AS timestamp), CAST(:last_day AS timestamp), '1 day') AS d (day)"
            # A slice is noted when it is pulled, and covered when it is normalised a moment later.
            " WHERE NOT EXISTS (SELECT 1 FROM slices AS s WHERE s.feed_id = f.feed_id AND s.day = CAST(d.day AS date)"
            " AND (s.observed_at IS NOT NULL OR s.last_attempt_error_code IS NULL"
            " OR s.last_attempt_error_code = :out_of_reach)) ORDER BY 1, 2"
        ),
        {
            "feeds": list(first_days),
            "days": list(first_days.values()),
            "last_day": date.fromordinal(end_day.toordinal() - 1),
            "out_of_reach": LOOKBACK_EXCEEDED,
        },
    )
    return [(feed_id, day) for feed_id, day in rows]
