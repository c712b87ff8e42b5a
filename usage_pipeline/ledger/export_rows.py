"""What an export asks of the ledger beside the rows themselves: which days there are, what they must sum to, and when
they were recorded.

In: a half-open range of UTC days, bound as parameters. Sums are made by the database alone, so that they do not share
a mistake with the code that writes the rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Final, NamedTuple

from sqlalchemy import Connection, text

from usage_pipeline.ledger.workspaces import CHOSEN_WORKSPACES
from usage_pipeline.measures import LEVELS, RECONCILED_MEASURES

FLOWS: Final = tuple(name for name in RECONCILED_MEASURES if name not in LEVELS)
"""The measures that are summed over days."""


class WorkspaceDay(NamedTuple):
    """A workspace's UTC day of which anything is stored."""

    day: date
    workspace: str


@dataclass(frozen=True, slots=True)
class ReconciledSums:
    """What the reconciled rows of a range sum to; None where no row knows a value.

    ``counted`` is by measure (:data:`FLOWS`). Costs are exact US dollars. ``provisional_days`` have a row that may
    still change.
    """

    rows: int
    counted: Mapping[str, int | None]
    counted_usd: Decimal | None
    billed_usd: Decimal | None
    provisional_days: tuple[date, ...]


def stored_days(
    connection: Connection, first_day: date, end_day: date, workspace: str | None
) -> tuple[WorkspaceDay, ...]:
    """The workspaces' days that are reconciled, or of which a feed said anything, by day and workspace."""
    rows = connection.execute(
        text(
            "SELECT c.day, w.slug FROM reconciliations AS c JOIN workspaces AS w USING (workspace_id)"
            f" WHERE c.day >= :first_day AND c.day < :end_day AND {CHOSEN_WORKSPACES}"
            " UNION SELECT s.day, w.slug FROM slices AS s JOIN feeds AS f USING (feed_id)"
            " JOIN workspaces AS w USING (workspace_id)"
            " WHERE s.day >= :first_day AND s.day < :end_day AND s.observed_at IS NOT NULL"
            f" AND {CHOSEN_WORKSPACES} ORDER BY 1, 2"
        ),
        {"first_day": first_day, "end_day": end_day, "workspace": workspace},
    )
    return tuple(WorkspaceDay(*row) for row in rows)


def reconciled_sums(connection: Connection, first_day: date, end_day: date, workspace: str | None) -> ReconciledSums:
    """The sums of the reconciled rows as they stand."""
    flows = ", ".join(f"sum(r.counted_{name})::bigint" for name in FLOWS)
    row = connection.execute(
        text(
            "SELECT count(*), sum(r.cost_counted_usd), sum(r.cost_billed_usd),"
            f" array_agg(DISTINCT c.day ORDER BY c.day) FILTER (WHERE r.provisional), {flows}"
            " FROM reconciliations AS c JOIN workspaces AS w USING (workspace_id)"
            " JOIN reconciled_usage AS r USING (reconciliation_id)"
            f" WHERE c.day >= :first_day AND c.day < :end_day AND {CHOSEN_WORKSPACES}"
        ),
        {"first_day": first_day, "end_day": end_day, "workspace": workspace},
    ).one()
    return ReconciledSums(row[0], dict(zip(FLOWS, row[4:], strict=True)), row[1], row[2], tuple(row[3] or ()))


def window_widths(connection: Connection, place: WorkspaceDay) -> dict[tuple[str, str], int | None]:
    """The width of the windows that each feed tells each endpoint in, in seconds; None where nobody said."""
    rows = connection.execute(
        text(
            "SELECT f.slug, s.endpoint, s.window_seconds FROM slices AS s JOIN feeds AS f USING (feed_id)"
            " JOIN workspaces AS w USING (workspace_id) WHERE s.day = :day AND w.slug = :workspace"
        ),
        {"day": place.day, "workspace": place.workspace},
    )
    return {(feed, endpoint): seconds for feed, endpoint, seconds in rows}


def accounts_of(connection: Connection, workspace: str) -> dict[str, frozenset[str]]:
    """The accounts of a workspace's keys by provider."""
    rows = connection.execute(
        text(
            "SELECT k.provider, array_agg(DISTINCT k.account) FROM provider_keys AS k JOIN feeds AS f USING (feed_id)"
            " JOIN workspaces AS w USING (workspace_id) WHERE w.slug = :workspace GROUP BY k.provider"
        ),
        {"workspace": workspace},
    )
    return {provider: frozenset(accounts) for provider, accounts in rows}


def recorded_at(connection: Connection, place: WorkspaceDay) -> tuple[datetime, ...]:
    """The instants (UTC) at which a version of one of the day's reconciled rows began or ended, oldest first."""
    rows = connection.execute(
        text(
            "WITH c AS (SELECT c.reconciliation_id FROM reconciliations AS c JOIN workspaces AS w USING (workspace_id)"
            " WHERE c.day = :day AND w.slug = :workspace)"
            " SELECT recorded_at FROM reconciled_usage JOIN c USING (reconciliation_id)"
            " UNION SELECT recorded_at FROM reconciled_usage_history JOIN c USING (reconciliation_id)"
            " UNION SELECT superseded_at FROM reconciled_usage_history JOIN c USING (reconciliation_id) ORDER BY 1"
        ),
        {"day": place.day, "workspace": place.workspace},
    )
    return tuple(at.astimezone(UTC) for (at,) in rows)
