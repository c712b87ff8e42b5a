"""How many rows stand for each day, and in all; and a range of reconciled days summed for a reader."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Final, Literal

from sqlalchemy import Connection, text

from usage_pipeline.ledger.reconciled import GROUPS
from usage_pipeline.measures import TOKEN_CLASSES

StoredTable = Literal["hermes_days", "usage_events", "billed_costs", "reconciled_usage"]
_OF_DAYS: Final[dict[StoredTable, str]] = {
    "hermes_days": "SELECT day, count(*) FROM hermes_days WHERE day = ANY(:days) GROUP BY 1",
    "usage_events": "SELECT s.day, count(*) FROM slices AS s JOIN usage_events USING (slice_id)"
    " WHERE s.day = ANY(:days) GROUP BY 1",
    "billed_costs": "SELECT s.day, count(*) FROM slices AS s JOIN billed_costs USING (slice_id)"
    " WHERE s.day = ANY(:days) GROUP BY 1",
    "reconciled_usage": "SELECT day, sum(row_count) FROM reconciliations WHERE day = ANY(:days) GROUP BY 1",
}
_SLICES: Final = (
    "SELECT coalesce(sum(row_count), 0) FROM slices AS s"
    " WHERE {} (SELECT 1 FROM billed_costs AS b WHERE b.slice_id = s.slice_id)"
)
_IN_ALL: Final[dict[StoredTable, str]] = {
    "hermes_days": "SELECT count(*) FROM hermes_days",
    "usage_events": _SLICES.format("NOT EXISTS"),
    "billed_costs": _SLICES.format("EXISTS"),
    "reconciled_usage": "SELECT coalesce(sum(row_count), 0) FROM reconciliations",
}


def rows_of_days(connection: Connection, table: StoredTable, days: Sequence[date]) -> dict[date, int]:
    """Rows by UTC day; 0 for a day without."""
    found = dict.fromkeys(days, 0)
    for day, count in connection.execute(text(_OF_DAYS[table]), {"days": list(days)}):
        found[day] = int(count)
    return found


def rows_in_all(connection: Connection, table: StoredTable) -> int:
    """Rows of every day, from the counts that are kept with slices and days: no table is read through."""
    return int(connection.execute(text(_IN_ALL[table])).scalar_one())


def superseded_in_all(connection: Connection) -> int:
    """How many versions of rows were superseded so far, by a newer one or by none."""
    return int(
        connection.execute(
            text(
                "SELECT (SELECT count(*) FROM usage_event_history) + (SELECT count(*) FROM billed_cost_history)"
                " + (SELECT count(*) FROM reconciled_usage_history)"
            )
        ).scalar_one()
    )


@dataclass(frozen=True, slots=True)
class TokenTotals:
    """Tokens of one provider, route and model over some days, every class summed, by ``ledger.reconciled.GROUPS``.

    None: nobody reports it. ``cost_usd`` is the cost that counts, exact; ``provisional`` if any day of it is.
    """

    provider: str
    route: str
    model: str
    tokens: dict[str, int | None]
    cost_usd: Decimal | None
    provisional: bool


def token_totals(connection: Connection, days: Sequence[date]) -> list[TokenTotals]:
    """The reconciled rows of the days, of every workspace, summed by provider, route and model."""
    sums = ", ".join(
        f"sum(CASE WHEN num_nonnulls({columns}) > 0 THEN {total} END)"
        for columns, total in (
            (
                ", ".join(f"r.{group}_{name}" for name in TOKEN_CLASSES),
                " + ".join(f"coalesce(r.{group}_{name}, 0)" for name in TOKEN_CLASSES),
            )
            for group in GROUPS
        )
    )
    rows = connection.execute(
        text(
            f"SELECT r.provider, r.route, r.model, bool_or(r.provisional), sum(r.cost_counted_usd), {sums}"
            " FROM reconciliations AS c JOIN reconciled_usage AS r USING (reconciliation_id)"
            " WHERE c.day = ANY(:days) GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
        ),
        {"days": list(days)},
    )
    return [
        TokenTotals(
            row[0],
            row[1],
            row[2],
            {group: None if value is None else int(value) for group, value in zip(GROUPS, row[5:], strict=True)},
            row[4],
            row[3],
        )
        for row in rows
    ]
