"""The agent sessions that Hermes recorded of the sandbox's spending: a subset, with the agent's own habits.

In: the world and a time. Out: :class:`Session` objects. Hermes sees only the traffic of its own keys, and not all of
it, so that it is a lower bound of the provider's report; a long session counts wholly in the hour it ended; and on two
days in 28 one model shows more than the provider reported, as happens when a subscription's traffic carries a
metered model's name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import chain

from usage_pipeline.sandbox.organisations import ANTHROPIC_STREAMS, OPENAI_STREAMS
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
from usage_pipeline.sandbox.world import ProviderName, TokenTotals, World, row_tokens

EXCESS_FACTOR = Decimal("1.06")
EXCESS_CYCLE_DAYS = 28
# The days' ordinals modulo the cycle: a Tuesday and, two weeks away, a Wednesday.
EXCESS_MODELS: dict[int, tuple[ProviderName, str]] = {
    9: ("openai", "gpt-5-mini-2025-08-07"),
    24: ("anthropic", "claude-haiku-4-5-20251001"),
}
# A subscription's traffic that carries a metered model's name: the account never sees it.
SUBSCRIPTION_MODEL = "gpt-5-codex"
SUBSCRIPTION_DAYS = frozenset({2, 16})
# Traffic to a vendor of which the workspace has no key: Hermes is the only one to tell of it.
OTHER_VENDOR_MODEL = "gemini-2.5-pro"
_ELSEWHERE_HOUR = 10
_EXCESS_HOUR = 12
_LONG_SESSION_HOUR = 20
_LONG_SESSION_SHARE = 0.4
_SATURDAY = 5
_SNAPSHOT_DATE = re.compile(r"-\d{4}-?\d\d-?\d\d$", re.ASCII)
REPOSITORIES = (
    ("github.com/sandbox-works/assistant", "assistant", "exact"),
    ("github.com/sandbox-works/handbook", "handbook", "exact"),
    ("local:" + "5a" * 32, "notes", "cwd-derived"),
    ("unattributed", "Unattributed", "unknown"),
)


@dataclass(frozen=True, slots=True)
class Session:
    """One session as Hermes stores it. ``ended_s`` is the hour that its whole lifetime counts in, Unix seconds.

    ``tokens`` are disjoint piles; ``reasoning_tokens`` is a part of the output. ``provider_model`` is the provider's
    own name, ``model`` the name that Hermes knew. ``cost_usd`` is Hermes' estimate, exact.
    """

    ended_s: int
    model: str
    provider_model: str
    repository: tuple[str, str, str]
    tokens: TokenTotals
    reasoning_tokens: int
    cost_usd: Decimal


def excess_of(day: date) -> tuple[ProviderName, str] | None:
    """The provider and model of which Hermes shows too much on a day, if any."""
    return EXCESS_MODELS.get(day.toordinal() % EXCESS_CYCLE_DAYS)


def sessions(world: World, first_day: date, generated_at: datetime, share: float) -> list[Session]:
    """The sessions that ended from ``first_day`` on and began before ``generated_at``.

    ``share`` is the part of its keys' traffic that Hermes recorded, 0 to 1.
    """
    start_s = int(datetime(first_day.year, first_day.month, first_day.day, tzinfo=UTC).timestamp())
    end_s = int(generated_at.timestamp())
    # One day earlier: a session that began the evening before may have ended on the first day.
    rows: Iterable[OpenAiRow | AnthropicRow] = chain(
        world.openai_rows(start_s - DAY_SECONDS, end_s), world.anthropic_rows(start_s - DAY_SECONDS, end_s)
    )
    found = [
        _session(world, row, _ended_s(world, row, end_s))
        for row in rows
        if row.stream.hermes and _chance(world, "recorded", row) < share
    ]
    for day_s in range(start_s, end_s - DAY_SECONDS + 1, DAY_SECONDS):
        found.extend(_excess(world, day_s, found))
        found.extend(_elsewhere(world, day_s))
    return [session for session in found if session.ended_s >= start_s]


def _session(world: World, row: OpenAiRow | AnthropicRow, ended_s: int) -> Session:
    stream = row.stream
    dated = _chance(world, "dated", row) < 0.3
    repository = REPOSITORIES[noise(world.seed, "repository", row.at_s, stream.model) % len(REPOSITORIES)]
    tokens = row_tokens(row)
    if isinstance(row, OpenAiRow):
        reasoning = round(tokens.output * row.stream.reasoning_share)
        cost_usd = sum((charge.amount_usd for charge in openai_charges(row)), Decimal(0))
    else:
        reasoning = 0
        cost_usd = sum((c.amount_cents for c in anthropic_charges(row) if c.cost_type == "tokens"), Decimal(0)) / 100
    model = stream.model if dated else _SNAPSHOT_DATE.sub("", stream.model)
    return Session(ended_s, model, stream.model, repository, tokens, reasoning, cost_usd)


def _ended_s(world: World, row: OpenAiRow | AnthropicRow, now_s: int) -> int:
    """The hour the row counts in: its own, or for a long evening session the first hour of the next day.

    A session that is still open counts where it started, so its hour may change with a later payload. No session
    runs into a weekend, where the provider's day would be too small to stay above it.
    """
    hour_s = row.at_s - row.at_s % HOUR_SECONDS
    midnight_s = row.at_s - row.at_s % DAY_SECONDS + DAY_SECONDS
    is_evening = midnight_s - row.at_s <= (24 - _LONG_SESSION_HOUR) * HOUR_SECONDS
    into_weekend = datetime.fromtimestamp(midnight_s, UTC).weekday() >= _SATURDAY
    is_long = is_evening and not into_weekend and _chance(world, "long", row) < _LONG_SESSION_SHARE
    return midnight_s if is_long and midnight_s + HOUR_SECONDS <= now_s else hour_s


def _excess(world: World, day_s: int, known: list[Session]) -> Iterator[Session]:
    """The session that lifts one model of this day above the provider's own count."""
    day = datetime.fromtimestamp(day_s, UTC).date()
    chosen = excess_of(day)
    if chosen is None:
        return
    provider, model = chosen
    reported = world.token_totals(provider, day).get(model)
    if reported is None:
        return
    seen = sum(
        (s.tokens for s in known if s.provider_model == model and day_s <= s.ended_s < day_s + DAY_SECONDS),
        TokenTotals(),
    )
    at_s = day_s + _EXCESS_HOUR * HOUR_SECONDS
    yield _session(world, _row_of(provider, model, at_s, reported, seen), at_s)


def _elsewhere(world: World, day_s: int) -> Iterator[Session]:
    """Sessions that neither provider's account ever sees."""
    day = datetime.fromtimestamp(day_s, UTC).date()
    if day.toordinal() % EXCESS_CYCLE_DAYS in SUBSCRIPTION_DAYS:
        yield _foreign_session(world, day_s, SUBSCRIPTION_MODEL, Decimal("1.25e-6"))
    if day.weekday() < _SATURDAY:
        yield _foreign_session(world, day_s, OTHER_VENDOR_MODEL, Decimal("2.5e-6"))


def _foreign_session(world: World, day_s: int, model: str, usd_per_token: Decimal) -> Session:
    size = noise(world.seed, "elsewhere", day_s, model)
    tokens = TokenTotals(
        uncached_input=40_000 + size % 90_000, cache_read=size % 50_000, output=8_000 + size % 7_000, requests=12
    )
    return Session(
        ended_s=day_s + _ELSEWHERE_HOUR * HOUR_SECONDS,
        model=model,
        provider_model=model,
        repository=REPOSITORIES[size % len(REPOSITORIES)],
        tokens=tokens,
        reasoning_tokens=tokens.output // 4,
        cost_usd=usd_per_token * tokens.uncached_input,
    )


def _row_of(
    provider: ProviderName, model: str, at_s: int, reported: TokenTotals, seen: TokenTotals
) -> OpenAiRow | AnthropicRow:
    uncached = _lift(reported.uncached_input, seen.uncached_input)
    read, written = _lift(reported.cache_read, seen.cache_read), _lift(reported.cache_write, seen.cache_write)
    output = _lift(reported.output, seen.output)
    requests = max(1, reported.requests - seen.requests)
    if provider == "openai":
        stream = next(s for s in OPENAI_STREAMS if s.hermes and s.model == model)
        counts = OpenAiCounts(
            requests=requests, text_in=uncached, cached_text_in=read, cache_write_in=written, text_out=output
        )
        return OpenAiRow(at_s, stream, counts)
    source = next(s for s in ANTHROPIC_STREAMS if s.hermes and s.model == model)
    return AnthropicRow(
        at_s,
        source,
        AnthropicCounts(requests, uncached_in=uncached, cache_read_in=read, cache_5m_in=written, out=output),
    )


def _lift(reported: int, seen: int) -> int:
    return max(0, int(reported * EXCESS_FACTOR) - seen)


def _chance(world: World, question: str, row: OpenAiRow | AnthropicRow) -> float:
    """A number in [0, 1) that belongs to this row and this question."""
    return noise(world.seed, question, row.at_s, row.stream.api_key_id, row.stream.model) / 2**64
