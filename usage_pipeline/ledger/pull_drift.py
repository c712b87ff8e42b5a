"""What pulls had that the provider's contract does not tell, as findings of the days that they stand for.

In: a connection, feeds, UTC days. Out: :class:`SourceFinding` records by day, each naming the raw page on which it was
first seen. Which unanswered dimension is worth telling is decided here once, for findings and for the blocking check.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, text

DRIFT_CODES: Final = ("answer_unknown_field", "totals_off", "rows_not_counted", "dimension_unanswered")

ROWS_TO_MISS_A_DIMENSION: Final = 100
"""In fewer rows a dimension may be null in all of them by chance."""

UNANSWERED: Final = "CROSS JOIN LATERAL jsonb_array_elements_text(n.drift -> 'unanswered_dimensions') AS u (name)"
"""Joins to pulls ``n`` the dimensions ``u`` that they asked for and that were null in every row."""

GRAVE: Final = "(u.name IN ('model', 'upstream_provider') OR (u.name = 'project_id' AND n.projects <> '{}'))"
"""Whether rows without the dimension meet in the wrong cell or scope, or count twice: then the day must not go on."""

LOST: Final = f"""(n.rows_read >= {ROWS_TO_MISS_A_DIMENSION} AND EXISTS (
    SELECT 1 FROM pulls AS p WHERE p.feed_id = n.feed_id AND p.endpoint = n.endpoint AND p.complete
    AND p.started_at < n.started_at AND p.rows_read > 0 AND u.name = ANY(p.dimensions_asked)
    AND NOT coalesce(jsonb_exists(p.drift -> 'unanswered_dimensions', u.name), false)))"""
"""Whether an earlier pull had the dimension and this one has rows enough. Else it may be null by right."""

_NEWEST: Final = (
    "WITH n AS (SELECT DISTINCT ON (d.feed_id, d.endpoint, d.day) d.feed_id, d.endpoint, d.day, d.pull_id,"
    " d.content_pull_id, d.started_at, p.drift, p.projects, p.rows_read"
    " FROM pull_days AS d JOIN pulls AS p ON p.pull_id = d.pull_id"
    " WHERE d.feed_id = ANY(:feed_ids) AND d.day = ANY(:days)"
    " ORDER BY d.feed_id, d.endpoint, d.day, d.started_at DESC, d.digest DESC, d.pull_id DESC)"
)


class SourceFinding(NamedTuple):
    """What a pull's answers or a batch had that is worth a person's look."""

    feed_id: int
    endpoint: str
    code: str
    words: str
    measure: str | None
    stated: Decimal | None
    found: Decimal | None


@dataclass(frozen=True, slots=True)
class _Standing:
    """The newest complete pull of an endpoint's day, where it had drift; ``days`` are all that it is the newest of."""

    feed_id: int
    endpoint: str
    day: date
    pull_id: int
    content_pull_id: int
    drift: dict[str, Any]
    days: list[date]

    def tells(self, seen: str) -> bool:
        """Whether this is the day on which drift is told: the last one that had it, of those the pull stands for."""
        had = self.drift.get("days", {}).get(seen)
        return self.day == max((day for day in self.days if had is None or day.isoformat() in had), default=None)

    def finding(self, connection: Connection, code: str, kind: str, name: str, words: str) -> SourceFinding:
        page = _page(connection, self, f"{kind}.{name}")
        seen = f"; first seen on raw page {page}" if page else ""
        return SourceFinding(self.feed_id, self.endpoint, code, f"{words}{seen}", name, None, None)


def drift_of_days(
    connection: Connection, feed_ids: Sequence[int], days: Sequence[date]
) -> dict[date, list[SourceFinding]]:
    """Drift of the pulls that stand for the days: told once, on the last day that had it and that the pull stands for.

    A dimension whose absence is grave is told on every day that it keeps from going on.
    """
    found: dict[date, list[SourceFinding]] = defaultdict(list)
    for pull in _standing(connection, feed_ids, days):
        found[pull.day] += _fields_and_rows(connection, pull)
        found[pull.day] += _dimensions(connection, pull)
    return {day: findings for day, findings in found.items() if findings}


def _standing(connection: Connection, feed_ids: Sequence[int], days: Sequence[date]) -> list[_Standing]:
    rows = connection.execute(
        text(
            f"{_NEWEST} SELECT n.feed_id, n.endpoint, n.day, n.pull_id, n.content_pull_id, n.drift,"
            " (SELECT array_agg(d.day) FROM pull_days AS d WHERE d.pull_id = n.pull_id AND NOT EXISTS ("
            "SELECT 1 FROM pull_days AS w WHERE (w.feed_id, w.endpoint, w.day) = (d.feed_id, d.endpoint, d.day)"
            " AND (w.started_at, w.digest, w.pull_id) > (d.started_at, d.digest, d.pull_id)))"
            " FROM n WHERE n.drift <> '{}' ORDER BY n.feed_id, n.endpoint, n.day"
        ),
        {"feed_ids": list(feed_ids), "days": list(days)},
    )
    return [_Standing(*row) for row in rows]


def _fields_and_rows(connection: Connection, pull: _Standing) -> list[SourceFinding]:
    kinds = (
        ("unknown_fields", "answer_unknown_field", "the answers have a field that is not known, {!r}, in {} rows"),
        ("totals_off", "totals_off", "the parts of {} do not add up to the answer's own total in {} rows"),
        ("not_counted", "rows_not_counted", "{}: the answers have {} such rows, which are not counted"),
    )
    return [
        pull.finding(connection, code, kind, name, words.format(name, count))
        for kind, code, words in kinds
        for name, count in sorted(pull.drift.get(kind, {}).items())
        if pull.tells(f"{kind}.{name}")
    ]


def _dimensions(connection: Connection, pull: _Standing) -> list[SourceFinding]:
    if not pull.drift.get("unanswered_dimensions"):
        return []
    statement = f"SELECT u.name, {GRAVE}, {LOST} FROM pulls AS n {UNANSWERED} WHERE n.pull_id = :pull_id"
    rows = connection.execute(text(statement), {"pull_id": pull.pull_id})
    return [
        pull.finding(connection, "dimension_unanswered", "unanswered_dimensions", name, unanswered_words(name, grave))
        for name, grave, lost in sorted(rows.all())
        if grave or (lost and pull.tells(f"unanswered_dimensions.{name}"))
    ]


def first_drifted_day(connection: Connection, feed_id: int, before: date) -> date:
    """The first day of the pulls with drift that reach to ``before`` or beyond it, or ``before`` itself."""
    found: date | None = connection.execute(
        text(
            "SELECT min(first_day) FROM pulls WHERE feed_id = :feed_id AND complete AND drift <> '{}'"
            " AND first_day < :before AND end_day > :before"
        ),
        {"feed_id": feed_id, "before": before},
    ).scalar()
    return before if found is None else found


def unanswered_words(name: str, grave: bool) -> str:
    """What is told of a dimension that no row has."""
    return f"{name} was asked for and is null in every row" + ("" if grave else ", unlike in an earlier pull")


def _page(connection: Connection, pull: _Standing, seen: str) -> str | None:
    """``<pull id>/<page number>`` of the raw page on which the drift was first seen.

    A page whose days did not change is kept with the pull that first had them, under that pull's number.
    """
    rows = connection.execute(
        text(
            # The pull's own page; the page that the pull with the content names; any page of the day's content.
            "SELECT r.pull_id, r.page_number FROM ("
            " SELECT 1 AS rank, CAST(:pull_id AS bigint) AS pull_id, CAST(:number AS integer) AS page_number"
            " UNION ALL SELECT 2, p.pull_id, CAST(p.drift -> 'pages' ->> CAST(:seen AS text) AS integer)"
            " FROM pulls AS p"
            " WHERE p.pull_id IN (SELECT d.content_pull_id FROM pull_days AS d WHERE d.pull_id = :pull_id)"
            " UNION ALL SELECT 3, c.pull_id, c.page_number FROM raw_pages AS c WHERE c.pull_id = :content"
            " AND c.first_day <= :day AND :day <= c.last_day"
            ") AS named JOIN raw_pages AS r ON (r.pull_id, r.page_number) = (named.pull_id, named.page_number)"
            " ORDER BY named.rank, r.pull_id DESC, r.page_number LIMIT 1"
        ),
        {
            "pull_id": pull.pull_id,
            "number": pull.drift.get("pages", {}).get(seen),
            "seen": seen,
            "content": pull.content_pull_id,
            "day": pull.day,
        },
    ).all()
    return f"{rows[0][0]}/{rows[0][1]}" if rows else None
