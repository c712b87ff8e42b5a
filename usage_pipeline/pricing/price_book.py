"""The price book: what a model cost per unit on a day, or that nobody knows.

Our own dated answers over the price library's tables, with overrides for negotiated prices and for what the library
lacks. In: vendor, model, variant, UTC day. Out: a :class:`PriceQuote` that says its version and its basis in words.

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
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from usage_pipeline.errors import InvalidInputError
from usage_pipeline.pricing.library_prices import ListPrice, NoListPrice, find_entry, library_version, list_price
from usage_pipeline.pricing.rates import RATE_NAMES, Rates, exact_arithmetic
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
_MODELS_MAX: Final = 10_000
_QUOTES_MAX: Final = 200_000


@dataclass(frozen=True, slots=True)
class PriceQuote:
    """The price of a model's variant on a UTC day. ``rates`` is None where there is no price; ``basis`` says why."""

    provider: str
    model: str
    variant: PriceVariant
    day: date
    rates: Rates | None
    version: str
    basis: str


@dataclass(frozen=True, slots=True)
class PriceOverride:
    """A price of one's own, before the library's, on the days from ``effective_from`` to before ``effective_to``.

    ``effective_to`` None is without end. It holds for exactly ``variant``, but a variant without a context window for
    every window, unless another override names the window. ``model`` is compared in any case.
    """

    provider: str
    model: str
    rates: Rates
    effective_from: date
    effective_to: date | None = None
    variant: PriceVariant = field(default_factory=PriceVariant)

    def holds_on(self, day: date) -> bool:
        """Whether the price is in force on ``day``."""
        return self.effective_from <= day and (self.effective_to is None or day < self.effective_to)


class PriceBook:
    """Quotes by vendor, model, variant and day; each is worked out once.

    Raises InvalidInputError ``price_override_empty`` for an override of no days and ``price_overrides_overlap`` for
    two that hold for the same on one day.
    """

    def __init__(self, overrides: Iterable[PriceOverride] = ()) -> None:
        self._overrides: dict[tuple[str, str], list[PriceOverride]] = {}
        for override in overrides:
            self._add(override)
        self._entry = lru_cache(_MODELS_MAX)(_entry_or_reason)
        self._quote = lru_cache(_QUOTES_MAX)(self._work_out)

    def rates_for(self, provider: str, model: str, variant: PriceVariant, day: date) -> PriceQuote | None:
        """The quote, with its rates; None where there is no price."""
        found = self.quote(provider, model, variant, day)
        return found if found.rates is not None else None

    def quote(self, provider: str, model: str, variant: PriceVariant, day: date) -> PriceQuote:
        """The quote, also where there is no price: then ``rates`` is None and ``basis`` says what is missing.

        ``provider`` is the vendor's slug, ``model`` the name as reported. The price is that of the start of the day.
        """
        return self._quote(provider, model, variant, day)

    def _add(self, override: PriceOverride) -> None:
        place = f"price override of {override.provider} {override.model} from {override.effective_from}"
        if override.effective_to is not None and override.effective_to <= override.effective_from:
            raise InvalidInputError(
                "price_override_empty", "it ends before it starts", where=place, remedy="Correct its days."
            )
        same_model = self._overrides.setdefault((override.provider, override.model.lower()), [])
        for other in same_model:
            first, second = sorted((other, override), key=lambda one: one.effective_from)
            if other.variant == override.variant and first.holds_on(second.effective_from):
                raise InvalidInputError(
                    "price_overrides_overlap",
                    f"another override for {override.variant.text} from {other.effective_from} holds on the same days",
                    where=place,
                    remedy="Let one end on the day when the other starts.",
                )
        same_model.append(override)

    def _override(self, provider: str, model: str, variant: PriceVariant, day: date) -> PriceOverride | None:
        holding = [one for one in self._overrides.get((provider, model.lower()), ()) if one.holds_on(day)]
        for wanted in (variant, replace(variant, context_window=None)):
            for override in holding:
                if override.variant == wanted:
                    return override
        return None

    def _work_out(self, provider: str, model: str, variant: PriceVariant, day: date) -> PriceQuote:
        override = self._override(provider, model, variant, day)
        if override is not None:
            digest = sha256(override.rates.to_json().encode()).hexdigest()[:12]
            return PriceQuote(provider, model, variant, day, override.rates, f"override {digest}", "override")
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
        return PriceQuote(provider, model, variant, day, rates, f"{library_version()} {_RULES}", basis)


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
    return _scaled(found, factor), ", ".join((*(words or ["base tier"]), *found.notes))


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


def _scaled(found: ListPrice, factor: Decimal) -> Rates:
    """The rates of tokens times ``factor``; searches and the like are charged alike everywhere."""
    if factor == 1:
        return found.rates
    with exact_arithmetic():
        scaled = {
            name: rate * factor
            for name in RATE_NAMES
            if name not in _NOT_TOKENS and (rate := getattr(found.rates, name)) is not None
        }
    return replace(found.rates, **scaled)
