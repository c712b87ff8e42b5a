"""One report's files held against the store: window by window, by the dimensions and measures that both tell.

In: a :class:`FamilyExport` and a :class:`StoredFamily`. Out: a :class:`FamilyComparison`. Sums are exact integers and
decimals. A row of zeros on one side alone is no difference; what nobody pulled is never taken for zero.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Literal

from sqlalchemy import Connection

from usage_pipeline.errors import InvalidInputError
from usage_pipeline.measures import RECONCILED_MEASURES
from usage_pipeline.parity.cells import day_window
from usage_pipeline.parity.export_format import MEASURES, DimensionColumn
from usage_pipeline.parity.export_rows import FamilyExport
from usage_pipeline.parity.file_reading import Number
from usage_pipeline.parity.stored_windows import (
    Account,
    StoredFamily,
    ids_without_name,
    measure_of,
    stored_rows,
)
from usage_pipeline.parity.windows import Grid, Window, utc_day
from usage_pipeline.pricing.rates import exact_arithmetic

Status = Literal["mismatched", "missing_here", "missing_there"]
RowKey = tuple[Window, tuple[str | None, ...]]


@dataclass(frozen=True, slots=True)
class Figure:
    """One measure on both sides; ``difference`` is the file's figure less the store's."""

    here: Number
    there: Number

    @property
    def difference(self) -> Decimal:
        """There less here, exact."""
        with exact_arithmetic():
            return Decimal(self.there) - Decimal(self.here)


@dataclass(frozen=True, slots=True)
class Difference:
    """A window and combination of dimensions on which the sides do not agree, and why. ``figures`` are the measures
    that differ; a missing row's other side is 0."""

    window: Window
    dimensions: tuple[str | None, ...]
    status: Status
    reason: str
    figures: Mapping[str, Figure]

    @property
    def size(self) -> Decimal:
        """The largest difference of a measure, without its sign."""
        return max(figure.difference.copy_abs() for figure in self.figures.values())


@dataclass(slots=True)
class FamilyComparison:
    """What comparing one report found.

    ``left_out`` are dimensions and measures that only one side tells, with the reason; ``not_covered`` windows that
    the store cannot speak of, ``cut`` those of which the range has only a part, compared on neither side.
    ``outside`` is how many of the files' windows with usage lie outside of the range.
    """

    family: str
    export: FamilyExport
    stored: StoredFamily
    span: Window
    dimensions: tuple[str, ...] = ()
    measures: tuple[str, ...] = ()
    left_out: list[tuple[str, str, str]] = field(default_factory=list)
    totals: dict[str, Figure] = field(default_factory=dict)
    windows: list[Window] = field(default_factory=list)
    not_covered: list[tuple[Window, str]] = field(default_factory=list)
    cut: list[Window] = field(default_factory=list)
    outside: int = 0
    equal_rows: int = 0
    within_tolerance: int = 0
    differences: list[Difference] = field(default_factory=list)

    @property
    def is_equal(self) -> bool:
        """Whether every window of the range was compared whole, and nothing differs."""
        return not self.differences and not self.not_covered

    @property
    def provisional(self) -> int:
        """How many of the compared windows are covered by a pull that was made before the settling time."""
        missing = {window for window, _ in self.not_covered}
        return sum(window not in missing and not self.stored.is_final(window) for window in self.windows)

    def day_outcomes(self) -> dict[date, str]:
        """What came of each UTC day that the range touches: ``equal``, ``different``, ``not_covered``, ``partial``."""
        outcomes: dict[date, str] = {}
        missing = {window for window, _ in self.not_covered}
        different = {one.window for one in self.differences}
        compared: dict[date, list[Window]] = defaultdict(list)
        for window in self.windows:
            for day in window.days():
                compared[day].append(window)
        for window in self.cut:
            for day in window.days():
                compared.setdefault(day, [])
        for day, windows in compared.items():
            whole = utc_day(day)
            seconds = sum(min(one.end_s, whole.end_s) - max(one.start_s, whole.start_s) for one in windows)
            if different & set(windows):
                outcomes[day] = "different"
            elif missing & set(windows):
                outcomes[day] = "not_covered"
            else:
                outcomes[day] = "equal" if seconds == whole.end_s - whole.start_s else "partial"
        return outcomes


def compared_span(export: FamilyExport, stated: Window | None) -> Window | None:
    """The range that is compared: the stated one, else that of the files; None where neither tells.

    Files that leave out windows without usage are taken for whole calendar days, from the first to the last.
    """
    if stated is not None or export.span is None:
        return stated
    if export.format.lists_empty_windows:
        return export.span
    first = export.span.start.astimezone(export.zone).date()
    last = Window(export.span.end_s - 1, export.span.end_s).start.astimezone(export.zone).date()
    return Window(day_window(first, export.zone)[0], day_window(last, export.zone)[1])


def compare_family(
    connection: Connection,
    account: Account,
    export: FamilyExport,
    stored: StoredFamily,
    span: Window,
    *,
    tolerance_usd: Decimal,
    without: Set[str],
) -> FamilyComparison:
    """Compare one report. Raises ``InvalidInputError`` ``windows_cross``."""
    result = FamilyComparison(export.format.family, export, stored, span)
    folded = {window.folded() for window in export.windows if window.meets(span)}
    where = ", ".join(one.file.name for one in export.files)
    grid = Grid(folded, stored.atom_seconds, export.zone, where=where)
    for window in grid.windows_of(span):
        if not span.contains(window):
            result.cut.append(window)
            continue
        result.windows.append(window)
        why = stored.why_not_covered(window)
        if why is not None:
            result.not_covered.append((window, why))
    columns = _dimension_columns(connection, account, export, stored, without, result)
    with exact_arithmetic():
        there = _file_sums(export, grid, columns, result)
        here = _store_sums(connection, account, stored, grid, columns, set(result.windows))
        _choose_measures(export, here, result)
        if not result.measures and (there or here or export.has_rows):
            raise InvalidInputError(
                "nothing_compared",
                f"the file and the store have no figure of {export.format.family} in common",
                where=where,
                remedy="Export the report with its figures, and look whether its columns have values.",
            )
        _compare(there, here, tolerance_usd, result)
    return result


def _dimension_columns(
    connection: Connection,
    account: Account,
    export: FamilyExport,
    stored: StoredFamily,
    without: Set[str],
    result: FamilyComparison,
) -> dict[str, DimensionColumn]:
    """The dimensions that both sides tell; the others are noted with the reason."""
    told, asked = export.dimensions, stored.dimensions()
    chosen: dict[str, DimensionColumn] = {}
    for name in export.format.dimension_names:
        why = None
        if name in without:
            why = "left out by --without"
        elif name not in told:
            why = "the file does not tell it"
        elif name not in asked:
            why = "the store's pulls did not ask for it on every day"
        elif missing := ids_without_name(connection, account, stored, name, export.dimension_columns[name]):
            why = f"the file tells names, and the store has none of {missing} ids (usage-pipeline names refresh)"
        if why is None:
            chosen[name] = export.dimension_columns[name]
        elif name in told or name in asked:
            result.left_out.append(("dimension", name, why))
    result.dimensions = tuple(chosen)
    return chosen


def _file_sums(
    export: FamilyExport, grid: Grid, columns: Mapping[str, DimensionColumn], result: FamilyComparison
) -> dict[RowKey, dict[str, Number]]:
    places = [export.format.dimension_names.index(name) for name in columns]
    chosen = [tuple(values[place] for place in places) for values in export.combinations]
    windows = set(result.windows)
    outside: set[Window] = set()
    sums: dict[RowKey, list[Number]] = {}
    for (start_s, end_s, combination), values in export.sums.items():
        folded = Window(start_s, end_s)
        if not folded.meets(result.span):
            outside.add(folded)
            continue
        window = grid.of_file(folded)
        if window not in windows:
            continue
        key = (window, chosen[combination])
        standing = sums.get(key)
        sums[key] = list(values) if standing is None else [a + b for a, b in zip(standing, values, strict=True)]
    result.outside = len(outside)
    return {key: dict(export.measures_of(export.figures(values))) for key, values in sums.items()}


def _store_sums(
    connection: Connection,
    account: Account,
    stored: StoredFamily,
    grid: Grid,
    columns: Mapping[str, DimensionColumn],
    windows: Set[Window],
) -> dict[RowKey, dict[str, Number | None]]:
    sums: dict[RowKey, dict[str, Number | None]] = {}
    for row in stored_rows(connection, account, stored, columns):
        window = grid.of_store(row.start_s)
        if window not in windows:
            continue
        standing = sums.setdefault((window, row.dimensions), {})
        for name, value in row.figures.items():
            if value is not None:
                standing[name] = (standing.get(name) or 0) + value
    return sums


def _choose_measures(
    export: FamilyExport,
    here: Mapping[RowKey, Mapping[str, Number | None]],
    result: FamilyComparison,
) -> None:
    """The measures that both sides tell. A side without any row tells 0 of each."""
    told = (
        tuple(export.measures_of(dict.fromkeys(export.figures_told(), 0)))
        if export.has_rows
        else export.format.measures_if_empty
    )
    reported = {name for figures in here.values() for name in figures}
    chosen = []
    for name in told:
        if here and not reported & set(MEASURES.get(name, (name,))):
            result.left_out.append(("measure", name, "the store does not have it"))
        else:
            chosen.append(name)
    for name in export.figures_lacking():
        result.left_out.append(("measure", name, "not every file has a column for it"))
    compared = {column for name in chosen for column in MEASURES.get(name, (name,))}
    for name in RECONCILED_MEASURES:
        if name not in compared and any(figures.get(name) for figures in here.values()):
            result.left_out.append(("measure", name, "the file does not tell it"))
    result.measures = tuple(chosen)


def _compare(
    there: Mapping[RowKey, Mapping[str, Number]],
    here: Mapping[RowKey, Mapping[str, Number | None]],
    tolerance_usd: Decimal,
    result: FamilyComparison,
) -> None:
    totals: dict[str, list[Number]] = {name: [0, 0] for name in result.measures}
    why_missing = dict(result.not_covered)
    is_money = result.family == "costs"
    for key in sorted({*there, *here}, key=_order):
        figures = {
            name: Figure(measure_of(here.get(key, {}), name) or 0, there.get(key, {}).get(name, 0))
            for name in result.measures
        }
        for name, figure in figures.items():
            totals[name][0] += figure.here
            totals[name][1] += figure.there
        differing = {name: figure for name, figure in figures.items() if figure.difference}
        if not differing:
            result.equal_rows += 1
        elif is_money and all(one.difference.copy_abs() <= tolerance_usd for one in differing.values()):
            result.equal_rows += 1
            result.within_tolerance += 1
        else:
            status: Status = (
                "missing_here" if key not in here else "missing_there" if key not in there else "mismatched"
            )
            reason = why_missing.get(key[0]) or _reason(result, key, status)
            result.differences.append(Difference(key[0], key[1], status, reason, differing))
    result.totals = {name: Figure(pair[0], pair[1]) for name, pair in totals.items()}


def _reason(result: FamilyComparison, key: RowKey, status: Status) -> str:
    if status == "mismatched":
        return "figures differ"
    if status == "missing_there":
        return "the file has no such row"
    scope = [result.stored.day(day).projects for day in key[0].days()]
    if scope and None not in scope:
        told = dict(zip(result.dimensions, key[1], strict=True))
        if "project_id" in told and all(told["project_id"] not in (projects or ()) for projects in scope):
            return "out of scope: no key answers for this project"
    return "pulled, but there is no such row"


def _order(key: RowKey) -> tuple[Window, tuple[str, ...]]:
    return key[0], tuple(value or "" for value in key[1])


def worst(differences: Sequence[tuple[str, Difference]], most: int) -> list[tuple[str, Difference]]:
    """The largest differences, of the same size the earliest."""
    return sorted(differences, key=lambda one: (-one[1].size, one[1].window, one[0]))[:most]
