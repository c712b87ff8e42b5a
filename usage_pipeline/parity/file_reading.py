"""Reading one file of a comparison: every row checked, and added to the sums of its report.

In: a file, its format, and what a person states. Out: an :class:`ExportFile`, and rows in the :class:`FamilyExport`
that it belongs to. What cannot be read is refused with the number of its line.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from decimal import Decimal
from functools import lru_cache
from operator import itemgetter
from typing import TYPE_CHECKING, Final

from usage_pipeline.errors import InvalidInputError
from usage_pipeline.parity.cells import read_amount, read_count, read_window
from usage_pipeline.parity.dashboard_csv import DashboardCsv, line_malformed
from usage_pipeline.parity.export_format import AMOUNT, CurrencyUnit, DimensionColumn
from usage_pipeline.parity.windows import Window
from usage_pipeline.pricing.rates import exact_arithmetic

if TYPE_CHECKING:
    from usage_pipeline.parity.export_rows import FamilyExport

Number = int | Decimal

_REMEMBERED_MAX: Final = 1 << 18
_CENT: Final = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class ReadingRules:
    """How cells are read that do not say it themselves. ``zone`` None is not stated, which is UTC."""

    zone: tzinfo | None = None
    currency_unit: CurrencyUnit | None = None


@dataclass(slots=True)
class ExportFile:
    """What one file held. ``unknown`` are columns that nobody knows, ``unknown_measures`` those of them that hold
    figures. ``repeated`` rows have the window and dimensions of another row of the file, and were added up."""

    file: DashboardCsv
    family: str
    rows: int = 0
    empty_rows: int = 0
    repeated: int = 0
    span: Window | None = None
    unknown: tuple[str, ...] = ()
    unknown_measures: tuple[str, ...] = ()
    used_span: Window | None = None
    told: set[str] = field(default_factory=set)
    identities: set[tuple[int, int, int]] = field(default_factory=set)


class FileReading:
    """One pass over one file."""

    def __init__(self, whole: FamilyExport, read: ExportFile, rules: ReadingRules) -> None:
        self.whole, self.read, self.rules = whole, read, rules
        self.shape = shape = whole.format
        header = read.file.header
        self.place = {name: number for number, name in enumerate(header)}
        self.start = next(self.place[name] for name in shape.start if name in self.place)
        self.start_name = header[self.start]
        self.end = next((self.place[name] for name in shape.end if name in self.place), None)
        self.zone = self._zone()
        self.counts = [(self.place[name], name, self._slot(name)) for name in shape.counts if name in self.place]
        self.amount = next(((self.place[name], name) for name in shape.amounts if name in self.place), None)
        self.to_dollars = self._to_dollars()
        self.dimensions = self._dimension_columns()
        self.account = self.place.get(shape.account or "")
        times = {self.place[name] for name in (*shape.start, *shape.end) if name in self.place}
        figures = {place for place, *_ in self.counts} | ({self.amount[0]} if self.amount else set())
        self.words = [place for place in range(len(header)) if place not in times | figures]
        # Most of the time of a month of minute rows is spent on what follows from equal cells: it is reckoned once.
        self._pick_words, self._pick_figures = _picker(self.words), _picker(sorted(figures))
        self._folded: dict[Window, Window] = {}
        self.unknown = {name: self.place[name] for name in header if name not in shape.columns}
        self._windows: dict[tuple[str, str], Window] = {}
        self._combinations: dict[tuple[str, ...], tuple[int, int]] = {}
        self._told: set[str] = set()
        self._numeric = dict.fromkeys(self.unknown, True)
        self._filled: set[str] = set()

    def run(self) -> None:
        """Read the file to its end. Raises :class:`InvalidInputError` ``line_malformed``, ``file_unreadable``."""
        read = self.read
        with exact_arithmetic():
            for line, cells in read.file.rows():
                try:
                    self._row(cells)
                except _CellError as error:
                    raise line_malformed(read.file.name, line, str(error)) from None
        for window in self._windows.values():
            self.whole.windows.add(window)
            read.span = _hull(read.span, window)
        if read.rows:
            self.whole.note_columns(read.file.header, self._told)
        read.unknown = tuple(self.unknown)
        read.unknown_measures = tuple(name for name in self.unknown if self._numeric[name] and name in self._filled)

    def _row(self, cells: list[str]) -> None:
        window = self._window(cells)
        read, words = self.read, self._pick_words(cells)
        if not any(words) and not any(self._pick_figures(cells)):
            read.empty_rows += 1
            return
        read.rows += 1
        identity, combination = self._combinations.get(words) or self._who(cells, words)
        key = (window.start_s, window.end_s, identity)
        if key in read.identities:
            read.repeated += 1
        read.identities.add(key)
        folded = self._folded.get(window) or self._fold(window)
        place = (folded.start_s, folded.end_s, combination)
        sums = self.whole.sums.get(place)
        if sums is None:
            sums = self.whole.sums[place] = [0] * len(self.whole.figure_names)
        self._add(cells, sums)
        for name, number in self.unknown.items():
            self._look_at_unknown(name, cells[number])

    def _fold(self, window: Window) -> Window:
        self.read.used_span = _hull(self.read.used_span, window)
        folded = self._folded[window] = window.folded()
        return folded

    def _add(self, cells: list[str], sums: list[Number]) -> None:
        for place, name, slot in self.counts:
            cell = cells[place]
            if cell:
                try:
                    sums[slot] += _count(cell)
                except ValueError as error:
                    raise _CellError(f"the column {name} is {error}") from None
                self._told.add(self.shape.counts[name])
        if self.amount is None or not (cell := cells[self.amount[0]].strip()):
            return
        try:
            amount = read_amount(cell)
        except ValueError as error:
            raise _CellError(f"the column {self.amount[1]} is {error}") from None
        currency = self.shape.amounts[self.amount[1]].currency
        if amount and currency in self.place and cells[self.place[currency]].strip().lower() != "usd":
            raise _CellError(f"the column {currency} is not usd, and other currencies are not compared")
        sums[-1] += amount * self.to_dollars
        self._told.add(AMOUNT)

    def _who(self, cells: list[str], words: tuple[str, ...]) -> tuple[int, int]:
        cells = [cell.strip() for cell in cells]
        values = []
        for dimension, found in self.dimensions.items():
            value = found[1].read(cells[found[0]]) if found is not None and cells[found[0]] else None
            if value is not None:
                self.read.told.add(dimension)
            values.append(value)
        if self.account is not None and cells[self.account]:
            self.whole.accounts.add(cells[self.account])
        header = self.read.file.header
        of_a_dimension = {found[0] for found in self.dimensions.values() if found}
        # Figures among the words (a quantity, a list price) change when a file is exported again: they tell no rows
        # apart.
        named = [
            f"{header[place]}={cells[place]}"
            for place in self.words
            if cells[place] and (place in of_a_dimension or not _is_number(cells[place]))
        ]
        known = self.whole.identity(tuple(sorted(named))), self.whole.combination(tuple(values))
        if len(self._combinations) < _REMEMBERED_MAX:
            self._combinations[words] = known
        return known

    def _window(self, cells: list[str]) -> Window:
        written = cells[self.start], cells[self.end] if self.end is not None else ""
        known = self._windows.get(written)
        if known is None:
            try:
                known = Window(*read_window(self.shape.form, written[0].strip(), written[1].strip(), self.zone))
            except (ValueError, OverflowError, OSError) as error:
                raise _CellError(f"the column {self.start_name} is {error}") from None
            self._windows[written] = known
        return known

    def _look_at_unknown(self, name: str, cell: str) -> None:
        if not cell:
            return
        if not _is_number(cell):
            self._numeric[name] = False
        elif Decimal(cell):
            self._filled.add(name)

    def _dimension_columns(self) -> dict[str, tuple[int, DimensionColumn] | None]:
        """Of several columns for one dimension (a key's id and its name) the first that the file has."""
        found: dict[str, tuple[int, DimensionColumn] | None] = dict.fromkeys(self.shape.dimension_names)
        for name, column in self.shape.dimensions.items():
            if found[column.dimension] is None and name in self.place:
                found[column.dimension] = (self.place[name], column)
                standing = self.whole.dimension_columns.setdefault(column.dimension, column)
                if standing.by_name != column.by_name:
                    raise InvalidInputError(
                        "columns_differ",
                        f"one file tells {column.dimension} by its id and another by its name",
                        where=self.read.file.name,
                        remedy="Compare the files one by one.",
                    )
        return found

    def _slot(self, column: str) -> int:
        return list(self.shape.counts).index(column)

    def _zone(self) -> tzinfo:
        stated = self.rules.zone
        if self.start_name in self.shape.in_utc and stated is not None and stated is not UTC:
            raise InvalidInputError(
                "timezone_contradicted",
                f"the column {self.start_name} says that it is in UTC",
                where=self.read.file.name,
                remedy="Leave out --timezone.",
            )
        return stated or UTC

    def _to_dollars(self) -> Decimal:
        if self.amount is None:
            return Decimal(1)
        name = self.amount[1]
        column = self.shape.amounts[name]
        told: CurrencyUnit | None = "usd" if column.currency in self.place else column.unit
        stated = self.rules.currency_unit
        if told is None and stated is None:
            raise InvalidInputError(
                "unit_unknown",
                f"nothing tells whether {name} is in dollars or cents",
                where=self.read.file.name,
                remedy="State it with --currency-unit usd or --currency-unit cents.",
            )
        if told is not None and stated is not None and told != stated:
            raise InvalidInputError(
                "unit_contradicted",
                f"the file says that {name} is in {told}, not in {stated}",
                where=self.read.file.name,
                remedy="Leave out --currency-unit.",
            )
        return _CENT if (told or stated) == "cents" else Decimal(1)


class _CellError(Exception):
    """What is wrong with a row, in words; the caller knows the line."""


@lru_cache(maxsize=1 << 16)
def _count(cell: str) -> int:
    return read_count(cell.strip())


def _picker(places: list[int]) -> Callable[[list[str]], tuple[str, ...]]:
    """A function from a row to its cells at these places."""
    if len(places) > 1:
        return itemgetter(*places)
    return lambda cells: tuple(cells[place] for place in places)


def _is_number(cell: str) -> bool:
    try:
        read_amount(cell)
    except ValueError:
        return False
    return True


def _hull(span: Window | None, window: Window) -> Window:
    if span is None:
        return window
    return Window(min(span.start_s, window.start_s), max(span.end_s, window.end_s))
