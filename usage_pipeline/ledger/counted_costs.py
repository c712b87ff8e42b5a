"""The counted cost of reconciled cells by day.

In: a half-open range of UTC days. Out: plain records of the workspaces that are read (a demo's only where there is no
other). What has no price adds nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from typing import NamedTuple

from sqlalchemy import Connection, text

from usage_pipeline.ledger.workspaces import CHOSEN_WORKSPACES


class CellCost(NamedTuple):
    """A cell's counted cost in exact US dollars (None: not known), and whether the cell may still change."""

    workspace: str
    day: date
    provider: str
    route: str
    family: str
    model: str
    usd: Decimal | None
    provisional: bool


class WorkspaceDate(NamedTuple):
    """A workspace's UTC day."""

    workspace: str
    day: date


def cell_costs(connection: Connection, first_day: date, end_day: date, workspace: str | None) -> Iterator[CellCost]:
    """The cells of the range, in order of workspace and day."""
    rows = connection.execute(
        text(
            "SELECT w.slug, c.day, r.provider, r.route, r.family, r.model, r.cost_counted_usd, r.provisional"
            " FROM reconciliations AS c JOIN workspaces AS w USING (workspace_id)"
            " JOIN reconciled_usage AS r USING (reconciliation_id)"
            f" WHERE c.day >= :first_day AND c.day < :end_day AND {CHOSEN_WORKSPACES} ORDER BY w.slug, c.day"
        ),
        {"first_day": first_day, "end_day": end_day, "workspace": workspace},
    )
    for row in rows:
        yield CellCost(*row)


def days_reconciled(
    connection: Connection, first_day: date, end_day: date, workspace: str | None
) -> list[WorkspaceDate]:
    """The days of the range that were reconciled, whatever counts on them."""
    rows = connection.execute(
        text(
            "SELECT w.slug, c.day FROM reconciliations AS c JOIN workspaces AS w USING (workspace_id)"
            " WHERE c.now IS NOT NULL AND c.day >= :first_day AND c.day < :end_day"
            f" AND {CHOSEN_WORKSPACES} ORDER BY w.slug, c.day"
        ),
        {"first_day": first_day, "end_day": end_day, "workspace": workspace},
    )
    return [WorkspaceDate(*row) for row in rows]
