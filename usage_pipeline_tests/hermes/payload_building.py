"""Valid payloads for tests: a bucket's own figures and its repositories follow from its models."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import usage_pipeline.hermes.payload as payload_module
from usage_pipeline.hermes.payload import HermesBatch, HermesRow

FIXTURES = Path(__file__).parents[2] / "fixtures" / "hermes"
GENERATED_AT = "2026-03-12T09:30:00Z"
RECEIVED_AT = datetime(2026, 3, 12, 9, 30, 2, tzinfo=UTC)

Json = dict[str, Any]


def fixture(name: str) -> Json:
    return json.loads((FIXTURES / f"{name}.json").read_text())


def parse(payload: object, received_at: datetime = RECEIVED_AT) -> HermesBatch:
    return payload_module.parse_payload(json.dumps(payload).encode(), received_at=received_at)


def model(
    name: str = "gpt-5.4",
    provider: str = "OpenAI",
    *,
    requests: int = 1,
    uncached: int = 100,
    read: int = 20,
    write: int = 10,
    output: int = 40,
    reasoning: int = 5,
    estimated: float = 0.0,
    actual: float | None = None,
) -> Json:
    return {
        "model": name,
        "provider": provider,
        "requests": requests,
        "tokens": uncached + read + write + output + reasoning,
        "inputTokens": uncached,
        "outputTokens": output,
        "cacheReadTokens": read,
        "cacheWriteTokens": write,
        "reasoningTokens": reasoning,
        "estimatedCostUsd": estimated,
        "actualCostUsd": actual,
        "actualCostObservedSessions": 0 if actual is None else 1,
        "actualCostObservedTokens": 0,
    }


def bucket(usage_date: str, *models: Json) -> Json:
    costs = [one["actualCostUsd"] for one in models if one["actualCostUsd"] is not None]
    return {
        "usageDate": usage_date,
        "requests": sum(one["requests"] for one in models),
        "totalTokens": sum(one["tokens"] for one in models),
        "inputTokens": sum(one["inputTokens"] for one in models),
        "outputTokens": sum(one["outputTokens"] for one in models),
        "cachedTokens": sum(one["cacheReadTokens"] + one["cacheWriteTokens"] for one in models),
        "reasoningTokens": sum(one["reasoningTokens"] for one in models),
        "estimatedCostUsd": round(sum(one["estimatedCostUsd"] for one in models), 4),
        "actualCostUsd": round(sum(costs), 4) if costs else None,
        "actualCostObservedSessions": len(costs),
        "actualCostObservedTokens": 0,
        "models": list(models),
    }


def repository(of: Json, key: str = "unattributed", name: str = "Unattributed", attribution: str = "unknown") -> Json:
    """One repository that used all of the bucket ``of``."""
    figures = ("requests", "totalTokens", "inputTokens", "outputTokens", "cachedTokens", "reasoningTokens")
    return {
        "usageDate": of["usageDate"],
        "repository": {"key": key, "name": name},
        "attributionStatus": attribution,
        **{figure: of[figure] for figure in figures},
        "estimatedCostUsd": of["estimatedCostUsd"],
        "models": [
            {
                "model": "gpt-5.4",
                "requests": of["requests"],
                "tokens": of["totalTokens"],
                "estimatedCostUsd": of["estimatedCostUsd"],
            }
        ],
    }


def head(**changes: object) -> Json:
    return {
        "environment": "production",
        "generatedAt": GENERATED_AT,
        "sourceLabel": "hermes on build-7",
        "workspace": {"slug": "acme", "name": "Acme", "provider": "Hermes"},
        **changes,
    }


def v2(*buckets: Json, **changes: object) -> Json:
    return {
        "schemaVersion": 2,
        **head(),
        "rollups": list(buckets),
        "repositoryRollups": [repository(one) for one in buckets],
        **changes,
    }


def tokens_of(rows: tuple[HermesRow, ...], kind: str) -> Json:
    """What the rows of a kind add up to, under the names of a bucket."""
    chosen = [row for row in rows if row.kind == kind]
    return {
        "requests": sum(row.requests or 0 for row in chosen),
        "inputTokens": sum(row.uncached_input for row in chosen),
        "cachedTokens": sum(row.cache_read + row.cache_write_unsplit for row in chosen),
        "outputTokens": sum(row.output for row in chosen),
        "reasoningTokens": sum(row.reasoning or 0 for row in chosen),
        "estimatedCostUsd": sum((row.estimated_cost_usd or Decimal(0) for row in chosen), Decimal(0)),
    }
