from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from usage_pipeline.errors import InvalidInputError
from usage_pipeline.sandbox import World, hermes_payload
from usage_pipeline.sandbox.hermes_payload import hermes_provider
from usage_pipeline.sandbox.hermes_sessions import OTHER_VENDOR_MODEL, SUBSCRIPTION_MODEL, excess_of
from usage_pipeline_tests.sandbox.conftest import NOW

Document = dict[str, Any]
COUNTS = ("requests", "totalTokens", "inputTokens", "outputTokens", "cachedTokens", "reasoningTokens")


@pytest.fixture(scope="module")
def world() -> World:
    return World(7, NOW)


@pytest.fixture(scope="module")
def payload(world: World) -> Document:
    return hermes_payload(world, NOW)


def days(payload: Document) -> list[Document]:
    return [rollup for rollup in payload["rollups"] if len(rollup["usageDate"]) == 10]


def usd(document: Document) -> Decimal:
    return Decimal(str(document["estimatedCostUsd"]))


def test_it_is_the_plugins_document(payload: Document) -> None:
    assert list(payload) == [
        "schemaVersion",
        "environment",
        "generatedAt",
        "sourceLabel",
        "workspace",
        "rollups",
        "repositoryRollups",
    ]
    assert payload["schemaVersion"] == 2
    assert payload["generatedAt"] == "2026-11-19T14:37:25.000Z"
    assert payload["workspace"] == {"slug": "hermes-usage", "name": "Hermes Usage", "provider": "Hermes"}
    assert json.loads(json.dumps(payload)) == payload


def test_the_same_world_and_time_give_the_same_document(payload: Document) -> None:
    assert hermes_payload(World(7, NOW), NOW) == payload


def test_days_reach_back_as_asked_and_hours_over_the_last_day(payload: Document, world: World) -> None:
    dates = [rollup["usageDate"] for rollup in payload["rollups"]]
    assert len(set(dates)) == len(dates)
    assert min(date.fromisoformat(rollup["usageDate"]) for rollup in days(payload)) == date(2026, 10, 21)
    hours = [datetime.fromisoformat(text) for text in dates if len(text) > 10]
    assert hours
    current = NOW.replace(minute=0, second=0)
    assert all(current - timedelta(hours=23) <= hour <= current for hour in hours)
    assert {len(day["usageDate"]) for day in hermes_payload(world, NOW, days_back=2)["rollups"][:2]} == {10}


def test_totals_add_reasoning_on_top_and_children_sum_to_their_parent(payload: Document) -> None:
    for rollup in payload["rollups"]:
        models = rollup["models"]
        assert rollup["totalTokens"] == sum(
            rollup[name] for name in ("inputTokens", "outputTokens", "cachedTokens", "reasoningTokens")
        )
        assert rollup["cachedTokens"] == sum(m["cacheReadTokens"] + m["cacheWriteTokens"] for m in models)
        assert rollup["totalTokens"] == sum(m["tokens"] for m in models)
        for name in ("requests", "inputTokens", "outputTokens", "reasoningTokens"):
            assert rollup[name] == sum(m[name] for m in models)
        assert usd(rollup) == sum(map(usd, models))
        assert usd(rollup) == round(usd(rollup), 4)
        assert rollup["actualCostUsd"] is None
        assert len({m["model"] for m in models}) == len(models)


def test_the_repositories_reconcile_exactly_with_every_bucket(payload: Document) -> None:
    by_date: dict[str, list[Document]] = {}
    for repository in payload["repositoryRollups"]:
        by_date.setdefault(repository["usageDate"], []).append(repository)
        assert repository["totalTokens"] == sum(m["tokens"] for m in repository["models"])
        assert repository["requests"] == sum(m["requests"] for m in repository["models"])
        assert usd(repository) == sum(map(usd, repository["models"]))
        key = repository["repository"]["key"]
        assert (key == "unattributed") == (repository["attributionStatus"] == "unknown")
    assert set(by_date) == {rollup["usageDate"] for rollup in payload["rollups"]}
    for rollup in payload["rollups"]:
        parts = by_date[rollup["usageDate"]]
        assert [rollup[name] for name in COUNTS] == [sum(part[name] for part in parts) for name in COUNTS]
        assert usd(rollup) == sum(map(usd, parts))


def test_names_are_dated_or_not_and_the_provider_follows_the_prefix(payload: Document) -> None:
    models = {model["model"]: model["provider"] for rollup in payload["rollups"] for model in rollup["models"]}
    assert {"gpt-5-mini", "gpt-5-mini-2025-08-07", "claude-sonnet-4-5"} <= set(models)
    assert set(models.values()) == {"OpenAI", "Anthropic", "Google"}
    assert hermes_provider("o3-2025-04-16") == "OpenAI"
    assert hermes_provider("anthropic/claude-sonnet-4.5") == "Unknown"


def cells(payload: Document) -> dict[tuple[str, str], Counter[str]]:
    """Hermes' tokens by day and by the model's name without its date."""
    found: dict[tuple[str, str], Counter[str]] = {}
    for rollup in days(payload):
        for m in rollup["models"]:
            counts = Counter(
                uncached_input=m["inputTokens"],
                cache_read=m["cacheReadTokens"],
                cache_write=m["cacheWriteTokens"],
                output=m["outputTokens"],
            )
            found.setdefault((rollup["usageDate"], undated(m["model"])), Counter()).update(counts)
    return found


def undated(model: str) -> str:
    for suffix in ("-2025-08-07", "-2024-07-18", "-20250929", "-20250805", "-20251001"):
        model = model.removesuffix(suffix)
    return model


@pytest.mark.parametrize("seed", [1, 7, 42])
def test_hermes_stays_below_the_provider_but_for_the_days_of_excess(seed: int) -> None:
    world = World(seed, NOW)
    above = set()
    for (day_text, model), counts in cells(hermes_payload(world, NOW)).items():
        if model in {SUBSCRIPTION_MODEL, OTHER_VENDOR_MODEL}:
            continue
        day = date.fromisoformat(day_text)
        truth = world.token_totals("openai", day) | world.token_totals("anthropic", day)
        reported = next(totals for name, totals in truth.items() if undated(name) == model)
        if any(value > getattr(reported, pile) * 1.02 for pile, value in counts.items()):
            above.add((day, model))
        elif any(value > getattr(reported, pile) for pile, value in counts.items()):
            pytest.fail(f"{day} {model} lies between")
    window = [NOW.date() - timedelta(days=n) for n in range(30)]
    expected = {(day, undated(chosen[1])) for day in window if (chosen := excess_of(day))}
    assert above == expected
    assert 1 <= len(above) <= 3


def test_some_sessions_are_of_models_that_no_account_here_is_billed_for(world: World, payload: Document) -> None:
    elsewhere = {model for _, model in cells(payload)} & {SUBSCRIPTION_MODEL, OTHER_VENDOR_MODEL}
    billed = {name for day in (date(2026, 11, 18), date(2026, 11, 19)) for name in world.token_totals("openai", day)}
    assert elsewhere == {SUBSCRIPTION_MODEL, OTHER_VENDOR_MODEL}
    assert not elsewhere & billed


def test_a_long_session_moves_to_the_day_it_ended_on() -> None:
    evening = datetime(2026, 11, 11, 23, 59, tzinfo=UTC)
    later = evening + timedelta(hours=4)
    moved = 0
    for seed in range(1, 6):
        before, after = (
            {r["usageDate"]: r["totalTokens"] for r in days(hermes_payload(World(seed, NOW), at, days_back=2))}
            for at in (evening, later)
        )
        moved += after["2026-11-11"] < before["2026-11-11"]
    assert moved >= 3


@pytest.mark.parametrize(
    ("at", "back", "share"),
    [(NOW.replace(tzinfo=None), 30, 0.5), (NOW, 0, 0.5), (NOW, 366, 0.5), (NOW, 30, 1.5)],
)
def test_an_impossible_post_is_refused(world: World, at: datetime, back: int, share: float) -> None:
    with pytest.raises(InvalidInputError, match="sandbox_hermes_invalid"):
        hermes_payload(world, at, back, share)
