"""Quotes of the public price lists: the installed library's tables, and three rules of ours.

An unknown model, tier, speed or place has no price: never a similar model's, never the ordinary tier's. Three rules of
the public price lists are applied here because the library does not hold them:

* usage through Anthropic's Message Batches API costs half of the standard price of every token, cache tokens too,
  since the API's start on 2024-10-08 (the library has such prices from 2026-10-14 on, and only of models then listed);
* tokens of Anthropic's requests with ``inference_geo`` ``us`` cost 1.1 times the price, on top of all else. Models
  before February 2026 report ``not_available`` and are not concerned;
* OpenAI's moderation models are free of charge.

OpenAI's batch and tier prices before the library's first dates are not derived: there the discount on cached input
differs from model to model.
"""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from usage_pipeline.pricing.library_prices import NoListPrice, find_entry, library_version, list_price
from usage_pipeline.pricing.model_names import undated_name
from usage_pipeline.pricing.quotes import PriceQuote
from usage_pipeline.pricing.rates import Rates
from usage_pipeline.pricing.variants import PriceVariant

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo

_RULES: Final = "rules 1"
"""Counts up when this package reads the same library differently, so that stored quotes stay what they were."""

_ANTHROPIC: Final = "anthropic"
_BATCH_SINCE: Final = date(2024, 10, 8)
_BATCH_SHARE: Final = Decimal("0.5")
_US_FACTOR: Final = Decimal("1.1")
_FREE_MODELS: Final = {"openai": re.compile(r"(?:omni|text)-moderation(?:-[a-z0-9-]+)?")}
_FREE: Final = Rates(uncached_input=Decimal(0), cache_read=Decimal(0), output=Decimal(0))
_NOT_TOKENS: Final = frozenset({"requests", "searches", "seconds", "characters"})


class ListQuotes:
    """What the price lists say, under one version."""

    def __init__(self) -> None:
        self._entry = lru_cache(10_000)(_entry_or_reason)
        self.same_model = lru_cache(10_000)(self._same_model)

    @property
    def version(self) -> str:
        """Which library, read by which rules of ours."""
        return f"{library_version()} {_RULES}"

    def quote(self, provider: str, model: str, variant: PriceVariant, day: date) -> PriceQuote:
        """The list price at the start of the UTC day, or that there is none."""
        rates: Rates | None
        try:
            if provider in _FREE_MODELS and _FREE_MODELS[provider].fullmatch(model):
                rates, basis = _FREE, "free of charge"
            elif isinstance(entry := self._entry(provider, model), str):
                raise NoListPrice(entry)
            else:
                rates, basis = _from_library(provider, entry, variant, day)
        except NoListPrice as missing:
            rates, basis = None, f"unpriced: {missing}"
        return PriceQuote(provider, model, variant, day, rates, self.version, basis)

    def _same_model(self, provider: str, model: str) -> tuple[str, ...]:
        """The names, in lower case, under which a price of this model may have been written down: its own, then the
        undated one and the list's where the list has one price for all of them. Snapshots that the list prices apart
        (``gpt-4o-2024-05-13``) are models of their own.
        """
        name = model.lower()
        entry = self._entry(provider, model)
        if isinstance(entry, str):
            return (name,)
        undated = undated_name(name)
        same = undated == name or self._entry(provider, undated) == entry
        return tuple(dict.fromkeys((name, *([undated] if same else []), entry.id.lower())))


def _entry_or_reason(provider: str, model: str) -> ModelInfo | str:
    try:
        return find_entry(provider, model)
    except NoListPrice as missing:
        return str(missing)


def _from_library(provider: str, entry: ModelInfo, variant: PriceVariant, day: date) -> tuple[Rates, str]:
    """The rates and the basis in words. Raises NoListPrice."""
    context = _library_context(variant)
    words = [name for name in (variant.service_tier, "batch" if variant.batch else None) if name]
    if variant.speed:
        words.append(f"speed {variant.speed}")
    factor = Decimal(1)
    try:
        found = list_price(provider, entry, day, context, variant.context_window)
    except NoListPrice:
        if provider != _ANTHROPIC or context != {"processing": "batch"} or day < _BATCH_SINCE:
            raise
        found = list_price(provider, entry, day, {}, variant.context_window)
        factor = _BATCH_SHARE
        words = ["batch (half the standard rates)"]
    if found.long_context:
        words.append("long context")
    if variant.inference_geo:
        if provider != _ANTHROPIC or variant.inference_geo != "us":
            raise NoListPrice(f"no price for inference_geo {variant.inference_geo}")
        factor *= _US_FACTOR
        words.append("US inference (1.1 x)")
    # Searches and the like are charged alike everywhere.
    return found.rates.times(factor, but=_NOT_TOKENS), ", ".join((*(words or ["base tier"]), *found.notes))


def _library_context(variant: PriceVariant) -> dict[str, str]:
    """The one thing that is out of the ordinary, in the library's words. Raises NoListPrice for two at once."""
    context: dict[str, str] = {}
    if variant.service_tier:
        context["service_tier"] = variant.service_tier
    if variant.batch:
        if variant.batch != "true":
            raise NoListPrice(f"no price for batch {variant.batch}")
        context["processing"] = "batch"
    if variant.speed:
        context["speed"] = variant.speed
    if len(context) > 1:
        raise NoListPrice("no price for " + " with ".join(f"{key} {value}" for key, value in sorted(context.items())))
    return context
