"""``POST /api/ingest/hermes-usage``: one batch of one Hermes install, kept before it is acknowledged.

The order is: whose token it is, then whether the body may be read, then the body, then the inbox. Of a request without
a good token no body is read. The statuses are those that the plugin in use knows (200, 400, 401, 503), and beside them
403, 408, 413, 415 and 429, which it reports as any failure.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import Response

from usage_pipeline.hermes.batch import PayloadRefusedError
from usage_pipeline.hermes.inbox import Receipt, RefusalLimits, keep_refusal, receive
from usage_pipeline.ledger.feed_settings import get_settings, utc_day
from usage_pipeline.ledger.feed_tokens import any_token, slug_of_token
from usage_pipeline.ledger.hermes_batches import batches_since
from usage_pipeline.ledger.hermes_feeds import HermesFeed, get_hermes_feed
from usage_pipeline.service.answers import RETRY_SECONDS, JsonAnswer, RefusedRequestError
from usage_pipeline.service.bearer import bearer_token
from usage_pipeline.service.request_body import check_buckets, is_packed, read_body, unpacked
from usage_pipeline.service.runtime import ServiceRuntime
from usage_pipeline.service.threads import Threads

LARGE_BODY_BYTES: Final = 1024 * 1024
"""Bodies above this are decoded one after the other, since decoded they take many times their size."""

_RATE_WINDOW: Final = timedelta(minutes=1)


async def take_in(request: Request, runtime: ServiceRuntime, threads: Threads) -> Response:
    """Take in one batch. Raises :class:`RefusedRequestError` for whatever is not answered with 200."""
    feed = await threads.run(admit, runtime, bearer_token(request))
    request.state.feed = feed.slug
    packed = is_packed(request)
    settings = runtime.settings
    async with threads.body_slot():
        body = await read_body(
            request, bytes_max=settings.ingest_body_bytes_max, seconds_max=settings.ingest_read_seconds
        )
        if packed:
            body = await threads.run(_unpack, runtime, feed, body)
        if len(body) > LARGE_BODY_BYTES:
            async with threads.one_large_body:
                receipt, received_at = await threads.run(keep, runtime, feed, body)
        else:
            receipt, received_at = await threads.run(keep, runtime, feed, body)
    request.state.note = f"batch {receipt.batch_id}{' again' if receipt.duplicate else ''}"
    return JsonAnswer(
        {
            "rowsWritten": receipt.rows,
            "sourceLabel": receipt.source_label,
            "syncedAt": received_at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "batchId": receipt.batch_id,
            "duplicate": receipt.duplicate,
            "changedDays": [day.isoformat() for day in receipt.changed_days],
            "findings": list(receipt.findings),
        }
    )


def admit(runtime: ServiceRuntime, token: str) -> HermesFeed:
    """The feed that the token may write, if it may now. Raises :class:`RefusedRequestError` 401, 403, 429 or 503."""
    at = runtime.clock()
    # Only read: a transaction would cost two more ways to the database and back.
    with runtime.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        slug = slug_of_token(connection, token, at)
        if slug is None:
            raise _not_admitted(connection)
        feed = get_hermes_feed(connection, slug)
        if not get_settings(connection, feed.feed_id).enabled_on(utc_day(at)):
            raise RefusedRequestError(
                403, "feed_disabled", f"The feed {slug} is disabled. Ask the operator to enable it.", unread=True
            )
        most = runtime.settings.ingest_batches_per_minute
        if most and batches_since(connection, feed.feed_id, at - _RATE_WINDOW, most) >= most:
            raise RefusedRequestError(
                429,
                "feed_floods",
                f"The feed {slug} sent {most} batches within a minute, the most that it may.",
                retry_after=int(_RATE_WINDOW.total_seconds()),
                unread=True,
            )
    return feed


def keep(runtime: ServiceRuntime, feed: HermesFeed, body: bytes) -> tuple[Receipt, datetime]:
    """Give a payload to the inbox and commit. The receipt, and when it was received (UTC).

    Raises :class:`RefusedRequestError` 400 or 413, after the refused payload was committed.
    """
    at = runtime.clock()
    with runtime.engine.connect() as connection:
        limits = _refusal_limits(runtime)
        try:
            try:
                check_buckets(body, runtime.settings.ingest_buckets_max)
            except PayloadRefusedError as refusal:
                keep_refusal(connection, feed, body, at, refusal, limits)
                raise
            receipt = receive(connection, feed, body, at, refusals=limits)
        except PayloadRefusedError as refusal:
            connection.commit()  # the refused payload, and nothing else of it
            raise _refused(refusal) from None
        connection.commit()
    return receipt, at


def _unpack(runtime: ServiceRuntime, feed: HermesFeed, body: bytes) -> bytes:
    try:
        return unpacked(body, runtime.settings.ingest_body_bytes_max)
    except PayloadRefusedError as refusal:
        with runtime.engine.begin() as connection:
            keep_refusal(connection, feed, body, runtime.clock(), refusal, _refusal_limits(runtime))
        raise _refused(refusal) from None


def _refused(refusal: PayloadRefusedError) -> RefusedRequestError:
    return RefusedRequestError.of(413 if refusal.code == "payload_too_large" else 400, refusal)


def _refusal_limits(runtime: ServiceRuntime) -> RefusalLimits:
    return RefusalLimits(runtime.settings.ingest_refusals_per_day, runtime.settings.ingest_refusal_bytes_per_day)


def _not_admitted(connection: Connection) -> RefusedRequestError:
    if any_token(connection):
        return RefusedRequestError(
            401,
            "token_refused",
            "The token is missing, unknown or revoked. Send it as Authorization: Bearer TOKEN.",
            unread=True,
            headers={"WWW-Authenticate": "Bearer"},
        )
    return RefusedRequestError(
        503,
        "no_token_configured",
        "No Hermes feed has a token yet. Ask the operator to run: usage-pipeline hermes add-feed.",
        retry_after=RETRY_SECONDS,
        unread=True,
    )
