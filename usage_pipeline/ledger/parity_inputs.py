"""What a comparison with a provider's export reads of the store: counted rows by window, billed lines by day.

Sums are made by the database over bound parameters only. Tokens come as ints, money as exact decimals.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final, NamedTuple

from sqlalchemy import Connection, text

from usage_pipeline.ledger import line_key
from usage_pipeline.ledger.slices import BILL_COLUMNS
from usage_pipeline.measures import EVENT_DIMENSIONS, EVENT_MEASURES, LEVELS

FIGURES: Final = tuple(name for name in EVENT_MEASURES if name not in LEVELS)
"""The measures that are summed over time."""

LINE_DIMENSIONS: Final = tuple(name for name in line_key.LINE_DIMENSIONS if name != "quantity_unit")
"""The text columns of a billed line by which an export may be compared."""

_STREAMED: Final = {"yield_per": 10_000}
_EXCLUDED: Final = (
    " NOT EXISTS (SELECT 1 FROM unnest(CAST(:excluding AS bigint[]), CAST(:excluded AS text[]))"
    " AS x (slice_id, project) WHERE x.slice_id = r.slice_id AND x.project = r.project_id)"
)


@dataclass(frozen=True, slots=True)
class CountedSlice:
    """A slice that counts. Rows of ``excluded_projects`` and ``excluded_upstreams`` are another feed's to tell."""

    slice_id: int
    feed_id: int
    endpoint: str
    excluded_projects: frozenset[str] = frozenset()
    excluded_upstreams: frozenset[str] = frozenset()


class StoredSum(NamedTuple):
    """The counted rows of one window start and one combination of dimensions, summed.

    ``dimensions`` follow the asked-for ones, ``figures`` follow :data:`FIGURES`; None: no row reports it.
    """

    window_start: datetime
    dimensions: tuple[str | None, ...]
    figures: tuple[int | None, ...]


class BilledSum(NamedTuple):
    """The counted lines of one UTC day and one combination of dimensions, in exact US dollars."""

    window_start: datetime
    dimensions: tuple[str | None, ...]
    amount_usd: Decimal


def counted_sums(
    connection: Connection, slices: Sequence[CountedSlice], dimensions: Sequence[str]
) -> Iterator[StoredSum]:
    """The counted usage rows of the slices by window and dimensions, in no order; shadowed rows are left out."""
    assert set(dimensions) <= set(EVENT_DIMENSIONS), "dimensions are columns of an event"
    if not slices:
        return
    chosen = "".join(f", r.{name}" for name in dimensions)
    sums = ", ".join(f"sum(r.{name})::bigint" for name in FIGURES)
    rows = connection.execute(
        text(
            # What is put together here are our own columns' names, never input.
            f"SELECT r.window_start{chosen}, {sums} FROM usage_events AS r"
            f" WHERE r.slice_id = ANY(:slice_ids) AND {_EXCLUDED}"
            " AND NOT EXISTS (SELECT 1 FROM unnest(CAST(:passing AS bigint[]), CAST(:upstreams AS text[]))"
            " AS u (slice_id, upstream) WHERE u.slice_id = r.slice_id AND u.upstream = r.upstream_provider)"
            f" GROUP BY r.window_start{chosen}"
        ),
        {
            **_parameters(slices),
            "passing": [one.slice_id for one in slices for _ in one.excluded_upstreams],
            "upstreams": [name for one in slices for name in sorted(one.excluded_upstreams)],
        },
        execution_options=_STREAMED,
    )
    end = 1 + len(dimensions)
    for row in rows:
        yield StoredSum(row[0], tuple(row[1:end]), tuple(row[end:]))


def billed_lines(
    connection: Connection, slices: Sequence[CountedSlice], dimensions: Sequence[str]
) -> Iterator[BilledSum]:
    """The counted billed lines of the slices by day and dimensions, in no order."""
    assert set(dimensions) <= set(LINE_DIMENSIONS) <= set(BILL_COLUMNS), "dimensions are columns of a line"
    if not slices:
        return
    chosen = "".join(f", r.{name}" for name in dimensions)
    rows = connection.execute(
        text(
            f"SELECT s.day::timestamp AT TIME ZONE 'UTC'{chosen}, sum(r.amount_usd) FROM billed_costs AS r"
            f" JOIN slices AS s USING (slice_id) WHERE r.slice_id = ANY(:slice_ids) AND {_EXCLUDED}"
            f" GROUP BY s.day{chosen}"
        ),
        _parameters(slices),
        execution_options=_STREAMED,
    )
    for row in rows:
        yield BilledSum(row[0], tuple(row[1:-1]), row[-1])


def _parameters(slices: Sequence[CountedSlice]) -> dict[str, object]:
    return {
        "slice_ids": [one.slice_id for one in slices],
        "excluding": [one.slice_id for one in slices for _ in one.excluded_projects],
        "excluded": [project for one in slices for project in sorted(one.excluded_projects)],
    }
