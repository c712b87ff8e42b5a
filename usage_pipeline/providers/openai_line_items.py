"""Reading OpenAI's cost line items: free text that names a model and a token class, by best effort.

Comes in: a ``line_item`` such as ``priority | gpt-4o-mini-2024-07-18, cached input, long context``. Goes out: what
could be read from it; what could not is None, never a guess. The text itself stays the line's label.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, NamedTuple

# Phrases as OpenAI writes them after the model (``…, cached input``) and, since November 2026, as field names
# (``…, input_tokens``). ``input`` is the uncached part: the cached part has a line of its own.
_TOKEN_TYPES: Final = {
    "input": "uncached_input",
    "uncached input": "uncached_input",
    "cached input": "cache_read",
    "cache reads": "cache_read",
    "cache writes": "cache_write_unsplit",
    "cache write": "cache_write_unsplit",
    "output": "output",
}
_MODALITIES: Final = frozenset({"text", "audio", "image"})

# A model's name is one word that begins with a letter and has a digit somewhere: gpt-4o, o3-mini, chatgpt-4o-latest,
# ft:gpt-4o-mini:acme::abc, text-embedding-3-small. "web search tool calls" and "Text tokens" are not.
_MODEL: Final = re.compile(r"(?=[^ ]*\d)[a-z][a-z0-9._:/-]*")
_TIER: Final = re.compile(r"[a-z][a-z_-]*")


class LineItem(NamedTuple):
    """What a line item says: the model, our token class, the service tier; None where it does not."""

    model: str | None
    token_type: str | None
    service_tier: str | None


@lru_cache(maxsize=4096)
def read_line_item(text: str) -> LineItem:
    """What the line item says, by best effort; never fails."""
    prefix, bar, rest = text.partition(" | ")
    tier = prefix.strip().lower() if bar else ""
    if not _TIER.fullmatch(tier):
        tier, rest = "", text
    head, *suffixes = (part.strip() for part in rest.split(","))
    return LineItem(
        model=head if _MODEL.fullmatch(head) else None,
        token_type=next(filter(None, map(_token_type, suffixes or [head])), None),
        service_tier=tier or None,
    )


def _token_type(phrase: str) -> str | None:
    words = phrase.lower().replace("_", " ").removesuffix(" tokens").split()
    return _TOKEN_TYPES.get(" ".join(word for word in words if word not in _MODALITIES))
