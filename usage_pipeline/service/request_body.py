"""Reading a request's body within limits: bytes as sent, bytes unpacked, and the time that the sender takes.

In: a request whose sender is known. Out: the payload, unpacked, or a refusal. Memory is bounded by the limit: neither
a body that never ends nor one that unpacks to a thousand times its size is ever held.
"""

from __future__ import annotations

import asyncio
import zlib
from typing import Final

from starlette.requests import Request

from usage_pipeline.hermes.batch import PayloadRefusedError
from usage_pipeline.service.answers import RefusedRequestError

_GZIP_WBITS: Final = 31
_GZIP_NAMES: Final = frozenset({"gzip", "x-gzip"})
_BUCKET_FIELD: Final = b'"usageDate"'


def is_packed(request: Request) -> bool:
    """Whether the body comes gzipped. Raises :class:`RefusedRequestError` 415 for any other encoding."""
    encoding = ",".join(request.headers.getlist("content-encoding")).strip().lower()
    if encoding in _GZIP_NAMES:
        return True
    if encoding in {"", "identity"}:
        return False
    raise RefusedRequestError(
        415,
        "content_encoding_unknown",
        "Content-Encoding: only gzip is unpacked. Send the payload gzipped once, or as it is.",
        field="Content-Encoding",
        unread=True,
        headers={"Accept-Encoding": "gzip"},
    )


async def read_body(request: Request, *, bytes_max: int, seconds_max: float) -> bytes:
    """The body as sent. Raises :class:`RefusedRequestError` 413 or 408; ClientDisconnect where the sender left."""
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared[:20]) > bytes_max:
        raise _too_large(bytes_max, unread=True)
    body = bytearray()
    try:
        async with asyncio.timeout(seconds_max):
            async for chunk in request.stream():
                if len(body) + len(chunk) > bytes_max:
                    raise _too_large(bytes_max, unread=True)
                body += chunk
    except TimeoutError:
        raise RefusedRequestError(
            408,
            "body_too_slow",
            f"The body did not arrive within {seconds_max:g} seconds. Send it again.",
            headers={"Connection": "close"},
        ) from None
    return bytes(body)


def unpacked(body: bytes, bytes_max: int) -> bytes:
    """A gzipped body, unpacked no further than the limit.

    Raises :class:`RefusedRequestError` 413, and PayloadRefusedError ``payload_not_gzip``.
    """
    unpacker = zlib.decompressobj(_GZIP_WBITS)
    try:
        content = unpacker.decompress(body, bytes_max + 1)
    except zlib.error:
        content = None
    if content is not None and len(content) > bytes_max:
        raise _too_large(bytes_max, unread=False)
    if content is None or not unpacker.eof or unpacker.unused_data:
        raise PayloadRefusedError(
            "payload_not_gzip",
            "the body is not one whole gzip stream",
            where="body",
            remedy="Send it gzipped once, or without Content-Encoding.",
        )
    return content


def check_buckets(body: bytes, buckets_max: int) -> None:
    """Refuse a payload with more buckets than the limit before it is decoded, which would take many times its size.

    Raises PayloadRefusedError ``payload_too_many_buckets``.
    """
    buckets = body.count(_BUCKET_FIELD)
    if buckets > buckets_max:
        raise PayloadRefusedError(
            "payload_too_many_buckets",
            f"the payload has {buckets} buckets, at most {buckets_max} are read",
            where="usageDate",
            remedy="Report fewer days at a time.",
        )


def _too_large(bytes_max: int, *, unread: bool) -> RefusedRequestError:
    return RefusedRequestError(
        413,
        "payload_too_large",
        f"The payload has more than {bytes_max} bytes unpacked. Report fewer days at a time.",
        unread=unread,
    )
