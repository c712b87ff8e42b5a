"""Spreading what a cell counts of Hermes over the Hermes rows that it comes from, so that cuts add up."""

from __future__ import annotations

from collections.abc import Sequence

from usage_pipeline.errors import InvariantError
from usage_pipeline.ledger.reconciled import ShareRow
from usage_pipeline.measures import CACHE_WRITES
from usage_pipeline.reconcile.cells import CellKey, HermesShare
from usage_pipeline.reconcile.decision import Decided
from usage_pipeline.reconcile.figures import (
    CACHE_WRITE_GROUP,
    COMPARED,
    Figures,
    any_positive,
    compared,
    parts_of,
)

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
    if not any_positive(figures):
        return []
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
    """The cell's explained and stand-in figures, and its lower bounds, by Hermes row: what any cut is made of.

    Explained cache writes get the lifetimes that the cell booked them on, in the order of the rows and of the
    lifetimes, so that the rows sum to the cell measure by measure.
    """
    explained = _with_lifetimes(decided.explained, spread_over_rows(decided.explained, rows))
    shares = {
        "explained": explained,
        "stand_in": spread_over_rows(decided.stand_in, rows),
        "lower_bound": _lower_bounds(decided, rows),
    }
    return [
        ShareRow((key.provider, key.route, key.family, key.model), row.event_id, share, figures)
        for share, of_rows in shares.items()
        for row, figures in of_rows
    ]


_OfRows = list[tuple[HermesShare, dict[str, int | None]]]


def _with_lifetimes(of_cell: Figures, of_rows: _OfRows) -> _OfRows:
    """Put the rows' unsplit cache writes on the lifetimes of the cell, until each is used up."""
    left = {name: of_cell.get(name) or 0 for name in CACHE_WRITES}
    told: _OfRows = []
    for row, figures in of_rows:
        filled = {name: value for name, value in figures.items() if name != _UNSPLIT}
        wanted = figures.get(_UNSPLIT) or 0
        for name in CACHE_WRITES:
            taken = min(left[name], wanted)
            if taken:
                filled[name] = taken
                left[name] -= taken
                wanted -= taken
        told.append((row, filled))
    assert not any(left.values()), "the rows' cache writes sum to the cell's"
    return told


def _lower_bounds(decided: Decided, rows: Sequence[HermesShare]) -> _OfRows:
    """The rows' own figures of the measures that count though Hermes alone reports them."""
    names = [part for name in decided.lower_bound for part in parts_of(name)]
    told: _OfRows = []
    for row in sorted(rows, key=lambda one: one.event_id.bytes):
        figures: dict[str, int | None] = {name: value for name in names if (value := row.figures.get(name))}
        if figures:
            told.append((row, figures))
    return told
