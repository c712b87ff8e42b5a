"""The document that the Hermes plugin in use posts, schemaVersion 2, built from the sandbox's world.

In: the world, the time of the post, how many days back. Out: a JSON-ready dictionary: a daily row for every UTC day
with sessions, an hourly row for each of the last 24 hours with sessions, and the same split by repository. Its habits
are kept: cached tokens are reads plus writes, ``totalTokens`` counts reasoning on top of the output that already holds
it, the provider follows from the model's prefix, costs have four decimals and children add up to their parent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import ROUND_FLOOR, ROUND_HALF_UP, Decimal
from typing import Any, TypeVar

from usage_pipeline.errors import InvalidInputError
from usage_pipeline.sandbox.hermes_sessions import Session, sessions
from usage_pipeline.sandbox.traffic import DAY_SECONDS, HOUR_SECONDS
from usage_pipeline.sandbox.world import TokenTotals, World

SCHEMA_VERSION = 2
DEFAULT_SHARE = 0.8
_HOURLY_BUCKETS = 24
_DAYS_BACK_MAX = 365
_UNITS_PER_USD = 10_000
_PREFIXES = (
    (("gpt-", "o1", "o3", "o4"), "OpenAI"),
    (("claude-",), "Anthropic"),
    (("gemini-", "gemma-"), "Google"),
)

Group = list[Session]
K = TypeVar("K")


def hermes_payload(
    world: World,
    generated_at: datetime,
    days_back: int = 30,
    share: float = DEFAULT_SHARE,
    *,
    environment: str = "production",
    source_label: str = "hermes-sandbox",
    workspace_slug: str = "hermes-usage",
    workspace_name: str = "Hermes Usage",
) -> dict[str, Any]:
    """One post of the plugin as at ``generated_at`` (aware, not after the world's present).

    ``days_back`` counts the UTC days up to today, 1 to 365; ``share`` is the part of its keys' traffic that Hermes
    recorded. Raises InvalidInputError ``sandbox_hermes_invalid``.
    """
    if generated_at.tzinfo is None or not 1 <= days_back <= _DAYS_BACK_MAX or not 0 <= share <= 1:
        raise InvalidInputError(
            "sandbox_hermes_invalid",
            "generated_at needs a zone, days_back lies in 1..365, share in 0..1",
            where="hermes_payload",
        )
    generated_at = generated_at.astimezone(UTC)
    first_day = generated_at.date() - timedelta(days=days_back - 1)
    known = sessions(world, first_day, generated_at, share)
    this_hour_s = int(generated_at.timestamp()) // HOUR_SECONDS * HOUR_SECONDS
    first_hour_s = this_hour_s - (_HOURLY_BUCKETS - 1) * HOUR_SECONDS
    recent = [session for session in known if session.ended_s >= first_hour_s]
    buckets = _bucketed(known, DAY_SECONDS, "%Y-%m-%d") | _bucketed(recent, HOUR_SECONDS, "%Y-%m-%dT%H:00:00Z")
    return {
        "schemaVersion": SCHEMA_VERSION,
        "environment": environment,
        "generatedAt": generated_at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "sourceLabel": source_label,
        "workspace": {"slug": workspace_slug, "name": workspace_name, "provider": "Hermes"},
        "rollups": [_rollup(usage_date, group) for usage_date, group in buckets.items()],
        "repositoryRollups": [
            document for usage_date, group in buckets.items() for document in _repository_rollups(usage_date, group)
        ],
    }


def hermes_provider(model: str) -> str:
    """The provider that the plugin infers from a model's prefix."""
    return next((provider for prefixes, provider in _PREFIXES if model.startswith(prefixes)), "Unknown")


def _bucketed(known: Iterable[Session], width_s: int, name: str) -> dict[str, Group]:
    """Sessions by bucket, oldest first; an idle bucket has no entry."""
    buckets: dict[str, Group] = {}
    for session in sorted(known, key=lambda one: one.ended_s):
        start = datetime.fromtimestamp(session.ended_s - session.ended_s % width_s, UTC)
        buckets.setdefault(start.strftime(name), []).append(session)
    return buckets


def _rollup(usage_date: str, group: Group) -> dict[str, Any]:
    models = _split(group, lambda session: session.model)
    units = _units(group)
    shares = _shares(units, list(models.values()))
    return {
        "usageDate": usage_date,
        **_totals(group),
        "estimatedCostUsd": units / _UNITS_PER_USD,
        **_no_actual_cost(),
        "models": [_model(model, held, share) for (model, held), share in zip(models.items(), shares, strict=True)],
    }


def _model(model: str, group: Group, units: int) -> dict[str, Any]:
    tokens = _tokens(group)
    return {
        "model": model,
        "provider": hermes_provider(model),
        "requests": tokens.requests,
        "tokens": _total_tokens(group),
        "inputTokens": tokens.uncached_input,
        "outputTokens": tokens.output,
        "cacheReadTokens": tokens.cache_read,
        "cacheWriteTokens": tokens.cache_write,
        "reasoningTokens": sum(session.reasoning_tokens for session in group),
        "estimatedCostUsd": units / _UNITS_PER_USD,
        **_no_actual_cost(),
    }


def _repository_rollups(usage_date: str, group: Group) -> list[dict[str, Any]]:
    repositories = _split(group, lambda session: session.repository)
    documents = []
    for (repository, held), units in zip(
        repositories.items(), _shares(_units(group), list(repositories.values())), strict=True
    ):
        key, name, status = repository
        models = _split(held, lambda session: session.model)
        shares = _shares(units, list(models.values()))
        documents.append(
            {
                "usageDate": usage_date,
                "repository": {"key": key, "name": name},
                "attributionStatus": status,
                **_totals(held),
                "estimatedCostUsd": units / _UNITS_PER_USD,
                "models": [
                    {
                        "model": model,
                        "requests": _tokens(part).requests,
                        "tokens": _total_tokens(part),
                        "estimatedCostUsd": share / _UNITS_PER_USD,
                    }
                    for (model, part), share in zip(models.items(), shares, strict=True)
                ],
            }
        )
    return documents


def _totals(group: Group) -> dict[str, int]:
    tokens = _tokens(group)
    return {
        "requests": tokens.requests,
        "totalTokens": _total_tokens(group),
        "inputTokens": tokens.uncached_input,
        "outputTokens": tokens.output,
        "cachedTokens": tokens.cache_read + tokens.cache_write,
        "reasoningTokens": sum(session.reasoning_tokens for session in group),
    }


def _total_tokens(group: Group) -> int:
    """As the plugin counts: reasoning on top of the output that holds it already."""
    tokens = _tokens(group)
    return tokens.input_total + tokens.output + sum(session.reasoning_tokens for session in group)


def _tokens(group: Group) -> TokenTotals:
    return sum((session.tokens for session in group), TokenTotals())


def _no_actual_cost() -> dict[str, int | None]:
    return {"actualCostUsd": None, "actualCostObservedSessions": 0, "actualCostObservedTokens": 0}


def _split(group: Group, key: Callable[[Session], K]) -> dict[K, Group]:
    parts: dict[K, Group] = {}
    for session in sorted(group, key=lambda one: str(key(one))):
        parts.setdefault(key(session), []).append(session)
    return parts


def _exact_units(group: Group) -> Decimal:
    return sum((session.cost_usd for session in group), Decimal(0)) * _UNITS_PER_USD


def _units(group: Group) -> int:
    """The group's cost in units of 0.0001 USD, rounded half up."""
    return int(_exact_units(group).to_integral_value(ROUND_HALF_UP))


def _shares(units: int, parts: Sequence[Group]) -> list[int]:
    """``units`` dealt to the parts by largest remainder, so that they add up; units of 0.0001 USD."""
    exact = [_exact_units(part) for part in parts]
    whole = sum(exact, Decimal(0))
    if not whole:
        return [0] * len(parts)
    scaled = [units * part / whole for part in exact]
    floors = [int(part.to_integral_value(ROUND_FLOOR)) for part in scaled]
    by_remainder = sorted(range(len(parts)), key=lambda index: (floors[index] - scaled[index], index))
    for index in by_remainder[: units - sum(floors)]:
        floors[index] += 1
    return floors
