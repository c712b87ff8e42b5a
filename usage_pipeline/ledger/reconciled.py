"""Reconciled rows as stored: a workspace's day replaced as a whole, with history; and read back for reports."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from itertools import chain
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import Connection, text

from usage_pipeline.ledger.replacement import Changes, ReplacedTable, replace_slice, typed_copy
from usage_pipeline.ledger.versions import believed
from usage_pipeline.ledger.workspaces import CHOSEN_WORKSPACES
from usage_pipeline.measures import RECONCILED_MEASURES

GROUPS: Final = (
    "reported_by_provider",
    "reported_by_hermes",
    "counted",
    "explained",
    "unattributed",
    "excess",
    "stand_in",
)
"""The seven figures that every cell has per measure."""

COSTS: Final = ("counted", "billed", "computed", "hermes")
"""The four costs of a cell, each with its basis."""

_HEAD = ("provider", "route", "family", "model", "decision", "provisional", "covered_until", "policy")
_VERSIONS = ("rules_version", "alias_version", "lower_bound")
_COST_COLUMNS = (*(f"cost_{cost}_{part}" for cost in COSTS for part in ("usd", "basis")), "cost_computed_version")
RECONCILED_COLUMNS: Final = (
    "reconciliation_id",
    "cell_id",
    "recorded_at",
    *_HEAD,
    *_VERSIONS,
    *(f"{group}_{measure}" for group in GROUPS for measure in RECONCILED_MEASURES),
    *_COST_COLUMNS,
)
RECONCILED: Final = ReplacedTable(
    "reconciled_usage",
    "reconciled_usage_history",
    "cell_id",
    RECONCILED_COLUMNS,
    bookkeeping=("recorded_at",),
    slice_column="reconciliation_id",
)
SHARES: Final = ReplacedTable(
    "reconciled_shares",
    "reconciled_shares_history",
    "share_id",
    ("reconciliation_id", "share_id", "recorded_at", "cell_id", "event_id", "share", *RECONCILED_MEASURES),
    bookkeeping=("recorded_at",),
    slice_column="reconciliation_id",
)


@dataclass(frozen=True, slots=True)
class CostFigure:
    """An exact amount in US dollars and what it rests on; ``usd`` None is not known.

    ``version`` names the versions of the prices behind a computed cost; all other costs have none.
    """

    usd: Decimal | None = None
    basis: str | None = None
    version: str | None = None


@dataclass(frozen=True, slots=True)
class ReconciledRow:
    """One cell as decided. ``figures`` are by group and measure; a missing measure is null."""

    provider: str
    route: str
    family: str
    model: str
    decision: str
    provisional: bool
    covered_until: datetime | None
    policy: str
    rules_version: str
    alias_version: str
    lower_bound: tuple[str, ...]
    figures: Mapping[str, Mapping[str, int | None]]
    costs: Mapping[str, CostFigure]


@dataclass(frozen=True, slots=True)
class ShareRow:
    """A part of a cell's explained or stand-in figures that comes from one Hermes row."""

    cell: tuple[str, str, str, str]
    event_id: UUID
    share: str
    figures: Mapping[str, int | None]


@dataclass(frozen=True, slots=True)
class StoredRow:
    """A reconciled row with its day and workspace. ``now`` is of the day's newest reconciling, ``recorded_at`` of the
    one that brought this version of the row."""

    day: date
    workspace: str
    now: datetime
    row: ReconciledRow
    reconciliation_id: int
    recorded_at: datetime


class LockedDay(NamedTuple):
    """A workspace's day under lock: how much is stored of it, and the instant of its newest reconciling, if any."""

    reconciliation_id: int
    rows: int
    shares: int
    now: datetime | None


def lock_reconciliation(connection: Connection, workspace_id: int, day: date) -> LockedDay:
    """The workspace's day, made if need be and locked."""
    key = {"workspace_id": workspace_id, "day": day}
    connection.execute(
        text(
            "INSERT INTO reconciliations (workspace_id, day) VALUES (:workspace_id, :day)"
            " ON CONFLICT (workspace_id, day) DO NOTHING"
        ),
        key,
    )
    row = connection.execute(
        text(
            "SELECT reconciliation_id, row_count, share_count, now FROM reconciliations"
            " WHERE workspace_id = :workspace_id AND day = :day FOR UPDATE"
        ),
        key,
    ).one()
    return LockedDay(*row)


def replace_reconciled(
    connection: Connection,
    workspace_id: int,
    day: date,
    rows: Sequence[ReconciledRow],
    shares: Sequence[ShareRow],
    now: datetime,
) -> Changes:
    """Make the workspace's reconciled day equal to ``rows``; what did not change is not written."""
    reconciliation_id, row_count, share_count, _ = lock_reconciliation(connection, workspace_id, day)
    changes = replace_slice(
        connection,
        RECONCILED,
        reconciliation_id,
        typed_copy(_copy_rows(reconciliation_id, rows, now)),
        binary=False,
        slice_is_empty=row_count == 0,
        now=now,
    )
    if shares or share_count:
        replace_slice(
            connection,
            SHARES,
            reconciliation_id,
            typed_copy(_copy_shares(reconciliation_id, shares, now)),
            binary=False,
            slice_is_empty=share_count == 0,
            now=now,
        )
    connection.execute(
        text(
            "UPDATE reconciliations SET now = :now, row_count = :rows, share_count = :shares"
            " WHERE reconciliation_id = :id"
        ),
        {"now": now, "rows": len(rows), "shares": len(shares), "id": reconciliation_id},
    )
    return changes


def read_reconciled(
    connection: Connection,
    first_day: date,
    end_day: date,
    workspace: str | None = None,
    as_of: datetime | None = None,
) -> Iterator[StoredRow]:
    """The reconciled rows of the half-open range of days, in order of day, workspace and cell: as they stand, or as
    they were believed at an instant."""
    rows = connection.execute(
        text(
            "SELECT c.day, w.slug AS workspace, c.now, r.* FROM reconciliations AS c"
            " JOIN workspaces AS w USING (workspace_id)"
            f" JOIN {believed(RECONCILED, RECONCILED_COLUMNS, 'true', as_of)} AS r USING (reconciliation_id)"
            " WHERE c.day >= :first_day AND c.day < :end_day"
            f" AND {CHOSEN_WORKSPACES}"
            " ORDER BY c.day, w.slug, r.provider, r.route, r.family, r.model"
        ),
        {
            "first_day": first_day,
            "end_day": end_day,
            "workspace": workspace,
            **({"as_of": as_of} if as_of else {}),
        },
    )
    for row in rows.mappings():
        place = row["day"], row["workspace"], row["now"]
        yield StoredRow(*place, _row(dict(row)), row["reconciliation_id"], row["recorded_at"])


def _row(row: Mapping[str, Any]) -> ReconciledRow:
    return ReconciledRow(
        **{name: row[name] for name in _HEAD},
        rules_version=row["rules_version"],
        alias_version=row["alias_version"],
        lower_bound=tuple(row["lower_bound"]),
        figures={group: {m: row[f"{group}_{m}"] for m in RECONCILED_MEASURES} for group in GROUPS},
        costs={cost: _cost(row, cost) for cost in COSTS},
    )


def _cost(row: Mapping[str, Any], cost: str) -> CostFigure:
    version = row["cost_computed_version"] if cost == "computed" else None
    return CostFigure(row[f"cost_{cost}_usd"], row[f"cost_{cost}_basis"], version)


def _copy_rows(reconciliation_id: int, rows: Sequence[ReconciledRow], now: datetime) -> Iterator[tuple[Any, ...]]:
    for row in rows:
        yield (
            reconciliation_id,
            cell_id((row.provider, row.route, row.family, row.model)),
            now,
            *(getattr(row, name) for name in _HEAD),
            row.rules_version,
            row.alias_version,
            list(row.lower_bound),
            *chain.from_iterable(map(row.figures.get(group, {}).get, RECONCILED_MEASURES) for group in GROUPS),
            *(part for cost in COSTS for part in (row.costs[cost].usd, row.costs[cost].basis)),
            row.costs["computed"].version,
        )


def _copy_shares(reconciliation_id: int, shares: Sequence[ShareRow], now: datetime) -> Iterator[tuple[Any, ...]]:
    for share in shares:
        cell = cell_id(share.cell)
        yield (
            reconciliation_id,
            _hashed([str(cell), str(share.event_id), share.share]),
            now,
            cell,
            share.event_id,
            share.share,
            *(share.figures.get(measure) for measure in RECONCILED_MEASURES),
        )


def cell_id(cell: tuple[str, str, str, str]) -> UUID:
    """The stable id of a cell (provider, route, family, model) within a workspace's day."""
    return _hashed(list(cell))


def _hashed(parts: list[str]) -> UUID:
    text_ = json.dumps(parts, ensure_ascii=False, separators=(",", ":"))
    return UUID(bytes=hashlib.blake2b(text_.encode(), digest_size=16).digest())
