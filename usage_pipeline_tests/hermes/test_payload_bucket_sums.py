"""The models of a bucket count, and its own figures only check them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from usage_pipeline.hermes.payload import HermesBatch, HermesRow, PayloadRefusedError
from usage_pipeline_tests.hermes.payload_building import bucket, model, parse, repository, tokens_of, v2

CLAUDE = model("claude-sonnet-4-6", "Anthropic")


def with_bucket(*models: dict[str, Any], usage_date: str = "2026-03-11", **changes: int | float | None) -> HermesBatch:
    """The batch of a bucket whose own figures were changed, and its repositories with them."""
    day = bucket(usage_date, *models) | changes
    day["totalTokens"] = sum(day[name] for name in ("inputTokens", "cachedTokens", "outputTokens", "reasoningTokens"))
    return parse(v2(day, repositoryRollups=[repository(day)]))


def unallocated(batch: HermesBatch) -> HermesRow:
    (row,) = (row for row in batch.rows if row.model == "unallocated")
    return row


def test_a_short_sum_is_counted_on_the_only_provider() -> None:
    # The two models state 200 in, 60 cached and 80 out; the bucket 230, 67 and 81.
    batch = with_bucket(model(), model("o3"), inputTokens=230, cachedTokens=67, outputTokens=81, requests=5)
    row = unallocated(batch)
    assert (row.provider, row.counts, row.kind) == ("openai", True, "day")
    assert (row.uncached_input, row.cache_read, row.cache_write_unsplit, row.output) == (30, 7, 0, 1)
    assert row.requests == 3
    assert tokens_of(batch.rows, "day") == tokens_of(batch.rows, "repository")


def test_a_short_sum_among_several_providers_is_shown_and_not_counted() -> None:
    row = unallocated(with_bucket(model(), CLAUDE, inputTokens=230))
    assert (row.provider, row.counts, row.uncached_input) == ("unknown", False, 30)


def test_a_bucket_without_models_is_shown_and_not_counted() -> None:
    row = unallocated(with_bucket(inputTokens=5))
    assert (row.provider, row.counts, row.uncached_input, row.reasoning) == ("unknown", False, 5, 0)


def test_a_short_sum_is_a_finding_with_both_figures() -> None:
    batch = with_bucket(model(), inputTokens=103, outputTokens=45)
    found = {finding.measure: finding for finding in batch.findings if finding.code == "rollup_differs"}
    assert {name: (one.stated, one.found) for name, one in found.items()} == {
        "inputTokens": (103, 100),
        "outputTokens": (45, 40),
    }
    assert str(found["inputTokens"].day) == "2026-03-11"
    assert found["inputTokens"].where == "rollups[0].inputTokens"


def test_an_hour_is_checked_like_a_day() -> None:
    assert unallocated(with_bucket(model(), usage_date="2026-03-11T05:00:00Z", inputTokens=103)).kind == "hour"


@pytest.mark.parametrize("measure", ["inputTokens", "cachedTokens", "outputTokens"])
def test_more_in_the_models_than_in_the_bucket_is_refused(measure: str) -> None:
    day = bucket("2026-03-11", model(), CLAUDE)
    day[measure] -= 1
    with pytest.raises(PayloadRefusedError) as caught:
        parse(v2(day))
    assert (caught.value.code, caught.value.where) == ("payload_models_exceed_bucket", f"rollups[0].{measure}")


def test_an_excess_is_not_made_good_by_a_shortage_elsewhere() -> None:
    with pytest.raises(PayloadRefusedError, match="payload_models_exceed_bucket"):
        with_bucket(model(), inputTokens=150, outputTokens=39)


@pytest.mark.parametrize("requests", [0, 9])
def test_requests_alone_are_noticed_and_make_no_row(requests: int) -> None:
    batch = with_bucket(model(requests=3), requests=requests)
    assert [(one.code, one.measure) for one in batch.findings] == [("rollup_differs", "requests")]
    assert [row.requests for row in batch.rows if row.kind == "day"] == [3]


def test_the_rest_of_the_cost_goes_with_the_rest_of_the_tokens() -> None:
    batch = with_bucket(model(estimated=0.25), inputTokens=103, estimatedCostUsd=0.75)
    assert unallocated(batch).estimated_cost_usd == Decimal("0.5")
    assert unallocated(batch).actual_cost_usd is None


def test_costs_that_differ_by_rounding_alone_are_no_finding() -> None:
    # Two rounded costs and a rounded total: half a step of four decimals for each of the three.
    assert with_bucket(model(estimated=0.25), CLAUDE, estimatedCostUsd=0.2501).findings == ()
    (finding,) = with_bucket(model(estimated=0.25), CLAUDE, estimatedCostUsd=0.2502).findings
    assert (finding.code, finding.measure) == ("rollup_differs", "estimatedCostUsd")


def test_reasoning_of_the_rest_stays_within_its_output() -> None:
    assert unallocated(with_bucket(model(), outputTokens=41, reasoningTokens=25)).reasoning == 1
