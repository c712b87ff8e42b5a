"""Which of a model's prices a row asks for: service tier, batch, context window, speed, place of inference.

In: the dimensions of an event, as text. Out: a :class:`PriceVariant` that is equal to another exactly when both ask
for the same price, and the token range of its context window.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import Final
from urllib.parse import parse_qsl, urlencode

STANDARD: Final = "standard"

_BASE_WORDS: Final = {
    "service_tier": frozenset({"", "default", "standard"}),
    "batch": frozenset({"", "false"}),
    "context_window": frozenset({""}),
    "speed": frozenset({"", "standard"}),
    "inference_geo": frozenset({"", "global", "not_available"}),
}
_WINDOW = re.compile(r"(\d{1,9})([km]?)-(\d{1,9})([km]?)", re.IGNORECASE)
_UNIT_TOKENS: Final = {"": 1, "k": 1_000, "m": 1_000_000}
_LONG_CONTEXT: Final = "long context"
_ENDLESS: Final = 10**18


@dataclass(frozen=True, slots=True)
class PriceVariant:
    """What about a row selects a price, from the event's dimensions of the same names, as text.

    Every word for the ordinary case (``default``, ``standard``, ``false``, ``global``, an empty text) becomes None, and
    Anthropic's tier ``batch`` becomes ``batch`` = ``true``, as OpenAI says it. Other words stay as they are:
    what no price list knows must stay visible, so that it is not priced as the ordinary case.
    """

    service_tier: str | None = None
    batch: str | None = None
    context_window: str | None = None
    speed: str | None = None
    inference_geo: str | None = None

    def __post_init__(self) -> None:
        for name, words in _BASE_WORDS.items():
            if getattr(self, name) in words:
                object.__setattr__(self, name, None)
        if self.service_tier == "batch":
            object.__setattr__(self, "service_tier", None)
            object.__setattr__(self, "batch", "true")

    @property
    def text(self) -> str:
        """The variant in one text: ``standard``, else ``name=value&…``, percent-encoded, in the fields' order."""
        asked = [(name, value) for name in _NAMES if (value := getattr(self, name)) is not None]
        return urlencode(asked) or STANDARD

    @classmethod
    def parse(cls, text: str) -> PriceVariant:
        """The variant whose :attr:`text` this is. Raises ValueError or TypeError for any other text."""
        if text == STANDARD:
            return cls()
        return cls(**dict(parse_qsl(text, strict_parsing=True, keep_blank_values=True)))


_NAMES: Final = tuple(field.name for field in fields(PriceVariant))


def window_tokens(context_window: str) -> tuple[int, int] | None:
    """The prompt sizes of a window in tokens, (lowest, highest): ``0-200k`` is (0, 200000); None if it is none.

    ``long context``, OpenAI's word in the lines of its bill, is above every limit.
    """
    if context_window == _LONG_CONTEXT:
        return _ENDLESS, _ENDLESS
    found = _WINDOW.fullmatch(context_window)
    if found is None:
        return None
    low, low_unit, high, high_unit = found.groups()
    lowest = int(low) * _UNIT_TOKENS[low_unit.lower()]
    highest = int(high) * _UNIT_TOKENS[high_unit.lower()]
    return (lowest, highest) if lowest < highest else None
