"""What stands behind findings, as it is kept with them: pulls with their raw pages, Hermes batches, failed attempts.

In: findings with the slices and pulls that they rest on. Out: one list of plain records per finding, in a fixed order.
Ids hang on the order of arrival, so evidence is no part of what a finding is or says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Final

from sqlalchemy import Connection, text

from usage_pipeline.ledger.pull_drift import DRIFT_CODES

Record = dict[str, Any]
"""One piece of evidence; ``kind`` is ``pull``, ``batch`` or ``attempt``, instants are ISO 8601 in UTC."""

PAGES_NAMED_MAX: Final = 10
"""A pull may have thousands of pages; the first ones are named, all are counted."""

ATTEMPT_CODES: Final = frozenset({"window_missing", "provider_missing", "lookback_exceeded"})
"""Findings about an answer that is not there: the last attempt is all that stands behind them."""


@dataclass(frozen=True, slots=True)
class Behind:
    """What a finding rests on: slices as they stand, or single pulls. Empty: the slice that the finding names."""

    slices: tuple[int, ...] = ()
    pulls: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Wanted:
    """A finding whose evidence is wanted: its code, what it rests on, and the feed and endpoint that it names."""

    code: str
    behind: Behind
    feed_id: int | None
    endpoint: str | None


# Every statement names the pull whose raw pages hold the day's content, which may be older than the one that says it.
_SLICES: Final = """
SELECT s.slice_id, s.feed_id, s.endpoint, f.slug, s.last_attempt_at, s.last_attempt_error_code, s.last_attempt_error,
    d.content_pull_id, b.batch_id, b.generated_at
FROM slices AS s JOIN feeds AS f USING (feed_id)
LEFT JOIN pull_days AS d ON d.pull_id = s.observed_pull_id AND d.day = s.day
LEFT JOIN hermes_batches AS b ON b.batch_id = s.observed_batch_id
WHERE s.slice_id = ANY(:slices) OR (s.day = :day AND s.feed_id = ANY(:feeds))
"""
# Drift is told of the newest pull, which may have stopped before its rows became a slice's.
_NEWEST: Final = """
SELECT DISTINCT ON (feed_id, endpoint) feed_id, endpoint, content_pull_id FROM pull_days
WHERE day = :day AND feed_id = ANY(:feeds)
ORDER BY feed_id, endpoint, started_at DESC, digest DESC, pull_id DESC
"""
_CONTENT: Final = "SELECT pull_id, content_pull_id FROM pull_days WHERE day = :day AND pull_id = ANY(:pulls)"
_PULLS: Final = f"""
SELECT p.pull_id, f.slug, p.endpoint, p.started_at, count(r.page_number) AS pages,
    (array_agg(r.page_number ORDER BY r.page_number) FILTER (WHERE r.page_number IS NOT NULL))[1:{PAGES_NAMED_MAX}]
FROM pulls AS p JOIN feeds AS f USING (feed_id)
LEFT JOIN raw_pages AS r ON r.pull_id = p.pull_id AND r.first_day <= :day AND :day <= r.last_day
WHERE p.pull_id = ANY(:pulls) GROUP BY p.pull_id, f.slug
"""
_FEEDS: Final = "SELECT feed_id, slug FROM feeds WHERE feed_id = ANY(:feeds)"


def evidence_of(connection: Connection, day: date, wanted: Sequence[Wanted]) -> list[list[Record]]:
    """The evidence of each finding of a day, in the order in which they are given. A few statements for all of them."""
    if not wanted:
        return []
    rests = _Rests(connection, day, wanted)
    resting = [rests.slices_of(one) for one in wanted]
    pulls_of = [rests.pulls_of(one, rows) for one, rows in zip(wanted, resting, strict=True)]
    pulls = _pulls(connection, day, sorted(set().union(*pulls_of)))
    return [
        [
            *(rests.attempts(one, rows) if one.code in ATTEMPT_CODES else ()),
            *sorted((pulls[pull] for pull in of_one), key=_place),
            *_batches(rows),
        ]
        for one, rows, of_one in zip(wanted, resting, pulls_of, strict=True)
    ]


def evidence_names(records: Sequence[Record]) -> list[str]:
    """The evidence in short: the raw pages and batches by the names that the commands take, and failed attempts."""
    names: list[str] = []
    for record in records:
        if record["kind"] == "pull":
            names.extend(f"raw page {page}" for page in record["raw_pages"])
        elif record["kind"] == "batch":
            names.append(f"batch {record['batch_id']}")
        else:
            names.append(f"attempt of {record['attempted_at']}" if record["attempted_at"] else "no attempt")
    return names


class _Rests:
    """What the findings of a day rest on: slices by id and by place, newest pulls by place, contents by pull."""

    def __init__(self, connection: Connection, day: date, wanted: Sequence[Wanted]) -> None:
        feeds = sorted({one.feed_id for one in wanted if one.feed_id is not None})
        pulls = sorted({pull for one in wanted for pull in one.behind.pulls})
        slices = sorted({slice_id for one in wanted for slice_id in one.behind.slices})
        rows = connection.execute(text(_SLICES), {"slices": slices, "day": day, "feeds": feeds}).all()
        self._by_id = {row.slice_id: row for row in rows}
        self._by_place = {(row.feed_id, row.endpoint): row for row in rows}
        self._slugs: dict[int, str] = {}
        self._newest: dict[tuple[int, str], int] = {}
        self._content: dict[int, int] = {}
        if feeds:
            self._slugs = {row[0]: row[1] for row in connection.execute(text(_FEEDS), {"feeds": feeds})}
        if any(one.code in DRIFT_CODES for one in wanted):
            newest = connection.execute(text(_NEWEST), {"day": day, "feeds": feeds})
            self._newest = {(row[0], row[1]): row[2] for row in newest}
        if pulls:
            contents = connection.execute(text(_CONTENT), {"day": day, "pulls": pulls})
            self._content = {row[0]: row[1] for row in contents}

    def slices_of(self, one: Wanted) -> list[Any]:
        rows = [self._by_id[slice_id] for slice_id in one.behind.slices if slice_id in self._by_id]
        if not one.behind.slices and one.feed_id is not None and one.endpoint is not None:
            named = self._by_place.get((one.feed_id, one.endpoint))
            rows = [named] if named is not None else []
        return sorted(rows, key=lambda row: (row.slug, row.endpoint))

    def pulls_of(self, one: Wanted, rows: Sequence[Any]) -> set[int]:
        if one.code in ATTEMPT_CODES:
            return set()
        if one.code in DRIFT_CODES and one.feed_id is not None and one.endpoint is not None:
            newest = self._newest.get((one.feed_id, one.endpoint))
            return set() if newest is None else {newest}
        if one.behind.pulls:
            return {self._content[pull] for pull in one.behind.pulls if pull in self._content}
        return {row.content_pull_id for row in rows if row.content_pull_id is not None}

    def attempts(self, one: Wanted, rows: Sequence[Any]) -> list[Record]:
        """The last attempt at the slice; one that never was is told too."""
        if not rows and one.feed_id is not None:
            return [_attempt(self._slugs[one.feed_id], one.endpoint, None, None, None)]
        return [
            _attempt(row.slug, row.endpoint, row.last_attempt_at, row.last_attempt_error_code, row.last_attempt_error)
            for row in rows
        ]


def _attempt(key: str, endpoint: str | None, at: datetime | None, code: str | None, error: str | None) -> Record:
    return {
        "kind": "attempt",
        "key": key,
        "endpoint": endpoint,
        "attempted_at": _instant(at),
        "error_code": code,
        "error": error,
    }


def _batches(rows: Sequence[Any]) -> list[Record]:
    found = {
        row.batch_id: {
            "kind": "batch",
            "batch_id": row.batch_id,
            "feed": row.slug,
            "generated_at": _instant(row.generated_at),
        }
        for row in rows
        if row.batch_id is not None
    }
    return sorted(found.values(), key=lambda record: (record["feed"], record["generated_at"]))


def _pulls(connection: Connection, day: date, pull_ids: Sequence[int]) -> dict[int, Record]:
    if not pull_ids:
        return {}
    rows = connection.execute(text(_PULLS), {"pulls": list(pull_ids), "day": day})
    return {
        pull_id: {
            "kind": "pull",
            "pull_id": pull_id,
            "key": slug,
            "endpoint": endpoint,
            "started_at": _instant(started_at),
            "pages": pages,
            "raw_pages": [f"{pull_id}/{number}" for number in named or ()],
        }
        for pull_id, slug, endpoint, started_at, pages, named in rows
    }


def _place(record: Record) -> tuple[str, ...]:
    return (record["key"], record["endpoint"], record["started_at"])


def _instant(at: datetime | None) -> str | None:
    return None if at is None else at.astimezone(UTC).isoformat().replace("+00:00", "Z")
