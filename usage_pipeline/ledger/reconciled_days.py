"""Of which days of a workspace anything is reconciled, and when that was last done."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import Connection, text


@dataclass(frozen=True, slots=True)
class ReconciledDays:
    """The first and the last UTC day, both included, and the newest reconciling (UTC)."""

    first_day: date
    last_day: date
    reconciled_at: datetime


def reconciled_days(connection: Connection, workspace_id: int) -> ReconciledDays | None:
    """The days of a workspace that have a reconciled row; None where there is none."""
    row = connection.execute(
        text(
            "SELECT min(day), max(day), max(now) FROM reconciliations"
            " WHERE workspace_id = :workspace_id AND row_count > 0"
        ),
        {"workspace_id": workspace_id},
    ).one()
    return None if row[0] is None else ReconciledDays(*row)
