"""For every valid payload: the rows add up to the buckets, and layout changes nothing."""

from __future__ import annotations

import json
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from usage_pipeline.hermes.payload import HermesRow, batch_digest, covered_days
from usage_pipeline_tests.hermes.payload_building import bucket, model, parse, repository, tokens_of, v2

COUNTS = st.integers(0, 2**40)
COSTS = st.integers(0, 10**9).map(lambda steps: steps / 10_000)
NAMES = st.sampled_from(
    [("gpt-5.4", "OpenAI"), ("o3", "OpenAI"), ("claude-opus-4-6", "Anthropic"), ("qwen3", "Unknown")]
)
REPOSITORIES = st.sampled_from(
    [("unattributed", "Unattributed", "unknown"), ("h/shop", "shop", "exact"), ("h/shop", "shop", "cwd-derived")]
)
BUCKETS = st.one_of(
    st.integers(0, 40).map(lambda back: str(date(2026, 3, 12) - timedelta(days=back))),
    st.integers(0, 23).map(lambda hour: f"2026-03-11T{hour:02}:00:00Z"),
)
FIGURES = ("requests", "inputTokens", "cachedTokens", "outputTokens", "reasoningTokens", "estimatedCostUsd")


@st.composite
def models(draw: st.DrawFn) -> dict[str, Any]:
    name, provider = draw(NAMES)
    return model(
        name,
        provider,
        requests=draw(COUNTS),
        uncached=draw(COUNTS),
        read=draw(COUNTS),
        write=draw(COUNTS),
        output=draw(COUNTS),
        reasoning=draw(COUNTS),
        estimated=draw(COSTS),
        actual=draw(st.none() | COSTS),
    )


@st.composite
def payloads(draw: st.DrawFn) -> dict[str, Any]:
    """Any number of days and hours, each with distinct models that are spread over distinct repositories."""
    buckets, repositories = [], []
    for usage_date in draw(st.lists(BUCKETS, unique=True, max_size=6)):
        used = draw(st.lists(models(), unique_by=lambda one: one["model"], min_size=1, max_size=4))
        buckets.append(bucket(usage_date, *used))
        homes = draw(st.lists(REPOSITORIES, min_size=len(used), max_size=len(used)))
        for home in sorted(set(homes)):
            mine = [one for one, its_home in zip(used, homes, strict=True) if its_home == home]
            repositories.append(repository(bucket(usage_date, *mine), *home))
    return v2(*buckets, repositoryRollups=draw(st.permutations(repositories)))


def stated(buckets: list[dict[str, Any]]) -> dict[str, Any]:
    sums = {name: sum(one[name] for one in buckets) for name in FIGURES[:-1]}
    costs = sum((Decimal(str(one["estimatedCostUsd"])) for one in buckets), Decimal(0))
    return {**sums, "estimatedCostUsd": costs}


@given(payloads())
def test_the_rows_add_up_to_the_buckets(payload: dict[str, Any]) -> None:
    rows = parse(payload).rows
    for one in payload["rollups"]:
        mine: tuple[HermesRow, ...] = tuple(
            row
            for row in rows
            if row.kind != "repository"
            and one["usageDate"] == row.start.strftime("%Y-%m-%d" if row.kind == "day" else "%Y-%m-%dT%H:00:00Z")
        )
        assert tokens_of(mine, mine[0].kind) == stated([one])
    days = [one for one in payload["rollups"] if "T" not in one["usageDate"]]
    assert tokens_of(rows, "day") == tokens_of(rows, "repository") == stated(days)


@given(payloads(), st.integers(0, 5), st.sampled_from(["inputTokens", "cachedTokens", "outputTokens"]), COUNTS)
def test_a_short_sum_is_made_good_to_the_token(payload: dict[str, Any], which: int, name: str, rest: int) -> None:
    if which < len(payload["rollups"]):
        short = payload["rollups"][which]
        shares = [one for one in payload["repositoryRollups"] if one["usageDate"] == short["usageDate"]]
        short[name] += rest
        shares[0][name] += rest
    rows = parse(payload).rows
    days = [one for one in payload["rollups"] if "T" not in one["usageDate"]]
    assert tokens_of(rows, "day") == tokens_of(rows, "repository") == stated(days)


@given(payloads())
def test_no_row_comes_twice(payload: dict[str, Any]) -> None:
    rows = parse(payload).rows
    assert len({(row.kind, row.start, row.provider, row.model, row.repository) for row in rows}) == len(rows)


@given(payloads())
def test_every_daily_row_is_covered(payload: dict[str, Any]) -> None:
    batch = parse(payload)
    days = covered_days(batch, None)
    for row in batch.rows:
        if row.kind == "day":
            assert days is not None
            assert days[0] <= row.start.date() < days[1]


@given(payloads())
def test_layout_changes_neither_the_batch_nor_its_digest(payload: dict[str, Any]) -> None:
    turned = dict(reversed(payload.items()))
    assert parse(turned) == parse(payload)
    spaced, tight = json.dumps(turned, indent=1), json.dumps(payload, separators=(",", ":"))
    assert batch_digest(spaced.encode()) == batch_digest(tight.encode())
