"""Findings as stored: opened, updated and closed by what a day's reconciling finds; read back for reports."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from sqlalchemy import Connection, text

from usage_pipeline.ledger.workspaces import CHOSEN_WORKSPACES

ACKNOWLEDGED_BY_PEOPLE = frozenset({"restated_after_final"})
"""Codes whose ground never goes away (a restatement has happened): they stay open until a person acknowledges them.

They are derived anew from the kept figures like every other finding, so the order of arrival does not matter.
"""


@dataclass(frozen=True, slots=True)
class Finding:
    """A difference or a problem of one day: of a cell, of a slice, or of both. Figures are in the measure's unit."""

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


@dataclass(frozen=True, slots=True)
class StoredFinding:
    """A finding with its life: when it was first seen, and when it closed (None: open)."""

    workspace: str
    finding: Finding
    first_seen: datetime
    last_seen: datetime
    closed_at: datetime | None


_IDENTITY = ("code", "provider", "account", "route", "family", "model", "feed_id", "endpoint", "measure")
_STATED = ("explanation", "figure_provider", "figure_hermes", "difference")


def replace_findings(
    connection: Connection, workspace_id: int, day: date, findings: Sequence[Finding], now: datetime
) -> int:
    """Make the open findings of a workspace's day equal to ``findings``; return how many were opened or closed."""
    return _replace(connection, workspace_id, day, findings, now, None, ())


def replace_findings_of_feed(
    connection: Connection,
    workspace_id: int,
    day: date,
    feed_id: int,
    codes: Sequence[str],
    findings: Sequence[Finding],
    now: datetime,
) -> int:
    """As :func:`replace_findings`, of one feed's findings of these codes alone; all others stay as they are."""
    assert all(finding.feed_id == feed_id and finding.code in codes for finding in findings)
    return _replace(connection, workspace_id, day, findings, now, feed_id, codes)


def _replace(
    connection: Connection,
    workspace_id: int,
    day: date,
    findings: Sequence[Finding],
    now: datetime,
    feed_id: int | None,
    codes: Sequence[str],
) -> int:
    """Make the open findings equal to ``findings``: all of the day, or a feed's of some codes."""
    acknowledged = _acknowledged(connection, workspace_id, day)
    wanted = {
        identity: finding
        for finding in findings
        if _stated(finding) not in acknowledged.get(identity := _identity(workspace_id, finding), ())
    }
    open_rows = connection.execute(
        text(
            "SELECT identity, finding_id, code, explanation, figure_provider, figure_hermes, difference FROM findings"
            " WHERE workspace_id = :workspace_id AND day = :day AND closed_at IS NULL"
            " AND (CAST(:feed_id AS integer) IS NULL OR (feed_id = :feed_id AND code = ANY(:codes)))"
        ),
        {"workspace_id": workspace_id, "day": day, "feed_id": feed_id, "codes": list(codes)},
    ).all()
    standing = {bytes(row.identity): row for row in open_rows}
    moved = 0
    for identity, row in standing.items():
        finding = wanted.get(identity)
        if finding is None:
            _close(connection, row.finding_id, now)
            moved += 1
        elif tuple(row[3:]) != tuple(getattr(finding, name) for name in _STATED):
            _restate(connection, row.finding_id, finding, now)
    fresh = {identity: finding for identity, finding in wanted.items() if identity not in standing}
    if fresh:
        _open(connection, workspace_id, fresh, now)
    return moved + len(fresh)


def read_findings(
    connection: Connection,
    first_day: date,
    end_day: date,
    workspace: str | None = None,
    *,
    open_only: bool = True,
) -> Iterator[StoredFinding]:
    """The findings of the half-open range of days. An open one was last seen when its day was last reconciled."""
    rows = connection.execute(
        text(
            "SELECT w.slug AS workspace, f.*, CASE WHEN f.closed_at IS NULL THEN coalesce(c.now, f.changed_at)"
            " ELSE f.closed_at END AS last_seen FROM findings AS f JOIN workspaces AS w USING (workspace_id)"
            " LEFT JOIN reconciliations AS c ON c.workspace_id = f.workspace_id AND c.day = f.day"
            " WHERE f.day >= :first_day AND f.day < :end_day"
            f" AND {CHOSEN_WORKSPACES}"
            " AND (NOT :open_only OR f.closed_at IS NULL) ORDER BY f.day, w.slug, f.code, f.identity, f.finding_id"
        ),
        {"first_day": first_day, "end_day": end_day, "workspace": workspace, "open_only": open_only},
    )
    for row in rows.mappings():
        finding = Finding(day=row["day"], **{name: row[name] for name in (*_IDENTITY, *_STATED)})
        yield StoredFinding(row["workspace"], finding, row["first_seen"], row["last_seen"], row["closed_at"])


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


def _acknowledged(connection: Connection, workspace_id: int, day: date) -> dict[bytes, set[tuple[object, ...]]]:
    """What a person has acknowledged of a day, by identity: the same figures are not raised again."""
    rows = connection.execute(
        text(
            "SELECT identity, figure_provider, figure_hermes, difference FROM findings"
            " WHERE workspace_id = :workspace_id AND day = :day AND acknowledged_at IS NOT NULL"
            " AND code = ANY(:codes)"
        ),
        {"workspace_id": workspace_id, "day": day, "codes": sorted(ACKNOWLEDGED_BY_PEOPLE)},
    )
    found: dict[bytes, set[tuple[object, ...]]] = {}
    for row in rows:
        found.setdefault(bytes(row.identity), set()).add(tuple(row[1:]))
    return found


def _stated(finding: Finding) -> tuple[object, ...]:
    return finding.figure_provider, finding.figure_hermes, finding.difference


def _identity(workspace_id: int, finding: Finding) -> bytes:
    parts = [workspace_id, finding.day.isoformat(), *(getattr(finding, name) for name in _IDENTITY)]
    return hashlib.blake2b(json.dumps(parts, ensure_ascii=False).encode(), digest_size=16).digest()


def _open(connection: Connection, workspace_id: int, findings: Mapping[bytes, Finding], now: datetime) -> None:
    names = (*_IDENTITY, *_STATED, "day")
    connection.execute(
        text(
            "INSERT INTO findings (identity, code, workspace_id, day, provider, account, route, family, model,"
            " feed_id, endpoint, measure, figure_provider, figure_hermes, difference, explanation, first_seen,"
            " changed_at) VALUES (:identity, :code, :workspace_id, :day, :provider, :account, :route, :family,"
            " :model, :feed_id, :endpoint, :measure, :figure_provider, :figure_hermes, :difference, :explanation,"
            " :now, :now)"
        ),
        [
            {
                **{name: getattr(finding, name) for name in names},
                "identity": identity,
                "workspace_id": workspace_id,
                "now": now,
            }
            for identity, finding in findings.items()
        ],
    )


def _restate(connection: Connection, finding_id: int, finding: Finding, now: datetime) -> None:
    connection.execute(
        text(
            "UPDATE findings SET explanation = :explanation, figure_provider = :figure_provider,"
            " figure_hermes = :figure_hermes, difference = :difference, changed_at = :now WHERE finding_id = :id"
        ),
        {**{name: getattr(finding, name) for name in _STATED}, "now": now, "id": finding_id},
    )


def _close(connection: Connection, finding_id: int, now: datetime) -> None:
    connection.execute(
        text("UPDATE findings SET closed_at = :now, changed_at = :now WHERE finding_id = :id"),
        {"now": now, "id": finding_id},
    )
