"""Cuts, and what is stored without being counted, in the shapes that ``report --by`` and ``--shadowed`` promise."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection

from usage_pipeline.ledger.counted_rows import DecidedSlice, decided_slices, event_sums, undecided_slices
from usage_pipeline.reconcile.cut_lines import COSTS_FAMILY, CUT_MEASURES
from usage_pipeline.reconcile.cuts import Cut, CutRow, cut
from usage_pipeline.reconcile.figures import add_to
from usage_pipeline.reconcile.report import measures, money, report_head

LEVELS_ARE_OUTSIDE: Final = "usage_bytes is a level and no sum of rows: it is in no cut"


def build_cut(
    connection: Connection,
    first_day: date,
    end_day: date,
    workspace: str | None,
    by: tuple[str, ...],
    now: datetime,
    as_of: datetime | None = None,
) -> dict[str, Any]:
    """What counts in the half-open range of days by the dimensions, as ``report --by … --json`` prints it.

    Raises :class:`InvariantError` ``cut_does_not_add_up``.
    """
    made = cut(connection, first_day, end_day, workspace, by, as_of)
    return {
        **report_head(first_day, end_day, now, as_of),
        "by": list(made.by),
        "rows": [_row(made, row) for row in made.rows],
        "totals": {"counted": measures(made.figures), "cost": {"counted": money(made.cost)}},
        "notes": [LEVELS_ARE_OUTSIDE],
    }


def _row(made: Cut, row: CutRow) -> dict[str, Any]:
    return {
        **dict(zip(made.by, row.values, strict=True)),
        "names": row.names,
        "counted": measures(row.figures),
        "cost": {"counted": money(row.cost)},
    }


class _Place(NamedTuple):
    day: date
    workspace: str
    feed: str
    endpoint: str
    provider: str | None
    account: str | None
    family: str | None
    reason: str
    led_by: tuple[str, ...]


def shadowed_rows(
    connection: Connection, first_day: date, end_day: date, workspace: str | None, as_of: datetime | None = None
) -> list[dict[str, Any]]:
    """What is stored in the half-open range of days and not counted, by day and feed, and the feeds that lead instead.

    ``reason`` is ``another_feed_leads``, ``counted_upstream`` (a proxy's calls are in the report of the account that it
    passed them on to), ``informs_only``, ``feed_does_not_count``, ``row_counts_nowhere`` (of a Hermes bucket whose
    models fall short) or ``not_reconciled_yet``.
    """
    decided = [
        one for one in decided_slices(connection, first_day, end_day, workspace, as_of) if one.family != COSTS_FAMILY
    ]
    undecided = list(undecided_slices(connection, first_day, end_day, workspace, as_of))
    slices = {one.slice_id: one for one in [*decided, *undecided]}
    open_ = {one.slice_id for one in undecided}
    sums: dict[_Place, dict[str, int | None]] = {}
    for row in event_sums(connection, list(slices.values()), (), as_of):
        if row.shadowed:
            slice_, upstream = slices[row.slice_id], row.dimensions["upstream_provider"]
            place = _place(slice_, upstream, decided, decided_yet=row.slice_id not in open_)
            add_to(sums.setdefault(place, {}), {name: row.figures.get(name) for name in CUT_MEASURES})
    return [
        {
            "date": place.day.isoformat(),
            **{name: value for name, value in place._asdict().items() if name not in {"day", "led_by"}},
            "led_by": list(place.led_by),
            "stored": measures(figures),
        }
        for place, figures in sorted(sums.items(), key=lambda one: tuple(str(part) for part in one[0]))
    ]


def _place(slice_: DecidedSlice, upstream: str | None, decided: Iterable[DecidedSlice], *, decided_yet: bool) -> _Place:
    made = _Place(
        slice_.day,
        slice_.workspace,
        slice_.feed,
        slice_.endpoint,
        slice_.provider,
        slice_.account,
        slice_.family,
        "not_reconciled_yet",
        (),
    )
    if not decided_yet:
        return made
    if slice_.provider is None:
        return made._replace(reason="row_counts_nowhere" if slice_.counts else "feed_does_not_count")
    if slice_.family is None:
        return made._replace(reason="informs_only")
    if slice_.counts and upstream in slice_.excluded_upstreams:
        leads = _leading(decided, slice_, provider=upstream, account=None)
        return made._replace(reason="counted_upstream", led_by=leads)
    return made._replace(
        reason="another_feed_leads",
        led_by=_leading(decided, slice_, provider=slice_.provider, account=slice_.account),
    )


def _leading(
    decided: Iterable[DecidedSlice], slice_: DecidedSlice, *, provider: str | None, account: str | None
) -> tuple[str, ...]:
    """The feeds that count for the same family of the provider on that day, of one account or of any."""
    found = {
        one.feed
        for one in decided
        if (one.day, one.workspace, one.family, one.provider) == (slice_.day, slice_.workspace, slice_.family, provider)
        and one.counts
        and one.feed != slice_.feed
        and account in {None, one.account}
    }
    return tuple(sorted(found))
