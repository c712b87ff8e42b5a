"""Findings: what they are, and how they are read back, as they stand or as they stood at an instant.

A finding whose figures or words change keeps the former ones in ``finding_history``, with the instants between which
they stood; one that comes back after it closed is a new row. What stands behind a finding is kept beside it and is
neither part of what it is nor of what it says. They are written by ``finding_replacement``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, text

from usage_pipeline.ledger.finding_evidence import Behind, Record
from usage_pipeline.ledger.workspaces import CHOSEN_WORKSPACES

ACKNOWLEDGED_BY_PEOPLE = frozenset({"restated_after_final"})
"""Codes whose ground never goes away (a restatement has happened): they stay open until a person acknowledges them.

They are derived anew from the kept figures like every other finding, so the order of arrival does not matter.
"""


@dataclass(frozen=True, slots=True)
class Finding:
    """A difference or a problem of one day: of a cell, of a slice, or of both. Figures are in the measure's unit.

    ``behind`` is what it rests on; two findings that differ in that alone are equal.
    """

    code: str
    day: date
    explanation: str
    provider: str | None = None
    account: str | None = None
    route: str | None = None
    family: str | None = None
    model: str | None = None
    feed_id: int | None = None
    endpoint: str | None = None
    measure: str | None = None
    figure_provider: Decimal | int | None = None
    figure_hermes: Decimal | int | None = None
    difference: Decimal | int | None = None
    behind: Behind = field(default=Behind(), compare=False)


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """That a person has seen a finding and lets it be: when, who, and what they noted. Who and what may be unknown."""

    at: datetime
    by: str | None
    note: str | None


@dataclass(frozen=True, slots=True)
class StoredFinding:
    """A finding with its life: when it was first seen, since when it says what it says, when it closed (None: open).

    ``feed`` is the slug of the feed that it is about; ``evidence`` are the records of
    :mod:`usage_pipeline.ledger.finding_evidence`.
    """

    finding_id: int
    workspace: str
    finding: Finding
    first_seen: datetime
    last_seen: datetime
    closed_at: datetime | None
    stated_at: datetime
    evidence: list[Record]
    feed: str | None = None
    acknowledged: Acknowledgement | None = None


IDENTITY = ("code", "provider", "account", "route", "family", "model", "feed_id", "endpoint", "measure")
STATED = ("explanation", "figure_provider", "figure_hermes", "difference")
VERSION = (*STATED, "evidence", "stated_at")
_FINDING_ID_MAX = 2**63 - 1  # PostgreSQL's bigint


def read_findings(
    connection: Connection,
    first_day: date,
    end_day: date,
    workspace: str | None = None,
    *,
    open_only: bool = True,
    as_of: datetime | None = None,
) -> Iterator[StoredFinding]:
    """The findings of the half-open range of days. An open one was last seen when its day was last reconciled.

    ``as_of`` gives them as they stood at that instant: those that had been seen, what they said, and whether they
    were open.
    """
    return _read(
        connection,
        "f.day >= :first_day AND f.day < :end_day"
        f" AND {CHOSEN_WORKSPACES} AND (NOT :open_only OR f.closed_at IS NULL OR f.closed_at > :as_of)",
        {"first_day": first_day, "end_day": end_day, "workspace": workspace, "open_only": open_only},
        as_of,
    )


def find_finding(connection: Connection, finding_id: int) -> StoredFinding | None:
    """The finding of that number; None where there is none."""
    if not 0 < finding_id <= _FINDING_ID_MAX:
        return None
    return next(_read(connection, "f.finding_id = :finding_id", {"finding_id": finding_id}, None), None)


@dataclass(frozen=True, slots=True)
class FormerWords:
    """What a finding said between two instants."""

    explanation: str
    figure_provider: Decimal | None
    figure_hermes: Decimal | None
    difference: Decimal | None
    stated_at: datetime
    superseded_at: datetime


def former_words(connection: Connection, finding_id: int) -> list[FormerWords]:
    """What a finding said before, oldest first."""
    rows = connection.execute(
        text(
            "SELECT explanation, figure_provider, figure_hermes, difference, stated_at, superseded_at"
            " FROM finding_history WHERE finding_id = :finding_id ORDER BY superseded_at, stated_at"
        ),
        {"finding_id": finding_id},
    )
    return [FormerWords(*row) for row in rows]


def _read(
    connection: Connection, where: str, parameters: Mapping[str, Any], as_of: datetime | None
) -> Iterator[StoredFinding]:
    """The findings that the condition chooses; it is made of this module's own constants."""
    columns = ", ".join(VERSION)
    rows = connection.execute(
        text(
            f"SELECT f.finding_id, w.slug AS workspace, e.slug AS feed, f.day,"
            f" {', '.join(f'f.{name}' for name in IDENTITY)},"
            " f.first_seen, f.closed_at, f.acknowledged_at, f.acknowledged_by, f.acknowledged_note, f.changed_at,"
            f" c.now AS reconciled_at, {', '.join(f'v.{name}' for name in VERSION)}"
            " FROM findings AS f JOIN workspaces AS w USING (workspace_id)"
            f" CROSS JOIN LATERAL (SELECT {', '.join(f'f.{name}' for name in VERSION)} WHERE f.stated_at <= :as_of"
            f" UNION ALL SELECT {columns} FROM finding_history AS h WHERE h.finding_id = f.finding_id"
            " AND h.stated_at <= :as_of AND :as_of < h.superseded_at AND :is_past) AS v"
            " LEFT JOIN feeds AS e ON e.feed_id = f.feed_id"
            " LEFT JOIN reconciliations AS c ON c.workspace_id = f.workspace_id AND c.day = f.day"
            f" WHERE f.first_seen <= :as_of AND {where} ORDER BY f.day, w.slug, f.code, f.identity, f.finding_id"
        ),
        # Without an instant everything that is stored has been seen.
        {**parameters, "as_of": as_of or datetime.max.replace(tzinfo=UTC), "is_past": as_of is not None},
    )
    for row in rows.mappings():
        yield _stored(dict(row), as_of)


def _stored(row: Mapping[str, Any], as_of: datetime | None) -> StoredFinding:
    finding = Finding(day=row["day"], **{name: row[name] for name in (*IDENTITY, *STATED)})
    closed_at: datetime | None = row["closed_at"]
    acknowledged_at: datetime | None = row["acknowledged_at"]
    last_seen: datetime = closed_at or row["reconciled_at"] or row["changed_at"]
    if as_of is not None:
        closed_at = closed_at if closed_at is not None and closed_at <= as_of else None
        acknowledged_at = acknowledged_at if acknowledged_at is not None and acknowledged_at <= as_of else None
        last_seen = min(last_seen, as_of)
    return StoredFinding(
        finding_id=row["finding_id"],
        workspace=row["workspace"],
        finding=finding,
        first_seen=row["first_seen"],
        last_seen=last_seen,
        closed_at=closed_at,
        stated_at=row["stated_at"],
        evidence=row["evidence"],
        feed=row["feed"],
        acknowledged=Acknowledgement(acknowledged_at, row["acknowledged_by"], row["acknowledged_note"])
        if acknowledged_at is not None
        else None,
    )


def days_with_findings(
    connection: Connection,
    workspace_id: int,
    codes: Sequence[str],
    first_day: date,
    end_day: date,
    feed_id: int | None = None,
) -> list[date]:
    """Days of the half-open range on which a finding of one of the codes is open, of one feed where it is given."""
    rows = connection.execute(
        text(
            "SELECT DISTINCT day FROM findings WHERE workspace_id = :workspace_id AND code = ANY(:codes)"
            " AND day >= :first_day AND day < :end_day AND closed_at IS NULL"
            " AND (CAST(:feed_id AS integer) IS NULL OR feed_id = :feed_id) ORDER BY day"
        ),
        {
            "workspace_id": workspace_id,
            "codes": list(codes),
            "first_day": first_day,
            "end_day": end_day,
            "feed_id": feed_id,
        },
    )
    return list(rows.scalars())
