"""Cuts: what counts in a range of days, told apart by any dimensions, summing to the report's total to the last digit.

In come days and the names of dimensions; out comes the cut in the shape that ``report --by … --json`` promises. A
dimension that a line's source cannot tell is null, a value like the others: nothing is dropped. Levels
(``usage_bytes``) are no sums of rows and stay outside.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Final

from sqlalchemy import Connection

from usage_pipeline.errors import InvariantError
from usage_pipeline.ledger.counted_rows import RepositoryRow, repository_rows
from usage_pipeline.ledger.dimension_names import names_by_id
from usage_pipeline.ledger.reconciled import CostFigure
from usage_pipeline.ledger.showback_rules import load_showback
from usage_pipeline.measures import CACHE_WRITES, TOKEN_CLASSES
from usage_pipeline.pricing.rates import exact_arithmetic
from usage_pipeline.reconcile.cut_costs import (
    HERMES_BASES,
    UsedPrices,
    spread_amount,
    weights_of,
    whole_numbers,
)
from usage_pipeline.reconcile.cut_dimensions import EVENT_COLUMNS, OF_CELL, OF_HERMES, OF_SHOWBACK
from usage_pipeline.reconcile.cut_lines import (
    CUT_MEASURES,
    CellLines,
    CountedLines,
    Line,
    Place,
    Source,
    counted_lines,
    is_only_a_line,
)
from usage_pipeline.reconcile.figures import Figures, add, add_to
from usage_pipeline.reconcile.shares import spread
from usage_pipeline.showback.rules import Belonging, Told

_NAMED: Final = ("project", "api_key", "user", "service_account")


@dataclass(slots=True)
class CutRow:
    """One value of each dimension, what counts there, and its cost; ``names`` are what ids are called, by dimension."""

    values: tuple[str | None, ...]
    figures: Figures = field(default_factory=dict)
    cost: CostFigure = field(default_factory=lambda: CostFigure(None, None))
    names: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Cut:
    """A cut and its totals, which are those of the reconciled rows."""

    by: tuple[str, ...]
    rows: list[CutRow]
    figures: Figures
    cost: CostFigure


def cut(
    connection: Connection,
    first_day: date,
    end_day: date,
    workspace: str | None,
    by: Sequence[str],
    as_of: datetime | None = None,
) -> Cut:
    """Cut what counts in the half-open range of days. Raises :class:`InvariantError` ``cut_does_not_add_up``."""
    by_hermes = not set(OF_HERMES).isdisjoint(by)
    showback = None if set(OF_SHOWBACK).isdisjoint(by) else load_showback(connection)
    columns = [EVENT_COLUMNS[name] for name in by if name in EVENT_COLUMNS]
    columns += showback.columns if showback else ()
    found = counted_lines(connection, first_day, end_day, workspace, columns, by_hermes=by_hermes, as_of=as_of)
    prices = UsedPrices(connection, (place.day for place in found.cells))
    repositories = _Repositories(connection, first_day, end_day, workspace, as_of) if "repository" in by else None
    names = _Names(connection)
    rows: dict[tuple[str | None, ...], CutRow] = {}
    sums = _Sums()
    for cell in found.cells.values():
        if repositories is not None:
            cell.lines = [part for line in cell.lines for part in repositories.parts(cell.place, line)]
        with exact_arithmetic():
            for line, usd in _with_costs(cell, prices):
                belongs = showback.of(cell.place.day, _told(cell.place, line)) if showback else Belonging()
                values = tuple([_value(cell.place, line, belongs, name) for name in by])
                row = rows.get(values) or rows.setdefault(values, CutRow(values))
                sums.enter(values, line.figures, usd, cell)
                names.enter(row, by, line)
    for values, row in rows.items():
        row.figures, row.cost = sums.of(values)
    total = _total(found)
    ordered = sorted(rows.values(), key=lambda row: tuple((value is None, value or "") for value in row.values))
    made = Cut(tuple(by), ordered, *total)
    _assert_adds_up(made)
    return made


def _told(place: Place, line: Line) -> Told:
    """What showback may ask of a line."""
    told = line.dimensions
    return Told(
        workspace=place.workspace,
        project=told.get("project_id"),
        api_key=told.get("api_key_id"),
        user=told.get("user_id"),
        feed=told.get("feed"),
        model=place.model or None,
        provider=told.get("biller"),
        account=told.get("account"),
    )


def _value(place: Place, line: Line, belongs: Belonging, name: str) -> str | None:
    if name == "day":
        return place.day.isoformat()
    if name == "source":
        return line.source
    if name in OF_SHOWBACK:
        return str(getattr(belongs, name))
    if name in OF_CELL:
        return str(getattr(place, name))
    return line.dimensions.get(EVENT_COLUMNS.get(name, name))


class _Sums:
    """Figures, amounts and bases by value."""

    def __init__(self) -> None:
        self._figures: dict[tuple[str | None, ...], dict[str, int | None]] = defaultdict(dict)
        self._usd: dict[tuple[str | None, ...], Decimal] = {}
        self._bases: dict[tuple[str | None, ...], set[str]] = defaultdict(set)

    def enter(self, values: tuple[str | None, ...], figures: Figures, usd: Decimal | None, cell: CellLines) -> None:
        """Add a line. Within :func:`exact_arithmetic`."""
        add_to(self._figures[values], figures)
        if usd is None:
            return
        self._usd[values] = self._usd.get(values, Decimal(0)) + usd
        if cell.stored and (basis := cell.stored.row.costs["counted"].basis):
            self._bases[values].add(basis)

    def of(self, values: tuple[str | None, ...]) -> tuple[Figures, CostFigure]:
        basis = "; ".join(sorted(self._bases[values])) or None
        return self._figures[values], CostFigure(self._usd.get(values), basis)


def _with_costs(cell: CellLines, prices: UsedPrices) -> Iterator[tuple[Line, Decimal | None]]:
    """The cell's lines, each with its part of the counted cost; a cost that no line has part in is one of its own."""
    cost = cell.stored.row.costs["counted"] if cell.stored else CostFigure(None, None)
    if cost.usd is None:
        yield from ((line, None) for line in cell.lines)
        return
    weights = _weights(cell, cost, prices)
    if any(weights):
        for line, usd, weight in zip(cell.lines, spread_amount(cost.usd, weights), weights, strict=True):
            yield line, usd if weight or line.source not in _WITHOUT_COST else None
        return
    yield from ((line, None) for line in cell.lines)
    if cost.usd or is_only_a_line(cell.place):
        yield Line(Source.BILLED_LINE if is_only_a_line(cell.place) else Source.COST_WITHOUT_USAGE, {}, {}), cost.usd


_WITHOUT_COST: Final = frozenset({Source.LOWER_BOUND, Source.NOT_RECONCILED_YET})
"""Lines that no cost is spread over: what they tell is priced by none, or not reconciled."""


def _weights(cell: CellLines, cost: CostFigure, prices: UsedPrices) -> list[int]:
    """Whole weights of the cell's lines."""
    assert cell.stored is not None
    spreads = [line.source not in _WITHOUT_COST for line in cell.lines]
    if cost.basis in HERMES_BASES:
        stated = [line.stated_usd.get(cost.basis or "", Decimal(0)) for line in cell.lines]
        if any(stated):
            return whole_numbers(stated)
    version = cell.stored.row.costs["computed"].version
    place = cell.place
    costs = [
        prices.cost(
            place.day,
            place.provider,
            line.dimensions.get("reported_model") or place.model,
            line.variant,
            version,
            line.every_figure,
        )
        if spread_
        else Decimal(0)
        for line, spread_ in zip(cell.lines, spreads, strict=True)
    ]
    figures = [line.figures if one else {} for line, one in zip(cell.lines, spreads, strict=True)]
    return weights_of(costs, figures)


class _Repositories:
    """The repositories of each feed's day, over which its shares are spread.

    Hermes tells them of a whole day, models and accounts together; a share is spread in proportion to what they used
    of the measure, else of all tokens.
    """

    def __init__(
        self, connection: Connection, first_day: date, end_day: date, workspace: str | None, as_of: datetime | None
    ) -> None:
        self._rows: dict[tuple[str | None, date], list[RepositoryRow]] = defaultdict(list)
        for row in repository_rows(connection, first_day, end_day, workspace, as_of):
            self._rows[row.feed, row.day].append(row)

    def parts(self, place: Place, line: Line) -> list[Line]:
        """The line by repository; itself, of none, where its feed does not tell them."""
        rows = self._rows.get((line.dimensions.get("hermes_feed"), place.day), [])
        tokens = [sum(row.figures.get(name) or 0 for name in TOKEN_CLASSES) for row in rows]
        if not any(tokens):
            return [line]
        figures: list[dict[str, int | None]] = [{} for _ in rows]
        for name, value in line.figures.items():
            of_rows = [row.figures.get("cache_read" if name in CACHE_WRITES else name) or 0 for row in rows]
            for part, share in zip(figures, spread(value or 0, of_rows if any(of_rows) else tokens), strict=True):
                if share:
                    part[name] = share
        stated = {
            basis: spread_amount(usd, [sum(value or 0 for value in part.values()) for part in figures])
            for basis, usd in line.stated_usd.items()
        }
        return [
            replace(
                line,
                dimensions={**line.dimensions, "repository": row.repository},
                figures=part,
                every_figure=part,
                stated_usd={basis: amounts[n] for basis, amounts in stated.items()},
            )
            for n, (row, part) in enumerate(zip(rows, figures, strict=True))
            if part
        ]


class _Names:
    """What ids are called, asked for once an account."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._known: dict[tuple[str, str, str], dict[str, str]] = {}

    def enter(self, row: CutRow, by: Sequence[str], line: Line) -> None:
        """Put the names of the line's ids beside the row's values."""
        provider, account = line.dimensions.get("biller"), line.dimensions.get("account")
        if provider is None or account is None:
            return
        for name in _NAMED:
            if name in by and name not in row.names and (id_ := line.dimensions.get(EVENT_COLUMNS[name])) is not None:
                place = provider, account, EVENT_COLUMNS[name]
                if place not in self._known:
                    self._known[place] = names_by_id(self._connection, *place)
                if (called := self._known[place].get(id_)) is not None:
                    row.names[name] = called


def _total(found: CountedLines) -> tuple[Figures, CostFigure]:
    """What the reconciled cells count together."""
    stored = [cell.stored.row for cell in found.cells.values() if cell.stored]
    counted = add(*(row.figures["counted"] for row in stored))
    figures = {name: counted.get(name) for name in CUT_MEASURES}
    costs = [row.costs["counted"] for row in stored]
    known = [cost.usd for cost in costs if cost.usd is not None]
    with exact_arithmetic():
        usd = sum(known, Decimal(0)) if known else None
    bases = sorted({cost.basis for cost in costs if cost.usd is not None and cost.basis})
    return figures, CostFigure(usd, "; ".join(bases) or None)


def _assert_adds_up(made: Cut) -> None:
    figures = add(*(row.figures for row in made.rows))
    with exact_arithmetic():
        usd = sum((row.cost.usd for row in made.rows if row.cost.usd is not None), Decimal(0))
        costs_differ = usd != (made.cost.usd or Decimal(0))
    differing = [name for name in CUT_MEASURES if (figures.get(name) or 0) != (made.figures.get(name) or 0)]
    if differing or costs_differ:
        what = ", ".join([*differing, *(["the counted cost"] if costs_differ else [])])
        raise InvariantError(
            "cut_does_not_add_up",
            f"{what}: the rows of the cut do not sum to what is counted",
            remedy="Nothing is printed; this is a defect of the program, report it with the days and the dimensions.",
        )
