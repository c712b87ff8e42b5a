"""Version 1: the same plugin before repositories, in the builds that are still around."""

from __future__ import annotations

import pytest

from usage_pipeline.hermes.payload import PayloadRefusedError
from usage_pipeline_tests.hermes.payload_building import fixture, head, parse, tokens_of

EARLY_DAY = {
    "usageDate": "2026-03-11",
    "requests": 3,
    "totalTokens": 175,
    "inputTokens": 100,
    "outputTokens": 40,
    "cachedTokens": 30,
    "reasoningTokens": 5,
    "estimatedCostUsd": 1.25,
}


def early(*models: dict[str, object], **changes: object) -> dict[str, object]:
    return {**head(), "rollups": [{**EARLY_DAY, **changes, "models": list(models)}]}


def early_model(name: str, **changes: object) -> dict[str, object]:
    return {"model": name, "requests": 3, "tokens": 175, "estimatedCostUsd": 1.25, **changes}


def test_models_with_token_classes_read_like_version_two() -> None:
    one, two = parse(fixture("v1_with_token_classes")), parse(fixture("v2_two_days"))
    assert one.rows == tuple(row for row in two.rows if row.kind != "repository")
    assert (one.schema_version, one.findings) == (1, ())


def test_the_version_may_be_said() -> None:
    assert parse(fixture("v1_with_token_classes") | {"schemaVersion": 1}).schema_version == 1


def test_the_only_model_used_what_its_bucket_states() -> None:
    batch = parse(early(early_model("gpt-5.4")))
    (row,) = batch.rows
    assert (row.provider, row.model, row.counts) == ("openai", "gpt-5.4", True)
    assert (row.uncached_input, row.cache_read, row.cache_write_unsplit, row.output, row.reasoning) == (
        100,
        30,
        0,
        40,
        5,
    )
    assert [(one.code, one.stated) for one in batch.findings] == [("cache_split_missing", 30)]


def test_models_without_classes_leave_the_bucket_unallocated_on_their_only_provider() -> None:
    batch = parse(early(early_model("gpt-5.4", requests=1), early_model("o3", requests=2)))
    (row,) = batch.rows
    assert (row.model, row.provider, row.counts) == ("unallocated", "openai", True)
    assert (row.requests, row.uncached_input, row.cache_read, row.output, row.reasoning) == (3, 100, 30, 40, 5)
    assert {"model_split_missing", "rollup_differs"} <= {one.code for one in batch.findings}


def test_models_without_classes_of_two_providers_are_shown_and_not_counted() -> None:
    batch = parse(fixture("v1_models_without_classes"))
    row = batch.rows[0]
    assert (row.model, row.provider, row.counts) == ("unallocated", "unknown", False)
    assert (row.requests, row.uncached_input, row.cache_read, row.output) == (6, 1700, 3200, 550)
    # The other buckets have one model each: 11 March as above, 12 March one call with 100 in and 40 out.
    assert tokens_of(batch.rows, "day")["inputTokens"] == 1700 + 100
    assert tokens_of(batch.rows, "hour")["outputTokens"] == 300 + 250 + 40


def test_a_model_that_lacks_only_its_cache_takes_it_from_its_bucket() -> None:
    (row,) = parse(early(early_model("gpt-5.4", inputTokens=100, outputTokens=40))).rows
    assert (row.uncached_input, row.cache_read, row.output) == (100, 30, 40)


@pytest.mark.parametrize(
    ("model", "provider", "slug"),
    [
        ("gpt-5.4", "Hermes", "openai"),
        ("claude-sonnet-4-6", None, "anthropic"),
        ("anthropic/claude-sonnet-4.6", None, "unknown"),
        ("unknown-model", None, "unknown"),
        ("gpt-5.4", "Unknown", "unknown"),
    ],
)
def test_a_missing_vendor_is_guessed_from_the_vendors_own_names_only(model: str, provider: str, slug: str) -> None:
    assert parse(early(early_model(model, provider=provider))).rows[0].provider == slug


def test_the_first_builds_had_no_reasoning() -> None:
    payload = early(early_model("gpt-5.4"))
    del payload["rollups"][0]["reasoningTokens"]  # type: ignore[index]
    assert parse(payload).rows[0].reasoning is None


def test_repositories_come_with_version_two_only() -> None:
    with pytest.raises(PayloadRefusedError) as caught:
        parse({**early(early_model("gpt-5.4")), "repositoryRollups": []})
    assert caught.value.where == "repositoryRollups"
