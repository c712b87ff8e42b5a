"""Stored usage events page by page: the slices of a range of days in order, and the events of each from a key on.

In: a workspace, days, values to keep. Out: rows as :mod:`usage_pipeline.ledger.rows_behind` gives them, with the pull
or batch that told them. Each page is read along the primary key, so that the last one costs as little as the first.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, text

from usage_pipeline.ledger.counted_rows import SHADOWED
from usage_pipeline.ledger.slices import EVENTS

EVENT_FILTERS: Final = {
    "project": "project_id",
    "api_key": "api_key_id",
    "user": "user_id",
    "service_account": "service_account_id",
    "reported_model": "model",
}
"""Dimensions by which events are chosen, and their columns."""

SLICE_FILTERS: Final = {"provider": "k.provider", "feed": "f.slug", "source": "f.source", "endpoint": "s.endpoint"}
"""What whole slices are chosen by, and its SQL."""

_COLUMNS: Final = tuple(name for name in EVENTS.columns if name != "slice_id")


@dataclass(frozen=True, slots=True)
class EventSlice:
    """A slice that has events. ``place`` orders the slices: day, feed, endpoint. ``decision`` is what every row of it
    is told with: where it is from, and what was decided about the slice."""

    slice_id: int
    reconciliation_id: int | None
    place: tuple[str, str, str]
    decision: Mapping[str, Any]


def event_slices(
    connection: Connection,
    first_day: date,
    end_day: date,
    workspace: str,
    only: Mapping[str, Collection[str | None]],
    after: tuple[str, str, str] | None = None,
) -> list[EventSlice]:
    """The slices with events of the half-open range of days, in order; ``after`` is the place to begin at, itself
    included. ``only`` keeps those with one of the values, by name of :data:`SLICE_FILTERS`."""
    chosen = "".join(f" AND coalesce({SLICE_FILTERS[name]}, '') = ANY(:only_{name})" for name in only)
    from_place = " AND (s.day, f.slug, s.endpoint) >= (CAST(:day AS date), :feed, :endpoint)" if after else ""
    rows = connection.execute(
        text(
            "SELECT s.slice_id, c.reconciliation_id, s.day, w.slug AS workspace, f.slug AS feed, f.source, s.endpoint,"
            " k.provider, d.account, d.family, d.route, d.slice_id IS NOT NULL AS decided FROM slices AS s"
            " JOIN feeds AS f USING (feed_id) JOIN workspaces AS w USING (workspace_id)"
            " LEFT JOIN provider_keys AS k ON k.feed_id = s.feed_id"
            " LEFT JOIN reconciliations AS c ON c.workspace_id = f.workspace_id AND c.day = s.day"
            " LEFT JOIN counted_slices AS d ON d.slice_id = s.slice_id AND d.reconciliation_id = c.reconciliation_id"
            " WHERE w.slug = :workspace AND s.day >= :first_day AND s.day < :end_day AND s.row_count > 0"
            f"{from_place}{chosen} ORDER BY s.day, f.slug, s.endpoint"
        ),
        {
            "workspace": workspace,
            "first_day": first_day,
            "end_day": end_day,
            **(dict(zip(("day", "feed", "endpoint"), after, strict=True)) if after else {}),
            **{f"only_{name}": sorted(value or "" for value in values) for name, values in only.items()},
        },
    )
    found = []
    for row in rows.mappings():
        told = dict(row)
        slice_id, reconciliation_id = told.pop("slice_id"), told.pop("reconciliation_id")
        place = (told["day"].isoformat(), told["feed"], told["endpoint"])
        found.append(EventSlice(slice_id, reconciliation_id, place, told))
    return found


def events_of_slice(
    connection: Connection,
    slice_: EventSlice,
    only: Mapping[str, Collection[str | None]],
    after: UUID | None,
    limit: int,
) -> Iterator[Mapping[str, Any]]:
    """The next events of a slice in the order of their keys, which begin with the window's start.

    Beside the columns (``source_id`` too, the pull or batch): ``shadowed``, and what every row of the slice is told
    with.
    """
    chosen = "".join(f" AND coalesce(e.{EVENT_FILTERS[name]}, '') = ANY(:only_{name})" for name in only)
    rows = connection.execute(
        text(
            f"SELECT coalesce({SHADOWED}, false) AS shadowed, {', '.join(f'e.{name}' for name in _COLUMNS)}"
            " FROM usage_events AS e LEFT JOIN counted_slices AS d ON d.slice_id = e.slice_id"
            " AND d.reconciliation_id = :reconciliation_id WHERE e.slice_id = :slice_id"
            f"{' AND e.event_id > :after' if after else ''}{chosen} ORDER BY e.event_id LIMIT :limit"
        ),
        {
            "slice_id": slice_.slice_id,
            "reconciliation_id": slice_.reconciliation_id,
            "limit": limit,
            **({"after": after} if after else {}),
            **{f"only_{name}": sorted(value or "" for value in values) for name, values in only.items()},
        },
    )
    for row in rows.mappings():
        yield {**slice_.decision, **row}


def reported_models(connection: Connection, slice_: EventSlice) -> list[str | None]:
    """Every name under which the slice's events report a model."""
    rows = connection.execute(
        text("SELECT DISTINCT model FROM usage_events WHERE slice_id = :slice_id"), {"slice_id": slice_.slice_id}
    )
    return list(rows.scalars())
