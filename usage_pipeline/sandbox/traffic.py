"""Turns streams into rows: what was spent in one UTC hour, as a pure function of (seed, hour).

In: a seed and an hour. Out: rows that each belong to one minute, so that any wider bucket, any clipping at a minute
and any grouping is an exact sum of rows. No clock is read and no row depends on a neighbouring hour.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from random import Random
from typing import NamedTuple, TypeVar

from usage_pipeline.sandbox.organisations import (
    ANTHROPIC_STREAMS,
    OPENAI_STREAMS,
    AnthropicStream,
    OpenAiStream,
    Rhythm,
)

HOUR_SECONDS = 3600
DAY_SECONDS = 86400


class OpenAiCounts(NamedTuple):
    """Disjoint token piles and requests; the API's totals are sums of these."""

    requests: int = 0
    text_in: int = 0
    image_in: int = 0
    audio_in: int = 0
    cached_text_in: int = 0
    cached_image_in: int = 0
    cached_audio_in: int = 0
    cache_write_in: int = 0
    text_out: int = 0
    audio_out: int = 0


class ServiceCounts(NamedTuple):
    """Requests, and the amount in the service's own unit (tokens, characters, seconds, images, bytes, calls)."""

    requests: int = 0
    amount: int = 0


class AnthropicCounts(NamedTuple):
    """Disjoint token piles and web searches. ``requests`` is the sandbox's own: the API does not report it."""

    requests: int = 0
    uncached_in: int = 0
    cache_read_in: int = 0
    cache_5m_in: int = 0
    cache_1h_in: int = 0
    out: int = 0
    web_searches: int = 0


@dataclass(frozen=True, slots=True)
class OpenAiRow:
    """What one stream spent in one burst of calls. ``at_s`` is the burst's minute, in Unix seconds."""

    at_s: int
    stream: OpenAiStream
    counts: OpenAiCounts


@dataclass(frozen=True, slots=True)
class AnthropicRow:
    """As :class:`OpenAiRow`, for Anthropic."""

    at_s: int
    stream: AnthropicStream
    counts: AnthropicCounts


Counts = TypeVar("Counts", OpenAiCounts, AnthropicCounts, ServiceCounts)

_NOT_TOKENS = frozenset({"requests", "web_searches"})
_OFFICE_LEVEL = (0, 0, 0, 0, 0, 0.1, 0.3, 0.7, 1, 1, 1, 1, 0.8, 1, 1, 1, 1, 0.6, 0.35, 0.2, 0.12, 0.12, 0.08, 0.06)
_CLOCK_LEVEL = (
    0.1,
    0.05,
    0,
    0,
    0.05,
    0.2,
    0.4,
    0.6,
    0.8,
    1,
    1,
    1,
    0.9,
    1,
    1,
    1,
    0.9,
    0.8,
    0.7,
    0.6,
    0.5,
    0.4,
    0.3,
    0.2,
)
_NIGHTLY_HOURS = frozenset({1, 2})
_SATURDAY = 5
_SUNDAY = 6


def noise(seed: int, *parts: object) -> int:
    """A 64-bit number that depends on nothing but its arguments, in every process alike."""
    text = ":".join(str(part) for part in (seed, *parts))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())


def added(left: Counts, right: Counts) -> Counts:
    """The sum, pile by pile."""
    return type(left)(*map(int.__add__, left, right))


def scaled(counts: Counts, factor: Decimal) -> Counts:
    """Tokens and amounts times ``factor``, cut to whole ones; requests and Anthropic's searches stay."""
    return type(counts)(
        *(
            value if name in _NOT_TOKENS else int(value * factor)
            for name, value in zip(counts._fields, counts, strict=True)
        )
    )


def openai_hour(seed: int, hour_s: int) -> tuple[OpenAiRow, ...]:
    """All rows of the OpenAI organisation in the UTC hour that begins at ``hour_s``."""
    rng = hour_rng(seed, "openai", hour_s)
    return tuple(
        OpenAiRow(at_s, stream, _openai_counts(rng, stream, calls))
        for stream in OPENAI_STREAMS
        for at_s, calls in bursts(rng, seed, hour_s, stream.rhythm, stream.calls_per_hour)
    )


def anthropic_hour(seed: int, hour_s: int) -> tuple[AnthropicRow, ...]:
    """All rows of the Anthropic organisation in the UTC hour that begins at ``hour_s``."""
    rng = hour_rng(seed, "anthropic", hour_s)
    return tuple(
        AnthropicRow(at_s, stream, _anthropic_counts(rng, stream, calls))
        for stream in ANTHROPIC_STREAMS
        for at_s, calls in bursts(rng, seed, hour_s, stream.rhythm, stream.calls_per_hour)
    )


def hour_rng(seed: int, provider: str, hour_s: int) -> Random:
    return Random(noise(seed, provider, hour_s))  # noqa: S311 - reproducible data, no secret hangs on it


def bursts(rng: Random, seed: int, hour_s: int, rhythm: Rhythm, calls_per_hour: int) -> list[tuple[int, int]]:
    """The minutes of this hour in which a stream calls, with the number of calls (at least 1) in each."""
    level = _level(seed, hour_s, rhythm)
    if level <= 0 or rng.random() > min(1.0, level * 3):
        return []
    minutes = sorted(rng.sample(range(60), rng.choice((1, 2, 2, 3))))
    each = calls_per_hour * level / len(minutes)
    return [(hour_s + 60 * minute, max(1, round(each * rng.uniform(0.6, 1.4)))) for minute in minutes]


def _level(seed: int, hour_s: int, rhythm: Rhythm) -> float:
    """How busy a rhythm is in an hour, 0 to 1. Some hours, and one Sunday in four, are idle for everybody."""
    at = datetime.fromtimestamp(hour_s, UTC)
    quiet_sunday = at.weekday() == _SUNDAY and at.isocalendar().week % 4 == 0
    if quiet_sunday or noise(seed, "idle", hour_s) % 31 == 0:
        return 0.0
    weekend = at.weekday() >= _SATURDAY
    match rhythm:
        case Rhythm.OFFICE:
            return _OFFICE_LEVEL[at.hour] * (0.12 if weekend else 1.0)
        case Rhythm.ROUND_THE_CLOCK:
            return _CLOCK_LEVEL[at.hour] * (0.4 if weekend else 1.0)
        case Rhythm.NIGHTLY:
            return 1.0 if at.hour in _NIGHTLY_HOURS and not weekend else 0.0


def _openai_counts(rng: Random, stream: OpenAiStream, calls: int) -> OpenAiCounts:
    total_in = round(calls * stream.input_tokens_per_call * rng.uniform(0.7, 1.3))
    total_out = round(calls * stream.output_tokens_per_call * rng.uniform(0.7, 1.3))
    audio_in, image_in = round(total_in * stream.audio_share), round(total_in * stream.image_share)
    text_in = total_in - audio_in - image_in
    cached = stream.cached_share * rng.uniform(0.6, 1.2)
    cached_text, cached_image, cached_audio = (round(pile * cached) for pile in (text_in, image_in, audio_in))
    written = round(text_in * stream.cache_write_share)
    audio_out = round(total_out * stream.audio_share)
    return OpenAiCounts(
        requests=calls,
        text_in=text_in - cached_text - written,
        image_in=image_in - cached_image,
        audio_in=audio_in - cached_audio,
        cached_text_in=cached_text,
        cached_image_in=cached_image,
        cached_audio_in=cached_audio,
        cache_write_in=written,
        text_out=total_out - audio_out,
        audio_out=audio_out,
    )


def _anthropic_counts(rng: Random, stream: AnthropicStream, calls: int) -> AnthropicCounts:
    total_in = round(calls * stream.input_tokens_per_call * rng.uniform(0.7, 1.3))
    read = round(total_in * stream.cached_share * rng.uniform(0.6, 1.2))
    written_5m = round(total_in * stream.cache_5m_share)
    written_1h = round(total_in * stream.cache_1h_share)
    return AnthropicCounts(
        requests=calls,
        uncached_in=total_in - read - written_5m - written_1h,
        cache_read_in=read,
        cache_5m_in=written_5m,
        cache_1h_in=written_1h,
        out=round(calls * stream.output_tokens_per_call * rng.uniform(0.7, 1.3)),
        web_searches=round(calls * stream.web_searches_per_call * rng.uniform(0.5, 1.5)),
    )
