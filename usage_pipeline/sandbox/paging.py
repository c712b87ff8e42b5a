"""The bucket grid and the opaque page tokens that both APIs share.

In: a range and a width. Out: the buckets of one page and the token of the next. A token binds itself to the request's
parameters by a digest, so a token replayed with other parameters is told apart.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct
from collections.abc import Iterable
from dataclasses import dataclass

MINUTE_SECONDS = 60
WIDTH_SECONDS = {"1m": MINUTE_SECONDS, "1h": 3600, "1d": 86400}
_LAYOUT = struct.Struct(">q8sqH")
_PREFIX = "page_"


@dataclass(frozen=True, slots=True)
class Bucket:
    """A half-open stretch [start_s, end_s) in Unix seconds, inside one cell of the grid."""

    start_s: int
    end_s: int


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a page begins, and ``end_s``, the range's end when the first page was asked for; pages count from 1."""

    end_s: int
    next_start_s: int
    page_number: int


def clipped_buckets(start_s: int, end_s: int, width_s: int, limit: int) -> tuple[Bucket, ...]:
    """At most ``limit`` buckets of the UTC grid that cover [start_s, end_s), the first and last clipped to it."""
    buckets: list[Bucket] = []
    at_s = start_s
    while at_s < end_s and len(buckets) < limit:
        next_s = min(at_s - at_s % width_s + width_s, end_s)
        buckets.append(Bucket(at_s, next_s))
        at_s = next_s
    return tuple(buckets)


def fingerprint(endpoint: str, parameters: Iterable[tuple[str, str]]) -> bytes:
    """Eight bytes that change when any parameter but ``page`` changes; the order of parameters does not matter."""
    kept = sorted((name, value) for name, value in parameters if name != "page")
    return hashlib.blake2b(repr((endpoint, kept)).encode(), digest_size=8).digest()


def page_token(cursor: Cursor, digest: bytes) -> str:
    """The opaque token of a cursor."""
    packed = _LAYOUT.pack(cursor.end_s, digest, cursor.next_start_s, cursor.page_number)
    return _PREFIX + base64.urlsafe_b64encode(packed).decode()


def read_page_token(token: str, digest: bytes) -> Cursor | None:
    """The cursor, or None when the token is no token of ours or belongs to other parameters."""
    unpacked = _unpack(token)
    if unpacked is None or unpacked[1] != digest:
        return None
    return Cursor(unpacked[0], unpacked[2], unpacked[3])


def page_number_of(token: str | None) -> int:
    """The page that a token asks for, 1 when there is none or it cannot be read."""
    unpacked = _unpack(token) if token else None
    return unpacked[3] if unpacked else 1


def _unpack(token: str) -> tuple[int, bytes, int, int] | None:
    try:
        packed = base64.b64decode(token.removeprefix(_PREFIX), altchars=b"-_", validate=True)
        end_s, digest, next_start_s, page_number = _LAYOUT.unpack(packed)
    except (binascii.Error, struct.error, ValueError):
        return None
    return end_s, digest, next_start_s, page_number
