"""What goes through OpenRouter in the sandbox: an account's keys and workspaces, and every UTC day's rows.

In: a seed and a day, and what the switches alter. Out: rows by endpoint, key and workspace, and exact totals by model.
Pure function of the seed, no part of the other providers' traffic. Money is exact Decimal in US dollars; the API turns
it into floats. Completed days only. Model names are public, everything else is invented.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, timedelta
from decimal import Decimal
from random import Random
from typing import NamedTuple

from usage_pipeline.sandbox.traffic import noise
from usage_pipeline.sandbox.world import UNALTERED, Alterations, Vanish, World

ACTIVITY_DAYS = 30
"""The API tells of this many completed UTC days."""
WORKSPACE_DEFAULT = "3f0c1e52-0000-4000-8000-0000000a0001"
WORKSPACE_PRODUCT = "3f0c1e52-0000-4000-8000-0000000a0002"
_REPLAY_EVERY = 100
_SATURDAY = 5
_PER_TOKEN = Decimal("1e-6")
_BYOK_FEE = Decimal("0.05")


@dataclass(frozen=True, slots=True)
class OpenRouterKey:
    """A key that calls models. ``hash`` is what the API shows of it, a SHA-256 in hex."""

    name: str
    hash: str
    workspace_id: str
    creator_user_id: str


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A model at one provider. Rates are US dollars per million tokens; ``byok`` when the upstream bills the caller."""

    model: str
    permaslug: str
    provider_name: str
    input_rate: Decimal
    cached_rate: Decimal
    output_rate: Decimal
    byok: bool = False

    @property
    def id(self) -> str:
        """The endpoint's UUID."""
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{self.provider_name}/{self.permaslug}"))


class OpenRouterCounts(NamedTuple):
    """Tokens as OpenRouter reports them: ``cached`` lies mostly within ``prompt``, ``reasoning`` stands beside."""

    requests: int = 0
    prompt: int = 0
    completion: int = 0
    reasoning: int = 0
    cached: int = 0


@dataclass(frozen=True, slots=True)
class OpenRouterRow:
    """What one key spent at one endpoint in one UTC day. Money is US dollars."""

    day: date
    endpoint: Endpoint
    key: OpenRouterKey
    counts: OpenRouterCounts
    usage_usd: Decimal
    byok_usage_usd: Decimal


@dataclass(frozen=True, slots=True)
class OpenRouterTotals:
    """The exact sum of a day's rows of one model. Money is US dollars."""

    counts: OpenRouterCounts
    usage_usd: Decimal
    byok_usage_usd: Decimal


@dataclass(frozen=True, slots=True)
class _Stream:
    endpoint: int
    key: int
    requests_per_day: int
    prompt_per_request: int
    completion_per_request: int
    cached_share: float = 0.0
    reasoning_share: float = 0.0


def _key(name: str, workspace_id: str, creator: str) -> OpenRouterKey:
    return OpenRouterKey(name, hashlib.sha256(f"sandbox openrouter {name}".encode()).hexdigest(), workspace_id, creator)


def _endpoint(model: str, permaslug: str, provider: str, rates: str, byok: bool = False) -> Endpoint:
    rate_in, rate_cached, rate_out = map(Decimal, rates.split())
    return Endpoint(model, permaslug, provider, rate_in, rate_cached, rate_out, byok)


KEYS = (
    _key("agents", WORKSPACE_PRODUCT, "user_sandbox_ana"),
    _key("experiments", WORKSPACE_DEFAULT, "user_sandbox_chen"),
)
ENDPOINTS = (
    _endpoint("openai/gpt-4.1", "openai/gpt-4.1-2025-04-14", "OpenAI", "2 0.5 8"),
    _endpoint("anthropic/claude-sonnet-4.5", "anthropic/claude-4.5-sonnet-20250929", "Anthropic", "3 0.3 15"),
    _endpoint(
        "anthropic/claude-sonnet-4.5", "anthropic/claude-4.5-sonnet-20250929", "Amazon Bedrock", "3 0.3 15", True
    ),
    _endpoint("google/gemini-2.5-pro", "google/gemini-2.5-pro", "Google", "1.25 0.31 10"),
    _endpoint("deepseek/deepseek-chat-v3.1", "deepseek/deepseek-chat-v3.1", "DeepInfra", "0.27 0.22 1"),
    _endpoint("deepseek/deepseek-r1-0528", "deepseek/deepseek-r1-0528", "Fireworks", "0.55 0.55 2.19"),
    _endpoint("meta-llama/llama-3.3-70b-instruct", "meta-llama/llama-3.3-70b-instruct", "Together", "0.13 0.13 0.39"),
    _endpoint("mistralai/mistral-large-2411", "mistralai/mistral-large-2411", "Mistral", "2 2 6"),
)
_STREAMS = (
    _Stream(0, 0, 140, 1900, 260, cached_share=0.2),
    _Stream(0, 1, 20, 2600, 400),
    _Stream(1, 0, 90, 4200, 620, cached_share=0.5, reasoning_share=0.3),
    _Stream(2, 0, 60, 3900, 580, cached_share=0.4),
    _Stream(3, 1, 45, 5200, 900, cached_share=0.3, reasoning_share=0.6),
    _Stream(4, 0, 300, 1200, 300, cached_share=0.1),
    _Stream(5, 1, 25, 2200, 1900, reasoning_share=0.8),
    _Stream(6, 0, 210, 800, 180),
    _Stream(6, 1, 30, 900, 210),
    _Stream(7, 1, 18, 3100, 450),
)


def openrouter_rows(
    world: World, first: date, last: date, alterations: Alterations = UNALTERED
) -> Iterator[OpenRouterRow]:
    """The rows of the completed UTC days from ``first`` to ``last``, both included, oldest day first."""
    today = world.now().astimezone(UTC).date()
    day = first
    while day <= min(last, today - timedelta(days=1)):
        factor = alterations.restate.get(f"openrouter:{day.isoformat()}", alterations.restate.get(day.isoformat()))
        for row in _day_rows(world.seed, day, factor):
            if not any(_hides(gone, row) for gone in alterations.vanish):
                yield row
        day += timedelta(days=1)


def openrouter_totals(world: World, day: date, alterations: Alterations = UNALTERED) -> dict[str, OpenRouterTotals]:
    """The exact truth of one completed UTC day by model; empty for a day that is not over."""
    totals: dict[str, OpenRouterTotals] = {}
    for row in openrouter_rows(world, day, day, alterations):
        old = totals.get(row.endpoint.model, OpenRouterTotals(OpenRouterCounts(), Decimal(0), Decimal(0)))
        totals[row.endpoint.model] = OpenRouterTotals(
            OpenRouterCounts(*map(int.__add__, old.counts, row.counts)),
            old.usage_usd + row.usage_usd,
            old.byok_usage_usd + row.byok_usage_usd,
        )
    return totals


def _day_rows(seed: int, day: date, factor: Decimal | None) -> Iterator[OpenRouterRow]:
    rng = Random(noise(seed, "openrouter", day))  # noqa: S311 - reproducible data, no secret hangs on it
    level = 0.2 if day.weekday() >= _SATURDAY else 1.0
    for stream in _STREAMS:
        requests = round(stream.requests_per_day * level * rng.uniform(0.6, 1.4))
        counts = _counts(rng, stream, requests, _is_replayed(seed, day, stream.endpoint))
        if counts.requests:
            if factor is not None:
                counts = OpenRouterCounts(counts.requests, *(int(tokens * factor) for tokens in counts[1:]))
            yield _priced(day, stream, counts)


def _counts(rng: Random, stream: _Stream, requests: int, replayed: bool) -> OpenRouterCounts:
    prompt = round(requests * stream.prompt_per_request * rng.uniform(0.7, 1.3))
    completion = round(requests * stream.completion_per_request * rng.uniform(0.7, 1.3))
    cached = round(prompt * stream.cached_share * rng.uniform(0.6, 1.2))
    return OpenRouterCounts(
        requests,
        prompt,
        completion,
        round(completion * stream.reasoning_share),
        prompt + prompt // 7 + 1 if replayed else cached,
    )


def _is_replayed(seed: int, day: date, endpoint: int) -> bool:
    """True for one endpoint's day in a hundred: replayed answers, whose cached tokens are no part of the prompt's."""
    return (day.toordinal() * len(ENDPOINTS) + endpoint + noise(seed, "replayed")) % _REPLAY_EVERY == 0


def _priced(day: date, stream: _Stream, counts: OpenRouterCounts) -> OpenRouterRow:
    endpoint = ENDPOINTS[stream.endpoint]
    cached = min(counts.cached, counts.prompt)
    upstream_usd = _PER_TOKEN * (
        (counts.prompt - cached) * endpoint.input_rate
        + cached * endpoint.cached_rate
        + counts.completion * endpoint.output_rate
    )
    fee, byok = (upstream_usd * _BYOK_FEE, upstream_usd) if endpoint.byok else (upstream_usd, Decimal(0))
    return OpenRouterRow(day, endpoint, KEYS[stream.key], counts, fee, byok)


def _hides(gone: Vanish, row: OpenRouterRow) -> bool:
    return (
        gone.day == row.day
        and gone.provider is None
        and gone.user_id is None
        and gone.model in (None, row.endpoint.model)
        and gone.api_key_id in (None, row.key.hash)
    )
