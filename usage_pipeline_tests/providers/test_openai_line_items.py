"""Line items are read as far as they speak, and no further."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usage_pipeline.providers.openai_line_items import LineItem, read_line_item


@pytest.mark.parametrize(
    ("text", "model", "token_type", "tier"),
    [
        ("gpt-4o-mini-2024-07-18, input", "gpt-4o-mini-2024-07-18", "uncached_input", None),
        ("gpt-4o-mini-2024-07-18, output", "gpt-4o-mini-2024-07-18", "output", None),
        ("gpt-4o-mini-2024-07-18, cached input", "gpt-4o-mini-2024-07-18", "cache_read", None),
        ("gpt-4o-mini-2024-07-18, cache writes", "gpt-4o-mini-2024-07-18", "cache_write_unsplit", None),
        ("gpt-5.4, input, long context", "gpt-5.4", "uncached_input", None),
        ("priority | gpt-5.4, output", "gpt-5.4", "output", "priority"),
        ("gpt-realtime-2.1, audio input", "gpt-realtime-2.1", "uncached_input", None),
        ("gpt-realtime-2.1, cached audio input", "gpt-realtime-2.1", "cache_read", None),
        ("gpt-6-astra, input_tokens", "gpt-6-astra", "uncached_input", None),
        ("ft:gpt-4o-mini-2024-07-18:acme::abc, input", "ft:gpt-4o-mini-2024-07-18:acme::abc", "uncached_input", None),
        ("text-embedding-3-small", "text-embedding-3-small", None, None),
        ("input_tokens", None, "uncached_input", None),
        ("web search tool calls", None, None, None),
        ("Text tokens", None, None, None),
        ("assistants api | file search", None, None, None),
        ("", None, None, None),
    ],
)
def test_a_line_item_says(text: str, model: str | None, token_type: str | None, tier: str | None) -> None:
    assert read_line_item(text) == LineItem(model, token_type, tier)


@given(st.text())
def test_no_line_item_fails(text: str) -> None:
    read_line_item(text)
