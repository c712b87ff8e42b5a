"""The bill lines of the services beside completions, at the public list prices, exact to the last decimal.

In: a :class:`ServiceRow`. Out: at most one :class:`OpenAiCharge` in US dollars, its quantity in the unit that the
provider names. Moderations are free: no line. The labels are the sandbox's own except ``web search tool calls``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Final

from usage_pipeline.sandbox.openai_services import (
    AUDIO_SPEECHES,
    AUDIO_TRANSCRIPTIONS,
    CODE_INTERPRETER_SESSIONS,
    EMBEDDINGS,
    FILE_SEARCH_CALLS,
    IMAGES,
    VECTOR_STORES,
    WEB_SEARCH_CALLS,
    ServiceRow,
)
from usage_pipeline.sandbox.prices import WEB_SEARCH_LINE_ITEM, OpenAiCharge

EMBEDDING_USD_PER_TOKEN: Final = {
    "text-embedding-3-small": Decimal("0.02e-6"),
    "text-embedding-3-large": Decimal("0.13e-6"),
}
IMAGE_USD: Final = {
    ("dall-e-3", "1024x1024"): Decimal("0.040"),
    ("dall-e-3", "1024x1792"): Decimal("0.080"),
    ("dall-e-2", "512x512"): Decimal("0.018"),
    ("dall-e-2", "256x256"): Decimal("0.016"),
}
SPEECH_USD_PER_CHARACTER: Final = Decimal("15e-6")
TRANSCRIPTION_USD_PER_SECOND: Final = Decimal("0.0001")
SESSION_USD: Final = Decimal("0.03")
WEB_SEARCH_USD: Final = Decimal("0.01")
FILE_SEARCH_USD: Final = Decimal("0.0025")
STORAGE_USD_PER_GIB_DAY: Final = Decimal("0.10")

_GIB: Final = 2**30
_HOURS_PER_DAY: Final = 24
_STORAGE_STEP: Final = Decimal("1e-12")
"""Both the stored gibibyte-hours and their price are cut here, so that sums over hours stay exact."""

Priced = tuple[str, int | Decimal, str, Decimal]


def service_charge(row: ServiceRow) -> OpenAiCharge | None:
    """The bill line of one row, or None for what is free."""
    price = _PRICES.get(row.stream.service)
    if price is None or not row.counts.amount:
        return None
    line_item, quantity, unit, amount_usd = price(row)
    stream = row.stream
    return OpenAiCharge(
        row.at_s,
        stream.project_id,
        stream.api_key_id,
        stream.user_id,
        stream.api_source,
        line_item,
        quantity,
        amount_usd,
        "" if stream.service == WEB_SEARCH_CALLS else stream.model or "",
        unit,
    )


def _embeddings(row: ServiceRow) -> Priced:
    model, tokens = str(row.stream.model), row.counts.amount
    return f"{model}, input", tokens, "tokens", tokens * EMBEDDING_USD_PER_TOKEN[model]


def _images(row: ServiceRow) -> Priced:
    model, size, images = str(row.stream.model), str(row.stream.size), row.counts.amount
    return f"{model}, {size} images", images, "images", images * IMAGE_USD[model, size]


def _speeches(row: ServiceRow) -> Priced:
    characters = row.counts.amount
    return f"{row.stream.model}, characters", characters, "characters", characters * SPEECH_USD_PER_CHARACTER


def _transcriptions(row: ServiceRow) -> Priced:
    seconds = row.counts.amount
    return f"{row.stream.model}, transcription", seconds, "duration_seconds", seconds * TRANSCRIPTION_USD_PER_SECOND


def _sessions(row: ServiceRow) -> Priced:
    sessions = row.counts.amount
    return "code interpreter sessions", sessions, "sessions", sessions * SESSION_USD


def _web_searches(row: ServiceRow) -> Priced:
    calls = row.counts.amount
    return WEB_SEARCH_LINE_ITEM, calls, "calls", calls * WEB_SEARCH_USD


def _file_searches(row: ServiceRow) -> Priced:
    calls = row.counts.amount
    return "file search tool calls", calls, "calls", calls * FILE_SEARCH_USD


def _storage(row: ServiceRow) -> Priced:
    """One hour of what lies stored."""
    gib_hours = (Decimal(row.counts.amount) / _GIB).quantize(_STORAGE_STEP)
    amount_usd = (gib_hours * STORAGE_USD_PER_GIB_DAY / _HOURS_PER_DAY).quantize(_STORAGE_STEP)
    return "vector store storage", gib_hours, "gibibyte_hours", amount_usd


_PRICES: Final[Mapping[str, Callable[[ServiceRow], Priced]]] = {
    EMBEDDINGS: _embeddings,
    IMAGES: _images,
    AUDIO_SPEECHES: _speeches,
    AUDIO_TRANSCRIPTIONS: _transcriptions,
    CODE_INTERPRETER_SESSIONS: _sessions,
    WEB_SEARCH_CALLS: _web_searches,
    FILE_SEARCH_CALLS: _file_searches,
    VECTOR_STORES: _storage,
}
