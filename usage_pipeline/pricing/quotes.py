"""A price quote, and who gives quotes: the price lists, the price book, the prices in force of a workspace's day.

In: vendor, model, variant, UTC day. Out: a :class:`PriceQuote` that says its version and its basis in words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple, Protocol

from usage_pipeline.pricing.rates import Rates
from usage_pipeline.pricing.variants import PriceVariant


class PriceKey(NamedTuple):
    """What a price is asked for on a day: the vendor's slug, the model's name as its vendor writes it, the variant."""

    provider: str
    model: str
    variant: PriceVariant


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

    @property
    def key(self) -> PriceKey:
        """What was asked for."""
        return PriceKey(self.provider, self.model, self.variant)

    def charges_as(self, other: PriceQuote) -> bool:
        """Whether both charge the same on the same grounds; their versions may differ."""
        return (self.rates, self.basis) == (other.rates, other.basis)


class Quotes(Protocol):
    """Whoever gives quotes."""

    def quote(self, provider: str, model: str, variant: PriceVariant, day: date) -> PriceQuote:
        """The quote, also where there is no price: then ``rates`` is None and ``basis`` says what is missing."""


class PricesInForce:
    """The prices of one workspace's day: what is in force there, and the book's answer for the rest."""

    def __init__(self, in_force: Mapping[PriceKey, PriceQuote], book: Quotes) -> None:
        self._in_force = in_force
        self._book = book

    def quote(self, provider: str, model: str, variant: PriceVariant, day: date) -> PriceQuote:
        """The price in force, else the book's quote."""
        found = self._in_force.get(PriceKey(provider, model, variant))
        return found if found is not None else self._book.quote(provider, model, variant, day)
