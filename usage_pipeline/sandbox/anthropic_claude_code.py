"""Anthropic's Claude Code report: one UTC day's work by actor, seen from the same traffic as the messages report.

In: an authenticated request and the scene. Out: one page of actors, oldest contract and newest alike. Parameters,
fields, the number in cents and the delay of about an hour are from the published page of the endpoint; what the page
says nothing of (an unknown parameter, a malformed day) is refused in the words of the other reports.

Two actors are views of the API customer's own traffic, so their tokens are in the messages report too: a key that
works with Opus, and a person who is signed in. The third has a subscription, and is in no other report.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal

from usage_pipeline.sandbox.anthropic_directory import EMAIL_OF_USER, NAME_OF_KEY, ORGANISATION_ID
from usage_pipeline.sandbox.anthropic_request import bad, check_names, read_limit, read_page
from usage_pipeline.sandbox.exchange import SURPRISE_FIELD, Answer, ApiRequest, Document, Scene, spoil
from usage_pipeline.sandbox.paging import Cursor, fingerprint, page_token
from usage_pipeline.sandbox.prices import ANTHROPIC_RATES, anthropic_charges
from usage_pipeline.sandbox.switches import FaultKind
from usage_pipeline.sandbox.traffic import DAY_SECONDS, AnthropicCounts, AnthropicRow, added, noise
from usage_pipeline.sandbox.world import UNALTERED, Alterations, World

CLAUDE_CODE_PATH = "/v1/organizations/usage_report/claude_code"
DELAY_SECONDS = 3600
"""The page says that only data older than an hour are included."""

_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_LIMIT = (20, 1000)
_CODING_KEY = "apikey_01SandboxLab"
_CODING_MODELS = frozenset({"claude-opus-4-1-20250805", "claude-opus-4-6"})
_CODING_ACCOUNT = "user_01SandboxAna"
_SUBSCRIBER = "user_01SandboxChen"
_SUBSCRIPTION_MODEL = "claude-sonnet-4-5-20250929"
_SATURDAY = 5
_TOOLS = ("edit_tool", "multi_edit_tool", "notebook_edit_tool", "write_tool")
_PER_TOKEN_CENTS = Decimal("1e-4")


@dataclass(frozen=True, slots=True)
class ClaudeCodeActor:
    """Who worked: a person (``email_address``) or a key (``api_key_name``); the other is None."""

    email_address: str | None
    api_key_name: str | None
    customer_type: str
    subscription_type: str | None
    terminal_type: str


@dataclass(frozen=True, slots=True)
class ClaudeCodeUse:
    """What an actor used of one model in one UTC day. ``cost_cents`` is the estimate, whole US cents."""

    actor: ClaudeCodeActor
    model: str
    counts: AnthropicCounts
    cost_cents: int


_KEY_ACTOR = ClaudeCodeActor(None, NAME_OF_KEY[_CODING_KEY], "api", None, "ci")
_PERSON_ACTOR = ClaudeCodeActor(EMAIL_OF_USER[_CODING_ACCOUNT], None, "api", None, "vscode")
_SUBSCRIBER_ACTOR = ClaudeCodeActor(EMAIL_OF_USER[_SUBSCRIBER], None, "subscription", "team", "iTerm.app")


def claude_code(request: ApiRequest, scene: Scene) -> Answer:
    """GET /v1/organizations/usage_report/claude_code. Raises Refusal."""
    check_names(request, {"starting_at", "limit", "page"})
    day = _day(request)
    limit = read_limit(request, *_LIMIT)
    digest = fingerprint(request.path, request.query)
    rows = _rows(scene.world, day, claude_code_uses(scene.world, day, scene.switches.alterations()))
    here = read_page(request, digest, Cursor(len(rows), 0, 1))
    end = here.next_start_s + limit
    onward = page_token(Cursor(here.end_s, end, here.page_number + 1), digest) if end < len(rows) else None
    body: Document = {
        "data": rows[here.next_start_s : end],
        "has_more": onward is not None,
        "next_page": onward,
    }
    return Answer(200, _spoiled(body, here, digest, scene))


def claude_code_uses(world: World, day: date, alterations: Alterations = UNALTERED) -> tuple[ClaudeCodeUse, ...]:
    """The exact truth of one UTC day by actor and model, as far as it is older than the report's delay."""
    start_s = int(datetime.combine(day, time(), UTC).timestamp())
    end_s = min(start_s + DAY_SECONDS, int(world.now().timestamp()) - DELAY_SECONDS)
    sums: dict[tuple[ClaudeCodeActor, str], AnthropicCounts] = {}
    cents: dict[tuple[ClaudeCodeActor, str], Decimal] = {}
    if end_s > start_s:
        for row in world.anthropic_rows(start_s, end_s, alterations):
            actor = _actor(row)
            if actor is not None:
                key = (actor, row.stream.model)
                sums[key] = added(sums[key], row.counts) if key in sums else row.counts
                cents[key] = cents.get(key, Decimal(0)) + _token_cents(row)
    uses = [ClaudeCodeUse(*key, sums[key], round(cents[key])) for key in sorted(sums, key=lambda key: key[1])]
    return (*uses, *_subscription(world, day, start_s, end_s))


def _actor(row: AnthropicRow) -> ClaudeCodeActor | None:
    stream = row.stream
    if stream.account_id == _CODING_ACCOUNT:
        return _PERSON_ACTOR
    return _KEY_ACTOR if stream.api_key_id == _CODING_KEY and stream.model in _CODING_MODELS else None


def _token_cents(row: AnthropicRow) -> Decimal:
    return sum((charge.amount_cents for charge in anthropic_charges(row) if charge.cost_type == "tokens"), Decimal(0))


def _subscription(world: World, day: date, start_s: int, end_s: int) -> Iterator[ClaudeCodeUse]:
    """The subscriber's day, once it is over; nobody works at the weekend."""
    if day.weekday() >= _SATURDAY or end_s < start_s + DAY_SECONDS:
        return
    size = 40_000 + noise(world.seed, "claude code", day) % 90_000
    counts = AnthropicCounts(
        uncached_in=size, cache_read_in=3 * size, cache_5m_in=size // 5, cache_1h_in=0, out=size // 4
    )
    rates = ANTHROPIC_RATES[_SUBSCRIPTION_MODEL, "0-200k"]
    cents = _PER_TOKEN_CENTS * (
        counts.uncached_in * rates.input
        + counts.cache_read_in * rates.cache_read
        + counts.cache_5m_in * rates.cache_5m
        + counts.out * rates.output
    )
    yield ClaudeCodeUse(_SUBSCRIBER_ACTOR, _SUBSCRIPTION_MODEL, counts, round(cents))


def _day(request: ApiRequest) -> date:
    text = request.value("starting_at")
    if not text:
        raise bad("starting_at: Field required")
    try:
        if not _DAY.fullmatch(text):
            raise ValueError
        return date.fromisoformat(text)
    except ValueError:
        raise bad("starting_at: Input should be a valid date in YYYY-MM-DD format") from None


def _rows(world: World, day: date, uses: tuple[ClaudeCodeUse, ...]) -> list[Document]:
    by_actor: dict[ClaudeCodeActor, list[ClaudeCodeUse]] = {}
    for use in uses:
        by_actor.setdefault(use.actor, []).append(use)
    return [_row(world.seed, day, actor, held) for actor, held in by_actor.items()]


def _row(seed: int, day: date, actor: ClaudeCodeActor, uses: list[ClaudeCodeUse]) -> Document:
    lot = noise(seed, "claude code work", day, actor.email_address, actor.api_key_name)
    named: Document = (
        {"type": "api_actor", "api_key_name": actor.api_key_name}
        if actor.email_address is None
        else {"type": "user_actor", "email_address": actor.email_address}
    )
    return {
        "date": f"{day.isoformat()}T00:00:00Z",
        "actor": named,
        "organization_id": ORGANISATION_ID,
        "customer_type": actor.customer_type,
        "subscription_type": actor.subscription_type,
        "terminal_type": actor.terminal_type,
        "core_metrics": {
            "num_sessions": 1 + lot % 9,
            "lines_of_code": {"added": 40 + lot % 1500, "removed": lot % 700},
            "commits_by_claude_code": lot % 13,
            "pull_requests_by_claude_code": lot % 3,
        },
        "tool_actions": {
            tool: {"accepted": (lot >> 8 * index) % 47, "rejected": (lot >> 8 * index) % 6}
            for index, tool in enumerate(_TOOLS)
        },
        "model_breakdown": [_model_use(use) for use in uses],
    }


def _model_use(use: ClaudeCodeUse) -> Document:
    return {
        "model": use.model,
        "tokens": {
            "input": use.counts.uncached_in,
            "output": use.counts.out,
            "cache_read": use.counts.cache_read_in,
            "cache_creation": use.counts.cache_5m_in + use.counts.cache_1h_in,
        },
        "estimated_cost": {"currency": "USD", "amount": use.cost_cents},
    }


def _spoiled(body: Document, here: Cursor, digest: bytes, scene: Scene) -> Document:
    """The body after its content faults; those that change results change actors here."""
    for fault in scene.faults:
        if fault.kind is FaultKind.UNKNOWN_FIELD:
            for row in body["data"]:
                row[SURPRISE_FIELD] = 7
    of_rows = {FaultKind.UNKNOWN_FIELD, FaultKind.NEGATIVE_COUNT}
    return spoil(body, here, digest, tuple(fault for fault in scene.faults if fault.kind not in of_rows))
