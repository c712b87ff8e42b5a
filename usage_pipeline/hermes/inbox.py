"""The inbox: every payload is kept verbatim, accepted or refused and why, before anything is made of it.

In comes the body of one batch and the feed that it is for; out goes a receipt. What a batch changes downstream is
found by the newest word per day (:mod:`usage_pipeline.ledger.hermes_batches`), so the order of arrival does not matter.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

from sqlalchemy import Connection

from usage_pipeline.hermes.batch import HermesBatch
from usage_pipeline.hermes.day_digests import day_digests
from usage_pipeline.hermes.payload import PayloadRefusedError, batch_digest, covered_days, parse_payload
from usage_pipeline.ledger.hermes_batches import (
    BatchFinding,
    NewBatch,
    find_batch,
    keep_batch,
    ranges_of_newer_batches,
    refused_since,
)
from usage_pipeline.ledger.hermes_feeds import HermesFeed, bind_feed, lock_hermes_feed
from usage_pipeline.utc_days import day_start, days_between


@dataclass(frozen=True, slots=True)
class RefusalLimits:
    """How much of what was refused is kept for the operator, per feed and UTC day: payloads, and bytes unpacked."""

    payloads: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a batch. ``rows`` is how many rows it holds; ``changed_days`` are the UTC days for which it is
    the newest word, empty for a heartbeat, a repeat, or a batch that a newer one overtook."""

    batch_id: int
    accepted: bool
    duplicate: bool
    schema_version: int
    generated_at: datetime
    source_label: str
    rows: int
    changed_days: tuple[date, ...]
    findings: tuple[str, ...]


def receive(
    connection: Connection,
    feed: HermesFeed,
    body: bytes,
    received_at: datetime,
    *,
    refusals: RefusalLimits | None = None,
) -> Receipt:
    """Keep a batch. A repeat is one batch, also where both come at the same moment.

    Raises :class:`PayloadRefusedError` after the refusal was kept, within ``refusals`` where given: the caller commits
    all the same, since nothing but the refused payload was written.
    """
    try:
        batch = parse_payload(body, received_at=received_at)
        _bind(connection, feed, batch)
    except PayloadRefusedError as refusal:
        keep_refusal(connection, feed, body, received_at, refusal, refusals)
        raise
    new = NewBatch(
        feed_id=feed.feed_id,
        received_at=received_at,
        digest=batch_digest(body),
        body=body,
        schema_version=batch.schema_version,
        generated_at=batch.generated_at,
        source_label=batch.source_label,
        days=covered_days(batch, feed.days_back),
        findings=_findings(batch),
        day_digests=day_digests(batch),
    )
    kept = keep_batch(connection, new)
    return Receipt(
        batch_id=kept.batch_id,
        accepted=True,
        duplicate=not kept.new,
        schema_version=batch.schema_version,
        generated_at=batch.generated_at,
        source_label=batch.source_label,
        rows=len(batch.rows),
        changed_days=_days_of_newest_word(connection, new) if kept.new else (),
        findings=tuple(sorted({finding.code for finding in batch.findings})),
    )


def keep_refusal(
    connection: Connection,
    feed: HermesFeed,
    body: bytes,
    received_at: datetime,
    refusal: PayloadRefusedError,
    limits: RefusalLimits | None,
) -> bool:
    """Keep a refused payload with its reason, once; false where the feed's limits of the UTC day are used up."""
    digest = hashlib.sha256(body).digest()
    if find_batch(connection, feed.feed_id, digest, accepted=False) is not None:
        return True
    if limits is not None:
        lock_hermes_feed(connection, feed)  # so that payloads refused at the same moment are counted one by one
        today = day_start(received_at.astimezone(UTC).date())
        payloads, size = refused_since(connection, feed.feed_id, today)
        if payloads >= limits.payloads or size + len(body) > limits.bytes:
            return False
    keep_batch(
        connection,
        NewBatch(
            feed_id=feed.feed_id,
            received_at=received_at,
            digest=digest,
            body=body,
            refused_code=refusal.code,
            refused_why=refusal.line(),
        ),
    )
    return True


def _bind(connection: Connection, feed: HermesFeed, batch: HermesBatch) -> None:
    """Check the batch's labels, and bind them where nothing is bound yet: of first batches at the same moment that
    contradict each other, one binds."""
    _check_labels(feed, batch)
    if feed.bound_workspace_slug is None or feed.bound_environment is None:
        _check_labels(lock_hermes_feed(connection, feed), batch)
        bind_feed(connection, feed, batch.workspace_slug, batch.environment)


def _days_of_newest_word(connection: Connection, batch: NewBatch) -> tuple[date, ...]:
    if batch.days is None:
        return ()
    newer = ranges_of_newer_batches(connection, batch)
    return tuple(day for day in days_between(*batch.days) if not any(first <= day < end for first, end in newer))


def _findings(batch: HermesBatch) -> Sequence[BatchFinding]:
    """The batch's findings, one of a kind per code, day and measure: where in the payload is not stable."""
    kinds = {(f.code, f.day, f.measure): f for f in reversed(batch.findings)}
    return [
        BatchFinding(
            code=f.code,
            words=f.words,
            day=f.day.isoformat() if f.day else None,
            measure=f.measure,
            stated=None if f.stated is None else str(f.stated),
            found=None if f.found is None else str(f.found),
        )
        for f in reversed(kinds.values())
    ]


def _check_labels(feed: HermesFeed, batch: HermesBatch) -> None:
    """Refuse a batch whose labels contradict those bound to the feed: two installs must not overwrite each other."""
    for name, said, bound in (
        ("workspace.slug", batch.workspace_slug, feed.bound_workspace_slug),
        ("environment", batch.environment, feed.bound_environment),
    ):
        if bound is not None and said != bound:
            raise PayloadRefusedError(
                "payload_labels_contradict",
                f"the payload says {said!r}, the feed {feed.slug} is bound to {bound!r}",
                where=name,
                remedy="Send it to the feed it belongs to, or add a feed for this install.",
            )
