"""What is old enough to go, what of it an export confirmed, and taking it away.

In: the instant before which something is old. Out: what was found, by day; rows whose bodies are emptied, or that are
deleted. A pruned raw page or payload keeps its row, its digest and its size. Which of it may go is decided above
(:mod:`usage_pipeline.retention`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, text

from usage_pipeline.errors import InvalidInputError
from usage_pipeline.ledger.parity_checks import days_confirmed_equal
from usage_pipeline.ledger.workspaces import CHOSEN_WORKSPACES

DayOfWorkspace = tuple[int, date]
DayOfSlice = tuple[int, str, date]
"""Feed, endpoint and UTC day."""


@dataclass(frozen=True, slots=True)
class OldPage:
    """A raw page with its body: the days that it touches (both included), and whether today's figures were made from
    it, or still will be."""

    pull_id: int
    page_number: int
    feed_id: int
    endpoint: str
    first_day: date
    last_day: date
    fetched_at: datetime
    stands: bool
    bytes: int

    @property
    def days(self) -> list[DayOfSlice]:
        """The slices' days that it touches."""
        count = (self.last_day - self.first_day).days + 1
        return [(self.feed_id, self.endpoint, self.first_day + timedelta(days=n)) for n in range(count)]


@dataclass(frozen=True, slots=True)
class OldHistory:
    """Superseded versions of a workspace's day: of events, bills, and everything reconciled from them."""

    workspace_id: int
    day: date
    rows: int
    bytes: int


@dataclass(frozen=True, slots=True)
class OldPayload:
    """A Hermes payload with its body. A refused one has no days; ``stands`` is whether it speaks for a day."""

    batch_id: int
    workspace_id: int
    first_day: date | None
    end_day: date | None
    stands: bool
    bytes: int

    @property
    def days(self) -> list[DayOfWorkspace]:
        """The days of the workspace that it covers."""
        if self.first_day is None or self.end_day is None:
            return []
        count = (self.end_day - self.first_day).days
        return [(self.workspace_id, self.first_day + timedelta(days=n)) for n in range(count)]


# The pull that covers the slice, or the newest one, which normalising may still have to read.
_STANDS: Final = """
EXISTS (SELECT 1 FROM pull_days AS d JOIN slices AS s
        ON s.feed_id = d.feed_id AND s.endpoint = d.endpoint AND s.day = d.day AND s.observed_pull_id = d.pull_id
    WHERE d.feed_id = p.feed_id AND d.endpoint = p.endpoint AND d.day BETWEEN r.first_day AND r.last_day
        AND d.content_pull_id = r.pull_id)
OR EXISTS (SELECT 1 FROM pull_days AS d
    WHERE d.feed_id = p.feed_id AND d.endpoint = p.endpoint AND d.day BETWEEN r.first_day AND r.last_day
        AND d.content_pull_id = r.pull_id
        AND NOT EXISTS (SELECT 1 FROM pull_days AS later
            WHERE later.feed_id = d.feed_id AND later.endpoint = d.endpoint AND later.day = d.day
                AND (later.started_at, later.digest, later.pull_id) > (d.started_at, d.digest, d.pull_id)))
"""


def old_pages(connection: Connection, before: datetime) -> list[OldPage]:
    """The raw pages that came before an instant and were not pruned yet."""
    rows = connection.execute(
        text(
            "SELECT r.pull_id, r.page_number, p.feed_id, p.endpoint, r.first_day, r.last_day, r.fetched_at,"
            f" {_STANDS} AS stands, octet_length(r.body_zstd) FROM raw_pages AS r JOIN pulls AS p USING (pull_id)"
            " WHERE r.fetched_at < :before AND octet_length(r.body_zstd) > 0 ORDER BY r.pull_id, r.page_number"
        ),
        {"before": before},
    )
    return [OldPage(*row) for row in rows]


def confirmed_slices(connection: Connection, days: Iterable[DayOfSlice]) -> frozenset[DayOfSlice]:
    """Which of these slices' days an export confirmed (``parity_checks.days_confirmed_equal``)."""
    by_endpoint: dict[tuple[int, str], list[date]] = defaultdict(list)
    for feed_id, endpoint, day in days:
        by_endpoint[feed_id, endpoint].append(day)
    return frozenset(
        (feed_id, endpoint, day)
        for (feed_id, endpoint), wanted in by_endpoint.items()
        for day in days_confirmed_equal(connection, feed_id, endpoint, min(wanted), max(wanted) + timedelta(days=1))
    )


def confirmed_days(connection: Connection, days: Collection[DayOfWorkspace]) -> frozenset[DayOfWorkspace]:
    """Which of these workspaces' days are confirmed as a whole: exports confirmed every provider slice with rows that
    counts, bills included, and there is one."""
    rows = connection.execute(
        text(
            "SELECT c.workspace_id, c.day, s.feed_id, s.endpoint FROM reconciliations AS c"
            " JOIN counted_slices AS k USING (reconciliation_id) JOIN slices AS s USING (slice_id)"
            " JOIN feeds AS f ON f.feed_id = s.feed_id AND f.source = 'provider_api_key'"
            " WHERE k.counts AND s.row_count > 0 AND c.day = ANY(:days)"
        ),
        {"days": sorted({day for _, day in days})},
    )
    counted: dict[DayOfWorkspace, set[DayOfSlice]] = defaultdict(set)
    for workspace_id, day, feed_id, endpoint in rows:
        if (workspace_id, day) in days:
            counted[workspace_id, day].add((feed_id, endpoint, day))
    confirmed = confirmed_slices(connection, (one for slices in counted.values() for one in slices))
    return frozenset(of_day for of_day, slices in counted.items() if slices <= confirmed)


_OF_SLICE: Final = "JOIN slices AS s USING (slice_id) JOIN feeds AS o ON o.feed_id = s.feed_id"
_OF_DAY: Final = "JOIN reconciliations AS s USING (reconciliation_id)"
_HISTORIES: Final = {
    "usage_event_history": (_OF_SLICE, "o.workspace_id"),
    "billed_cost_history": (_OF_SLICE, "o.workspace_id"),
    "reconciled_usage_history": (_OF_DAY, "s.workspace_id"),
    "reconciled_shares_history": (_OF_DAY, "s.workspace_id"),
    "counted_slices_history": (_OF_DAY, "s.workspace_id"),
    "account_bill_history": (_OF_DAY, "s.workspace_id"),
    "finding_history": ("JOIN findings AS s USING (finding_id)", "s.workspace_id"),
}
"""How a row of each history finds its day (of ``s``) and its workspace."""


def old_history(connection: Connection, before: datetime) -> list[OldHistory]:
    """The versions that were superseded before an instant, by workspace and day."""
    each = " UNION ALL ".join(
        f"SELECT {workspace} AS workspace_id, s.day, pg_column_size(h.*) AS bytes FROM {table} AS h {joined}"
        " WHERE h.superseded_at < :before"
        for table, (joined, workspace) in _HISTORIES.items()
    )
    rows = connection.execute(
        text(f"SELECT workspace_id, day, count(*), sum(bytes) FROM ({each}) AS h GROUP BY 1, 2 ORDER BY 2, 1"),
        {"before": before},
    )
    return [OldHistory(workspace_id, day, int(count), int(size)) for workspace_id, day, count, size in rows]


def delete_history(connection: Connection, days: Sequence[DayOfWorkspace], before: datetime) -> int:
    """Delete what :func:`old_history` found of these days, and note up to when the days' past is gone; the rows."""
    parameters: dict[str, Any] = {
        "before": before,
        "workspaces": [workspace_id for workspace_id, _ in days],
        "days": [day for _, day in days],
    }
    these = "unnest(CAST(:workspaces AS integer[]), CAST(:days AS date[])) AS d (workspace_id, day)"
    gone: list[str] = []
    deleted = 0
    for table, (joined, workspace) in _HISTORIES.items():
        condition = (
            f"FROM {table} AS h {joined} JOIN {these} ON d.day = s.day AND d.workspace_id = {workspace}"
            " WHERE h.superseded_at < :before"
        )
        gone.append(f"SELECT d.workspace_id, d.day, h.superseded_at {condition}")
    connection.execute(
        text(
            "INSERT INTO pruned_history AS p (workspace_id, day, pruned_until)"
            f" SELECT workspace_id, day, max(superseded_at) FROM ({' UNION ALL '.join(gone)}) AS g GROUP BY 1, 2"
            " ON CONFLICT (workspace_id, day) DO UPDATE"
            " SET pruned_until = greatest(p.pruned_until, excluded.pruned_until)"
        ),
        parameters,
    )
    for table, (joined, workspace) in _HISTORIES.items():
        deleted += connection.execute(
            text(
                f"DELETE FROM {table} WHERE ctid = ANY(ARRAY(SELECT h.ctid FROM {table} AS h {joined}"
                f" JOIN {these} ON d.day = s.day AND d.workspace_id = {workspace} WHERE h.superseded_at < :before))"
            ),
            parameters,
        ).rowcount
    return deleted


def require_history(
    connection: Connection, first_day: date, end_day: date, workspace: str | None, as_of: datetime | None
) -> None:
    """Refuse to tell what was believed at an instant whose versions retention took away.

    Raises :class:`InvalidInputError` ``history_pruned`` for the half-open range of days.
    """
    if as_of is None:
        return
    found = connection.execute(
        text(
            "SELECT w.slug, p.day, p.pruned_until FROM pruned_history AS p JOIN workspaces AS w USING (workspace_id)"
            " WHERE p.day >= :first_day AND p.day < :end_day AND p.pruned_until > :as_of"
            f" AND {CHOSEN_WORKSPACES} ORDER BY p.pruned_until DESC, p.day LIMIT 1"
        ),
        {"first_day": first_day, "end_day": end_day, "as_of": as_of, "workspace": workspace},
    ).one_or_none()
    if found is not None:
        slug, day, until = found
        raise InvalidInputError(
            "history_pruned",
            f"what was believed of {day} before {until.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ} is not kept any more",
            where=slug,
            remedy="Ask for a later instant or other days, or restore a backup of then.",
        )


def empty_pages(connection: Connection, pages: Sequence[OldPage]) -> None:
    """Take the bodies of raw pages; rows and digests stay."""
    connection.execute(
        text(
            "UPDATE raw_pages AS r SET body_zstd = ''"
            " FROM unnest(CAST(:pulls AS bigint[]), CAST(:numbers AS integer[]))"
            " AS d (pull_id, page_number) WHERE r.pull_id = d.pull_id AND r.page_number = d.page_number"
        ),
        {"pulls": [page.pull_id for page in pages], "numbers": [page.page_number for page in pages]},
    )


def old_payloads(connection: Connection, before: datetime) -> list[OldPayload]:
    """The Hermes payloads that came before an instant and were not pruned yet.

    One stands while it speaks for a day, or is newer than what speaks for one of its days.
    """
    rows = connection.execute(
        text(
            "SELECT b.batch_id, f.workspace_id, CASE WHEN b.accepted THEN b.first_day END,"
            " CASE WHEN b.accepted THEN b.end_day END,"
            " b.accepted AND (EXISTS (SELECT 1 FROM hermes_days AS h WHERE h.batch_id = b.batch_id)"
            "  OR EXISTS (SELECT 1 FROM slices AS s WHERE s.observed_batch_id = b.batch_id)"
            "  OR EXISTS (SELECT 1 FROM generate_series(b.first_day, b.end_day - 1, interval '1 day') AS g (day)"
            "   WHERE NOT EXISTS (SELECT 1 FROM hermes_days AS h WHERE h.feed_id = b.feed_id AND h.day = g.day"
            "    AND h.generated_at >= b.generated_at))),"
            " octet_length(b.body_zstd) FROM hermes_batches AS b JOIN feeds AS f USING (feed_id)"
            " WHERE b.received_at < :before AND octet_length(b.body_zstd) > 0 ORDER BY b.batch_id"
        ),
        {"before": before},
    )
    return [OldPayload(*row) for row in rows]


def empty_payloads(connection: Connection, payloads: Sequence[OldPayload]) -> None:
    """Take the bodies of Hermes payloads; rows and digests stay."""
    connection.execute(
        text("UPDATE hermes_batches SET body_zstd = '' WHERE batch_id = ANY(:batches)"),
        {"batches": [payload.batch_id for payload in payloads]},
    )


# Of what went through and of each way to fail the newest stays: a key is refused as long as its newest refusal is newer
# than its newest success, whatever failed otherwise since.
_OLD_RUNS: Final = (
    "FROM ingestion_runs AS r WHERE r.finished_at < :before AND EXISTS (SELECT 1 FROM ingestion_runs AS later"
    " WHERE later.feed_id IS NOT DISTINCT FROM r.feed_id AND later.stage = r.stage AND later.outcome = r.outcome"
    " AND later.error_code IS NOT DISTINCT FROM r.error_code AND later.started_at > r.started_at)"
)


def old_runs(connection: Connection, before: datetime) -> tuple[int, int]:
    """How many rows of telemetry are older than an instant, and their bytes; the newest of each outcome and error code
    of a feed's stage is not."""
    rows, size = connection.execute(
        text(f"SELECT count(*), coalesce(sum(pg_column_size(r.*)), 0) {_OLD_RUNS}"), {"before": before}
    ).one()
    return int(rows), int(size)


def delete_runs(connection: Connection, before: datetime) -> int:
    """Delete what :func:`old_runs` counts. The sums over all runs stay in ``ingestion_totals``."""
    return int(connection.execute(text(f"DELETE {_OLD_RUNS}"), {"before": before}).rowcount)
