"""What is reconciled for each day, over every workspace: tokens and cost in a few figures that can be plotted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Final

from sqlalchemy import Connection, text

from usage_pipeline.measures import TOKEN_CLASSES

FIGURES: Final = ("counted", "explained", "unattributed", "stand_in", "excess")
"""The groups of tokens that are told by day."""

_COSTS: Final = ("counted", "billed")


@dataclass(frozen=True, slots=True)
class DayFigures:
    """One UTC day. ``tokens`` are of every class, by ``FIGURES``; ``cost_usd`` is by ``counted`` and ``billed``, exact.

    None: nobody says. Where a part of the day is not known, the figure is the sum of what is.
    """

    tokens: dict[str, int | None]
    cost_usd: dict[str, Decimal | None]


def day_figures(connection: Connection, days: Sequence[date]) -> dict[date, DayFigures]:
    """The figures of the days that were reconciled; nothing for the others."""
    tokens = ", ".join(_sum_of_classes(group) for group in FIGURES)
    costs = ", ".join(f"sum(r.cost_{cost}_usd)" for cost in _COSTS)
    rows = connection.execute(
        text(
            f"SELECT c.day, {tokens}, {costs} FROM reconciliations AS c"
            " LEFT JOIN reconciled_usage AS r USING (reconciliation_id) WHERE c.day = ANY(:days) GROUP BY 1 ORDER BY 1"
        ),
        {"days": list(days)},
    )
    found: dict[date, DayFigures] = {}
    for day, *values in rows:
        counts, amounts = values[: len(FIGURES)], values[len(FIGURES) :]
        found[day] = DayFigures(
            {group: None if value is None else int(value) for group, value in zip(FIGURES, counts, strict=True)},
            dict(zip(_COSTS, amounts, strict=True)),
        )
    return found


def _sum_of_classes(group: str) -> str:
    columns = [f"r.{group}_{name}" for name in TOKEN_CLASSES]
    total = " + ".join(f"coalesce({column}, 0)" for column in columns)
    return f"sum(CASE WHEN num_nonnulls({', '.join(columns)}) > 0 THEN {total} END)"
