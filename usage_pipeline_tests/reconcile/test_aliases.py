"""The name on which both sides meet."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usage_pipeline.reconcile.aliases import SNAPSHOTS, canonical_model, vendors_name

PAGE = Path(__file__).resolve().parents[2] / "docs" / "models.md"


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
        ("openai/gpt-5.4-2026-03-05", "gpt-5.4"),
        ("gpt-realtime-2025-08-28", "gpt-realtime"),
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
        "text-embedding-3-small",
        "text-embedding-3-large",
        "whisper-1",
        "tts-1",
        "gpt-image-1",
        "claude-opus-4-6",
    ],
)
def test_an_unknown_name_stays_as_it_is(reported: str) -> None:
    assert canonical_model(reported) == reported


def test_no_alias_is_a_snapshot_itself() -> None:
    assert not set(SNAPSHOTS.values()) & set(SNAPSHOTS)


@given(st.sampled_from(sorted(SNAPSHOTS)))
def test_a_canonical_name_is_its_own(snapshot: str) -> None:
    assert canonical_model(canonical_model(snapshot)) == canonical_model(snapshot)


@pytest.mark.parametrize(
    ("reported", "name"),
    [
        ("openai/gpt-5-2025-08-07", "gpt-5-2025-08-07"),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "claude-sonnet-4-5-20250929"),
        ("gpt-5-2025-08-07", "gpt-5-2025-08-07"),
        ("x-ai/grok-4:free", "grok-4:free"),
        ("openrouter/auto", "openrouter/auto"),
    ],
)
def test_a_price_is_looked_up_by_the_vendors_name_with_its_snapshot(reported: str, name: str) -> None:
    assert vendors_name(reported) == name


def test_the_documented_table_is_the_codes() -> None:
    rows = re.findall(r"^\| `([^`]+)` \| (.+) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    documented = [(snapshot, alias) for alias, listed in rows for snapshot in re.findall(r"`([^`]+)`", listed)]
    assert len(documented) == len(SNAPSHOTS)
    assert dict(documented) == SNAPSHOTS
