"""Names: what passes is safe in a partition key, a path and a line of output."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usage_pipeline.errors import InvalidInputError
from usage_pipeline.ledger.slugs import check_part, split_slug


@given(st.from_regex(r"[a-z0-9][a-z0-9_-]{0,62}", fullmatch=True))
def test_a_part_by_the_rule_passes_unchanged(part: str) -> None:
    assert check_part(part, where="workspace") == part
    assert split_slug(f"{part}.openai.main", parts=3, where="key") == (part, "openai", "main")


@given(st.text(max_size=80))
def test_no_other_character_passes(text: str) -> None:
    if not set(text) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-") or not text or len(text) > 63:
        with pytest.raises(InvalidInputError, match="slug_malformed"):
            check_part(text, where="workspace")


@pytest.mark.parametrize("slug", ["acme.openai", "acme.openai.main.x", "acme..main", ".openai.main", "a|b.openai.main"])
def test_a_slug_has_exactly_its_parts(slug: str) -> None:
    with pytest.raises(InvalidInputError, match="slug_malformed"):
        split_slug(slug, parts=3, where="key")


def test_an_overlong_name_is_not_repeated() -> None:
    with pytest.raises(InvalidInputError) as caught:
        check_part("x" * 500, where="workspace")
    assert "xxx" not in str(caught.value)
