"""A part of the difference between a bill and its usage."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Part:
    """``usd`` of billed minus computed that ``word``, a reason, makes; ``words`` say by which figures."""

    word: str
    usd: Decimal
    words: str
