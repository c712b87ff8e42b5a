"""The prices that computed costs were made of, as they were used: table ``prices``.

In: the quotes of a reconciliation. Out: the same quotes, later, when the price book may say something else. Which of
them a workspace's day goes by is in ``prices_in_force``.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from functools import lru_cache

import msgspec
from sqlalchemy import Connection, text

from usage_pipeline.errors import InvariantError
from usage_pipeline.pricing.quotes import PriceQuote
from usage_pipeline.pricing.rates import Rates
from usage_pipeline.pricing.variants import PriceVariant

# In the order of the unique key, so that two processes that remember the same quotes never wait for each other in
# a circle. A stored quote is never changed: other rates come with another version.
_REMEMBER = """
INSERT INTO prices (provider, model, variant, day, rates, version, basis)
SELECT provider, model, variant, day, CAST(rates AS jsonb), version, basis
FROM jsonb_to_recordset(CAST(:quotes AS jsonb))
    AS quoted (provider text, model text, variant text, day date, rates text, version text, basis text)
ORDER BY provider, model, variant, day, version
ON CONFLICT (provider, model, variant, day, version) DO NOTHING
"""

_LOAD = """
SELECT provider, model, variant, day, CAST(rates AS text), version, basis
FROM prices
WHERE day = :day
ORDER BY provider, model, variant, price_id
"""


def remember(connection: Connection, quotes: Iterable[PriceQuote]) -> int:
    """Store the quotes that are not stored yet, unpriced ones with null rates; return how many were new."""
    distinct = tuple(dict.fromkeys(quotes))
    if not distinct:
        return 0
    # One text of JSON: the driver would write arrays of texts value by value, several times as slowly.
    quoted = [
        {
            "provider": quote.provider,
            "model": quote.model,
            "variant": quote.variant.text,
            "day": quote.day,
            "rates": quote.rates.to_json() if quote.rates is not None else None,
            "version": quote.version,
            "basis": quote.basis,
        }
        for quote in distinct
    ]
    return connection.execute(text(_REMEMBER), {"quotes": msgspec.json.encode(quoted).decode()}).rowcount


def load(connection: Connection, day: date) -> tuple[PriceQuote, ...]:
    """The stored quotes of a UTC day by provider, model and variant; of several versions the newest stored comes last.

    Raises InvariantError ``stored_rates_malformed`` or ``stored_variant_malformed``.
    """
    return tuple(stored_quote(*row) for row in connection.execute(text(_LOAD), {"day": day}))


def stored_quote(
    provider: str, model: str, variant: str, day: date, rates: str | None, version: str, basis: str
) -> PriceQuote:
    """A quote of a stored row, its rates as JSON. Raises as :func:`load` does."""
    return PriceQuote(
        provider,
        model,
        stored_variant(variant),
        day,
        stored_rates(rates) if rates is not None else None,
        version,
        basis,
    )


@lru_cache(maxsize=4096)
def stored_rates(rates: str) -> Rates:
    """Rates as stored. Raises InvariantError ``stored_rates_malformed``."""
    return Rates.from_json(rates)


@lru_cache(maxsize=4096)
def stored_variant(stored: str) -> PriceVariant:
    """A variant as stored. Raises InvariantError ``stored_variant_malformed``."""
    try:
        return PriceVariant.parse(stored)
    except (ValueError, TypeError):
        raise InvariantError(
            "stored_variant_malformed", "a stored variant cannot be read as one", where="table prices"
        ) from None
