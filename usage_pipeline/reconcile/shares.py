"""Spreading a cell's explained and stand-in figures over the Hermes rows that they come from, so that cuts add up."""

from __future__ import annotations

from collections.abc import Sequence

from usage_pipeline.ledger.reconciled import ShareRow
from usage_pipeline.reconcile.decision import Decided
from usage_pipeline.reconcile.figures import CACHE_WRITE_GROUP, COMPARED, compared
from usage_pipeline.reconcile.sides import CellKey, HermesShare


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


def shares_of_cell(key: CellKey, decided: Decided, rows: Sequence[HermesShare]) -> list[ShareRow]:
    """The cell's shares by Hermes row, in the order of the rows' keys; rows with nothing are left out."""
    ordered = sorted(rows, key=lambda row: row.event_id.bytes)
    found: list[ShareRow] = []
    for share, figures in (("explained", decided.explained), ("stand_in", decided.stand_in)):
        by_row: list[dict[str, int | None]] = [{} for _ in ordered]
        for name in COMPARED:
            total = compared(figures, name)
            if not total:
                continue
            parts = spread(total, [compared(row.figures, name) or 0 for row in ordered])
            for figures_of_row, part in zip(by_row, parts, strict=True):
                if part:
                    figures_of_row["cache_write_unsplit" if name == CACHE_WRITE_GROUP else name] = part
        found.extend(
            ShareRow((key.provider, key.route, key.family, key.model), row.event_id, share, figures_of_row)
            for row, figures_of_row in zip(ordered, by_row, strict=True)
            if figures_of_row
        )
    assert_spread(decided, found)
    return found


def assert_spread(decided: Decided, shares: Sequence[ShareRow]) -> None:
    """Assert that the shares of a cell sum to its figures, cache writes as a group."""
    for share, figures in (("explained", decided.explained), ("stand_in", decided.stand_in)):
        for name in COMPARED:
            parts = sum(compared(row.figures, name) or 0 for row in shares if row.share == share)
            total = compared(figures, name) or 0
            assert not shares or parts == total, f"{share} {name}: {parts} of {total} was spread"
