"""Making the stored findings of a day equal to what its reconciling found: opened, restated, closed.

A finding whose figures or words change keeps the former ones in ``finding_history``. What a person has acknowledged is
not raised again with the same figures. Evidence alone is no change: it is put in place and nothing else moves.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import date, datetime

from sqlalchemy import Connection, text

from usage_pipeline.ledger.finding_evidence import Record, Wanted, evidence_of
from usage_pipeline.ledger.findings import ACKNOWLEDGED_BY_PEOPLE, IDENTITY, STATED, VERSION, Finding


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
    evidence = dict(zip(wanted, evidence_of(connection, day, [_wanted(one) for one in wanted.values()]), strict=True))
    open_rows = connection.execute(
        text(
            "SELECT identity, finding_id, evidence, explanation, figure_provider, figure_hermes, difference"
            " FROM findings WHERE workspace_id = :workspace_id AND day = :day AND closed_at IS NULL"
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
        elif tuple(row[3:]) != tuple(getattr(finding, name) for name in STATED):
            _restate(connection, row.finding_id, finding, evidence[identity], now)
        elif row.evidence != evidence[identity]:
            _support(connection, row.finding_id, evidence[identity])
    fresh = {identity: finding for identity, finding in wanted.items() if identity not in standing}
    if fresh:
        _open(connection, workspace_id, fresh, evidence, now)
    return moved + len(fresh)


def _wanted(finding: Finding) -> Wanted:
    return Wanted(finding.code, finding.behind, finding.feed_id, finding.endpoint)


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
    parts = [workspace_id, finding.day.isoformat(), *(getattr(finding, name) for name in IDENTITY)]
    return hashlib.blake2b(json.dumps(parts, ensure_ascii=False).encode(), digest_size=16).digest()


def _open(
    connection: Connection,
    workspace_id: int,
    findings: Mapping[bytes, Finding],
    evidence: Mapping[bytes, list[Record]],
    now: datetime,
) -> None:
    names = (*IDENTITY, *STATED, "day")
    connection.execute(
        text(
            "INSERT INTO findings (identity, code, workspace_id, day, provider, account, route, family, model,"
            " feed_id, endpoint, measure, figure_provider, figure_hermes, difference, explanation, evidence,"
            " first_seen, changed_at, stated_at) VALUES (:identity, :code, :workspace_id, :day, :provider, :account,"
            " :route, :family, :model, :feed_id, :endpoint, :measure, :figure_provider, :figure_hermes, :difference,"
            " :explanation, CAST(:evidence AS jsonb), :now, :now, :now)"
        ),
        [
            {
                **{name: getattr(finding, name) for name in names},
                "identity": identity,
                "workspace_id": workspace_id,
                "evidence": json.dumps(evidence[identity]),
                "now": now,
            }
            for identity, finding in findings.items()
        ],
    )


def _restate(connection: Connection, finding_id: int, finding: Finding, evidence: list[Record], now: datetime) -> None:
    """Say something else, and keep what was said until now."""
    parameters = {"now": now, "id": finding_id}
    connection.execute(
        text(
            f"INSERT INTO finding_history (finding_id, {', '.join(VERSION)}, superseded_at)"
            f" SELECT finding_id, {', '.join(VERSION)}, :now FROM findings WHERE finding_id = :id"
        ),
        parameters,
    )
    connection.execute(
        text(
            "UPDATE findings SET explanation = :explanation, figure_provider = :figure_provider,"
            " figure_hermes = :figure_hermes, difference = :difference, evidence = CAST(:evidence AS jsonb),"
            " stated_at = :now, changed_at = :now WHERE finding_id = :id"
        ),
        {**parameters, **{name: getattr(finding, name) for name in STATED}, "evidence": json.dumps(evidence)},
    )


def _support(connection: Connection, finding_id: int, evidence: list[Record]) -> None:
    """The same finding, by newer evidence: what it says has not changed."""
    connection.execute(
        text("UPDATE findings SET evidence = CAST(:evidence AS jsonb) WHERE finding_id = :id"),
        {"evidence": json.dumps(evidence), "id": finding_id},
    )


def _close(connection: Connection, finding_id: int, now: datetime) -> None:
    connection.execute(
        text("UPDATE findings SET closed_at = :now, changed_at = :now WHERE finding_id = :id"),
        {"now": now, "id": finding_id},
    )
