"""Slices: (feed, endpoint, UTC day), locked, replaced and covered as a whole; and the events within them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, text

from usage_pipeline.ledger.event_copy import EVENT_COLUMNS
from usage_pipeline.ledger.replacement import ReplacedTable

EVENTS = ReplacedTable("usage_events", "usage_event_history", "event_id", EVENT_COLUMNS)

BILL_COLUMNS = (
    "slice_id",
    "line_id",
    "source_id",
    "recorded_at",
    "amount_usd",
    "label",
    "model",
    "cost_type",
    "token_type",
    "project_id",
    "user_id",
    "api_key_id",
    "service_tier",
    "context_window",
    "inference_geo",
    "quantity",
    "quantity_unit",
)
BILLS = ReplacedTable("billed_costs", "billed_cost_history", "line_id", BILL_COLUMNS)

_SELECT = "SELECT slice_id, feed_id, endpoint, day, observed_at, observed_digest, content_digest, row_count FROM slices"


@dataclass(frozen=True, slots=True)
class Slice:
    """A slice as stored. ``observed_at`` is None where no complete pull or accepted batch has covered it yet."""

    slice_id: int
    feed_id: int
    endpoint: str
    day: date
    observed_at: datetime | None
    observed_digest: bytes | None
    content_digest: bytes | None
    row_count: int


@dataclass(frozen=True, slots=True)
class Observation:
    """What now covers a slice: the newest complete pull (``pull_id``) or batch (``batch_id``) and what it held."""

    observed_at: datetime
    digest: bytes
    content_digest: bytes
    window_seconds: int
    dimensions_asked: Sequence[str]
    row_count: int
    pull_id: int | None = None
    batch_id: int | None = None
    hours_are_call_time: bool = False


def lock_slice(connection: Connection, feed_id: int, endpoint: str, day: date) -> Slice:
    """The slice's row, made if need be and locked until the transaction ends: one writer of a slice at a time."""
    key = {"feed_id": feed_id, "endpoint": endpoint, "day": day}
    connection.execute(
        text(
            "INSERT INTO slices (feed_id, endpoint, day) VALUES (:feed_id, :endpoint, :day)"
            " ON CONFLICT (feed_id, endpoint, day) DO NOTHING"
        ),
        key,
    )
    row = connection.execute(
        text(f"{_SELECT} WHERE feed_id = :feed_id AND endpoint = :endpoint AND day = :day FOR UPDATE"),
        key,
    ).one()
    return Slice(*row)


def slices_of_endpoint(connection: Connection, feed_id: int, endpoint: str, days: Sequence[date]) -> dict[date, Slice]:
    """The slices of one endpoint that exist, by day."""
    rows = connection.execute(
        text(f"{_SELECT} WHERE feed_id = :feed_id AND endpoint = :endpoint AND day = ANY(:days)"),
        {"feed_id": feed_id, "endpoint": endpoint, "days": list(days)},
    )
    return {row.day: Slice(*row) for row in rows}


def cover(connection: Connection, slice_id: int, seen: Observation) -> None:
    """Note what covers a slice now. Its state (final, provisional) is derived from this when it is reconciled."""
    connection.execute(
        text(
            "UPDATE slices SET observed_at = :observed_at, observed_digest = :digest, observed_pull_id = :pull_id,"
            " observed_batch_id = :batch_id, content_digest = :content_digest, window_seconds = :window_seconds,"
            " dimensions_asked = :dimensions_asked, row_count = :row_count,"
            " hours_are_call_time = :hours_are_call_time WHERE slice_id = :slice_id"
        ),
        {
            "slice_id": slice_id,
            "observed_at": seen.observed_at,
            "digest": seen.digest,
            "pull_id": seen.pull_id,
            "batch_id": seen.batch_id,
            "content_digest": seen.content_digest,
            "window_seconds": seen.window_seconds,
            "dimensions_asked": list(seen.dimensions_asked),
            "row_count": seen.row_count,
            "hours_are_call_time": seen.hours_are_call_time,
        },
    )


def note_attempt(
    connection: Connection,
    feed_id: int,
    endpoint: str,
    days: Sequence[date],
    at: datetime,
    error: tuple[str, str] | None,
) -> None:
    """Note the last attempt on each slice, and its error (code, one line) or None. Coverage stays as it was."""
    parameters: dict[str, Any] = {
        "feed_id": feed_id,
        "endpoint": endpoint,
        "days": list(days),
        "at": at,
        "code": error[0] if error else None,
        "error": error[1] if error else None,
    }
    connection.execute(
        text(
            "INSERT INTO slices (feed_id, endpoint, day, last_attempt_at, last_attempt_error_code, last_attempt_error)"
            " SELECT :feed_id, :endpoint, day, :at, :code, :error FROM unnest(CAST(:days AS date[])) AS day"
            " ON CONFLICT (feed_id, endpoint, day) DO UPDATE SET last_attempt_at = excluded.last_attempt_at,"
            " last_attempt_error_code = excluded.last_attempt_error_code,"
            " last_attempt_error = excluded.last_attempt_error"
            " WHERE slices.last_attempt_at IS NULL OR slices.last_attempt_at <= excluded.last_attempt_at"
        ),
        parameters,
    )
