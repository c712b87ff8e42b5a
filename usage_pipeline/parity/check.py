"""The whole comparison: recognise and read every file, find the account, compare each report, remember the outcome.

In: paths, what a person states, a database connection. Out: a :class:`ParityReport`. Nothing is written unless every
file was read and the store could be asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Final

from sqlalchemy import Connection

from usage_pipeline.errors import InvalidInputError, PermanentError
from usage_pipeline.ledger.parity_checks import CheckedDay, NewParityCheck, record_parity_check
from usage_pipeline.parity.comparison import FamilyComparison, compare_family, compared_span
from usage_pipeline.parity.dashboard_csv import open_csv
from usage_pipeline.parity.export_format import Kind
from usage_pipeline.parity.export_rows import FamilyExport, read_exports
from usage_pipeline.parity.file_reading import ReadingRules
from usage_pipeline.parity.registry import Stated, recognise
from usage_pipeline.parity.stored_windows import Account, choose_account, load_family
from usage_pipeline.parity.windows import Window
from usage_pipeline.providers.contract import Provider
from usage_pipeline.settings import Settings

CONFIRMING_TOLERANCE_USD: Final = Decimal("0.01")
"""A comparison that overlooks more than this in a row of a bill confirms no day."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a person asks for: the files, what they say of them, and how to compare.

    ``span`` is None where the files' own range is compared. ``tolerance_usd`` is for one row of a bill.
    """

    files: tuple[Path, ...]
    stated: Stated = field(default_factory=Stated)
    rules: ReadingRules = field(default_factory=ReadingRules)
    workspace: str | None = None
    account: str | None = None
    span: Window | None = None
    tolerance_usd: Decimal = Decimal(0)
    without: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ParityReport:
    """The outcome: equal only where everything of the range was compared and nothing differs."""

    at: datetime
    account: Account
    kind: Kind
    families: tuple[FamilyComparison, ...]
    notes: tuple[tuple[str, str, str], ...]
    check_id: int | None = field(default=None)

    @property
    def is_equal(self) -> bool:
        """Whether every report is."""
        return all(one.is_equal for one in self.families)


def read_files(asked: Asked) -> list[FamilyExport]:
    """Recognise and read every file; the store is not needed yet. Raises what reading raises, and ``kinds_mixed``."""
    files = [open_csv(path) for path in asked.files]
    shaped = [(file, recognise(file, asked.stated)) for file in files]
    first = shaped[0]
    for file, shape in shaped:
        if (shape.provider, shape.kind) != (first[1].provider, first[1].kind):
            raise InvalidInputError(
                "kinds_mixed",
                f"one is {first[1].title}, the other {shape.title}",
                where=f"{first[0].name} and {file.name}",
                remedy="Compare usage and costs, and each provider, by a command of their own.",
            )
    return read_exports(shaped, asked.rules)


def run_parity(
    connection: Connection,
    asked: Asked,
    exports: Sequence[FamilyExport],
    at: datetime,
    providers: Mapping[str, Provider],
    settings: Settings,
) -> ParityReport:
    """Compare files that were read with the store, and remember what came of it.

    Raises :class:`InvalidInputError`: ``range_unknown`` (no row and no stated range), those of ``choose_account``,
    ``windows_cross``, ``nothing_compared``; :class:`PermanentError` ``nothing_pulled``.
    """
    shape = exports[0].format
    told = frozenset(name for one in exports for name in one.accounts)
    account = choose_account(connection, shape.provider, workspace=asked.workspace, account=asked.account, told=told)
    families = []
    for export in exports:
        span = compared_span(export, asked.span)
        if span is None:
            raise InvalidInputError(
                "range_unknown",
                "the file has no row, so it does not tell its range",
                where=", ".join(one.file.name for one in export.files),
                remedy="State the range that was exported with --from and --to.",
            )
        stored = load_family(connection, account, export.format.family, span.days(), providers, settings)
        families.append((export, stored, span))
    if not any(stored.covered for _, stored, _ in families):
        first, last = min(s.start for _, _, s in families), max(s.end for _, _, s in families)
        raise PermanentError(
            "nothing_pulled",
            f"no complete pull of {shape.title} of the account {account.account} stands from {first:%Y-%m-%d}"
            f" to {last:%Y-%m-%d}",
            where="store",
            remedy="Run: usage-pipeline backfill.",
        )
    compared = tuple(
        compare_family(
            connection, account, export, stored, span, tolerance_usd=asked.tolerance_usd, without=asked.without
        )
        for export, stored, span in families
    )
    if not any(one.windows for one in compared):
        raise InvalidInputError(
            "nothing_compared",
            "the range has only a part of each window that the store has",
            where=", ".join(one.file.name for export in exports for one in export.files),
            remedy="Export whole UTC hours or days, or state them with --from and --to.",
        )
    report = ParityReport(at, account, shape.kind, compared, tuple(_notes(exports)))
    return ParityReport(at, account, shape.kind, compared, report.notes, _record(connection, asked, report))


def _record(connection: Connection, asked: Asked, report: ParityReport) -> int:
    days = [
        CheckedDay(
            family=one.family,
            day=day,
            outcome=outcome,
            final=one.stored.day(day).coverage.final,
            whole_slices=[
                part.slice_id
                for part in one.stored.day(day).slices
                if not part.excluded_projects and not part.excluded_upstreams
            ],
        )
        for one in report.families
        for day, outcome in sorted(one.day_outcomes().items())
        if asked.tolerance_usd <= CONFIRMING_TOLERANCE_USD
    ]
    spans = [one.span for one in report.families]
    return record_parity_check(
        connection,
        NewParityCheck(
            at=report.at,
            workspace=asked.workspace,
            provider=report.account.provider,
            account=report.account.account,
            kind=report.kind,
            files=[
                {"name": read.file.name, "sha256": read.file.sha256, "rows": read.rows}
                for one in report.families
                for read in one.export.files
            ],
            first_at=min(span.start for span in spans),
            end_at=max(span.end for span in spans),
            outcome="equal" if report.is_equal else "different",
            totals={
                one.family: {
                    name: {"here": str(figure.here), "there": str(figure.there)} for name, figure in one.totals.items()
                }
                for one in report.families
            },
        ),
        days,
    )


def _notes(exports: Sequence[FamilyExport]) -> list[tuple[str, str, str]]:
    """What a reader should know of the files: (code, file, words)."""
    notes = []
    for export in exports:
        for read in export.files:
            for name in read.unknown_measures:
                words = f"the column {name} is unknown and holds figures; it was not compared"
                notes.append(("unknown_measure_column", read.file.name, words))
            others = [name for name in read.unknown if name not in read.unknown_measures]
            if others:
                words = f"unknown columns, not compared: {', '.join(others)}"
                notes.append(("unknown_columns", read.file.name, words))
            if read.repeated:
                words = f"{read.repeated} rows have the window and dimensions of another row; they were added up"
                notes.append(("rows_repeated", read.file.name, words))
        total = export.figures_that_do_not_add_up()
        if total is not None:
            names = ", ".join(read.file.name for read in export.files)
            notes.append(("totals_off", names, f"{total[0]} is {total[1]}, and its parts add up to {total[2]}"))
    return notes
