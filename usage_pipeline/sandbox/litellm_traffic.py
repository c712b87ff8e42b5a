"""What went through the LiteLLM proxy in the sandbox, as rows of its spend log.

In: a world. Out: log rows, the daily rows that the proxy sums up from them, and exact totals by model. Two keys of the
world's organisations belong to the proxy (:data:`OPENAI_KEY_ID`, :data:`ANTHROPIC_KEY_ID`), so every token here that
names ``openai`` or ``anthropic`` is in that provider's own reports too, in the same hour and under the same model: a
burst of the world becomes one or two rows that add up to it exactly, pile by pile. A row therefore stands for many of
the upstream's requests. The calls to ``mistral`` have no other witness here, and a failed call spends nothing.

A proxy keeps what it has seen: restatements and vanished rows of a provider do not reach it.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from random import Random
from typing import Literal, NamedTuple, TypeVar

from usage_pipeline.sandbox.prices import anthropic_charges, openai_charges
from usage_pipeline.sandbox.traffic import (
    DAY_SECONDS,
    HOUR_SECONDS,
    AnthropicCounts,
    AnthropicRow,
    OpenAiCounts,
    OpenAiRow,
    noise,
)
from usage_pipeline.sandbox.world import World

OPENAI_KEY_ID = "key_sandbox_web"
ANTHROPIC_KEY_ID = "apikey_01SandboxWeb"
Counts = TypeVar("Counts", OpenAiCounts, AnthropicCounts)
Upstream = Literal["openai", "anthropic", "mistral"]

_HOURS_KEPT_MAX = 1600
_FAILURE_EVERY = 40
_TWO_ROWS_FROM_CALLS = 12
_PER_TOKEN = Decimal("1e-6")
_CENTS_PER_DOLLAR = 100


@dataclass(frozen=True, slots=True)
class VirtualKey:
    """A key that the proxy gave out. ``secret`` is what callers send, ``hash`` what the proxy stores and shows."""

    secret: str
    alias: str
    user_id: str
    team_id: str

    @property
    def hash(self) -> str:
        """SHA-256 of the secret, hex."""
        return hashlib.sha256(self.secret.encode()).hexdigest()


class ProxyTokens(NamedTuple):
    """Tokens as the proxy counts them: ``prompt`` is all input, the cache piles lie within it."""

    prompt: int = 0
    completion: int = 0
    cache_read: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    audio_in: int = 0
    audio_out: int = 0
    web_searches: int = 0

    @property
    def total(self) -> int:
        """Input and output."""
        return self.prompt + self.completion


@dataclass(frozen=True, slots=True)
class ProxyLog:
    """One row of the spend log. Times are milliseconds since 1970 UTC; ``spend_usd`` is the proxy's own estimate."""

    request_id: str
    start_ms: int
    end_ms: int
    upstream: Upstream
    model: str
    model_group: str
    call_type: str
    key: VirtualKey
    tokens: ProxyTokens
    spend_usd: Decimal
    failed: bool = False


@dataclass(frozen=True, slots=True)
class DailyRow:
    """What the proxy sums up by day, user, key, model, provider and endpoint."""

    id: str
    day: date
    key: VirtualKey
    model: str
    model_group: str
    upstream: Upstream
    endpoint: str | None
    logs: tuple[ProxyLog, ...]


TEAM_ALIASES = {"team-sandbox-web": "Web", "team-sandbox-lab": "Lab"}
USER_EMAILS = {"sandbox-web": "web@sandbox.example", "sandbox-bo": "bo@sandbox.example"}
WEB_KEY = VirtualKey("sk-sandbox-litellm-web", "web-frontend", "sandbox-web", "team-sandbox-web")
LAB_KEY = VirtualKey("sk-sandbox-litellm-lab", "lab-notebooks", "sandbox-bo", "team-sandbox-lab")
VIRTUAL_KEYS = (WEB_KEY, LAB_KEY)
_MODEL_GROUPS = {
    "gpt-5-2025-08-07": "gpt-5",
    "gpt-5-mini-2025-08-07": "gpt-5-mini",
    "claude-sonnet-4-5-20250929": "claude-sonnet",
    "claude-haiku-4-5-20251001": "claude-haiku",
}
_ENDPOINT_OF_CALL = {"acompletion": "/chat/completions"}
"""The proxy's own table; ``anthropic_messages`` is not in it, so those calls have no endpoint."""
_MISTRAL = {
    "mistral-large-latest": (Decimal(2), Decimal(6), 2400, 500),
    "mistral-small-latest": (Decimal("0.1"), Decimal("0.3"), 1100, 240),
}
_MISTRAL_HOURS = range(6, 21)


def proxy_logs(world: World, start_s: int, end_s: int) -> Iterator[ProxyLog]:
    """The rows that started in [start_s, end_s) and have happened by now, oldest hour first, unordered within it."""
    end_s = min(end_s, int(world.now().timestamp()))
    for hour_s in range(start_s - start_s % HOUR_SECONDS, end_s, HOUR_SECONDS):
        for log in _hour(world.seed, hour_s):
            if start_s * 1000 <= log.start_ms < end_s * 1000:
                yield log


def daily_rows(world: World, first: date, last: date) -> list[DailyRow]:
    """The sums of the UTC days from ``first`` to ``last``, both included; the newest day first, then by ``id``."""
    start_s, end_s = _day_start_s(first), _day_start_s(last) + DAY_SECONDS
    groups: dict[tuple[date, VirtualKey, str, Upstream, str | None], list[ProxyLog]] = {}
    for log in proxy_logs(world, start_s, end_s):
        day = datetime.fromtimestamp(log.start_ms // 1000, UTC).date()
        endpoint = _ENDPOINT_OF_CALL.get(log.call_type)
        groups.setdefault((day, log.key, log.model, log.upstream, endpoint), []).append(log)
    rows = [
        DailyRow(
            _daily_id(world.seed, day, key, model, upstream),
            day,
            key,
            model,
            logs[0].model_group,
            upstream,
            endpoint,
            tuple(logs),
        )
        for (day, key, model, upstream, endpoint), logs in groups.items()
    ]
    return sorted(rows, key=lambda row: (-row.day.toordinal(), row.id))


def proxy_totals(world: World, day: date) -> dict[tuple[Upstream, str], ProxyTokens]:
    """The exact tokens of one UTC day by upstream and model."""
    totals: dict[tuple[Upstream, str], ProxyTokens] = {}
    for log in proxy_logs(world, _day_start_s(day), _day_start_s(day) + DAY_SECONDS):
        key = (log.upstream, log.model)
        totals[key] = ProxyTokens(*map(int.__add__, totals.get(key, ProxyTokens()), log.tokens))
    return totals


def proxy_spend_usd(world: World, day: date) -> Decimal:
    """The exact sum of the proxy's own estimates of one UTC day, US dollars."""
    logs = proxy_logs(world, _day_start_s(day), _day_start_s(day) + DAY_SECONDS)
    return sum((log.spend_usd for log in logs), Decimal(0))


@lru_cache(maxsize=_HOURS_KEPT_MAX)
def _hour(seed: int, hour_s: int) -> tuple[ProxyLog, ...]:
    """All rows of a whole UTC hour, whether it is over or not."""
    world = World(seed, datetime.fromtimestamp(hour_s, UTC) + timedelta(hours=1))
    logs: list[ProxyLog] = []
    for openai in world.openai_rows(hour_s, hour_s + HOUR_SECONDS):
        if openai.stream.api_key_id == OPENAI_KEY_ID:
            logs += (_openai_log(seed, openai, part, index) for index, part in enumerate(_parts(openai.counts)))
    for anthropic in world.anthropic_rows(hour_s, hour_s + HOUR_SECONDS):
        if anthropic.stream.api_key_id == ANTHROPIC_KEY_ID:
            parts = enumerate(_parts(anthropic.counts))
            logs += (_anthropic_log(seed, anthropic, part, index) for index, part in parts)
    logs += _mistral_logs(seed, hour_s)
    logs += [_failure(seed, log) for log in logs if noise(seed, "failure", log.request_id) % _FAILURE_EVERY == 0]
    return tuple(logs)


def _parts(counts: Counts) -> tuple[Counts, ...]:
    """A burst's counts as those of one row, or of two when it is large; every pile adds up."""
    if counts.requests < _TWO_ROWS_FROM_CALLS:
        return (counts,)
    lesser = type(counts)(*(value // 2 for value in counts))
    return lesser, type(counts)(*map(int.__sub__, counts, lesser))


def _openai_log(seed: int, row: OpenAiRow, part: OpenAiCounts, index: int) -> ProxyLog:
    cached = part.cached_text_in + part.cached_image_in + part.cached_audio_in
    tokens = ProxyTokens(
        prompt=part.text_in + part.image_in + part.audio_in + cached + part.cache_write_in,
        completion=part.text_out + part.audio_out,
        cache_read=cached,
        cache_write=part.cache_write_in,
        audio_in=part.audio_in + part.cached_audio_in,
        audio_out=part.audio_out,
    )
    spend = sum((c.amount_usd for c in openai_charges(OpenAiRow(row.at_s, row.stream, part))), Decimal(0))
    name = f"openai:{row.at_s}:{row.stream.model}:{row.stream.service_tier}:{index}"
    return _log(seed, name, row.at_s, "openai", row.stream.model, tokens, spend)


def _anthropic_log(seed: int, row: AnthropicRow, part: AnthropicCounts, index: int) -> ProxyLog:
    written = part.cache_5m_in + part.cache_1h_in
    tokens = ProxyTokens(
        prompt=part.uncached_in + part.cache_read_in + written,
        completion=part.out,
        cache_read=part.cache_read_in,
        cache_write=written,
        cache_write_1h=part.cache_1h_in,
        web_searches=part.web_searches,
    )
    cents = sum((c.amount_cents for c in anthropic_charges(AnthropicRow(row.at_s, row.stream, part))), Decimal(0))
    name = f"anthropic:{row.at_s}:{row.stream.model}:{row.stream.workspace_id}:{index}"
    return _log(seed, name, row.at_s, "anthropic", row.stream.model, tokens, cents / _CENTS_PER_DOLLAR)


def _mistral_logs(seed: int, hour_s: int) -> Iterator[ProxyLog]:
    """A few calls an hour to a provider that nobody here has an administration key of."""
    rng = Random(noise(seed, "mistral", hour_s))  # noqa: S311 - reproducible data, no secret hangs on it
    if datetime.fromtimestamp(hour_s, UTC).hour not in _MISTRAL_HOURS:
        return
    for model, (rate_in, rate_out, prompt, completion) in _MISTRAL.items():
        for index in range(rng.choice((0, 1, 1, 2))):
            tokens = ProxyTokens(round(prompt * rng.uniform(0.5, 9)), round(completion * rng.uniform(0.5, 9)))
            spend = _PER_TOKEN * (tokens.prompt * rate_in + tokens.completion * rate_out)
            at_s = hour_s + 60 * rng.randrange(60)
            yield _log(seed, f"mistral:{at_s}:{model}:{index}", at_s, "mistral", model, tokens, spend)


def _log(
    seed: int, name: str, at_s: int, upstream: Upstream, model: str, tokens: ProxyTokens, spend_usd: Decimal
) -> ProxyLog:
    """A row that starts somewhere in the minute ``at_s`` and may end in the next."""
    lot = noise(seed, "proxy", name)
    start_ms = at_s * 1000 + lot % 60_000
    return ProxyLog(
        request_id=str(uuid.UUID(int=lot << 64 | noise(seed, "request", name), version=4)),
        start_ms=start_ms,
        end_ms=start_ms + 400 + (lot >> 20) % 30_000,
        upstream=upstream,
        model=model,
        model_group=_MODEL_GROUPS.get(model, model.removesuffix("-latest")),
        call_type="anthropic_messages" if upstream == "anthropic" else "acompletion",
        key=LAB_KEY if upstream == "mistral" else WEB_KEY,
        tokens=tokens,
        spend_usd=spend_usd,
    )


def _failure(seed: int, log: ProxyLog) -> ProxyLog:
    """A call like ``log`` that the upstream turned away just before."""
    return ProxyLog(
        request_id=str(uuid.UUID(int=noise(seed, "failed", log.request_id) << 64, version=4)),
        start_ms=log.start_ms - log.start_ms % 60_000,
        end_ms=log.start_ms - log.start_ms % 60_000 + 250,
        upstream=log.upstream,
        model=log.model,
        model_group=log.model_group,
        call_type=log.call_type,
        key=log.key,
        tokens=ProxyTokens(),
        spend_usd=Decimal(0),
        failed=True,
    )


def _daily_id(seed: int, day: date, key: VirtualKey, model: str, upstream: Upstream) -> str:
    return str(uuid.UUID(int=noise(seed, "daily", day, key.alias, model, upstream) << 64, version=4))


def _day_start_s(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
