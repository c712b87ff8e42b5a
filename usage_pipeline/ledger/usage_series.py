"""Sums of the reconciled cells of one workspace, grouped and chosen by what a cell is: what a chart asks for.

In: a range of days, the dimensions of a cell, values to keep. Out: one :class:`SeriesRow` a group, and the total of
all, from one pass over the cells that the database makes. Figures are those of the cells, so they sum to the report.
Levels (``usage_bytes``) are no sums and stay outside.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

from sqlalchemy import Connection, text

from usage_pipeline.ledger.reconciled import RECONCILED, RECONCILED_COLUMNS, CostFigure
from usage_pipeline.ledger.versions import believed
from usage_pipeline.measures import LEVELS, RECONCILED_MEASURES

CELL_DIMENSIONS: Final = {
    "day": "CAST(c.day AS text)",
    "workspace": "w.slug",
    "provider": "r.provider",
    "route": "r.route",
    "family": "r.family",
    "model": "r.model",
}
"""What a cell can be grouped by, and its SQL."""

SERIES_GROUPS: Final = ("counted", "explained", "unattributed", "excess", "stand_in")
SERIES_COSTS: Final = ("counted", "billed", "computed")
SERIES_MEASURES: Final = tuple(name for name in RECONCILED_MEASURES if name not in LEVELS)

Cell = tuple[str, str, str, str, str]
"""Day (as YYYY-MM-DD), provider, route, family, model."""


@dataclass(frozen=True, slots=True)
class SeriesRow:
    """A group of cells: one value of each dimension, the sums by group and measure (None: no cell tells it), the costs
    in exact US dollars with every basis that is in them, and whether any of the cells is provisional."""

    values: tuple[str | None, ...]
    provisional: bool
    figures: Mapping[str, Mapping[str, int | None]]
    costs: Mapping[str, CostFigure]


def usage_series(
    connection: Connection,
    first_day: date,
    end_day: date,
    workspace: str,
    by: Sequence[str],
    only: Mapping[str, Collection[str]],
    as_of: datetime | None = None,
) -> tuple[list[SeriesRow], SeriesRow]:
    """The groups of the half-open range of days, in order of their values, and the total of all of them.

    ``only`` keeps cells with one of the values, by dimension. Without ``by`` there is the total alone.
    """
    dimensions = [f"{CELL_DIMENSIONS[name]} AS by_{name}" for name in by]
    names = [f"by_{name}" for name in by]
    grouped = f"GROUPING SETS (({', '.join(names)}), ())" if names else "()"
    is_total = f"GROUPING({names[0]}) = 1" if names else "true"
    chosen = "".join(f" AND {CELL_DIMENSIONS[name]} = ANY(:only_{name})" for name in only)
    rows = connection.execute(
        text(
            f"WITH cells AS (SELECT {', '.join([*dimensions, 'r.*'])} {_cells(as_of)}{chosen})"
            f" SELECT {', '.join([is_total, *names])}, coalesce(bool_or(provisional), false), {', '.join(_SUMS)}"
            f" FROM cells GROUP BY {grouped} ORDER BY {', '.join(['1', *(f'{name} NULLS LAST' for name in names)])}"
        ),
        {
            **_range(first_day, end_day, workspace, as_of),
            **{f"only_{name}": sorted(values) for name, values in only.items()},
        },
    )
    groups: list[SeriesRow] = []
    total: SeriesRow | None = None
    for row in rows:
        if row[0]:
            total = _read(row, (), len(by))
        else:
            groups.append(_read(row, tuple(row[1 : 1 + len(by)]), len(by)))
    assert total is not None
    return groups, total


def final_cells(
    connection: Connection, first_day: date, end_day: date, workspace: str, as_of: datetime | None = None
) -> frozenset[Cell]:
    """The cells of the half-open range of days whose figures are final."""
    rows = connection.execute(
        text(
            f"SELECT CAST(c.day AS text), r.provider, r.route, r.family, r.model {_cells(as_of)} AND NOT r.provisional"
        ),
        _range(first_day, end_day, workspace, as_of),
    )
    return frozenset((row[0], row[1], row[2], row[3], row[4]) for row in rows)


def _cells(as_of: datetime | None) -> str:
    """The FROM and WHERE of the cells of a workspace's range of days."""
    return (
        "FROM reconciliations AS c JOIN workspaces AS w USING (workspace_id)"
        f" JOIN {believed(RECONCILED, RECONCILED_COLUMNS, 'true', as_of)} AS r USING (reconciliation_id)"
        " WHERE w.slug = :workspace AND c.day >= :first_day AND c.day < :end_day"
    )


_SUMS: Final = (
    *(f"sum({group}_{measure})" for group in SERIES_GROUPS for measure in SERIES_MEASURES),
    *(
        part
        for cost in SERIES_COSTS
        for part in (
            f"sum(cost_{cost}_usd)",
            f"array_agg(DISTINCT cost_{cost}_basis) FILTER (WHERE cost_{cost}_usd IS NOT NULL)",
        )
    ),
    "array_agg(DISTINCT cost_computed_version) FILTER (WHERE cost_computed_usd IS NOT NULL)",
)


def _read(row: Sequence[Any], values: tuple[str | None, ...], dimensions: int) -> SeriesRow:
    place = 2 + dimensions
    figures: dict[str, dict[str, int | None]] = {}
    for group in SERIES_GROUPS:
        sums = row[place : place + len(SERIES_MEASURES)]
        figures[group] = {
            name: None if value is None else int(value) for name, value in zip(SERIES_MEASURES, sums, strict=True)
        }
        place += len(SERIES_MEASURES)
    versions = sorted({one for told in row[-1] or () if told for one in told.split("; ")})
    costs: dict[str, CostFigure] = {}
    for cost in SERIES_COSTS:
        usd, bases = row[place : place + 2]
        basis = "; ".join(sorted(basis for basis in bases or () if basis)) or None
        costs[cost] = CostFigure(usd, basis, ("; ".join(versions) or None) if cost == "computed" else None)
        place += 2
    return SeriesRow(values, row[1 + dimensions], figures, costs)


def _range(first_day: date, end_day: date, workspace: str, as_of: datetime | None) -> dict[str, Any]:
    chosen: dict[str, Any] = {"first_day": first_day, "end_day": end_day, "workspace": workspace}
    return {**chosen, "as_of": as_of} if as_of else chosen
