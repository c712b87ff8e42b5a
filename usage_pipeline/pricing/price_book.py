"""The price book: what a model cost per unit on a day, or that nobody knows.

Our own dated answers: an override of one's own where there is one, else the price lists. A quote's version names the
override, and under a discount the list's version too.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from functools import lru_cache
from typing import Final

from usage_pipeline.pricing.list_quotes import ListQuotes
from usage_pipeline.pricing.overrides import Overrides, PriceOverride
from usage_pipeline.pricing.quotes import PriceQuote
from usage_pipeline.pricing.variants import PriceVariant

_QUOTES_MAX: Final = 200_000


class PriceBook:
    """Quotes by vendor, model, variant and day; each is worked out once.

    Raises InvalidInputError ``price_overrides_overlap`` for two overrides that hold for the same on one day.
    """

    def __init__(self, overrides: Iterable[PriceOverride] = (), lists: ListQuotes | None = None) -> None:
        self._overrides = Overrides(overrides)
        self._lists = lists or ListQuotes()
        self._quote = lru_cache(_QUOTES_MAX)(self._work_out)

    def with_overrides(self, overrides: Iterable[PriceOverride]) -> PriceBook:
        """The book with these overrides too: what it says for one workspace."""
        more = tuple(overrides)
        return PriceBook((*self._overrides.all(), *more), self._lists) if more else self

    def rates_for(self, provider: str, model: str, variant: PriceVariant, day: date) -> PriceQuote | None:
        """The quote, with its rates; None where there is no price."""
        found = self.quote(provider, model, variant, day)
        return found if found.rates is not None else None

    def quote(self, provider: str, model: str, variant: PriceVariant, day: date) -> PriceQuote:
        """The quote, also where there is no price: then ``rates`` is None and ``basis`` says what is missing.

        ``provider`` is the vendor's slug, ``model`` the name as reported. The price is that of the start of the day.
        """
        return self._quote(provider, model, variant, day)

    def _work_out(self, provider: str, model: str, variant: PriceVariant, day: date) -> PriceQuote:
        override = self._override(provider, model, variant, day)
        if override is not None and override.rates is not None:
            return PriceQuote(provider, model, variant, day, override.rates, override.name, override.name)
        listed = self._lists.quote(provider, model, variant, day)
        if override is None or override.factor is None or listed.rates is None:
            return listed
        return _discounted(listed, override.name, override.factor)

    def _override(self, provider: str, model: str, variant: PriceVariant, day: date) -> PriceOverride | None:
        if not self._overrides:
            return None
        return self._overrides.find(provider, self._lists.same_model(provider, model), variant, day)


def _discounted(listed: PriceQuote, name: str, factor: Decimal) -> PriceQuote:
    """A list price times a factor: of everything that the list charges, searches and the like too."""
    assert listed.rates is not None
    words = f"{name}: {factor.normalize():f} ×"
    return PriceQuote(
        *listed.key, listed.day, listed.rates.times(factor), f"{words} {listed.version}", f"{words} {listed.basis}"
    )
