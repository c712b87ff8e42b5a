"""What a row's dimensions say about its price."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usage_pipeline.pricing.variants import PriceVariant, window_tokens

words = st.none() | st.text(st.characters(codec="utf-8"), max_size=8) | st.sampled_from(["flex", "batch", "a&b=c"])
variants = st.builds(PriceVariant, words, words, words, words, words)


@given(variants)
def test_a_variant_comes_back_from_its_text(variant: PriceVariant) -> None:
    assert PriceVariant.parse(variant.text) == variant


def test_the_words_for_the_ordinary_case_are_one_variant() -> None:
    ordinary = PriceVariant("standard", "false", None, "standard", "not_available")
    assert ordinary == PriceVariant("default", None, "", None, "global") == PriceVariant()
    assert ordinary.text == "standard"


def test_anthropics_batch_tier_is_the_batch_of_openai() -> None:
    assert PriceVariant(service_tier="batch") == PriceVariant(service_tier="default", batch="true")


def test_an_unknown_word_is_never_the_ordinary_case() -> None:
    assert PriceVariant(service_tier="bogus") != PriceVariant()


@pytest.mark.parametrize(
    ("window", "expected"),
    [("0-200k", (0, 200_000)), ("200k-1M", (200_000, 1_000_000)), ("1m-200k", None), ("huge", None), ("", None)],
)
def test_a_window_is_read_in_tokens(window: str, expected: tuple[int, int] | None) -> None:
    assert window_tokens(window) == expected


def test_long_context_is_above_every_limit() -> None:
    found = window_tokens("long context")
    assert found is not None
    assert found[0] > 10**12
