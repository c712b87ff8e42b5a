"""What the OpenAI organisation uses beside completions: nine services, their streams, and their rows hour by hour.

In: a seed and an hour. Out: :class:`ServiceRow`, each with an amount in its service's own unit. Pure as ``traffic``.
Web searches are calls that completions' requests made: their rows are a share of completions' own rows, so that their
requests overlap. A vector store's amount is a level, the bytes that lie stored during the hour.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from usage_pipeline.sandbox.organisations import PROJECT_NAMES, USER_EMAILS, OpenAiStream, Rhythm
from usage_pipeline.sandbox.traffic import (
    DAY_SECONDS,
    OpenAiRow,
    ServiceCounts,
    bursts,
    hour_rng,
    noise,
    openai_hour,
)

COMPLETIONS: Final = "completions"
EMBEDDINGS: Final = "embeddings"
MODERATIONS: Final = "moderations"
IMAGES: Final = "images"
AUDIO_SPEECHES: Final = "audio_speeches"
AUDIO_TRANSCRIPTIONS: Final = "audio_transcriptions"
VECTOR_STORES: Final = "vector_stores"
CODE_INTERPRETER_SESSIONS: Final = "code_interpreter_sessions"
WEB_SEARCH_CALLS: Final = "web_search_calls"
FILE_SEARCH_CALLS: Final = "file_search_calls"

_AMOUNT_FIELDS: Final[Mapping[str, tuple[str, bool]]] = {
    EMBEDDINGS: ("input_tokens", True),
    MODERATIONS: ("input_tokens", True),
    IMAGES: ("images", True),
    AUDIO_SPEECHES: ("characters", True),
    AUDIO_TRANSCRIPTIONS: ("seconds", True),
    VECTOR_STORES: ("usage_bytes", False),
    CODE_INTERPRETER_SESSIONS: ("num_sessions", False),
    WEB_SEARCH_CALLS: ("num_requests", True),
    FILE_SEARCH_CALLS: ("num_requests", False),
}
SERVICES: Final = tuple(_AMOUNT_FIELDS)
_VARYING_AMOUNT: Final = frozenset({EMBEDDINGS, MODERATIONS, AUDIO_SPEECHES, AUDIO_TRANSCRIPTIONS})


@dataclass(frozen=True, slots=True)
class ServiceStream:
    """One steady consumer of a service. ``per_request`` is its amount per request, in the service's unit."""

    service: str
    project_id: str
    user_id: str | None = None
    api_key_id: str | None = None
    model: str | None = None
    requests_per_hour: int = 1
    per_request: int = 1
    rhythm: Rhythm = Rhythm.OFFICE
    size: str | None = None
    source: str | None = None
    context_level: str | None = None
    vector_store_id: str | None = None
    api_source: str = "unlabeled"


@dataclass(frozen=True, slots=True)
class ServiceRow:
    """What one stream used in one burst, in the minute ``at_s`` (Unix seconds); a level begins with its hour."""

    at_s: int
    stream: ServiceStream
    counts: ServiceCounts


_ASSISTANT, _RESEARCH, _SUPPORT = PROJECT_NAMES
_ANA, _BO, _CHEN, _SERVICE = USER_EMAILS
_HERMES_KEY, _WEB_KEY, _LAB_KEY, _HELP_KEY = (
    "key_sandbox_hermes",
    "key_sandbox_web",
    "key_sandbox_lab",
    "key_sandbox_help",
)
_SMALL, _LARGE = "text-embedding-3-small", "text-embedding-3-large"
_CLOCK, _NIGHTLY = Rhythm.ROUND_THE_CLOCK, Rhythm.NIGHTLY
_GPT5 = "gpt-5-2025-08-07"
_MIB = 2**20
_GIB = 2**30

SERVICE_STREAMS: tuple[ServiceStream, ...] = (
    ServiceStream(EMBEDDINGS, _ASSISTANT, _ANA, _HERMES_KEY, _SMALL, 25, 700),
    ServiceStream(EMBEDDINGS, _ASSISTANT, _SERVICE, _WEB_KEY, _SMALL, 60, 900, _CLOCK),
    ServiceStream(EMBEDDINGS, _RESEARCH, _CHEN, _LAB_KEY, _LARGE, 20, 1500),
    ServiceStream(MODERATIONS, _SUPPORT, _SERVICE, _HELP_KEY, "omni-moderation-2024-09-26", 120, 350, _CLOCK),
    ServiceStream(
        IMAGES, _ASSISTANT, _BO, _WEB_KEY, "dall-e-3", 1, 1, _NIGHTLY, size="1024x1024", source="image.generation"
    ),
    ServiceStream(
        IMAGES, _ASSISTANT, _BO, _WEB_KEY, "dall-e-3", 1, 1, _NIGHTLY, size="1024x1792", source="image.generation"
    ),
    ServiceStream(IMAGES, _RESEARCH, _BO, _LAB_KEY, "dall-e-2", 1, 1, size="512x512", source="image.edit"),
    ServiceStream(
        IMAGES, _RESEARCH, _BO, _LAB_KEY, "dall-e-2", 1, 2, _NIGHTLY, size="256x256", source="image.variation"
    ),
    ServiceStream(AUDIO_SPEECHES, _SUPPORT, _SERVICE, _HELP_KEY, "tts-1", 5, 280, _CLOCK),
    ServiceStream(AUDIO_TRANSCRIPTIONS, _SUPPORT, _SERVICE, _HELP_KEY, "whisper-1", 4, 55, _CLOCK),
    ServiceStream(CODE_INTERPRETER_SESSIONS, _RESEARCH),
    ServiceStream(
        FILE_SEARCH_CALLS, _SUPPORT, _SERVICE, _HELP_KEY, None, 8, 1, _CLOCK, vector_store_id="vs_sandbox_handbook"
    ),
    ServiceStream(FILE_SEARCH_CALLS, _RESEARCH, _CHEN, _LAB_KEY, None, 3, 1, vector_store_id="vs_sandbox_papers"),
)
"""Every stream that has traffic of its own: web searches follow completions, vector stores hold a level."""

_SEARCH_PERCENT: Mapping[tuple[str, str, str], tuple[int, str]] = {
    (_HERMES_KEY, _ANA, _GPT5): (4, "medium"),
    (_WEB_KEY, _SERVICE, _GPT5): (3, "low"),
    (_LAB_KEY, _BO, _GPT5): (8, "high"),
}
"""Of the requests of (key, user, model), how many per cent search the web, with which context level."""

_STORES: Mapping[str, tuple[int, int]] = {_SUPPORT: (420 * _MIB, 600_000), _RESEARCH: (1 * _GIB, 1_700_000)}
"""Bytes at the start of 2025, and the bytes that every day since has added, by project."""
_STORES_SINCE_S = 1735689600  # 2025-01-01 UTC


def measures(service: str, counts: ServiceCounts) -> dict[str, int]:
    """The counts under the API's own names."""
    name, has_requests = _AMOUNT_FIELDS[service]
    return {name: counts.amount} | ({"num_model_requests": counts.requests} if has_requests else {})


def service_hour(seed: int, hour_s: int) -> tuple[ServiceRow, ...]:
    """All rows of the nine services in the UTC hour that begins at ``hour_s``."""
    rng = hour_rng(seed, "openai services", hour_s)
    rows = []
    for stream in SERVICE_STREAMS:
        for at_s, requests in bursts(rng, seed, hour_s, stream.rhythm, stream.requests_per_hour):
            amount = requests * stream.per_request
            if stream.service in _VARYING_AMOUNT:
                amount = round(amount * rng.uniform(0.7, 1.3))
            rows.append(ServiceRow(at_s, stream, ServiceCounts(requests, amount)))
    return (*rows, *_web_searches(seed, openai_hour(seed, hour_s)), *_levels(seed, hour_s))


def _web_searches(seed: int, completions: tuple[OpenAiRow, ...]) -> Iterator[ServiceRow]:
    for row in completions:
        stream = row.stream
        percent, context_level = _SEARCH_PERCENT.get(_caller(stream), (0, ""))
        if not percent or stream.service_tier != "default":
            continue
        dice = noise(seed, "web", row.at_s, *_caller(stream))
        searching = (row.counts.requests * percent + dice % 100) // 100
        if searching:
            yield ServiceRow(
                row.at_s,
                _search_stream(stream, context_level),
                ServiceCounts(searching, searching + dice // 100 % (searching + 1)),
            )


def _caller(stream: OpenAiStream) -> tuple[str, str, str]:
    return stream.api_key_id, stream.user_id, stream.model


def _search_stream(stream: OpenAiStream, context_level: str) -> ServiceStream:
    return ServiceStream(
        WEB_SEARCH_CALLS,
        stream.project_id,
        stream.user_id,
        stream.api_key_id,
        stream.model,
        context_level=context_level,
        api_source=stream.api_source,
    )


def _levels(seed: int, hour_s: int) -> Iterator[ServiceRow]:
    """What lies stored during this hour: it grows by the day, and uploads of the day are tidied up at midnight."""
    days, in_day_s = divmod(max(0, hour_s - _STORES_SINCE_S), DAY_SECONDS)
    for project_id, (start_bytes, daily_bytes) in _STORES.items():
        uploads = (in_day_s // 3600) * (noise(seed, "uploads", project_id, days) % 90_000)
        stored = ServiceCounts(0, start_bytes + days * daily_bytes + uploads)
        yield ServiceRow(hour_s, ServiceStream(VECTOR_STORES, project_id), stored)
