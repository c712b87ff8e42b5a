"""The sandbox's own price list and the charge lines that follow from rows, exact to the last decimal.

In: rows. Out: :class:`OpenAiCharge` (US dollars) and :class:`AnthropicCharge` (US cents, as that API reports). The
rates are the public list prices per million tokens; the list is deliberately not shared with the pipeline's pricing,
so that a bill can disagree with an estimate. How OpenAI labels batch in a line item is not published: ``batch | `` is
the sandbox's own choice, after the published ``priority | ``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from usage_pipeline.sandbox.traffic import AnthropicRow, OpenAiRow

_PER_TOKEN = Decimal("1e-6")
_CENTS_PER_DOLLAR = Decimal(100)
WEB_SEARCH_LINE_ITEM = "web search tool calls"
ZERO_AMOUNT = "0E-6176"
"""What the live API has been seen to send for nothing at all."""


@dataclass(frozen=True, slots=True)
class OpenAiRates:
    """US dollars per million tokens at the default tier; ``factors`` multiply them for other tiers."""

    input: Decimal
    cached: Decimal
    output: Decimal
    factors: dict[str, Decimal]
    audio_input: Decimal = Decimal(0)
    cached_audio: Decimal = Decimal(0)
    audio_output: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class AnthropicRates:
    """US dollars per million tokens at the standard tier."""

    input: Decimal
    cache_5m: Decimal
    cache_1h: Decimal
    cache_read: Decimal
    output: Decimal


@dataclass(frozen=True, slots=True)
class OpenAiCharge:
    """One line of the bill. ``amount_usd`` is exact; ``quantity`` is in ``quantity_unit``; ``model`` may be empty."""

    at_s: int
    project_id: str
    api_key_id: str | None
    user_id: str | None
    api_source: str
    line_item: str
    quantity: int | Decimal
    amount_usd: Decimal
    model: str
    quantity_unit: str = "tokens"


@dataclass(frozen=True, slots=True)
class AnthropicCharge:
    """One line of the bill. ``amount_cents`` is exact, in US cents."""

    at_s: int
    workspace_id: str | None
    description: str
    cost_type: str
    amount_cents: Decimal
    token_type: str | None = None
    model: str | None = None
    service_tier: str | None = None
    context_window: str | None = None
    inference_geo: str | None = None


def _openai(rates: str, audio: str = "0 0 0", **factors: str) -> OpenAiRates:
    rate_in, cached, rate_out = map(Decimal, rates.split())
    audio_in, audio_cached, audio_out = map(Decimal, audio.split())
    table = {"default": Decimal(1), "batch": Decimal("0.5")} | {tier: Decimal(value) for tier, value in factors.items()}
    return OpenAiRates(rate_in, cached, rate_out, table, audio_in, audio_cached, audio_out)


def _anthropic(rates: str) -> AnthropicRates:
    return AnthropicRates(*map(Decimal, rates.split()))


OPENAI_RATES = {
    "gpt-5-2025-08-07": _openai("1.25 0.125 10", priority="2", flex="0.5"),
    "gpt-5-mini-2025-08-07": _openai("0.25 0.025 2", priority="1.8", flex="0.5"),
    "gpt-4o-mini-2024-07-18": _openai("0.15 0.075 0.60"),
    "o3-2025-04-16": _openai("2 0.5 8", priority="1.75", flex="0.5"),
    "gpt-realtime-2025-08-28": _openai("4 0.4 16", audio="32 0.4 64"),
}

ANTHROPIC_RATES = {
    ("claude-sonnet-4-5-20250929", "0-200k"): _anthropic("3 3.75 6 0.30 15"),
    ("claude-sonnet-4-5-20250929", "200k-1M"): _anthropic("6 7.50 12 0.60 22.50"),
    ("claude-opus-4-1-20250805", "0-200k"): _anthropic("15 18.75 30 1.50 75"),
    ("claude-haiku-4-5-20251001", "0-200k"): _anthropic("1 1.25 2 0.10 5"),
    ("claude-opus-4-6", "0-200k"): _anthropic("5 6.25 10 0.50 25"),
}
_ANTHROPIC_TIER_FACTOR = {"standard": Decimal(1), "batch": Decimal("0.5")}
_ANTHROPIC_NAMES = {
    "claude-sonnet-4-5-20250929": "Claude Sonnet 4.5",
    "claude-opus-4-1-20250805": "Claude Opus 4.1",
    "claude-haiku-4-5-20251001": "Claude Haiku 4.5",
    "claude-opus-4-6": "Claude Opus 4.6",
}
_WEB_SEARCH_CENTS = Decimal(1)
_CODE_EXECUTION_CENTS_PER_HOUR = Decimal(5)


def openai_charges(row: OpenAiRow) -> Iterator[OpenAiCharge]:
    """The bill lines of one row, in US dollars; lines without tokens are left out."""
    stream, counts = row.stream, row.counts
    rates = OPENAI_RATES[stream.model]
    tier = "batch" if stream.batch else stream.service_tier
    factor = rates.factors[tier] * _PER_TOKEN
    prefix = "" if tier == "default" else f"{tier} | "
    for kind, tokens, rate in (
        ("input", counts.text_in + counts.image_in, rates.input),
        ("cached input", counts.cached_text_in + counts.cached_image_in, rates.cached),
        ("cache writes", counts.cache_write_in, rates.input),
        ("output", counts.text_out, rates.output),
        ("audio input", counts.audio_in, rates.audio_input),
        ("cached audio input", counts.cached_audio_in, rates.cached_audio),
        ("audio output", counts.audio_out, rates.audio_output),
    ):
        if tokens:
            yield OpenAiCharge(
                row.at_s,
                stream.project_id,
                stream.api_key_id,
                stream.user_id,
                stream.api_source,
                f"{prefix}{stream.model}, {kind}",
                tokens,
                tokens * rate * factor,
                stream.model,
            )


def anthropic_charges(row: AnthropicRow) -> Iterator[AnthropicCharge]:
    """The bill lines of one row, in US cents; lines without tokens are left out."""
    stream, counts = row.stream, row.counts
    rates = ANTHROPIC_RATES[stream.model, stream.context_window]
    factor = _ANTHROPIC_TIER_FACTOR[stream.service_tier] * _PER_TOKEN * _CENTS_PER_DOLLAR
    suffix = (", Batch" if stream.service_tier == "batch" else "") + (
        ", Long Context" if stream.context_window != "0-200k" else ""
    )
    for label, token_type, tokens, rate in (
        ("Input Tokens", "uncached_input_tokens", counts.uncached_in, rates.input),
        ("Cache Write 5m", "cache_creation.ephemeral_5m_input_tokens", counts.cache_5m_in, rates.cache_5m),
        ("Cache Write 1h", "cache_creation.ephemeral_1h_input_tokens", counts.cache_1h_in, rates.cache_1h),
        ("Cache Read", "cache_read_input_tokens", counts.cache_read_in, rates.cache_read),
        ("Output Tokens", "output_tokens", counts.out, rates.output),
    ):
        if tokens:
            yield AnthropicCharge(
                row.at_s,
                stream.workspace_id,
                f"{_ANTHROPIC_NAMES[stream.model]} Usage - {label}{suffix}",
                "tokens",
                tokens * rate * factor,
                token_type,
                stream.model,
                stream.service_tier,
                stream.context_window,
                stream.inference_geo,
            )
    if counts.web_searches:
        cents = counts.web_searches * _WEB_SEARCH_CENTS
        yield AnthropicCharge(row.at_s, stream.workspace_id, "Web Search Usage", "web_search", cents)


def code_execution_charge(at_s: int, workspace_id: str | None, container_hours: int) -> AnthropicCharge:
    """A charge that the usage report knows nothing of."""
    cents = container_hours * _CODE_EXECUTION_CENTS_PER_HOUR
    return AnthropicCharge(at_s, workspace_id, "Code Execution Usage", "code_execution", cents)
