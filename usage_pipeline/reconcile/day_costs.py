"""What a decided day costs at given prices: of each cell, and of each line of the bill that is a row of its own.

In: a day whose cells are decided and whose bill is read, and whoever gives quotes. Out: the costs, and which quotes
they rest on. Nothing is read or written, so one day can be asked at several prices.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from usage_pipeline.ledger.reconcile_inputs import BilledSum
from usage_pipeline.pricing.quotes import Quotes
from usage_pipeline.reconcile.cells import CellKey, DecidedCell
from usage_pipeline.reconcile.money import CellCost, DayBills, bill_day, cost_of_cell, line_cells
from usage_pipeline.reconcile.sides import DaySides


@dataclass(frozen=True, slots=True)
class DayCosts:
    """The costs of a day's cells and of its billed lines beside them; what of a cell has no price, in words."""

    bills: DayBills
    cells: Mapping[CellKey, CellCost]
    lines: Mapping[CellKey, CellCost]
    unpriced: Mapping[CellKey, frozenset[str]]


@dataclass(frozen=True, slots=True)
class DecidedDay:
    """A workspace's day with every cell decided, and the billed lines that count."""

    sides: DaySides
    decided: Sequence[DecidedCell]
    lines: list[BilledSum]
    bill_counts: bool

    def costs(self, prices: Quotes) -> DayCosts:
        """What the day costs at these prices."""
        bills = bill_day(self.sides, self.lines, prices)
        cells: dict[CellKey, CellCost] = {}
        unpriced: dict[CellKey, frozenset[str]] = {}
        for one in self.decided:
            cells[one.key], unpriced[one.key] = cost_of_cell(
                one, bills, prices, self.sides.day, bill_counts=self.bill_counts
            )
        return DayCosts(bills, cells, line_cells(self.sides, bills, bill_counts=self.bill_counts), unpriced)
