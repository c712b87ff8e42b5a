"""Spreading a cell's explained and stand-in figures over the Hermes rows that they come from, so that cuts add up."""

from __future__ import annotations

from collections.abc import Sequence

from usage_pipeline.errors import InvariantError
from usage_pipeline.ledger.reconciled import ShareRow
from usage_pipeline.reconcile.cells import CellKey, HermesShare
from usage_pipeline.reconcile.decision import Decided
from usage_pipeline.reconcile.figures import CACHE_WRITE_GROUP, COMPARED, Figures, compared

_UNSPLIT = "cache_write_unsplit"


def spread(total: int, weights: Sequence[int]) -> list[int]:
    """``total`` in whole parts proportional to ``weights``, by largest remainder; ties go to the earlier one.

    The parts sum to ``total``. With no weight at all everything goes to the first.
    """
    whole = sum(weights)
    if whole == 0:
        return [total, *([0] * (len(weights) - 1))] if weights else []
    parts = [total * weight // whole for weight in weights]
    by_remainder = sorted(range(len(weights)), key=lambda n: (-(total * weights[n] % whole), n))
    for n in by_remainder[: total - sum(parts)]:
        parts[n] += 1
    return parts


def spread_over_rows(figures: Figures, rows: Sequence[HermesShare]) -> list[tuple[HermesShare, dict[str, int | None]]]:
    """The figures in parts proportional to the rows', in the order of the rows' keys; rows with nothing are left out.

    Cache writes are spread as one group, and are unsplit then, as Hermes tells them. Raises :class:`InvariantError`
    ``conservation_broken`` where there is something to spread and no row.
    """
    ordered = sorted(rows, key=lambda row: row.event_id.bytes)
    parts: list[dict[str, int | None]] = [{} for _ in ordered]
    for name in COMPARED:
        total = compared(figures, name)
        if not total:
            continue
        if not ordered:
            raise InvariantError(
                "conservation_broken",
                f"{name}: {total} comes from Hermes, and no Hermes row is there",
                remedy="Nothing was published; this is a defect of the program, report it with the day.",
            )
        shares = spread(total, [compared(row.figures, name) or 0 for row in ordered])
        for of_row, share in zip(parts, shares, strict=True):
            if share:
                of_row[_UNSPLIT if name == CACHE_WRITE_GROUP else name] = share
    return [(row, of_row) for row, of_row in zip(ordered, parts, strict=True) if of_row]


def shares_of_cell(key: CellKey, decided: Decided, rows: Sequence[HermesShare]) -> list[ShareRow]:
    """The cell's explained and stand-in figures by Hermes row."""
    return [
        ShareRow((key.provider, key.route, key.family, key.model), row.event_id, share, figures)
        for share, of_cell in (("explained", decided.explained), ("stand_in", decided.stand_in))
        for row, figures in spread_over_rows(of_cell, rows)
    ]
