"""The figures of ``GET /api/usage``: what counts in a range of days, chosen and grouped, as the report would say it.

In: a workspace, days, the dimensions to group by, values to keep. Out: groups and a total. Where all dimensions are a
cell's own, the sums are made by the database from the reconciled cells, with what is explained and what is not. Any
other dimension is told by single rows: then the report's own cut is made, cell by cell, and added up, so that both say
the same to the last digit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection

from usage_pipeline.ledger.answer_state import states_by_day
from usage_pipeline.ledger.reconciled import CostFigure
from usage_pipeline.ledger.usage_series import (
    CELL_DIMENSIONS,
    SERIES_COSTS,
    SERIES_GROUPS,
    SeriesRow,
    final_cells,
    usage_series,
)
from usage_pipeline.measures import TOKEN_CLASSES
from usage_pipeline.pricing.rates import exact_arithmetic
from usage_pipeline.reconcile.cut_dimensions import OF_CELL
from usage_pipeline.reconcile.cuts import cut
from usage_pipeline.reconcile.figures import Figures, add
from usage_pipeline.reconcile.report import measures, money
from usage_pipeline.service.day_groups import DayGroups
from usage_pipeline.utc_days import days_between

DAYS_AT_ONCE: Final = 7
"""Days that are cut in one go. What was made before one takes too long is kept, so that asking again gets further."""

_CELL: Final = ("day", "provider", "route", "family", "model")


class Place(NamedTuple):
    """A workspace by number and slug."""

    workspace_id: int
    slug: str


@dataclass(frozen=True, slots=True)
class Chosen:
    """What is asked for. ``only`` keeps, by dimension, what has one of the values; None is "not told"."""

    workspace: Place
    first_day: date
    end_day: date
    by: tuple[str, ...]
    only: Mapping[str, frozenset[str | None]]
    as_of: datetime | None = None

    @property
    def is_of_cells(self) -> bool:
        """Whether the reconciled cells alone can tell it."""
        return all(name in CELL_DIMENSIONS for name in (*self.by, *self.only))


@dataclass(slots=True)
class Group:
    """One value of each dimension and what counts there. ``figures`` and ``costs`` lack the groups that cannot be told.

    ``names`` are what ids are called, by dimension.
    """

    values: tuple[str | None, ...]
    provisional: bool = False
    figures: dict[str, Figures] = field(default_factory=dict)
    costs: dict[str, CostFigure] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)

    @property
    def usd(self) -> Decimal:
        """The counted cost, 0 where it is not known: to order by."""
        return self.costs["counted"].usd or Decimal(0) if "counted" in self.costs else Decimal(0)

    @property
    def tokens(self) -> int:
        """The counted tokens of every class: to order by."""
        return sum(self.figures.get("counted", {}).get(name) or 0 for name in TOKEN_CLASSES)

    def as_json(self, by: Sequence[str]) -> dict[str, Any]:
        """The group as the API writes it; null where a group of figures cannot be told."""
        told = {name: measures(self.figures[name]) if name in self.figures else None for name in SERIES_GROUPS}
        costs = {name: _cost(name, self.costs[name]) if name in self.costs else None for name in SERIES_COSTS}
        return {
            **dict(zip(by, self.values, strict=True)),
            "names": self.names,
            "provisional": self.provisional,
            **told,
            "cost": costs,
        }


def usage_figures(connection: Connection, chosen: Chosen, kept: DayGroups) -> tuple[list[Group], Group]:
    """The groups, in order of their values, and their total. Raises :class:`InvariantError` ``cut_does_not_add_up``."""
    return _of_cells(connection, chosen, chosen.by) if chosen.is_of_cells else _of_lines(connection, chosen, kept)


def total_of(groups: Iterable[Group], values: tuple[str | None, ...] = ()) -> Group:
    """The sum of groups, as one."""
    total = Group(values)
    for one in groups:
        total.provisional = total.provisional or one.provisional
        for name, figures in one.figures.items():
            total.figures[name] = add(total.figures.get(name, {}), figures)
        for name, cost in one.costs.items():
            total.costs[name] = _added(total.costs.get(name), cost)
        total.names = {**one.names, **total.names}  # the first name that was told stays
    return total


def _of_cells(connection: Connection, chosen: Chosen, by: tuple[str, ...]) -> tuple[list[Group], Group]:
    only = {name: frozenset(value or "" for value in values) for name, values in chosen.only.items()}
    groups, total = usage_series(
        connection, chosen.first_day, chosen.end_day, chosen.workspace.slug, by, only, chosen.as_of
    )
    return [_group(one) for one in groups], _group(total)


def _group(row: SeriesRow) -> Group:
    return Group(row.values, row.provisional, dict(row.figures), dict(row.costs))


def _of_lines(connection: Connection, chosen: Chosen, kept: DayGroups) -> tuple[list[Group], Group]:
    groups: dict[tuple[str | None, ...], list[Group]] = {}
    for one in _groups_of_days(connection, chosen, kept):
        groups.setdefault(one.values, []).append(one)
    summed = [total_of(groups[values], values) for values in sorted(groups, key=_in_order)]
    if all(name in CELL_DIMENSIONS for name in chosen.only):
        _, total = _of_cells(connection, chosen, ())  # with all that cells tell, and what no line does
    else:
        total = total_of(summed)
        total.figures.setdefault("counted", {})
        total.costs.setdefault("counted", CostFigure(None, None))
    return (summed if chosen.by else []), total


def _groups_of_days(connection: Connection, chosen: Chosen, kept: DayGroups) -> Iterator[Group]:
    """The groups of every day, in the order of the days: those that are kept, and those that are made now."""
    if chosen.as_of is not None:
        past = _made(connection, chosen, chosen.first_day, chosen.end_day)
        for day in sorted(past):
            yield from past[day]
        return
    states = states_by_day(connection, chosen.workspace.workspace_id, chosen.first_day, chosen.end_day)
    question = (chosen.workspace.workspace_id, chosen.by, tuple(sorted(chosen.only.items())))
    keys = {day: (state, question) for day, state in states.items()}
    found = {day: kept.find(key) for day, key in keys.items()}
    for first_day, end_day in _ranges([day for day, groups in found.items() if groups is None]):
        made = _made(connection, chosen, first_day, end_day)
        for day in days_between(first_day, end_day):
            found[day] = made.get(day, [])
            kept.keep(keys[day], made.get(day, []))
    for groups in found.values():
        yield from groups or ()


def _made(connection: Connection, chosen: Chosen, first_day: date, end_day: date) -> dict[date, list[Group]]:
    """The groups of a half-open range of days, by day, from the report's own cut."""
    range_ = (first_day, end_day, chosen.workspace.slug)
    # With every dimension of the cell a row of the cut lies in one cell, which says whether it is provisional.
    dimensions = tuple(dict.fromkeys((*OF_CELL, *chosen.by, *chosen.only)))
    made = cut(connection, *range_, dimensions, chosen.as_of)
    final = final_cells(connection, *range_, chosen.as_of)
    parts: dict[tuple[date, tuple[str | None, ...]], list[Group]] = {}
    for row in made.rows:
        told = dict(zip(dimensions, row.values, strict=True))
        if all(_is_one_of(told[name], values) for name, values in chosen.only.items()):
            values = tuple(told[name] for name in chosen.by)
            names = {name: called for name, called in row.names.items() if name in chosen.by}
            cell = tuple(told[name] for name in _CELL)
            one = Group(values, cell not in final, {"counted": row.figures}, {"counted": row.cost}, names)
            parts.setdefault((date.fromisoformat(told["day"] or ""), values), []).append(one)
    days: dict[date, list[Group]] = {}
    for (day, values), groups in parts.items():
        days.setdefault(day, []).append(total_of(groups, values))
    return days


def _ranges(days: Sequence[date]) -> Iterator[tuple[date, date]]:
    """The half-open ranges of at most :data:`DAYS_AT_ONCE` that the days make; they are in order."""
    start: date | None = None
    for n, day in enumerate(days):
        start = start or day
        after = day + timedelta(days=1)
        if n + 1 == len(days) or days[n + 1] != after or (after - start).days == DAYS_AT_ONCE:
            yield start, after
            start = None


def _is_one_of(value: str | None, values: frozenset[str | None]) -> bool:
    """Whether the value is wanted; a model that no source names is not told either."""
    return value in values or (not value and None in values)


def _in_order(values: tuple[str | None, ...]) -> tuple[tuple[bool, str], ...]:
    return tuple((value is None, value or "") for value in values)


def _added(one: CostFigure | None, other: CostFigure) -> CostFigure:
    """The sum of the known amounts, with every basis that is in it."""
    known = [cost for cost in (one, other) if cost is not None and cost.usd is not None]
    if not known:
        return CostFigure(None, None)
    with exact_arithmetic():
        usd = sum((cost.usd for cost in known if cost.usd is not None), Decimal(0))
    return CostFigure(usd, _joined(cost.basis for cost in known), _joined(cost.version for cost in known))


def _joined(parts: Iterable[str | None]) -> str | None:
    return "; ".join(sorted({one for part in parts if part for one in part.split("; ")})) or None


def _cost(name: str, cost: CostFigure) -> dict[str, Any]:
    return {**money(cost), "version": cost.version} if name == "computed" else money(cost)
