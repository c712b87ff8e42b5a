"""The export of summaries: the reconciled table, or what counts cut by any dimensions, by day, hour or neither."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import Connection

from usage_pipeline.exports.columns import CELL_COLUMNS
from usage_pipeline.exports.parts import cells_of, event_parts
from usage_pipeline.exports.query import ExportQuery, Grain
from usage_pipeline.exports.table import Amounts, Row
from usage_pipeline.ledger.export_rows import FLOWS, WorkspaceDay
from usage_pipeline.ledger.reconciled import COSTS, GROUPS, StoredRow
from usage_pipeline.measures import RECONCILED_MEASURES
from usage_pipeline.pricing.rates import exact_arithmetic
from usage_pipeline.reconcile.cut_dimensions import OF_CELL
from usage_pipeline.reconcile.cut_lines import Place
from usage_pipeline.reconcile.cuts import cut
from usage_pipeline.reconcile.figures import add_to

_CELL_NAMES: Final = tuple(column.name for column in CELL_COLUMNS)
_COUNTED: Final = tuple((name, _CELL_NAMES.index(f"counted_{name}")) for name in FLOWS)
_COUNTED_USD: Final = _CELL_NAMES.index("cost_counted_usd")
_BILLED_USD: Final = _CELL_NAMES.index("cost_billed_usd")


def cell_rows(connection: Connection, days: Iterable[WorkspaceDay]) -> Iterator[Row]:
    """The reconciled rows in the order of :data:`CELL_COLUMNS`."""
    for day in days:
        for stored in cells_of(connection, day).values():
            yield _cell(stored)


def cell_amounts(row: Row) -> Amounts:
    """What a reconciled row adds to the control totals."""
    counted = {name: row[at] for name, at in _COUNTED}
    return {**counted, "counted_usd": row[_COUNTED_USD], "billed_usd": row[_BILLED_USD]}


def cut_rows(connection: Connection, query: ExportQuery, days: Sequence[WorkspaceDay]) -> Iterator[Row]:
    """The rows of a cut: told by day or hour, one day after the other; else all together, in the order of values."""
    names = query.dimensions
    if query.by is not None:
        for day in dict.fromkeys(one.day for one in days):
            of_day = [one for one in days if one.day == day]
            sums = _Sums(names)
            if query.by is Grain.HOUR:
                _enter_events(sums, connection, of_day)
            else:
                _enter_cuts(sums, connection, of_day)
            yield from sums.rows()
        return
    sums = _Sums(names)
    _enter_cuts(sums, connection, days)
    yield from sums.rows()


def cut_amounts(row: Row) -> Amounts:
    """What a row of a cut adds to the control totals: its last columns are the same in every cut."""
    figures = row[-len(FLOWS) - 3 :]
    return {**dict(zip(FLOWS, figures, strict=False)), "counted_usd": figures[len(FLOWS)]}


def _cell(stored: StoredRow) -> Row:
    row = stored.row
    values: dict[str, Any] = {
        "day": stored.day,
        "workspace": stored.workspace,
        "lower_bound": ",".join(row.lower_bound) or None,
        **{f"{group}_{name}": row.figures[group].get(name) for group in GROUPS for name in RECONCILED_MEASURES},
        **{f"cost_{cost}_usd": row.costs[cost].usd for cost in COSTS},
        **{f"cost_{cost}_basis": row.costs[cost].basis for cost in COSTS},
        "cost_computed_version": row.costs["computed"].version,
    }
    return tuple(values[name] if name in values else getattr(row, name) for name in _CELL_NAMES)


@dataclass(slots=True)
class _Sum:
    figures: dict[str, int | None] = field(default_factory=dict)
    usd: Decimal | None = None
    bases: set[str] = field(default_factory=set)
    provisional: bool = False


class _Sums:
    """Sums by the values of dimensions; ``hour`` stands beside its day."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self._sums: dict[tuple[Any, ...], _Sum] = defaultdict(_Sum)

    def enter(
        self,
        values: tuple[Any, ...],
        figures: Mapping[str, int | None],
        usd: Decimal | None,
        basis: str | None,
        *,
        provisional: bool,
    ) -> None:
        """Add to the sum of these values."""
        into = self._sums[values]
        add_to(into.figures, figures)
        into.provisional |= provisional
        if usd is not None:
            with exact_arithmetic():
                into.usd = usd + (into.usd or Decimal(0))
            into.bases.update(basis.split("; ") if basis else ())

    def rows(self) -> Iterator[Row]:
        """The sums, sorted by their values; what is not told comes last."""
        for values in sorted(self._sums, key=lambda one: tuple((value is None, str(value)) for value in one)):
            one = self._sums[values]
            basis = "; ".join(sorted(one.bases)) or None
            yield (*values, *(one.figures.get(name) for name in FLOWS), one.usd, basis, one.provisional)


def _enter_cuts(sums: _Sums, connection: Connection, days: Iterable[WorkspaceDay]) -> None:
    names = sums.names
    for day in days:
        open_ = _Provisional(cells_of(connection, day).values(), names)
        for row in cut(connection, day.day, day.day + timedelta(days=1), day.workspace, names).rows:
            told = dict(zip(names, row.values, strict=True))
            values = tuple(date.fromisoformat(value or "") if name == "day" else value for name, value in told.items())
            sums.enter(values, row.figures, row.cost.usd, row.cost.basis, provisional=open_.has(told))


class _Provisional:
    """Whether a row of a cut has a part of a cell that may still change, as far as its dimensions tell cells apart."""

    def __init__(self, cells: Iterable[StoredRow], names: Sequence[str]) -> None:
        self._names = [name for name in OF_CELL if name in names and name not in {"day", "workspace"}]
        self._open = {tuple(getattr(one.row, name) for name in self._names) for one in cells if one.row.provisional}

    def has(self, told: Mapping[str, str | None]) -> bool:
        """Whether any cell of these values is provisional."""
        return tuple(told[name] for name in self._names) in self._open


def _enter_events(sums: _Sums, connection: Connection, days: Iterable[WorkspaceDay]) -> None:
    names = sums.names[1:]
    for day in days:
        cells: Mapping[Place, StoredRow] = cells_of(connection, day)
        for one in event_parts(connection, day):
            if one.part is None:
                continue
            cell = cells.get(one.part.place)
            values = (day.day, one.part.hour, *(one.part.dimensions[name] for name in names))
            basis = cell.row.costs["counted"].basis if cell else None
            provisional = cell is not None and cell.row.provisional
            sums.enter(values, one.part.figures, one.part.usd, basis, provisional=provisional)
