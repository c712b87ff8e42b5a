"""Stored rows of a range of days, one by one: every usage event and every billed line, with what was decided about it.

Read through a cursor on the server, so that a million rows need little memory; now, or as believed at an instant.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date, datetime
from typing import Any, Final

from sqlalchemy import Connection, text

from usage_pipeline.ledger.counted_rows import SHADOWED
from usage_pipeline.ledger.counted_slices import COUNTED_SLICES
from usage_pipeline.ledger.replacement import ReplacedTable
from usage_pipeline.ledger.slices import BILLS, EVENTS
from usage_pipeline.ledger.versions import believed
from usage_pipeline.ledger.workspaces import CHOSEN_WORKSPACES

_ROWS_AT_ONCE: Final = 1000
_SLICES: Final = (
    "FROM slices AS s JOIN feeds AS f USING (feed_id) JOIN workspaces AS w USING (workspace_id)"
    " LEFT JOIN provider_keys AS k ON k.feed_id = s.feed_id"
    " LEFT JOIN reconciliations AS c ON c.workspace_id = f.workspace_id AND c.day = s.day"
)
_DECISION: Final = (
    "s.day, w.slug AS workspace, f.slug AS feed, f.source, s.endpoint, k.provider, d.account, d.family, d.route,"
    " d.slice_id IS NOT NULL AS decided"
)


def stored_events(
    connection: Connection, first_day: date, end_day: date, workspace: str | None, as_of: datetime | None = None
) -> Iterator[Mapping[str, Any]]:
    """Every usage event of the half-open range, by day, workspace, feed and window; Hermes' hours and repositories too.

    Beside the event's columns: where it is from, ``decided`` (whether its slice was reconciled) and ``shadowed``.
    """
    return _rows(
        connection, EVENTS, f"coalesce({SHADOWED}, false)", "e.window_start", (first_day, end_day, workspace), as_of
    )


def stored_bills(
    connection: Connection, first_day: date, end_day: date, workspace: str | None, as_of: datetime | None = None
) -> Iterator[Mapping[str, Any]]:
    """Every billed line of the half-open range, by day, workspace and feed. ``shadowed`` tells projects alone: whether
    a proxy's line is for calls of ``excluded_upstreams`` hangs on its model."""
    excluded = "coalesce(e.project_id = ANY(d.excluded_projects), false)"
    shadowed = f"d.excluded_upstreams, coalesce(NOT d.counts OR {excluded}, false)"
    return _rows(connection, BILLS, shadowed, "e.label", (first_day, end_day, workspace), as_of)


def _rows(
    connection: Connection,
    table: ReplacedTable,
    decision: str,
    order: str,
    chosen: tuple[date, date, str | None],
    as_of: datetime | None,
) -> Iterator[Mapping[str, Any]]:
    first_day, end_day, workspace = chosen
    names = tuple(name for name in table.columns if name not in {"slice_id", "source_id"})
    decided = believed(COUNTED_SLICES, COUNTED_SLICES.columns, "true", as_of)
    of_range = (
        f"slice_id IN (SELECT s.slice_id {_SLICES} WHERE s.day >= :first_day AND s.day < :end_day"
        f" AND {CHOSEN_WORKSPACES})"
    )
    rows = connection.execute(
        text(
            f"SELECT {_DECISION}, {decision} AS shadowed, {', '.join(f'e.{name}' for name in names)}"
            f" {_SLICES} JOIN {believed(table, ('slice_id', *names), of_range, as_of)} AS e ON e.slice_id = s.slice_id"
            f" LEFT JOIN {decided} AS d ON d.slice_id = s.slice_id AND d.reconciliation_id = c.reconciliation_id"
            f" ORDER BY s.day, w.slug, f.slug, s.endpoint, {order}, e.{table.key}"
        ),
        {
            "first_day": first_day,
            "end_day": end_day,
            "workspace": workspace,
            **({"as_of": as_of} if as_of else {}),
        },
        execution_options={"stream_results": True, "max_row_buffer": _ROWS_AT_ONCE},
    )
    keys = tuple(rows.keys())
    for row in rows:
        yield dict(zip(keys, row, strict=True))
