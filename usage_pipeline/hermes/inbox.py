"""The inbox: every payload is kept verbatim, accepted or refused and why, before anything is made of it.

In comes the body of one batch and the feed that it is for; out goes a receipt. What a batch changes downstream is
found by the newest word per day (:mod:`usage_pipeline.ledger.hermes_batches`), so the order of arrival does not matter.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from sqlalchemy import Connection

from usage_pipeline.errors import InvalidInputError
from usage_pipeline.hermes.batch import HermesBatch
from usage_pipeline.hermes.payload import PayloadRefusedError, batch_digest, covered_days, parse_payload
from usage_pipeline.ledger.hermes_batches import BatchFinding, NewBatch, find_batch, keep_batch
from usage_pipeline.ledger.hermes_feeds import HermesFeed, bind_feed


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a batch. ``changed_days`` are the UTC days that it covers, empty for a heartbeat or a repeat."""

    batch_id: int
    accepted: bool
    duplicate: bool
    schema_version: int
    generated_at: datetime
    rows: int
    changed_days: tuple[date, ...]
    findings: tuple[str, ...]


def receive(connection: Connection, feed: HermesFeed, body: bytes, received_at: datetime) -> Receipt:
    """Keep a batch. A repeat is one batch.

    Raises :class:`PayloadRefusedError` after the refusal was kept: the caller commits all the same, since nothing but
    the refused payload was written.
    """
    try:
        batch = parse_payload(body, received_at=received_at)
        _check_labels(feed, batch)
    except PayloadRefusedError as refusal:
        _keep_refusal(connection, feed, body, received_at, refusal)
        raise
    digest = batch_digest(body)
    days = covered_days(batch, feed.days_back)
    findings = tuple(sorted({finding.code for finding in batch.findings}))
    earlier = find_batch(connection, feed.feed_id, digest)
    if earlier is not None:
        return Receipt(earlier, True, True, batch.schema_version, batch.generated_at, len(batch.rows), (), findings)
    bind_feed(connection, feed, batch.workspace_slug, batch.environment)
    batch_id = keep_batch(
        connection,
        NewBatch(
            feed_id=feed.feed_id,
            received_at=received_at,
            digest=digest,
            body=body,
            schema_version=batch.schema_version,
            generated_at=batch.generated_at,
            source_label=batch.source_label,
            days=days,
            findings=_findings(batch),
        ),
    )
    changed = tuple(days[0] + timedelta(days=n) for n in range((days[1] - days[0]).days)) if days else ()
    return Receipt(batch_id, True, False, batch.schema_version, batch.generated_at, len(batch.rows), changed, findings)


def _findings(batch: HermesBatch) -> list[BatchFinding]:
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
    said = (batch.workspace_slug, batch.environment)
    bound = (feed.bound_workspace_slug or batch.workspace_slug, feed.bound_environment or batch.environment)
    if said != bound:
        raise PayloadRefusedError(
            "payload_labels_contradict",
            f"the payload says workspace {said[0]!r} and environment {said[1]!r}, the feed is bound to"
            f" {bound[0]!r} and {bound[1]!r}",
            where=feed.slug,
            remedy="Send it to the feed it belongs to, or add a feed for this install.",
        )


def _keep_refusal(
    connection: Connection, feed: HermesFeed, body: bytes, received_at: datetime, refusal: InvalidInputError
) -> None:
    digest = hashlib.sha256(body).digest()
    if find_batch(connection, feed.feed_id, digest, accepted=False) is None:
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
