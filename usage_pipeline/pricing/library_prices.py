"""The price library's tables, read as list prices: one price list of a vendor's model, for one day and variant.

genai-prices keeps, per model, prices by start date, partial prices for tiers, and tiers by the size of a single
prompt. Its calculator is made for one request: given a day's sum it takes the long-context price for everything. So
only its tables are read here, from the copy that is installed; its updater, which would contact a network, is never
started. The import takes half a second and happens at the first price.

How its keys become our rates:

| rate | key, in this order | vendor |
| --- | --- | --- |
| cache_write_5m | cache_write_5m, cache_write | all but OpenAI, which has no such lifetime |
| cache_write_1h | cache_write_1h | the same |
| cache_write_30m | cache_write (the library's comments call it the 30-minute retention); input, stand-in | OpenAI |
| cache_write_12h | none; input, stand-in, where the list has no price for cache writes at all | OpenAI |
| cache_write_unsplit | cache_write (the shortest lifetime), stand-in; for OpenAI else input, stand-in | all |
| cache_read | cache_read; for OpenAI else input, stand-in (its list price is a discount on input) | all |
| input_audio, output_image, … | the keys of the same meaning | OpenAI, whose usage reports tell these parts apart |
| uncached_input, cache_read, output | as text, stand-in, where the list has such keys | all others |
| seconds | audio_hours / 3600, where that is a finite decimal | all |
| searches, requests, characters | web_searches_kcount, requests_kcount, input_mchars | all |
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, Inexact
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

from usage_pipeline.pricing.model_names import entry_of
from usage_pipeline.pricing.rates import Rates, exact_arithmetic
from usage_pipeline.pricing.variants import window_tokens

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice

# Our slug of a vendor where the library's differs. Others are taken letter by letter: the library would also take any
# name that contains "openai", and so the subscription "openai-codex" for OpenAI's API.
_LIBRARY_IDS: Final = {"xai": "x-ai", "moonshot": "moonshotai"}

# Entries that list text prices only, for models whose tokens are mostly audio at many times that price.
_INCOMPLETE: Final = frozenset({("openai", "gpt-4o-audio-preview"), ("openai", "gpt-4o-mini-audio-preview")})

# Charges for what no usage report tells apart: part of the cost would be missing.
_UNMEASURED_KEYS: Final = frozenset({"output_reasoning_mtok", "output_citation_mtok"})

_OPENAI: Final = "openai"
_OPENAI_PARTS: Final = {
    "input_audio": "input_audio_mtok",
    "input_image": "input_image_mtok",
    "cache_read_audio": "cache_audio_read_mtok",
    "cache_read_image": "cache_image_read_mtok",
    "output_audio": "output_audio_mtok",
    "output_image": "output_image_mtok",
}
_MODALITY_KEYS: Final = {
    "uncached_input": ("input_audio_mtok", "input_image_mtok", "input_video_mtok"),
    "cache_read": ("cache_audio_read_mtok", "cache_image_read_mtok", "cache_video_read_mtok"),
    "output": ("output_audio_mtok", "output_image_mtok", "output_video_mtok"),
}
_AT_INPUT: Final = "at the input rate"
_SHORTEST: Final = {_OPENAI: "at the 30m rate", "anthropic": "at the 5m rate"}


@dataclass(frozen=True, slots=True)
class ListPrice:
    """A model's list price for a day and variant. ``long_context`` tells whether the long-context tier was taken.

    ``notes`` are words about what could not be told and was taken as the base tier.
    """

    rates: Rates
    long_context: bool
    notes: tuple[str, ...]


class NoListPrice(Exception):  # noqa: N818 - an answer, not an error
    """The library has no price for this; the message says in words what is missing."""


@cache
def library_version() -> str:
    """Name and version of the library, ``genai-prices 0.2.3``."""
    return f"genai-prices {version('genai-prices')}"


def find_entry(provider: str, model: str) -> ModelInfo:
    """The library's entry of ``model`` at its own vendor. Raises NoListPrice; never another vendor's entry."""
    vendor = _LIBRARY_IDS.get(provider, provider)
    found = entry_of(model, _entries().get(vendor, ()))
    if found is None or (vendor, found.id) in _INCOMPLETE:
        raise NoListPrice("unknown model")
    return found


def list_price(
    provider: str, entry: ModelInfo, day: date, context: Mapping[str, str], context_window: str | None
) -> ListPrice:
    """The entry's price at the start of ``day`` (UTC).

    ``context`` asks for at most one other price than the ordinary one, in the library's words
    (``{"processing": "batch"}``). Raises NoListPrice where the library does not have exactly that.
    """
    prices = _standard(entry, day)
    if context:
        prices = prices | _partial(entry, day, context)
    if _UNMEASURED_KEYS & prices.keys():
        raise NoListPrice("list charges for what is not measured")
    flat, long_context, notes = _at_window(prices, context_window)
    return ListPrice(_rates(provider, flat), long_context, notes)


@cache
def _entries() -> Mapping[str, tuple[ModelInfo, ...]]:
    # Not the library's "current snapshot": another part of a program could have replaced that.
    from genai_prices.data import providers

    return {provider.id: tuple(provider.models) for provider in providers}


def _keys(prices: ModelPrice) -> dict[str, object]:
    return {key: value for key, value in prices.__dict__.items() if value is not None}


def _priced_keys(prices: ModelPrice) -> dict[str, object]:
    """The prices of an entry; one without any, as the library keeps for moderation, says nothing."""
    if keys := _keys(prices):
        return keys
    raise NoListPrice("list names the model without a price")


def _standard(entry: ModelInfo, day: date) -> dict[str, object]:
    """The ordinary prices of a day. Where hours of the day have prices of their own, a day's sum has none."""
    from genai_prices.types import ModelPrice, StartDateConstraint

    if isinstance(entry.prices, ModelPrice):
        return _priced_keys(entry.prices)
    in_force: dict[str, object] | None = None
    for priced in entry.prices:
        start = priced.constraint
        if start is not None and not isinstance(start, StartDateConstraint):
            raise NoListPrice("price depends on the hour of the day")
        if start is None or start.start_date <= day:
            in_force = _priced_keys(priced.prices)
    if in_force is None:
        raise NoListPrice("no price yet on this day")
    return in_force


def _partial(entry: ModelInfo, day: date, context: Mapping[str, str]) -> dict[str, object]:
    """The prices that differ for ``context``, the first that says one winning, as the library has it."""
    from genai_prices.types import StartDateConstraint

    found: dict[str, object] | None = None
    for variant in entry.price_variants or ():
        if variant.when != context:
            continue
        start = variant.constraint
        if start is None or (isinstance(start, StartDateConstraint) and start.start_date <= day):
            found = _keys(variant.prices) | (found or {})
    if found is None:
        raise NoListPrice(" ".join(f"no price for {key} {value}" for key, value in sorted(context.items())))
    return found


def _at_window(
    prices: Mapping[str, object], context_window: str | None
) -> tuple[dict[str, Decimal], bool, tuple[str, ...]]:
    """Each price as one number: the tier of the context window, else the base tier with a note that says so."""
    from genai_prices.types import TieredPrices

    window = window_tokens(context_window) if context_window else None
    flat: dict[str, Decimal] = {}
    long_context = False
    notes: set[str] = set()
    for key, price in prices.items():
        if isinstance(price, Decimal):
            flat[key] = price
            continue
        assert isinstance(price, TieredPrices)
        flat[key] = price.base
        if window is None:
            if context_window:
                raise NoListPrice(f"no price for context window {context_window}")
            notes.add("context window not told")
            continue
        lowest, highest = window
        for tier in price.tiers:
            if lowest >= tier.start:
                flat[key] = tier.price
                long_context = True
            elif highest > tier.start:
                notes.add(f"context window reaches over the limit of {tier.start} tokens")
    return flat, long_context, tuple(sorted(notes))


def _rates(provider: str, prices: Mapping[str, Decimal]) -> Rates:
    rates: dict[str, Decimal] = {}
    stand_ins: dict[str, str] = {}

    def put(name: str, *keys: str) -> None:
        if (key := next((key for key in keys if key in prices), None)) is not None:
            rates[name] = prices[key]

    put("uncached_input", "input_mtok")
    put("cache_read", "cache_read_mtok")
    put("output", "output_mtok")
    put("searches", "web_searches_kcount")
    put("requests", "requests_kcount")
    put("characters", "input_mchars")
    put("cache_write_unsplit", "cache_write_mtok", "cache_write_5m_mtok")
    if "cache_write_unsplit" in rates:
        stand_ins["cache_write_unsplit"] = _SHORTEST.get(provider, "at the only cache write rate")
    if provider == _OPENAI:
        put("cache_write_30m", "cache_write_mtok")
        for part, key in _OPENAI_PARTS.items():
            put(part, key)
        _at_input_rate(rates, stand_ins)
    else:
        put("cache_write_5m", "cache_write_5m_mtok", "cache_write_mtok")
        put("cache_write_1h", "cache_write_1h_mtok")
        for name, keys in _MODALITY_KEYS.items():
            if name in rates and any(prices.get(key, rates[name]) != rates[name] for key in keys):
                stand_ins[name] = "all at the text rate"
    if "audio_hours" in prices and (per_second := _per_second(prices["audio_hours"])) is not None:
        rates["seconds"] = per_second
    return Rates(**rates, stand_ins=tuple(sorted(stand_ins.items())))


def _at_input_rate(rates: dict[str, Decimal], stand_ins: dict[str, str]) -> None:
    """OpenAI bills cached and written tokens as ordinary input wherever its list has no price of their own."""
    if "uncached_input" not in rates:
        return
    missing = [] if "cache_read" in rates else ["cache_read"]
    if "cache_write_30m" not in rates:
        missing += ["cache_write_30m", "cache_write_12h", "cache_write_unsplit"]
    for name in missing:
        rates[name] = rates["uncached_input"]
        stand_ins[name] = _AT_INPUT


def _per_second(per_hour: Decimal) -> Decimal | None:
    with exact_arithmetic():
        try:
            return per_hour / 3600
        except Inexact:
            return None
