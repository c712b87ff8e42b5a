"""A bill's lines and the usage behind it, read so that they can be compared: by model, token class and price.

In: billed lines and counted rows of one account's day. Out: :class:`Line` and :class:`Use`. What a line does not say
stays None; nothing is guessed from its amount here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, NamedTuple

from usage_pipeline.ledger.reconcile_inputs import BilledSum
from usage_pipeline.measures import TOKEN_CLASSES
from usage_pipeline.pricing.rates import PRICED_PARTS, Rates, cost_usd
from usage_pipeline.pricing.variants import PriceVariant, window_tokens
from usage_pipeline.reconcile.aliases import canonical_model

WEB_SEARCH: Final = "web_search"
TOOLS: Final = "tools"
COMMITMENT: Final = "priority_commitment"
OTHER_LINES: Final = "other_lines"

_LONG_CONTEXT: Final = "long context"
_WEB_SEARCH_WORDS: Final = re.compile(r"\bweb[ _-]?search", re.IGNORECASE)
_COMMITMENT_WORDS: Final = re.compile(
    r"\b(commit(ment|ted)?|reserved?|reservation|provisioned|scale tier|priority)\b", re.IGNORECASE
)
_TOOL_WORDS: Final = re.compile(
    r"\b(code[ _-]?(interpreter|execution)|file[ _-]?search|vector|storage|containers?|sessions?|computer[ _-]?use|"
    r"tools?|tool calls?)\b",
    re.IGNORECASE,
)
_TOKENS_OF_UNIT: Final = {"tokens": 1, "1000_tokens": 1000}


class PriceGroup(NamedTuple):
    """What lines and usage can both say of a price: tier, batch, long context, place of inference."""

    tier: str | None
    batch: bool
    long_context: bool
    geo: str | None

    @property
    def words(self) -> str:
        """For people; the ordinary case is ``the base tier``."""
        named = [
            f"tier {self.tier}" if self.tier else "",
            "batch" if self.batch else "",
            "long context" if self.long_context else "",
            f"inference in {self.geo}" if self.geo else "",
        ]
        return ", ".join(filter(None, named)) or "the base tier"


def price_group(variant: PriceVariant) -> PriceGroup:
    """The group of a price variant; a window that begins at nothing is the ordinary one."""
    window = window_tokens(variant.context_window) if variant.context_window else None
    return PriceGroup(
        variant.service_tier, variant.batch == "true", bool(window and window[0] > 0), variant.inference_geo
    )


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the bill: exact dollars, and what it says. ``tokens`` are those that the line itself states."""

    usd: Decimal
    label: str
    model: str | None
    token_type: str | None
    variant: PriceVariant
    tokens: Decimal | None = None

    @property
    def group(self) -> PriceGroup:
        """The price group that the line names."""
        return price_group(self.variant)


@dataclass(frozen=True, slots=True)
class Use:
    """Counted usage of one model at one price. ``model`` is canonical, ``name`` as its vendor says it."""

    model: str
    name: str
    variant: PriceVariant
    rates: Rates
    figures: Mapping[str, int | None]

    @property
    def group(self) -> PriceGroup:
        """The price group that the usage names."""
        return price_group(self.variant)

    def tokens(self, token_class: str) -> int:
        """The tokens of a class."""
        return self.figures.get(token_class) or 0

    def cost(self, measure: str) -> Decimal:
        """What a measure alone costs; 0 where nothing of it has a price."""
        parts = {part: self.figures.get(part) for part in PRICED_PARTS.get(measure, ())}
        return cost_usd(self.rates, {measure: self.figures.get(measure), **parts}).amount_usd or Decimal(0)

    def classes(self) -> Iterator[str]:
        """The token classes of which something was used."""
        return (name for name in TOKEN_CLASSES if self.tokens(name))


def read_line(billed: BilledSum) -> Line:
    """A stored line as far as it tells. OpenAI writes long context into the text of the line alone."""
    label = billed.label or billed.cost_type or "unallocated"
    window = billed.context_window or (_LONG_CONTEXT if _LONG_CONTEXT in label.lower() else None)
    return Line(
        usd=billed.amount_usd,
        label=label,
        model=canonical_model(billed.model) if billed.model else None,
        token_type=billed.token_type if billed.token_type in TOKEN_CLASSES else None,
        variant=PriceVariant(
            service_tier=billed.service_tier, context_window=window, inference_geo=billed.inference_geo
        ),
        tokens=_stated_tokens(billed),
    )


def kind_without_model(line: Line) -> str:
    """What a line that names no model is for, by its words."""
    for kind, words in ((WEB_SEARCH, _WEB_SEARCH_WORDS), (TOOLS, _TOOL_WORDS), (COMMITMENT, _COMMITMENT_WORDS)):
        if words.search(line.label):
            return kind
    return OTHER_LINES


def _stated_tokens(billed: BilledSum) -> Decimal | None:
    """The tokens that the line states. Before OpenAI named units, the quantity of a line of tokens was in tokens."""
    if billed.quantity is None or (billed.quantity_unit is None and billed.token_type is None):
        return None
    of_one = _TOKENS_OF_UNIT.get(billed.quantity_unit or "tokens")
    return None if of_one is None else billed.quantity * of_one
