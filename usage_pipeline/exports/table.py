"""A table on its way into a file: its columns, its rows one batch after the other, and the sums that they must have.

The sums of what was written are held against those of the reconciled rows in the same snapshot. The last batch is
given away only when they agree, so that nobody can take a wrong export for a whole one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any, Final

from usage_pipeline.errors import InvariantError
from usage_pipeline.exports.columns import Column
from usage_pipeline.pricing.rates import exact_arithmetic

BATCH_ROWS: Final = 5000
"""Rows that are held at once; a row group of a Parquet file has as many."""

Row = tuple[Any, ...]
Amounts = Mapping[str, int | Decimal | None]
"""What a row adds to the control totals, by their names."""


@dataclass(slots=True)
class Control:
    """What an export came to: complete once its last batch was taken.

    ``totals`` are whole counts by measure and exact US dollars by cost; None where no row knows a value.
    ``provisional_days`` are the days of the range with figures that may still change.
    """

    rows: int = 0
    totals: dict[str, int | Decimal | None] = field(default_factory=dict)
    provisional_days: tuple[date, ...] = ()


@dataclass(frozen=True, slots=True)
class Table:
    """An export's content. ``amounts`` tells what a row adds to the sums; ``expected`` what they must be at the end."""

    columns: tuple[Column, ...]
    rows: Iterable[Row]
    amounts: Callable[[Row], Amounts]
    expected: Amounts
    control: Control = field(default_factory=Control)

    def batches(self, rows_max: int = BATCH_ROWS) -> Iterator[list[Row]]:
        """The rows, at most ``rows_max`` at a time; none at all come as one empty batch.

        Raises :class:`InvariantError` ``export_does_not_add_up`` before the last batch.
        """
        held: list[Row] = []
        for row in self.rows:
            if len(held) == rows_max:
                yield held
                held = []
            held.append(row)
            self._enter(row)
        self._assert_adds_up()
        yield held

    def _enter(self, row: Row) -> None:
        totals = self.control.totals
        self.control.rows += 1
        with exact_arithmetic():
            for name, amount in self.amounts(row).items():
                if amount is not None:
                    totals[name] = amount + (totals.get(name) or 0)

    def _assert_adds_up(self) -> None:
        totals = self.control.totals
        differing = [name for name in self.expected if (totals.get(name) or 0) != (self.expected[name] or 0)]
        if differing:
            raise InvariantError(
                "export_does_not_add_up",
                f"{', '.join(differing)}: the rows of the export do not sum to what is counted",
                where="export",
                remedy="No file was written; this is a defect of the program, report it with the days and the options.",
            )
        self.control.totals = {name: totals.get(name) for name in self.expected}
