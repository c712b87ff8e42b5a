"""Reads which rows of a range of days count: sums of provider rows by their dimensions, and Hermes' shares.

Whether a row counts follows from ``counted_slices``, as the day was reconciled: :data:`SHADOWED` is the whole rule.
Sums are made by the database over bound parameters; with ``as_of`` everything is as it was believed at that instant.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import Connection, text

from usage_pipeline.ledger.counted_slices import COUNTED_SLICES
from usage_pipeline.ledger.reconciled import SHARES
from usage_pipeline.ledger.room_for_sums import give_room_for_sums
from usage_pipeline.ledger.slices import EVENTS
from usage_pipeline.ledger.versions import believed
from usage_pipeline.ledger.workspaces import CHOSEN_WORKSPACES
from usage_pipeline.measures import EVENT_MEASURES, RECONCILED_MEASURES

SHADOWED: Final = (
    "(NOT d.counts OR NOT e.counts OR coalesce(e.project_id = ANY(d.excluded_projects), false)"
    " OR coalesce(e.upstream_provider = ANY(d.excluded_upstreams), false))"
)
"""The SQL for whether a provider's row ``e`` of a decided slice ``d`` is stored and shown but not counted."""

_PRICED_BY: Final = ("model", "upstream_provider", "service_tier", "batch", "context_window", "speed", "inference_geo")
_REPOSITORIES: Final = "rollup_repositories"


@dataclass(frozen=True, slots=True)
class DecidedSlice:
    """A slice with what was decided about it. ``feed`` is the slug of its key or Hermes feed; ``provider`` is the
    key's, None for Hermes. ``family``, ``route`` and ``account`` are None for Hermes and for what only informs."""

    slice_id: int
    day: date
    workspace: str
    endpoint: str
    feed: str
    provider: str | None
    family: str | None
    route: str | None
    account: str | None
    counts: bool
    excluded_projects: frozenset[str]
    excluded_upstreams: frozenset[str]


class EventSum(NamedTuple):
    """Sums of a slice's provider rows that share their dimensions: those a price hangs on, and those asked for.

    ``dimensions`` are by the column's name, ``figures`` by measure of ``EVENT_MEASURES``, without what no row has.
    """

    slice_id: int
    shadowed: bool
    dimensions: Mapping[str, str | None]
    figures: Mapping[str, int]


class HermesShareRow(NamedTuple):
    """A stored share with the Hermes row that it is of; the row's own parts are None where it is not there any more.

    ``profile`` is the label that the batch of the row gave its install.
    """

    reconciliation_id: int
    cell_id: UUID
    event_id: UUID
    share: str
    figures: Mapping[str, int | None]
    slice_id: int | None
    model: str | None
    task: str | None
    billing_mode: str | None
    profile: str | None
    estimated_cost_usd: Decimal | None
    actual_cost_usd: Decimal | None


class RepositoryRow(NamedTuple):
    """What a Hermes feed says of one repository on a day, all models together."""

    feed: str
    day: date
    repository: str
    name: str | None
    figures: Mapping[str, int | None]


def decided_slices(
    connection: Connection, first_day: date, end_day: date, workspace: str | None, as_of: datetime | None = None
) -> list[DecidedSlice]:
    """Every slice of the half-open range of days that a reconciliation decided about."""
    rows = connection.execute(
        text(
            "SELECT d.slice_id, c.day, w.slug AS workspace, s.endpoint, f.slug AS feed, k.provider, d.family, d.route,"
            f" d.account, d.counts, d.excluded_projects, d.excluded_upstreams FROM {_DAYS} JOIN"
            f" {believed(COUNTED_SLICES, COUNTED_SLICES.columns, 'true', as_of)} AS d USING (reconciliation_id)"
            " JOIN slices AS s USING (slice_id) JOIN feeds AS f ON f.feed_id = s.feed_id"
            f" LEFT JOIN provider_keys AS k ON k.feed_id = s.feed_id WHERE {_CHOSEN} ORDER BY c.day, w.slug, d.slice_id"
        ),
        _range(first_day, end_day, workspace, as_of),
    )
    return [
        DecidedSlice(
            **{name: row[name] for name in _PLAIN},
            excluded_projects=frozenset(row["excluded_projects"]),
            excluded_upstreams=frozenset(row["excluded_upstreams"]),
        )
        for row in rows.mappings()
    ]


def undecided_slices(
    connection: Connection, first_day: date, end_day: date, workspace: str | None, as_of: datetime | None = None
) -> Iterator[DecidedSlice]:
    """Slices that cover a day of the range and that no reconciliation decided about yet, as slices that do not count;
    without bills, and without the other cuts of a Hermes day."""
    counted = believed(COUNTED_SLICES, COUNTED_SLICES.columns, "true", as_of)
    rows = connection.execute(
        text(
            "SELECT s.slice_id, s.day, w.slug, s.endpoint, f.slug, k.provider FROM slices AS s"
            " JOIN feeds AS f USING (feed_id) JOIN workspaces AS w USING (workspace_id)"
            " LEFT JOIN provider_keys AS k ON k.feed_id = s.feed_id"
            " WHERE s.day >= :first_day AND s.day < :end_day AND s.observed_at IS NOT NULL"
            f" AND (k.feed_id IS NOT NULL OR s.endpoint = 'rollups') AND {CHOSEN_WORKSPACES}"
            f" AND NOT EXISTS (SELECT 1 FROM {counted} AS d WHERE d.slice_id = s.slice_id) ORDER BY s.slice_id"
        ),
        _range(first_day, end_day, workspace, as_of),
    )
    for slice_id, day, of, endpoint, feed, provider in rows:
        nothing = frozenset[str]()
        yield DecidedSlice(slice_id, day, of, endpoint, feed, provider, None, None, None, False, nothing, nothing)


def event_sums(
    connection: Connection, slices: Sequence[DecidedSlice], columns: Sequence[str], as_of: datetime | None = None
) -> Iterator[EventSum]:
    """Sum the rows of provider slices by what their price hangs on and by ``columns`` of ``EVENT_DIMENSIONS``."""
    names = tuple(dict.fromkeys((*_PRICED_BY, *columns)))
    dimensions = ", ".join(f"e.{name}" for name in names)
    sums = ", ".join(f"sum(e.{name})::bigint" for name in EVENT_MEASURES)
    wanted = ("slice_id", "counts", "project_id", *EVENT_MEASURES, *(name for name in names if name != "project_id"))
    events = believed(EVENTS, wanted, "slice_id = ANY(:slice_ids)", as_of)
    give_room_for_sums(connection)
    rows = connection.execute(
        text(
            f"SELECT e.slice_id, {SHADOWED}, {dimensions}, {sums} FROM ({_DECIDED}) AS d JOIN {events} AS e"
            f" USING (slice_id) GROUP BY 1, 2, {dimensions}"
        ),
        {**_decided(slices), **({"as_of": as_of} if as_of else {})},
        execution_options={"stream_results": True},
    )
    first = 2 + len(names)
    for row in rows:
        yield EventSum(
            row[0],
            row[1],
            dict(zip(names, row[2:first], strict=True)),
            {name: value for name, value in zip(EVENT_MEASURES, row[first:], strict=True) if value is not None},
        )


def hermes_shares(
    connection: Connection, first_day: date, end_day: date, workspace: str | None, as_of: datetime | None = None
) -> Iterator[HermesShareRow]:
    """The stored shares of the half-open range of days, each with its Hermes row, in the order of the rows' keys."""
    measures = ", ".join(f"h.{name}" for name in RECONCILED_MEASURES)
    event_columns = (
        "slice_id",
        "event_id",
        "source_id",
        "model",
        "line_detail",
        "estimated_cost_usd",
        "actual_cost_usd",
    )
    events = believed(EVENTS, event_columns, f"slice_id IN ({_HERMES_SLICES.format('rollups')})", as_of)
    rows = connection.execute(
        text(
            "SELECT h.reconciliation_id, h.cell_id, h.event_id, h.share, e.slice_id, e.model,"
            " CAST(e.line_detail AS jsonb) ->> 'task', CAST(e.line_detail AS jsonb) ->> 'billing_mode',"
            f" b.source_label, e.estimated_cost_usd, e.actual_cost_usd, {measures} FROM {_DAYS}"
            f" JOIN {believed(SHARES, SHARES.columns, 'true', as_of)} AS h USING (reconciliation_id)"
            f" LEFT JOIN {events} AS e ON e.event_id = h.event_id"
            " LEFT JOIN hermes_batches AS b ON b.batch_id = e.source_id"
            f" WHERE {_CHOSEN} ORDER BY c.day, w.slug, h.cell_id, h.event_id, h.share"
        ),
        _range(first_day, end_day, workspace, as_of),
    )
    for row in rows:
        figures = {name: value for name, value in zip(RECONCILED_MEASURES, row[11:], strict=True) if value is not None}
        place = (row[0], row[1], row[2], row[3], figures)
        yield HermesShareRow(*place, row[4], row[5], row[6], row[7], row[8], row[9], row[10])


def repository_rows(
    connection: Connection, first_day: date, end_day: date, workspace: str | None, as_of: datetime | None = None
) -> Iterator[RepositoryRow]:
    """What every Hermes feed of the range says of each repository; cached tokens are not split and stand as reads."""
    measures = ", ".join(f"e.{name}" for name in RECONCILED_MEASURES)
    wanted = ("slice_id", "event_id", "line_detail", *RECONCILED_MEASURES)
    events = believed(EVENTS, wanted, f"slice_id IN ({_HERMES_SLICES.format(_REPOSITORIES)})", as_of)
    rows = connection.execute(
        text(
            "SELECT f.slug, s.day, CAST(e.line_detail AS jsonb) ->> 'repository',"
            f" CAST(e.line_detail AS jsonb) ->> 'repository_name', {measures} FROM {events} AS e"
            " JOIN slices AS s USING (slice_id) JOIN feeds AS f ON f.feed_id = s.feed_id"
            " ORDER BY s.day, f.slug, e.event_id"
        ),
        _range(first_day, end_day, workspace, as_of),
    )
    for row in rows:
        yield RepositoryRow(row[0], row[1], row[2], row[3], dict(zip(RECONCILED_MEASURES, row[4:], strict=True)))


_PLAIN: Final = (
    "slice_id",
    "day",
    "workspace",
    "endpoint",
    "feed",
    "provider",
    "family",
    "route",
    "account",
    "counts",
)
_DAYS: Final = "reconciliations AS c JOIN workspaces AS w USING (workspace_id)"
_CHOSEN: Final = f"c.day >= :first_day AND c.day < :end_day AND {CHOSEN_WORKSPACES}"
_HERMES_SLICES: Final = (
    "SELECT s.slice_id FROM slices AS s JOIN feeds AS f USING (feed_id) JOIN workspaces AS w USING (workspace_id)"
    " WHERE s.endpoint = '{}' AND s.day >= :first_day AND s.day < :end_day"
    f" AND {CHOSEN_WORKSPACES}"
)
_SEPARATOR: Final = "\x1f"  # between ids in one parameter; no id may hold a control character
_DECIDED: Final = (
    "SELECT slice_id, counts, string_to_array(nullif(projects, ''), :separator) AS excluded_projects,"
    " string_to_array(nullif(upstreams, ''), :separator) AS excluded_upstreams"
    " FROM unnest(CAST(:slice_ids AS bigint[]), CAST(:counts AS boolean[]), CAST(:projects AS text[]),"
    " CAST(:upstreams AS text[])) AS r (slice_id, counts, projects, upstreams)"
)


def _decided(slices: Sequence[DecidedSlice]) -> dict[str, Any]:
    return {
        "slice_ids": [one.slice_id for one in slices],
        "counts": [one.counts for one in slices],
        "projects": [_SEPARATOR.join(sorted(one.excluded_projects)) for one in slices],
        "upstreams": [_SEPARATOR.join(sorted(one.excluded_upstreams)) for one in slices],
        "separator": _SEPARATOR,
    }


def _range(first_day: date, end_day: date, workspace: str | None, as_of: datetime | None) -> dict[str, Any]:
    found: dict[str, Any] = {"first_day": first_day, "end_day": end_day, "workspace": workspace}
    return {**found, "as_of": as_of} if as_of else found
