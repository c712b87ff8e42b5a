"""Usage events as PostgreSQL's binary COPY, and the stable key of each.

In come canonical rows (:class:`~usage_pipeline.providers.contract.UsageRow`) of one slice, out go chunks of bytes for
``COPY usage_events FROM STDIN (FORMAT BINARY)``. This is the innermost loop of a load, so what repeats is encoded once:
dimensions, which come again from hour to hour, with their part of the key; the fields that a bucket's rows share; and
the layout of the measures, by their pattern of nulls.
"""

from __future__ import annotations

import hashlib
import struct
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from json.encoder import encode_basestring  # as json.dumps(ensure_ascii=False) writes a string
from operator import itemgetter
from typing import Any, Final, NamedTuple

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

Dimensions = tuple[str | None, ...]
Row = tuple[Dimensions, tuple[int | None, ...]]
"""A canonical row: dimensions and measures, in the order of ``EVENT_DIMENSIONS`` and ``EVENT_MEASURES``."""

ReadRows = Callable[[], Iterable[Row]]
"""Reads a bucket's rows; called again where two of them turn out to have one key."""

_COPY_HEADER: Final = b"PGCOPY\n\xff\r\n\x00" + struct.pack(">ii", 0, 0)
_COPY_TRAILER: Final = struct.pack(">h", -1)
_NULL: Final = struct.pack(">i", -1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_POSTGRES_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
_BIGINT_MAX: Final = 2**63 - 1
_NO_COSTS_AND_COUNTS: Final = _NULL + _NULL + struct.pack(">i?", 1, True)

_KEY_BYTES: Final = 16
_WINDOW_BYTES: Final = 4
_HASH_BYTES: Final = _KEY_BYTES - _WINDOW_BYTES

_PIECES_A_ROW: Final = 5
_PACKED_AT: Final = 3  # the piece that holds the measures
_CHUNK_ROWS: Final = 256  # some 128 KiB
_DIMENSIONS_KEPT_MAX: Final = 150_000  # some 100 MiB; beyond, they are encoded anew

_BIGINT: Final = struct.pack(">i", 8)


@dataclass(frozen=True, slots=True)
class SliceIdentity:
    """What a slice's event keys hang on: the feed's slug, the endpoint, the window's width and the asked-for set."""

    feed: str
    endpoint: str
    window_seconds: int
    dimensions_asked: tuple[str, ...]


def event_key(identity: SliceIdentity, dimensions: Dimensions, window_start: datetime) -> bytes:
    """The 16 bytes of an event's key: its window's start (4 bytes, Unix seconds) and :func:`dimensions_hash`.

    The window leads so that the rows of an hour lie side by side in the index: a load then fills its pages one after
    the other, which takes a third off the database's work, and one hash serves a whole day.
    """
    return _window_prefix(window_start) + dimensions_hash(identity, dimensions)


def dimensions_hash(identity: SliceIdentity, dimensions: Dimensions) -> bytes:
    """12 bytes of BLAKE2b over canonical JSON of the feed, endpoint, width, asked-for set and dimensions."""
    return _hash(_json_around_dimensions(identity), dimensions)


def _hash(around: tuple[str, str], dimensions: Dimensions) -> bytes:
    told = [
        name + encode_basestring(value)
        for name, value in zip(_JSON_NAMES, _BY_NAME(dimensions), strict=True)
        if value is not None
    ]
    text = f"{around[0]}{','.join(told)}{around[1]}"
    return hashlib.blake2b(text.encode(), digest_size=_HASH_BYTES).digest()


_SORTED: Final = sorted(EVENT_DIMENSIONS)
_BY_NAME: Final = itemgetter(*(EVENT_DIMENSIONS.index(name) for name in _SORTED))
_JSON_NAMES: Final = tuple(f'"{name}":' for name in _SORTED)


def _json_around_dimensions(identity: SliceIdentity) -> tuple[str, str]:
    asked = ",".join(encode_basestring(name) for name in sorted(identity.dimensions_asked))
    endpoint, feed = encode_basestring(identity.endpoint), encode_basestring(identity.feed)
    return (
        f'{{"asked":[{asked}],"dimensions":{{',
        f'}},"endpoint":{endpoint},"feed":{feed},"window_seconds":{identity.window_seconds}}}',
    )


def _window_prefix(window_start: datetime) -> bytes:
    delta = window_start - _EPOCH
    return (delta.days * 86400 + delta.seconds).to_bytes(_WINDOW_BYTES, "big")


def microseconds(instant: datetime) -> int:
    """Microseconds since PostgreSQL's epoch (2000-01-01 UTC)."""
    delta = instant - _POSTGRES_EPOCH
    return (delta.days * 86400 + delta.seconds) * 1_000_000 + delta.microseconds


def one_row_per_key(rows: Iterable[Row]) -> list[Row]:
    """The rows of one bucket, those of the same dimensions added up.

    An API may tell two rows apart by something that was not asked for; both are spending, so they are summed: neither
    may overwrite the other.
    """
    merged: dict[Dimensions, tuple[int | None, ...]] = {}
    for dimensions, measures in rows:
        before = merged.get(dimensions)
        merged[dimensions] = measures if before is None else tuple(map(_plus, before, measures))
    return list(merged.items())


def _plus(one: int | None, other: int | None) -> int | None:
    return other if one is None else one if other is None else one + other


class EventEncoder:
    """Encodes the rows of one slice and counts them.

    Raises :class:`InvariantError`: ``measure_out_of_range`` for a measure that is negative or larger than a bigint,
    ``text_unstorable`` for a dimension with a zero character, which PostgreSQL's text cannot hold.
    """

    def __init__(self, identity: SliceIdentity, *, slice_id: int, source_id: int, recorded_at: datetime) -> None:
        self._identity = identity
        self._around = _json_around_dimensions(identity)
        self._slice_id = slice_id
        self._source_id = source_id
        self._recorded = microseconds(recorded_at)
        self._encoded: dict[Dimensions, tuple[bytes, bytes]] = {}
        self.rows = 0

    def chunks(self, buckets: Iterable[tuple[datetime, ReadRows]]) -> Iterator[bytes]:
        """The whole COPY stream for the buckets (start, reader of rows), in pieces of about 128 KiB.

        A bucket's rows are held back until its last one, since only then it is known that no two have one key; they go
        out while the next bucket is encoded, so that encoding and the database's work overlap.
        """
        ready = deque([_COPY_HEADER])
        for start, read in buckets:
            bucket: list[bytes] = []
            hashes: list[bytes] = []
            for chunk in self._chunks_of(start, read(), hashes):
                bucket.append(chunk)
                if ready:
                    yield ready.popleft()
            if len(set(hashes)) < len(hashes):
                hashes.clear()
                bucket = list(self._chunks_of(start, one_row_per_key(read()), hashes))
            self.rows += len(hashes)
            ready.extend(bucket)
        yield from ready
        yield _COPY_TRAILER

    def _chunks_of(self, start: datetime, rows: Iterable[Row], hashes: list[bytes]) -> Iterator[bytes]:
        """The encoded rows of one bucket; each row's part of the key is appended to ``hashes``."""
        before_hash = struct.pack(">hiqi", len(EVENT_COLUMNS), 8, self._slice_id, _KEY_BYTES) + _window_prefix(start)
        after_hash = struct.pack(">iqiqiq", 8, self._source_id, 8, microseconds(start), 8, self._recorded)
        known = self._encoded
        layout = _layout((False,) * len(EVENT_MEASURES))
        pieces: list[bytes] = []
        checked = 0
        for dimensions, measures in rows:
            encoded = known.get(dimensions)
            if encoded is None:
                encoded = self._encode_dimensions(dimensions)
            hashed, texts = encoded
            try:
                packed = layout.pack(*layout.fields_of(measures + layout.constants))
                fits = layout.nulls_of(measures) == layout.nulls
            except struct.error:
                fits = False
            if not fits:
                # Another pattern of nulls than in the row before, or a figure that no bigint holds.
                self._check_range(layout, pieces[checked + _PACKED_AT :: _PIECES_A_ROW])
                checked = len(pieces)
                layout = self._layout_of(measures)
                packed = layout.pack(*layout.fields_of(measures + layout.constants))
            hashes.append(hashed)
            pieces += (before_hash, hashed, after_hash, packed, texts)
            if len(pieces) == _CHUNK_ROWS * _PIECES_A_ROW:
                self._check_range(layout, pieces[checked + _PACKED_AT :: _PIECES_A_ROW])
                checked = 0
                yield b"".join(pieces)
                pieces.clear()
        self._check_range(layout, pieces[checked + _PACKED_AT :: _PIECES_A_ROW])
        yield b"".join(pieces)

    def _encode_dimensions(self, dimensions: Dimensions) -> tuple[bytes, bytes]:
        if len(self._encoded) >= _DIMENSIONS_KEPT_MAX:
            self._encoded.clear()
        encoded = _hash(self._around, dimensions), _NO_COSTS_AND_COUNTS + _encode_texts(self._identity, dimensions)
        self._encoded[dimensions] = encoded
        return encoded

    def _layout_of(self, measures: tuple[int | None, ...]) -> _Layout:
        for name, value in zip(EVENT_MEASURES, measures, strict=True):
            if value is not None and not 0 <= value <= _BIGINT_MAX:
                raise self._out_of_range(name)
        return _layout(tuple([value is None for value in measures]))

    def _check_range(self, layout: _Layout, packed: list[bytes]) -> None:
        """Refuse figures that fit 64 bits and no bigint: looking at the first byte of each, a whole column at once."""
        rows = b"".join(packed)
        for name, at in layout.values_at:
            if not rows[at :: layout.size].isascii():
                raise self._out_of_range(name)

    def _out_of_range(self, name: str) -> InvariantError:
        return _unstorable(self._identity, "measure_out_of_range", f"{name} is negative or larger than a bigint")


class _Layout(NamedTuple):
    """How measures with one pattern of nulls are packed: values, and between them constants (lengths and nulls).

    ``fields_of`` takes the measures and ``constants`` in one tuple; ``values_at`` are the measures that are not null,
    by the offset of their first byte in the ``size`` bytes of a row.
    """

    constants: tuple[Any, ...]
    fields_of: Callable[[tuple[Any, ...]], tuple[Any, ...]]
    pack: Callable[..., bytes]
    nulls_of: Callable[[tuple[int | None, ...]], Any]
    nulls: Any
    values_at: tuple[tuple[str, int], ...]
    size: int


@cache
def _layout(pattern: tuple[bool, ...]) -> _Layout:
    form, pending, size = ">", b"", 0
    constants: list[bytes] = []
    fields: list[int] = []
    values_at: list[tuple[str, int]] = []
    for at, is_null in enumerate((*pattern, None)):
        if is_null:
            pending += _NULL
            continue
        constant = pending if is_null is None else pending + _BIGINT
        form += f"{len(constant)}s"
        fields.append(len(pattern) + len(constants))
        constants.append(constant)
        size += len(constant)
        pending = b""
        if is_null is False:
            form += "Q"
            fields.append(at)
            values_at.append((EVENT_MEASURES[at], size))
            size += 8
    null_at = [at for at, is_null in enumerate(pattern) if is_null]
    return _Layout(
        constants=tuple(constants),
        fields_of=_getter(fields),
        pack=struct.Struct(form).pack,
        nulls_of=_getter(null_at),
        nulls=(None,) * len(null_at),
        values_at=tuple(values_at),
        size=size,
    )


def _getter(positions: list[int]) -> Callable[[tuple[Any, ...]], tuple[Any, ...]]:
    """The items at the positions as a tuple, also where there are fewer than two."""
    if len(positions) > 1:
        return itemgetter(*positions)
    return lambda items: tuple([items[at] for at in positions])


def _encode_texts(identity: SliceIdentity, values: Dimensions) -> bytes:
    parts: list[bytes] = []
    for name, value in zip(EVENT_DIMENSIONS, values, strict=True):
        if value is None:
            parts.append(_NULL)
            continue
        if "\x00" in value:
            raise _unstorable(identity, "text_unstorable", f"{name} has a zero character, which no text column holds")
        encoded = value.encode()
        parts.append(len(encoded).to_bytes(4, "big") + encoded)
    return b"".join(parts)


def _unstorable(identity: SliceIdentity, code: str, what: str) -> InvariantError:
    return InvariantError(
        code,
        what,
        where=f"{identity.feed} {identity.endpoint}",
        remedy="Nothing was written; look at the raw page of this slice.",
    )
