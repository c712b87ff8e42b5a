"""The name on which both sides meet."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usage_pipeline.reconcile.aliases import SNAPSHOTS, canonical_model


@pytest.mark.parametrize(
    ("reported", "canonical"),
    [
        ("gpt-5-2025-08-07", "gpt-5"),
        ("openai/gpt-5-2025-08-07", "gpt-5"),
        ("claude-sonnet-4-5-20250929", "claude-sonnet-4-5"),
        ("anthropic/claude-sonnet-4.6", "claude-sonnet-4.6"),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "claude-sonnet-4-5"),
        ("anthropic.claude-opus-4-1-20250805-v1:0", "claude-opus-4-1"),
        ("us.meta.llama3-1-8b-instruct-v1:0", "llama3-1-8b-instruct-v1:0"),
        ("x-ai/grok-4:free", "grok-4:free"),
    ],
)
def test_a_known_snapshot_becomes_its_alias_and_prefixes_go(reported: str, canonical: str) -> None:
    assert canonical_model(reported) == canonical


@pytest.mark.parametrize(
    "reported",
    [
        "",
        "gpt-5",
        "gpt-5-2031-01-01",
        "gpt-6-2030-02-02",
        "claude-sonnet-4.6",
        "ft:gpt-4.1-mini-2025-04-14:acme::abc",
        "openrouter/auto",
        "accounts/fireworks/models/deepseek-v3",
        "my.model/v1",
        "openai/",
    ],
)
def test_an_unknown_name_stays_as_it_is(reported: str) -> None:
    assert canonical_model(reported) == reported


def test_no_alias_is_a_snapshot_itself() -> None:
    assert not set(SNAPSHOTS.values()) & set(SNAPSHOTS)


@given(st.sampled_from(sorted(SNAPSHOTS)))
def test_a_canonical_name_is_its_own(snapshot: str) -> None:
    assert canonical_model(canonical_model(snapshot)) == canonical_model(snapshot)
