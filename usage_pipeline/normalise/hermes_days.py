"""The newest word of a Hermes feed on a day becomes that day's canonical events.

Three endpoints, never added to each other: ``rollups`` are the day's totals by model, ``rollup_hours`` its shape by
hour, ``rollup_repositories`` a cut of it by repository. The day's rows equal the batch's, whole.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, Engine

from usage_pipeline.hermes.batch import HermesBatch, HermesRow
from usage_pipeline.hermes.payload import parse_payload
from usage_pipeline.ledger.event_copy import SliceIdentity, event_key
from usage_pipeline.ledger.hermes_batches import DayWord, batch_body
from usage_pipeline.ledger.hermes_feeds import HermesFeed
from usage_pipeline.ledger.replacement import Changes, replace_slice, typed_copy
from usage_pipeline.ledger.slices import EVENTS, Observation, Slice, cover, lock_slice, slices_of_endpoint
from usage_pipeline.measures import EVENT_DIMENSIONS, EVENT_MEASURES

HERMES_DAYS: Final = "rollups"
HERMES_HOURS: Final = "rollup_hours"
HERMES_REPOSITORIES: Final = "rollup_repositories"
_ENDPOINTS: Final = {"day": HERMES_DAYS, "hour": HERMES_HOURS, "repository": HERMES_REPOSITORIES}
_WINDOW_SECONDS: Final = {HERMES_DAYS: 86400, HERMES_HOURS: 3600, HERMES_REPOSITORIES: 86400}
_ASKED: Final = ("model", "line_detail")


@dataclass(frozen=True, slots=True)
class _Event:
    """A canonical Hermes event before it is keyed."""

    start: datetime
    dimensions: tuple[str | None, ...]
    measures: tuple[int | None, ...]
    row: HermesRow


@dataclass(slots=True)
class NormalisedHermesDays:
    """What normalising did: rows by what became of them, and the days whose word moved."""

    changes: Changes = field(default_factory=Changes)
    days_moved: set[date] = field(default_factory=set)


def normalise_hermes_days(
    engine: Engine, feed: HermesFeed, words: Sequence[DayWord], now: datetime
) -> NormalisedHermesDays:
    """Make the feed's slices of each word's day equal to what its batch says. One transaction a day."""
    done = NormalisedHermesDays()
    batches: dict[int, HermesBatch] = {}
    with engine.begin() as connection:
        standing = slices_of_endpoint(connection, feed.feed_id, HERMES_DAYS, [word.day for word in words])
    for word in words:
        before = standing.get(word.day)
        if before and (before.observed_at, before.observed_digest) == (word.generated_at, word.batch_digest):
            continue
        done.days_moved.add(word.day)
        with engine.begin() as connection:
            if word.batch_id not in batches:
                body, received_at = batch_body(connection, word.batch_id)
                batches = {word.batch_id: parse_payload(body, received_at=received_at)}
            done.changes += _normalise_day(connection, feed, word, batches[word.batch_id], now)
    return done


def _normalise_day(
    connection: Connection, feed: HermesFeed, word: DayWord, batch: HermesBatch, now: datetime
) -> Changes:
    changes = Changes()
    rows: dict[str, list[HermesRow]] = defaultdict(list)
    for row in batch.rows:
        if row.start.date() == word.day:
            rows[_ENDPOINTS[row.kind]].append(row)
    for endpoint, window_seconds in _WINDOW_SECONDS.items():
        slice_ = lock_slice(connection, feed.feed_id, endpoint, word.day)
        identity = SliceIdentity(feed.slug, endpoint, window_seconds, _ASKED)
        events = [_event(row) for row in rows[endpoint]]
        digest = _digest(events, call_time=batch.hours_are_call_time)
        if digest != slice_.content_digest:
            changes += _replace(connection, slice_, identity, events, word, now)
        cover(
            connection,
            slice_.slice_id,
            Observation(
                observed_at=word.generated_at,
                digest=word.batch_digest,
                content_digest=digest,
                window_seconds=window_seconds,
                dimensions_asked=_ASKED,
                row_count=len(events),
                batch_id=word.batch_id,
                hours_are_call_time=batch.hours_are_call_time,
            ),
        )
    return changes


def _replace(
    connection: Connection,
    slice_: Slice,
    identity: SliceIdentity,
    events: Sequence[_Event],
    word: DayWord,
    now: datetime,
) -> Changes:
    return replace_slice(
        connection,
        EVENTS,
        slice_.slice_id,
        typed_copy(_copy_rows(slice_.slice_id, identity, events, word.batch_id, now)),
        binary=False,
        slice_is_empty=slice_.row_count == 0,
        now=now,
    )


def _event(row: HermesRow) -> _Event:
    values = {"model": row.model, "line_detail": _detail(row)}
    figures = {
        "uncached_input": row.uncached_input,
        "cache_read": row.cache_read,
        "cache_write_unsplit": row.cache_write_unsplit,
        "output": row.output,
        "reasoning": row.reasoning,
        "requests": row.requests,
    }
    return _Event(
        row.start,
        tuple(values.get(name) for name in EVENT_DIMENSIONS),
        tuple(figures.get(name) for name in EVENT_MEASURES),
        row,
    )


def _detail(row: HermesRow) -> str:
    """What only a Hermes row has, as canonical JSON. A v1 or v2 row has no billing: the keys are absent then."""
    detail = {
        "billing_base_url": row.billing_base_url,
        "billing_mode": row.billing_mode,
        "billing_provider": row.billing_provider,
        "provider": row.provider,
        "repository": row.repository,
        "repository_name": row.repository_name,
        "task": row.task,
    }
    known = {name: value for name, value in detail.items() if value is not None}
    return json.dumps(known, ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def _digest(events: Iterable[_Event], *, call_time: bool) -> bytes:
    """The digest of a slice's rows, in the order of their keys, so that an unchanged word rewrites nothing."""
    lines = sorted(
        json.dumps(
            [
                event.start.isoformat(),
                event.dimensions,
                event.measures,
                event.row.counts,
                str(event.row.estimated_cost_usd),
                str(event.row.actual_cost_usd),
            ]
        )
        for event in events
    )
    return hashlib.sha256("\n".join([str(call_time), *lines]).encode()).digest()


def _copy_rows(
    slice_id: int, identity: SliceIdentity, events: Iterable[_Event], batch_id: int, now: datetime
) -> Iterator[tuple[Any, ...]]:
    for event in events:
        yield (
            slice_id,
            UUID(bytes=event_key(identity, event.dimensions, event.start)),
            batch_id,
            event.start,
            now,
            *event.measures,
            event.row.estimated_cost_usd,
            event.row.actual_cost_usd,
            event.row.counts,
            *event.dimensions,
        )
