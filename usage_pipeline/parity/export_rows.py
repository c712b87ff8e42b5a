"""Reading the files of a comparison: every row checked, summed by window and dimensions, nothing counted twice.

In: files and what a person states of them. Out: a :class:`FamilyExport` for each report. Sums are exact; a month of
minute rows is held as its hours, since the store has nothing finer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC
from itertools import pairwise

from usage_pipeline.errors import InvalidInputError
from usage_pipeline.parity.dashboard_csv import DashboardCsv
from usage_pipeline.parity.export_format import AMOUNT, DimensionColumn, ExportFormat
from usage_pipeline.parity.file_reading import ExportFile, FileReading, Number, ReadingRules
from usage_pipeline.parity.windows import Window, in_words

Key = tuple[int, int, int]
"""A window's start and end in epoch seconds, and the number of a combination of dimensions."""


class FamilyExport:
    """All files of one report, as one: its windows, the dimensions and counts that they tell, and the sums."""

    def __init__(self, shape: ExportFormat, rules: ReadingRules) -> None:
        self.format = shape
        self.zone = rules.zone or UTC
        self.files: list[ExportFile] = []
        self.windows: set[Window] = set()
        self.accounts: set[str] = set()
        self.combinations: list[tuple[str | None, ...]] = []
        self.sums: dict[Key, list[Number]] = {}
        self.dimension_columns: dict[str, DimensionColumn] = {}
        self._rules = rules
        self._names = shape.dimension_names
        self._figures: tuple[str, ...] = (*shape.counts.values(), *([AMOUNT] if shape.amounts else []))
        self._numbers: dict[tuple[str | None, ...], int] = {}
        self._identities: dict[tuple[str, ...], int] = {}
        self._told_figures: set[str] = set()
        self._columns_of_files: list[set[str]] = []
        self._dimensions_of_files: list[set[str]] = []

    @property
    def span(self) -> Window | None:
        """From the beginning of the first window to the end of the last, None without any."""
        spans = [one.span for one in self.files if one.span]
        return Window(min(one.start_s for one in spans), max(one.end_s for one in spans)) if spans else None

    @property
    def has_rows(self) -> bool:
        """Whether any row has usage."""
        return bool(self.sums)

    @property
    def dimensions(self) -> tuple[str, ...]:
        """The dimensions that every file with usage has a column for, and that some row fills."""
        told = set().union(*(one.told for one in self.files))
        return tuple(
            name for name in self._names if name in told and all(name in some for some in self._dimensions_of_files)
        )

    def figures_told(self) -> tuple[str, ...]:
        """The figures that every file with usage has a column for, and that some row fills."""
        return tuple(
            name
            for name in dict.fromkeys(self._figures)
            if name in self._told_figures and all(name in some for some in self._columns_of_files)
        )

    def figures_lacking(self) -> tuple[str, ...]:
        """The figures that some file tells and another does not, which therefore cannot be compared."""
        return tuple(sorted(self._told_figures - set(self.figures_told())))

    def measures_of(self, figures: Mapping[str, Number]) -> Mapping[str, Number]:
        """Comparable measures of a sum of the figures that are told."""
        if self.format.derive is None:
            return figures
        counts = {name: value for name, value in figures.items() if isinstance(value, int)}
        return self.format.derive(counts)

    def figures(self, values: Sequence[Number]) -> dict[str, Number]:
        """A row of ``sums`` by name, those figures only that are told."""
        told = set(self.figures_told())
        summed: dict[str, Number] = {}
        for name, value in zip(self._figures, values, strict=True):
            if name in told:
                summed[name] = summed.get(name, 0) + value
        return summed

    def figures_that_do_not_add_up(self) -> tuple[str, int, int] | None:
        """A total whose parts, all told, sum to something else: its name, the total, the sum; else None."""
        if self.format.adds_up is None:
            return None
        total, parts = self.format.adds_up
        if not {total, *parts} <= set(self.figures_told()):
            return None
        places = [self._figures.index(name) for name in parts]
        stated = sum(int(values[self._figures.index(total)]) for values in self.sums.values())
        found = sum(int(values[place]) for values in self.sums.values() for place in places)
        return None if stated == found else (total, stated, found)

    def add(self, file: DashboardCsv) -> None:
        """Read one more file. Raises :class:`InvalidInputError`: what reading and the checks across files raise."""
        read = ExportFile(file, self.format.family)
        FileReading(self, read, self._rules).run()
        for other in self.files:
            _refuse_overlap(other, read)
        self.files.append(read)

    def check(self) -> None:
        """Refuse windows that overlap without being one, which would count twice."""
        for one, other in pairwise(sorted(self.windows)):
            if other.start_s < one.end_s:
                raise InvalidInputError(
                    "windows_overlap",
                    f"the windows {in_words(one)} and {in_words(other)} overlap",
                    where=", ".join(read.file.name for read in self.files),
                    remedy="Export one grain only, or compare the files one by one.",
                )

    # What _Reading needs of the whole.

    def combination(self, values: tuple[str | None, ...]) -> int:
        """The number of a combination of dimensions."""
        number = self._numbers.setdefault(values, len(self.combinations))
        if number == len(self.combinations):
            self.combinations.append(values)
        return number

    def identity(self, cells: tuple[str, ...]) -> int:
        """The number of the words that tell a row from the others of its window."""
        return self._identities.setdefault(cells, len(self._identities))

    def note_columns(self, header: Sequence[str], told_figures: set[str]) -> None:
        """Note what a file with usage has columns for, and which of its figures are ever filled."""
        columns = set(header)
        shape = self.format
        figures = {shape.counts[name] for name in columns & shape.counts.keys()}
        self._columns_of_files.append(figures | ({AMOUNT} if columns & shape.amounts.keys() else set()))
        self._dimensions_of_files.append(
            {column.dimension for name, column in shape.dimensions.items() if name in columns}
        )
        self._told_figures |= told_figures

    @property
    def figure_names(self) -> tuple[str, ...]:
        """The figures in the order of a row of ``sums``."""
        return self._figures


def _refuse_overlap(one: ExportFile, other: ExportFile) -> None:
    """Refuse a row that is in both files, and files of one time that are grouped differently."""
    where = f"{one.file.name} and {other.file.name}"
    both = one.identities & other.identities
    if both:
        start_s, end_s, _ = min(both)
        raise InvalidInputError(
            "files_overlap",
            f"{len(both)} rows are in both files, the first of {in_words(Window(start_s, end_s))};"
            " they would count twice",
            where=where,
            remedy="Name each file once, and export ranges that do not overlap.",
        )


def read_exports(files: Sequence[tuple[DashboardCsv, ExportFormat]], rules: ReadingRules) -> list[FamilyExport]:
    """Read every file, completely, before anything is compared.

    Raises :class:`InvalidInputError`: ``files_overlap`` (the same file twice, or a row in two), ``windows_overlap``,
    ``groupings_differ``, ``formats_mixed``, ``timezone_contradicted``, ``unit_unknown``, ``unit_contradicted``,
    ``line_malformed``, ``file_unreadable``.
    """
    families: dict[str, FamilyExport] = {}
    seen: dict[tuple[str, str], DashboardCsv] = {}
    for file, shape in files:
        first = seen.setdefault((file.sha256, shape.family), file)
        if first is not file:
            raise InvalidInputError(
                "files_overlap",
                "the two files are the same, byte for byte",
                where=f"{first.name} and {file.name}",
                remedy="Name each file once.",
            )
        family = families.setdefault(shape.family, FamilyExport(shape, rules))
        if family.format != shape:
            raise InvalidInputError(
                "formats_mixed",
                "files of one report, and of different forms",
                where=f"{family.files[0].file.name} and {file.name}",
                remedy="Compare them one by one.",
            )
        family.add(file)
    for family in families.values():
        _refuse_groupings(family)
        family.check()
    return [families[name] for name in sorted(families)]


def _refuse_groupings(family: FamilyExport) -> None:
    used = [one for one in family.files if one.used_span]
    for number, one in enumerate(used):
        for other in used[number + 1 :]:
            differing = (one.told ^ other.told) & family.format.never_blank
            if differing and one.used_span and other.used_span and one.used_span.meets(other.used_span):
                raise InvalidInputError(
                    "groupings_differ",
                    f"one is grouped by {' and '.join(sorted(differing))} and the other is not, over the same time:"
                    " they would count twice",
                    where=f"{one.file.name} and {other.file.name}",
                    remedy="Compare the files one by one.",
                )
