"""Rows of a table with history, as they stand now or as they were believed at an instant.

A current row is believed from its ``recorded_at`` on, a superseded one in ``[recorded_at, superseded_at)``. Everything
here is SQL made of our own table and column names; the instant is the bound parameter ``as_of``.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime

from sqlalchemy import Connection, text

from usage_pipeline.ledger.replacement import ReplacedTable
from usage_pipeline.ledger.workspaces import CHOSEN_WORKSPACES


def believed(table: ReplacedTable, columns: Sequence[str], condition: str, as_of: datetime | None) -> str:
    """A subselect of ``columns`` of the versions that meet ``condition``: now, or at the parameter ``as_of``."""
    names = ", ".join(columns)
    current = f"SELECT {names} FROM {table.name} WHERE {condition}"
    if as_of is None:
        return f"({current})"
    superseded = f"SELECT {names} FROM {table.history} WHERE {condition}"
    return (
        f"({current} AND recorded_at <= :as_of"
        f" UNION ALL {superseded} AND recorded_at <= :as_of AND superseded_at > :as_of)"
    )


def first_recording(connection: Connection, first_day: date, end_day: date, workspace: str | None) -> datetime | None:
    """When anything about the half-open range of days was first reconciled (UTC); None where nothing ever was."""
    found: datetime | None = connection.execute(
        text(
            "SELECT min(r.recorded_at) FROM reconciliations AS c JOIN workspaces AS w USING (workspace_id)"
            " CROSS JOIN LATERAL (SELECT recorded_at FROM reconciled_usage AS u"
            " WHERE u.reconciliation_id = c.reconciliation_id UNION ALL SELECT recorded_at"
            " FROM reconciled_usage_history AS h WHERE h.reconciliation_id = c.reconciliation_id) AS r"
            f" WHERE c.day >= :first_day AND c.day < :end_day AND {CHOSEN_WORKSPACES}"
        ),
        {"first_day": first_day, "end_day": end_day, "workspace": workspace},
    ).scalar_one()
    return found
