"""Comparisons with the providers' own exports that were made, and which days they confirmed.

In: an outcome, with its days. Out: rows of ``parity_checks`` and ``parity_days``, and the answer to "was this day
confirmed equal by an export?". A comparison that failed is not here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import Connection, text


@dataclass(frozen=True, slots=True)
class NewParityCheck:
    """A comparison. ``workspace`` is None where every workspace of the account was compared. ``files`` have a name, a
    digest and a number of rows, ``totals`` exact texts by family and measure. Instants are UTC, the range is half-open.
    """

    at: datetime
    workspace: str | None
    provider: str
    account: str
    kind: str
    files: Sequence[Mapping[str, object]]
    first_at: datetime
    end_at: datetime
    outcome: str
    totals: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class CheckedDay:
    """What came of one family's UTC day: ``equal``, ``different``, ``not_covered`` or ``partial`` (the range had only
    a part of it). ``final`` is whether the store's pull was. ``whole_slices`` are those that were compared with every
    row of theirs."""

    family: str
    day: date
    outcome: str
    final: bool
    whole_slices: Sequence[int]


def record_parity_check(connection: Connection, check: NewParityCheck, days: Sequence[CheckedDay]) -> int:
    """Write a comparison and its days; the number of the comparison."""
    check_id = int(
        connection.execute(
            text(
                "INSERT INTO parity_checks (at, workspace, provider, account, kind, files, first_at, end_at, outcome,"
                " totals) VALUES (:at, :workspace, :provider, :account, :kind, CAST(:files AS jsonb), :first_at,"
                " :end_at, :outcome, CAST(:totals AS jsonb)) RETURNING parity_check_id"
            ),
            {
                "at": check.at,
                "workspace": check.workspace,
                "provider": check.provider,
                "account": check.account,
                "kind": check.kind,
                "files": json.dumps(list(check.files)),
                "first_at": check.first_at,
                "end_at": check.end_at,
                "outcome": check.outcome,
                "totals": json.dumps(check.totals),
            },
        ).scalar_one()
    )
    rows = [(day, slice_id) for day in days for slice_id in (*day.whole_slices, *([] if day.whole_slices else [None]))]
    connection.execute(
        text(
            "INSERT INTO parity_days (parity_check_id, provider, account, family, day, kind, slice_id, content_digest,"
            " final, outcome) SELECT :check_id, :provider, :account, d.family, d.day, :kind, d.slice_id,"
            " s.content_digest, d.final, d.outcome FROM unnest(CAST(:families AS text[]), CAST(:days AS date[]),"
            " CAST(:slice_ids AS bigint[]), CAST(:finals AS boolean[]), CAST(:outcomes AS text[]))"
            " AS d (family, day, slice_id, final, outcome) LEFT JOIN slices AS s USING (slice_id)"
        ),
        {
            "check_id": check_id,
            "provider": check.provider,
            "account": check.account,
            "kind": check.kind,
            "families": [day.family for day, _ in rows],
            "days": [day.day for day, _ in rows],
            "slice_ids": [slice_id for _, slice_id in rows],
            "finals": [day.final for day, _ in rows],
            "outcomes": [day.outcome for day, _ in rows],
        },
    )
    return check_id


def days_confirmed_equal(
    connection: Connection, feed_id: int, endpoint: str, first_day: date, end_day: date
) -> tuple[date, ...]:
    """The UTC days of a feed's endpoint, in the half-open range, that an export confirmed.

    Confirmed is a day whose newest comparison found it equal as a whole, whose pull was final, which counted with every
    row, and whose content is still what was compared: a day restated since is not confirmed any more.
    """
    rows = connection.execute(
        text(
            "SELECT s.day FROM slices AS s CROSS JOIN LATERAL (SELECT d.outcome, d.final, d.content_digest"
            " FROM parity_days AS d JOIN parity_checks AS c USING (parity_check_id) WHERE d.slice_id = s.slice_id"
            " ORDER BY c.at DESC, c.parity_check_id DESC LIMIT 1) AS newest"
            " WHERE s.feed_id = :feed_id AND s.endpoint = :endpoint AND s.day >= :first_day AND s.day < :end_day"
            " AND newest.outcome = 'equal' AND newest.final AND newest.content_digest = s.content_digest ORDER BY s.day"
        ),
        {"feed_id": feed_id, "endpoint": endpoint, "first_day": first_day, "end_day": end_day},
    )
    return tuple(rows.scalars())
