"""The Hermes inbox as stored, and the newest word of each feed on each day."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

import msgspec
import zstandard
from sqlalchemy import Connection, text

from usage_pipeline.errors import PermanentError

_COMPRESSION_LEVEL = 3
_BATCH_ID_MAX = 2**63 - 1  # bigint


@dataclass(frozen=True, slots=True)
class BatchFinding:
    """Something odd in an accepted batch; ``day`` is an ISO date where it is about one."""

    code: str
    words: str
    day: str | None = None
    measure: str | None = None
    stated: str | None = None
    found: str | None = None


@dataclass(frozen=True, slots=True)
class NewBatch:
    """A payload to keep. ``days`` is the half-open range that it covers, None for a heartbeat or a refusal."""

    feed_id: int
    received_at: datetime
    digest: bytes
    body: bytes
    schema_version: int | None = None
    generated_at: datetime | None = None
    source_label: str | None = None
    days: tuple[date, date] | None = None
    findings: Sequence[BatchFinding] = ()
    day_digests: Mapping[date, str] | None = None
    refused_code: str | None = None
    refused_why: str | None = None


@dataclass(frozen=True, slots=True)
class KeptBatch:
    """A payload in the inbox; ``new`` is false where it was there already."""

    batch_id: int
    new: bool


@dataclass(frozen=True, slots=True)
class RefusedBatch:
    """A refused payload kept for the operator. ``received_at`` is UTC, ``body_bytes`` its size as it came."""

    batch_id: int
    feed: str
    received_at: datetime
    code: str
    why: str
    body_bytes: int


@dataclass(frozen=True, slots=True)
class DayWord:
    """The batch that speaks for a feed's day: the newest by ``generated_at``, at one instant the greater digest."""

    feed_id: int
    day: date
    batch_id: int
    generated_at: datetime
    batch_digest: bytes


def find_batch(connection: Connection, feed_id: int, digest: bytes, *, accepted: bool = True) -> int | None:
    """The id of the batch of this digest, if it is in the inbox."""
    found: int | None = connection.execute(
        text(
            "SELECT batch_id FROM hermes_batches WHERE feed_id = :feed_id AND digest = :digest AND accepted = :accepted"
        ),
        {"feed_id": feed_id, "digest": digest, "accepted": accepted},
    ).scalar()
    return found


def keep_batch(connection: Connection, batch: NewBatch) -> KeptBatch:
    """Store a payload verbatim, once: the same payload at the same moment from two processes is one batch too."""
    first, end = batch.days if batch.days else (None, None)
    kept: int | None = connection.execute(
        text(
            "INSERT INTO hermes_batches (feed_id, received_at, digest, body_bytes, body_zstd, accepted, refused_code,"
            " refused_why, schema_version, generated_at, source_label, findings, first_day, end_day, day_digests)"
            " VALUES (:feed_id, :received_at, :digest, :body_bytes, :body, :accepted, :refused_code,"
            " :refused_why, :schema_version, :generated_at, :source_label, CAST(:findings AS jsonb),"
            " :first_day, :end_day, CAST(:day_digests AS jsonb))"
            " ON CONFLICT (feed_id, digest, accepted) DO NOTHING RETURNING batch_id"
        ),
        {
            "feed_id": batch.feed_id,
            "received_at": batch.received_at,
            "digest": batch.digest,
            "body_bytes": len(batch.body),
            "body": zstandard.compress(batch.body, _COMPRESSION_LEVEL),
            "accepted": batch.refused_code is None,
            "refused_code": batch.refused_code,
            "refused_why": batch.refused_why,
            "schema_version": batch.schema_version,
            "generated_at": batch.generated_at,
            "source_label": batch.source_label,
            "findings": msgspec.json.encode(list(batch.findings)).decode(),
            "first_day": first,
            "end_day": end,
            "day_digests": None if batch.day_digests is None else msgspec.json.encode(batch.day_digests).decode(),
        },
    ).scalar()
    if kept is not None:
        return KeptBatch(kept, new=True)
    known = find_batch(connection, batch.feed_id, batch.digest, accepted=batch.refused_code is None)
    assert known is not None
    return KeptBatch(known, new=False)


def ranges_of_newer_batches(connection: Connection, batch: NewBatch) -> list[tuple[date, date]]:
    """The half-open ranges of days on which accepted batches of the feed have a newer word than this one."""
    if batch.days is None:
        return []
    rows = connection.execute(
        text(
            "SELECT DISTINCT first_day, end_day FROM hermes_batches WHERE feed_id = :feed_id AND accepted"
            " AND generated_at >= :generated_at AND (generated_at, digest) > (:generated_at, :digest)"
            " AND first_day < :end_day AND end_day > :first_day"
        ),
        {
            "feed_id": batch.feed_id,
            "generated_at": batch.generated_at,
            "digest": batch.digest,
            "first_day": batch.days[0],
            "end_day": batch.days[1],
        },
    )
    return [(row[0], row[1]) for row in rows]


def newest_generated(connection: Connection) -> dict[int, datetime]:
    """When the newest accepted batch of each feed was generated (UTC), heartbeats included, by feed id."""
    rows = connection.execute(
        text("SELECT feed_id, max(generated_at) FROM hermes_batches WHERE accepted GROUP BY feed_id")
    )
    return {row[0]: row[1] for row in rows}


def batches_since(connection: Connection, feed_id: int, since: datetime, most: int) -> int:
    """How many payloads of a feed were kept since that instant, counted up to ``most``."""
    counted: int = connection.execute(
        text(
            "SELECT count(*) FROM (SELECT 1 FROM hermes_batches"
            " WHERE feed_id = :feed_id AND received_at > :since LIMIT :most) AS lately"
        ),
        {"feed_id": feed_id, "since": since, "most": most},
    ).scalar_one()
    return counted


def refused_since(connection: Connection, feed_id: int, since: datetime) -> tuple[int, int]:
    """How many refused payloads of a feed are kept since that instant, and their bytes as they came."""
    row = connection.execute(
        text(
            "SELECT count(*), COALESCE(sum(body_bytes), 0) FROM hermes_batches"
            " WHERE feed_id = :feed_id AND received_at >= :since AND NOT accepted"
        ),
        {"feed_id": feed_id, "since": since},
    ).one()
    return int(row[0]), int(row[1])


def batch_body(connection: Connection, batch_id: int) -> tuple[bytes, datetime]:
    """A batch's payload as it came, and when it came. Raises :class:`PermanentError` ``payload_pruned``."""
    body, received_at = connection.execute(
        text("SELECT body_zstd, received_at FROM hermes_batches WHERE batch_id = :batch_id"), {"batch_id": batch_id}
    ).one()
    return _unpacked(body, batch_id), received_at


def find_payload(connection: Connection, batch_id: int) -> bytes | None:
    """A payload as it came, accepted or refused; None where no batch has that number.

    Raises :class:`PermanentError` ``payload_pruned`` where retention took its body.
    """
    if not 0 < batch_id <= _BATCH_ID_MAX:
        return None
    body = connection.execute(
        text("SELECT body_zstd FROM hermes_batches WHERE batch_id = :batch_id"), {"batch_id": batch_id}
    ).scalar()
    return None if body is None else _unpacked(body, batch_id)


def _unpacked(body: bytes, batch_id: int) -> bytes:
    if not body:
        raise PermanentError(
            "payload_pruned",
            "its body was pruned by retention",
            where=f"payload {batch_id}",
            remedy="Its digest is kept. What it said is in a backup of before, or in what Hermes sends now.",
        )
    return zstandard.decompress(bytes(body))


def list_refused(connection: Connection, feed: str | None = None) -> tuple[RefusedBatch, ...]:
    """The refused payloads, newest first: of every feed, or of one (its slug)."""
    rows = connection.execute(
        text(
            "SELECT b.batch_id, f.slug, b.received_at, b.refused_code, COALESCE(b.refused_why, ''), b.body_bytes"
            " FROM hermes_batches b JOIN feeds f USING (feed_id)"
            " WHERE NOT b.accepted AND (CAST(:feed AS text) IS NULL OR f.slug = :feed)"
            " ORDER BY b.received_at DESC, b.batch_id DESC"
        ),
        {"feed": feed},
    )
    return tuple(RefusedBatch(*row) for row in rows)


def days_told(connection: Connection, feed_id: int) -> tuple[date, date] | None:
    """The first and the last UTC day for which a batch of the feed speaks, None where there is none."""
    first, last = connection.execute(
        text("SELECT min(day), max(day) FROM hermes_days WHERE feed_id = :feed_id"), {"feed_id": feed_id}
    ).one()
    return None if first is None else (first, last)


def settle_newest_words(connection: Connection, days: Sequence[date]) -> int:
    """Make hermes_days name the newest accepted batch of each feed for each of ``days``; return the days changed."""
    result = connection.execute(
        text(
            "INSERT INTO hermes_days (feed_id, day, batch_id, generated_at, batch_digest)"
            " SELECT DISTINCT ON (b.feed_id, d.day) b.feed_id, d.day, b.batch_id, b.generated_at, b.digest"
            " FROM unnest(CAST(:days AS date[])) AS d (day)"
            " JOIN hermes_batches AS b ON b.accepted AND b.first_day <= d.day AND d.day < b.end_day"
            " ORDER BY b.feed_id, d.day, b.generated_at DESC, b.digest DESC"
            " ON CONFLICT (feed_id, day) DO UPDATE SET batch_id = excluded.batch_id,"
            " generated_at = excluded.generated_at, batch_digest = excluded.batch_digest"
            " WHERE hermes_days.batch_id <> excluded.batch_id"
        ),
        {"days": list(days)},
    )
    return result.rowcount


def newest_words(connection: Connection, days: Sequence[date]) -> list[DayWord]:
    """Which batch speaks for each feed on each of ``days``."""
    rows = connection.execute(
        text(
            "SELECT feed_id, day, batch_id, generated_at, batch_digest FROM hermes_days"
            " WHERE day = ANY(:days) ORDER BY feed_id, day"
        ),
        {"days": list(days)},
    )
    return [DayWord(*row) for row in rows]
