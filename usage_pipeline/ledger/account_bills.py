"""Each account's bill of a day beside what its usage costs, as stored with history, and read back for reports."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, text

from usage_pipeline.ledger.reconciled import lock_reconciliation
from usage_pipeline.ledger.replacement import Changes, ReplacedTable, replace_slice, typed_copy
from usage_pipeline.ledger.workspaces import CHOSEN_WORKSPACES

_COLUMNS: Final = (
    "provider",
    "account",
    "route",
    "final",
    "billed_usd",
    "computed_usd",
    "compared_billed_usd",
    "compared_computed_usd",
    "unpriced",
    "difference_usd",
    "tolerance_usd",
    "agrees",
    "reason",
    "reason_usd",
    "reason_words",
    "price_versions",
)
_TABLE: Final = ReplacedTable(
    "account_bills",
    "account_bill_history",
    "bill_id",
    ("reconciliation_id", "bill_id", "recorded_at", *_COLUMNS),
    bookkeeping=("recorded_at",),
    slice_column="reconciliation_id",
)


@dataclass(frozen=True, slots=True)
class ComparedBill:
    """One account's bill of a day and what its counted usage costs, in exact US dollars; None is not known.

    ``provider`` is who bills, ``final`` whether both the bill and the usage are. ``computed_usd`` is None where
    anything used has no price (``unpriced`` names it). The compared amounts are those of what has a price;
    ``difference_usd`` is computed minus billed of these, and lines that name no model count for what has no price where
    that makes it less. ``agrees`` is None where it cannot be told yet. ``reason_usd`` is the part of billed minus
    computed that ``reason`` makes.
    """

    provider: str
    account: str
    route: str
    final: bool
    billed_usd: Decimal | None
    computed_usd: Decimal | None
    compared_billed_usd: Decimal | None
    compared_computed_usd: Decimal | None
    unpriced: tuple[str, ...]
    difference_usd: Decimal | None
    tolerance_usd: Decimal | None
    agrees: bool | None
    reason: str | None
    reason_usd: Decimal | None
    reason_words: str | None
    price_versions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StoredBill:
    """A compared bill with its day and workspace, and since when it stands so."""

    day: date
    workspace: str
    recorded_at: datetime
    bill: ComparedBill


def replace_bills(
    connection: Connection, workspace_id: int, day: date, bills: Sequence[ComparedBill], now: datetime
) -> Changes:
    """Make the workspace's bills of the day equal to ``bills``; what did not change is not written."""
    reconciliation_id = lock_reconciliation(connection, workspace_id, day)[0]
    key = {"id": reconciliation_id}
    count: int = connection.execute(
        text("SELECT bill_count FROM reconciliations WHERE reconciliation_id = :id"), key
    ).scalar_one()
    if not bills and not count:
        return Changes()
    changes = replace_slice(
        connection,
        _TABLE,
        reconciliation_id,
        typed_copy(_copied(reconciliation_id, bills, now)),
        binary=False,
        slice_is_empty=count == 0,
        now=now,
    )
    if len(bills) != count:
        connection.execute(
            text("UPDATE reconciliations SET bill_count = :count WHERE reconciliation_id = :id"),
            {**key, "count": len(bills)},
        )
    return changes


def read_bills(
    connection: Connection,
    first_day: date,
    end_day: date,
    workspace: str | None = None,
    *,
    as_of: datetime | None = None,
) -> Iterator[StoredBill]:
    """The compared bills of the half-open range of days; ``as_of`` gives them as they stood at that instant."""
    columns = ", ".join(("reconciliation_id", "recorded_at", *_COLUMNS))
    versions = f"SELECT {columns} FROM account_bills"
    if as_of is not None:
        versions = (
            f"{versions} WHERE recorded_at <= :as_of UNION ALL SELECT {columns} FROM account_bill_history"
            " WHERE recorded_at <= :as_of AND :as_of < superseded_at"
        )
    rows = connection.execute(
        text(
            "SELECT c.day, w.slug AS workspace, b.* FROM reconciliations AS c JOIN workspaces AS w USING"
            f" (workspace_id) JOIN ({versions}) AS b USING (reconciliation_id) WHERE c.day >= :first_day"
            f" AND c.day < :end_day AND {CHOSEN_WORKSPACES} ORDER BY c.day, w.slug, b.provider, b.account, b.route"
        ),
        {
            "first_day": first_day,
            "end_day": end_day,
            "workspace": workspace,
            **({"as_of": as_of} if as_of is not None else {}),
        },
    )
    for row in rows.mappings():
        yield StoredBill(row["day"], row["workspace"], row["recorded_at"], _bill(dict(row)))


def _bill(row: Mapping[str, Any]) -> ComparedBill:
    values = {name: row[name] for name in _COLUMNS}
    return ComparedBill(
        **{**values, "unpriced": tuple(row["unpriced"]), "price_versions": tuple(row["price_versions"])}
    )


def _copied(reconciliation_id: int, bills: Sequence[ComparedBill], now: datetime) -> Iterator[tuple[Any, ...]]:
    for bill in bills:
        place = json.dumps([bill.provider, bill.account, bill.route], ensure_ascii=False)
        bill_id = UUID(bytes=hashlib.blake2b(place.encode(), digest_size=16).digest())
        values = (getattr(bill, name) for name in _COLUMNS)
        yield (
            reconciliation_id,
            bill_id,
            now,
            *(list(value) if isinstance(value, tuple) else value for value in values),
        )
