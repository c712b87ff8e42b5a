"""Usage events as PostgreSQL's binary COPY, and the stable key of each.

In come canonical rows (:class:`~usage_pipeline.providers.contract.UsageRow`) of one slice, out go chunks of bytes for
``COPY usage_events FROM STDIN (FORMAT BINARY)``. Dimensions repeat from hour to hour, so their encoding and the start
of their key's hash are kept per distinct tuple; measures are packed by their pattern of nulls.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from usage_pipeline.errors import InvariantError
from usage_pipeline.measures import EVENT_DIMENSIONS, EVENT_MEASURES

EVENT_COLUMNS: Final = (
    "slice_id",
    "event_id",
    "source_id",
    "window_start",
    "recorded_at",
    *EVENT_MEASURES,
    "estimated_cost_usd",
    "actual_cost_usd",
    "counts",
    *EVENT_DIMENSIONS,
)
"""The columns of usage_events, in the order in which they are encoded."""

_COPY_HEADER = b"PGCOPY\n\xff\r\n\x00" + struct.pack(">ii", 0, 0)
_COPY_TRAILER = struct.pack(">h", -1)
_NULL = struct.pack(">i", -1)
_POSTGRES_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_BIGINT_MAX = 2**63 - 1
_CHUNK_BYTES = 1 << 17
_NO_COSTS_AND_COUNTS = _NULL + _NULL + struct.pack(">i?", 1, True)
_HEAD = struct.Struct(">hiqi16siqiqiq")


@dataclass(frozen=True, slots=True)
class SliceIdentity:
    """What a slice's event keys hang on: the feed's slug, the endpoint, the window's width and the asked-for set."""

    feed: str
    endpoint: str
    window_seconds: int
    dimensions_asked: tuple[str, ...]


def key_hasher(identity: SliceIdentity, dimensions: tuple[str | None, ...]) -> hashlib.blake2b:
    """The hash of canonical JSON of everything but the window's start, which the caller adds."""
    text = json.dumps(
        {
            "asked": sorted(identity.dimensions_asked),
            "dimensions": {k: v for k, v in zip(EVENT_DIMENSIONS, dimensions, strict=True) if v is not None},
            "endpoint": identity.endpoint,
            "feed": identity.feed,
            "window_seconds": identity.window_seconds,
        },
        ensure_ascii=False,
        separators=(",", ":"),
        sort_keys=True,
    )
    return hashlib.blake2b(text.encode(), digest_size=16)


def event_key(identity: SliceIdentity, dimensions: tuple[str | None, ...], window_start: datetime) -> bytes:
    """The 16 bytes of an event's key: BLAKE2b over feed, endpoint, window, dimensions and the asked-for set."""
    hasher = key_hasher(identity, dimensions)
    hasher.update(microseconds(window_start).to_bytes(8, "big", signed=True))
    return hasher.digest()


def microseconds(instant: datetime) -> int:
    """Microseconds since PostgreSQL's epoch (2000-01-01 UTC)."""
    delta = instant - _POSTGRES_EPOCH
    return (delta.days * 86400 + delta.seconds) * 1_000_000 + delta.microseconds


class EventEncoder:
    """Encodes the rows of one slice. Counts them; refuses what a bigint cannot hold or what is negative."""

    def __init__(self, identity: SliceIdentity, *, slice_id: int, source_id: int, recorded_at: datetime) -> None:
        self._identity = identity
        self._slice_id = slice_id
        self._source_id = source_id
        self._recorded = microseconds(recorded_at)
        self._dimensions: dict[tuple[str | None, ...], tuple[bytes, hashlib.blake2b]] = {}
        self._packers: dict[tuple[bool, ...], struct.Struct] = {}
        self.rows = 0

    def chunks(
        self, buckets: Iterable[tuple[datetime, Iterable[tuple[tuple[str | None, ...], tuple[int | None, ...]]]]]
    ) -> Iterator[bytes]:
        """The whole COPY stream for the buckets (start, rows), in pieces of about 128 KiB."""
        pieces: list[bytes] = [_COPY_HEADER]
        size = 0
        for start, rows in buckets:
            window = microseconds(start)
            for piece in self._bucket(window, rows):
                pieces.append(piece)
                size += len(piece)
                if size >= _CHUNK_BYTES:
                    yield b"".join(pieces)
                    pieces.clear()
                    size = 0
        pieces.append(_COPY_TRAILER)
        yield b"".join(pieces)

    def _bucket(
        self, window: int, rows: Iterable[tuple[tuple[str | None, ...], tuple[int | None, ...]]]
    ) -> Iterator[bytes]:
        window_bytes = window.to_bytes(8, "big", signed=True)
        known, packers, head = self._dimensions, self._packers, _HEAD.pack
        columns, slice_id, source_id, recorded = len(EVENT_COLUMNS), self._slice_id, self._source_id, self._recorded
        for dimensions, measures in rows:
            entry = known.get(dimensions)
            if entry is None:
                entry = known[dimensions] = (_encode_texts(dimensions), key_hasher(self._identity, dimensions))
            texts, hasher = entry
            key = hasher.copy()
            key.update(window_bytes)
            nulls = tuple([value is None for value in measures])
            packer = packers.get(nulls)
            if packer is None:
                packer = packers[nulls] = _measure_packer(nulls)
            flat: list[int] = []
            for value in measures:
                if value is None:
                    flat.append(-1)
                else:
                    if value < 0 or value > _BIGINT_MAX:
                        raise _out_of_range(self._identity, measures)
                    flat.append(8)
                    flat.append(value)
            self.rows += 1
            yield (
                head(columns, 8, slice_id, 16, key.digest(), 8, source_id, 8, window, 8, recorded)
                + packer.pack(*flat)
                + _NO_COSTS_AND_COUNTS
                + texts
            )


def _encode_texts(values: tuple[str | None, ...]) -> bytes:
    parts: list[bytes] = []
    for value in values:
        if value is None:
            parts.append(_NULL)
        else:
            encoded = value.encode()
            parts.append(struct.pack(">i", len(encoded)) + encoded)
    return b"".join(parts)


def _measure_packer(nulls: tuple[bool, ...]) -> struct.Struct:
    return struct.Struct(">" + "".join("i" if null else "iq" for null in nulls))


def _out_of_range(identity: SliceIdentity, measures: tuple[int | None, ...]) -> InvariantError:
    name = next(n for n, v in zip(EVENT_MEASURES, measures, strict=True) if v is not None and not 0 <= v <= _BIGINT_MAX)
    return InvariantError(
        "measure_out_of_range",
        f"{name} is negative or larger than a bigint",
        where=f"{identity.feed} {identity.endpoint}",
        remedy="Nothing was written; look at the raw page of this slice.",
    )
