"""Pulls as stored: each attempt, what a complete one said about each day, and the raw pages that hold it.

A day whose digest is that of the newest complete pull before it keeps no raw page of its own: it names the pull that
has them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Connection, text

from usage_pipeline.errors import PermanentError
from usage_pipeline.utc_days import day_end, day_start


@dataclass(frozen=True, slots=True)
class NewPull:
    """One attempt at one endpoint for a half-open range of days. ``error`` is (code, one line) of a failed one."""

    feed_id: int
    endpoint: str
    first_day: date
    end_day: date
    window_seconds: int
    dimensions_asked: Sequence[str]
    projects: Sequence[str]
    started_at: datetime
    finished_at: datetime
    requests: int
    seconds_waited: float
    pages: int = 0
    rows_read: int = 0
    drift: dict[str, Any] = field(default_factory=dict)
    error: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class NewPage:
    """A verbatim answer, compressed, with the request that it answers (never the secret) and the days it touches."""

    page_number: int
    first_day: date
    last_day: date
    query: dict[str, Any]
    fetched_at: datetime
    digest: bytes
    body_bytes: int
    body_zstd: bytes


class StoredPage(NamedTuple):
    """A raw page as kept: the half-open instants that were asked for (UTC), and its verbatim body, compressed."""

    asked_from: datetime
    asked_until: datetime
    body_zstd: bytes


@dataclass(frozen=True, slots=True)
class PullDay:
    """What the newest complete pull says about a day, under which scope, and the pull whose raw pages hold it."""

    day: date
    pull_id: int
    started_at: datetime
    digest: bytes
    content_pull_id: int
    window_seconds: int
    dimensions_asked: tuple[str, ...]
    projects: tuple[str, ...] = ()


_COLUMNS = (
    "d.day, d.pull_id, d.started_at, d.digest, d.content_pull_id, p.window_seconds, p.dimensions_asked, p.projects"
)
_NEWEST = (
    f"SELECT DISTINCT ON (d.day) {_COLUMNS} FROM pull_days AS d JOIN pulls AS p USING (pull_id)"
    " WHERE d.feed_id = :feed_id AND d.endpoint = :endpoint AND d.day = ANY(:days)"
    " ORDER BY d.day, d.started_at DESC, d.digest DESC, d.pull_id DESC"
)


def newest_pull_days(connection: Connection, feed_id: int, endpoint: str, days: Sequence[date]) -> list[PullDay]:
    """The newest complete pull of each day: by its start, of two at one instant the one with the greater digest."""
    rows = connection.execute(text(_NEWEST), {"feed_id": feed_id, "endpoint": endpoint, "days": list(days)})
    return [_pull_day(row) for row in rows]


def pull_days_since(connection: Connection, feed_id: int, endpoint: str, day: date, since: datetime) -> list[PullDay]:
    """Every complete pull of a day that started at ``since`` or later, oldest first."""
    rows = connection.execute(
        text(
            f"SELECT {_COLUMNS}"
            " FROM pull_days AS d JOIN pulls AS p USING (pull_id) WHERE d.feed_id = :feed_id"
            " AND d.endpoint = :endpoint AND d.day = :day AND d.started_at >= :since"
            " ORDER BY d.started_at, d.digest, d.pull_id"
        ),
        {"feed_id": feed_id, "endpoint": endpoint, "day": day, "since": since},
    )
    return [_pull_day(row) for row in rows]


def disputed_days(
    connection: Connection, feed_id: int, endpoint: str, days: Sequence[date], settling: timedelta
) -> list[date]:
    """The days on which pulls that started ``settling`` after the day's end, or later, do not all say the same."""
    rows = connection.execute(
        text(
            "SELECT day FROM pull_days WHERE feed_id = :feed_id AND endpoint = :endpoint AND day = ANY(:days)"
            " AND started_at >= (day + 1)::timestamp AT TIME ZONE 'UTC' + CAST(:settling AS interval)"
            " GROUP BY day HAVING count(DISTINCT digest) > 1 ORDER BY day"
        ),
        {"feed_id": feed_id, "endpoint": endpoint, "days": list(days), "settling": settling},
    )
    return list(rows.scalars())


def _pull_day(row: Any) -> PullDay:
    return PullDay(row[0], row[1], row[2], bytes(row[3]), row[4], row[5], tuple(row[6]), tuple(row[7]))


def record_failed_pull(connection: Connection, pull: NewPull) -> int:
    """Keep the note of a failed attempt; nothing else changes. Returns the pull's id."""
    assert pull.error is not None, "a failed pull has an error"
    return _insert_pull(connection, pull)


def record_complete_pull(
    connection: Connection, pull: NewPull, digests: dict[date, bytes], pages: Sequence[NewPage]
) -> tuple[int, frozenset[date]]:
    """Keep a complete pull; raw pages only where a day differs from what stood before.

    Returns the pull's id and the days that differ.
    """
    assert pull.error is None, "a complete pull has no error"
    before = {d.day: d for d in newest_pull_days(connection, pull.feed_id, pull.endpoint, list(digests))}
    changed = frozenset(d for d, digest in digests.items() if d not in before or before[d].digest != digest)
    # What retention took is kept anew when it is asked for again.
    kept = changed | {d for d, word in before.items() if is_pruned(connection, word.content_pull_id, d)}
    pull_id = _insert_pull(connection, pull)
    if digests:
        connection.execute(
            text(
                "INSERT INTO pull_days (pull_id, feed_id, endpoint, day, started_at, digest, content_pull_id)"
                " VALUES (:pull_id, :feed_id, :endpoint, :day, :started_at, :digest, :content_pull_id)"
            ),
            [
                {
                    "pull_id": pull_id,
                    "feed_id": pull.feed_id,
                    "endpoint": pull.endpoint,
                    "day": day,
                    "started_at": pull.started_at,
                    "digest": digest,
                    "content_pull_id": pull_id if day in kept else before[day].content_pull_id,
                }
                for day, digest in sorted(digests.items())
            ],
        )
    _insert_pages(connection, pull_id, [p for p in pages if any(p.first_day <= day <= p.last_day for day in kept)])
    return pull_id, changed


def is_pruned(connection: Connection, pull_id: int, day: date) -> bool:
    """Whether retention took the body of a raw page of a pull that touches the day."""
    found = connection.execute(
        text(
            "SELECT EXISTS (SELECT 1 FROM raw_pages WHERE pull_id = :pull_id AND first_day <= :day AND last_day >= :day"
            " AND octet_length(body_zstd) = 0)"
        ),
        {"pull_id": pull_id, "day": day},
    ).scalar_one()
    return bool(found)


def stream_pages(connection: Connection, pull_id: int, first_day: date, last_day: date) -> Iterator[StoredPage]:
    """The raw pages of a pull that touch the days (inclusive), in order, one body at a time.

    Raises :class:`PermanentError` ``raw_pages_pruned`` where retention took one of them.
    """
    listed = connection.execute(
        text(
            "SELECT page_number, first_day, last_day, CAST(query ->> 'start' AS timestamptz),"
            " CAST(query ->> 'end' AS timestamptz) FROM raw_pages WHERE pull_id = :pull_id"
            " AND first_day <= :last_day AND last_day >= :first_day ORDER BY page_number"
        ),
        {"pull_id": pull_id, "first_day": first_day, "last_day": last_day},
    )
    for number, first, last, asked_from, asked_until in listed.all():
        body = connection.execute(
            text("SELECT body_zstd FROM raw_pages WHERE pull_id = :pull_id AND page_number = :number"),
            {"pull_id": pull_id, "number": number},
        ).scalar_one()
        if not body:
            raise PermanentError(
                "raw_pages_pruned",
                f"the stored answer of {first} to {last} is needed, and its body was pruned by retention",
                where=f"raw page {pull_id}/{number}",
                remedy="Ask the provider again: usage-pipeline backfill of these days, which then keeps its answer.",
            )
        # Pages of before the query's instants were kept say by their days what was asked for.
        yield StoredPage(asked_from or day_start(first), asked_until or day_end(last), bytes(body))


def _insert_pull(connection: Connection, pull: NewPull) -> int:
    code, error = pull.error or (None, None)
    pull_id: int = connection.execute(
        text(
            "INSERT INTO pulls (feed_id, endpoint, first_day, end_day, window_seconds, dimensions_asked, projects,"
            " started_at, finished_at, complete, pages, requests, seconds_waited, rows_read, drift, error_code, error)"
            " VALUES (:feed_id, :endpoint, :first_day, :end_day, :window_seconds, :dimensions_asked, :projects,"
            " :started_at, :finished_at, :complete, :pages, :requests, :seconds_waited, :rows_read,"
            " CAST(:drift AS jsonb), :error_code, :error) RETURNING pull_id"
        ),
        {
            "feed_id": pull.feed_id,
            "endpoint": pull.endpoint,
            "first_day": pull.first_day,
            "end_day": pull.end_day,
            "window_seconds": pull.window_seconds,
            "dimensions_asked": list(pull.dimensions_asked),
            "projects": list(pull.projects),
            "started_at": pull.started_at,
            "finished_at": pull.finished_at,
            "complete": pull.error is None,
            "pages": pull.pages,
            "requests": pull.requests,
            "seconds_waited": pull.seconds_waited,
            "rows_read": pull.rows_read,
            "drift": msgspec.json.encode(pull.drift).decode(),
            "error_code": code,
            "error": error,
        },
    ).scalar_one()
    return pull_id


def _insert_pages(connection: Connection, pull_id: int, pages: Sequence[NewPage]) -> None:
    for page in pages:
        connection.execute(
            text(
                "INSERT INTO raw_pages (pull_id, page_number, first_day, last_day, query, fetched_at, digest,"
                " body_bytes, body_zstd) VALUES (:pull_id, :page_number, :first_day, :last_day, CAST(:query AS jsonb),"
                " :fetched_at, :digest, :body_bytes, :body_zstd)"
            ),
            {
                "pull_id": pull_id,
                "page_number": page.page_number,
                "first_day": page.first_day,
                "last_day": page.last_day,
                "query": msgspec.json.encode(page.query).decode(),
                "fetched_at": page.fetched_at,
                "digest": page.digest,
                "body_bytes": page.body_bytes,
                "body_zstd": page.body_zstd,
            },
        )
