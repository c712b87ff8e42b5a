"""Which rows of which slice count, stored with the reconciliation that decided it, with history.

In: the decision for every slice that covers a workspace's day. Out: rows of ``counted_slices``, replaced as a whole.
Whether an event counts is read from here and never stored on the event: a later pull of another key may change it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, text

from usage_pipeline.ledger.replacement import Changes, ReplacedTable, replace_slice, typed_copy

COUNTED_SLICES: Final = ReplacedTable(
    "counted_slices",
    "counted_slices_history",
    "counted_id",
    (
        "reconciliation_id",
        "counted_id",
        "recorded_at",
        "slice_id",
        "family",
        "route",
        "account",
        "counts",
        "excluded_projects",
        "excluded_upstreams",
    ),
    bookkeeping=("recorded_at",),
    slice_column="reconciliation_id",
)


@dataclass(frozen=True, slots=True)
class CountedSlice:
    """What of a slice counts: nothing, or all but the rows of the excluded projects and upstream vendors.

    ``family``, ``route`` and ``account`` are those that a provider's slice was decided with (the family of a bill is
    ``costs``); None for a Hermes feed's daily slice, and for a provider's endpoint that only informs.
    """

    slice_id: int
    counts: bool
    family: str | None = None
    route: str | None = None
    account: str | None = None
    excluded_projects: frozenset[str] = frozenset()
    excluded_upstreams: frozenset[str] = frozenset()


def replace_counted_slices(
    connection: Connection, reconciliation_id: int, counted: Sequence[CountedSlice], now: datetime
) -> Changes:
    """Make the stored decision of a reconciliation equal to ``counted``. The caller holds the reconciliation's lock."""
    is_empty = not connection.execute(
        text("SELECT EXISTS (SELECT 1 FROM counted_slices WHERE reconciliation_id = :id)"), {"id": reconciliation_id}
    ).scalar_one()
    if is_empty and not counted:
        return Changes()
    return replace_slice(
        connection,
        COUNTED_SLICES,
        reconciliation_id,
        typed_copy(_copy_rows(reconciliation_id, counted, now)),
        binary=False,
        slice_is_empty=is_empty,
        now=now,
    )


def _copy_rows(reconciliation_id: int, counted: Iterable[CountedSlice], now: datetime) -> Iterator[tuple[Any, ...]]:
    for one in counted:
        yield (
            reconciliation_id,
            UUID(int=one.slice_id),
            now,
            one.slice_id,
            one.family,
            one.route,
            one.account,
            one.counts,
            sorted(one.excluded_projects),
            sorted(one.excluded_upstreams),
        )
