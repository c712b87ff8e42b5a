"""Which stored quote each workspace's day goes by: table ``prices_in_force``.

In: the quotes that a day was computed with. Out: the same, at the next reconciling, whatever the price book says by
then. A quote without rates is never in force: as soon as somebody knows a price, the next reconciling takes it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Final

import msgspec
from sqlalchemy import Connection, text

from usage_pipeline.ledger.prices import remember, stored_quote, stored_variant
from usage_pipeline.pricing.quotes import PriceKey, PriceQuote

_LOAD: Final = """
SELECT f.day, p.provider, p.model, p.variant, p.day, CAST(p.rates AS text), p.version, p.basis
FROM prices_in_force AS f JOIN prices AS p USING (price_id)
WHERE f.workspace_id = :workspace_id AND f.day >= :first_day AND f.day < :end_day
ORDER BY f.day, p.provider, p.model, p.variant
"""

_PUT: Final = """
INSERT INTO prices_in_force (workspace_id, day, provider, model, variant, price_id)
SELECT :workspace_id, :day, p.provider, p.model, p.variant, p.price_id
FROM jsonb_to_recordset(CAST(:used AS jsonb)) AS used (provider text, model text, variant text, version text)
JOIN prices AS p USING (provider, model, variant, version)
WHERE p.day = :day AND p.rates IS NOT NULL
ON CONFLICT (workspace_id, day, provider, model, variant) DO UPDATE SET price_id = excluded.price_id
"""

_DROP: Final = """
DELETE FROM prices_in_force AS f
USING jsonb_to_recordset(CAST(:dropped AS jsonb)) AS dropped (provider text, model text, variant text)
WHERE f.workspace_id = :workspace_id AND f.day = :day
    AND (f.provider, f.model, f.variant) = (dropped.provider, dropped.model, dropped.variant)
"""

# What was asked for on a reconciled day and had no price then: none of its stored quotes has rates.
_UNPRICED: Final = """
SELECT p.day, p.provider, p.model, p.variant
FROM prices AS p JOIN reconciliations AS c ON c.workspace_id = :workspace_id AND c.day = p.day
WHERE p.day >= :first_day AND p.day < :end_day AND p.rates IS NULL
    AND NOT EXISTS (
        SELECT 1 FROM prices_in_force AS f
        WHERE f.workspace_id = :workspace_id AND f.day = p.day
            AND (f.provider, f.model, f.variant) = (p.provider, p.model, p.variant)
    )
GROUP BY p.day, p.provider, p.model, p.variant
ORDER BY p.day, p.provider, p.model, p.variant
"""

InForce = Mapping[PriceKey, PriceQuote]


def load_in_force(connection: Connection, workspace_id: int, day: date) -> dict[PriceKey, PriceQuote]:
    """The prices in force on a workspace's UTC day."""
    rows = connection.execute(text(_LOAD), _of_days(workspace_id, day, date.fromordinal(day.toordinal() + 1)))
    return {quote.key: quote for _, *stored in rows if (quote := stored_quote(*stored))}


def load_in_force_of_days(
    connection: Connection, workspace_id: int, first_day: date, end_day: date
) -> dict[date, dict[PriceKey, PriceQuote]]:
    """The prices in force on each day of the half-open range; a day without any is left out."""
    found: dict[date, dict[PriceKey, PriceQuote]] = defaultdict(dict)
    for day, *stored in connection.execute(text(_LOAD), _of_days(workspace_id, first_day, end_day)):
        quote = stored_quote(*stored)
        found[day][quote.key] = quote
    return dict(found)


def asked_without_price(
    connection: Connection, workspace_id: int, first_day: date, end_day: date
) -> dict[date, list[PriceKey]]:
    """What had no price when somebody asked for it, by day: of the workspace's reconciled days, whoever asked."""
    found: dict[date, list[PriceKey]] = defaultdict(list)
    for day, provider, model, variant in connection.execute(
        text(_UNPRICED), _of_days(workspace_id, first_day, end_day)
    ):
        found[day].append(PriceKey(provider, model, stored_variant(variant)))
    return dict(found)


def keep_in_force(
    connection: Connection, workspace_id: int, day: date, used: Iterable[PriceQuote], standing: InForce
) -> None:
    """Store what a day was computed with and put what has rates in force; ``standing`` is not written again."""
    fresh = [quote for quote in used if standing.get(quote.key) != quote]
    remember(connection, fresh)
    priced = [quote for quote in fresh if quote.rates is not None]
    if priced:
        connection.execute(
            text(_PUT),
            {
                "used": _as_json({**_named(quote.key), "version": quote.version} for quote in priced),
                "workspace_id": workspace_id,
                "day": day,
            },
        )


def drop_from_force(connection: Connection, workspace_id: int, day: date, dropped: Iterable[PriceKey]) -> None:
    """Take prices of a workspace's day out of force; the quotes stay stored."""
    keys = tuple(dropped)
    if keys:
        told = {"dropped": _as_json(map(_named, keys)), "workspace_id": workspace_id, "day": day}
        connection.execute(text(_DROP), told)


def _of_days(workspace_id: int, first_day: date, end_day: date) -> dict[str, object]:
    return {"workspace_id": workspace_id, "first_day": first_day, "end_day": end_day}


def _named(key: PriceKey) -> dict[str, str]:
    return {"provider": key.provider, "model": key.model, "variant": key.variant.text}


def _as_json(records: Iterable[dict[str, str]]) -> str:
    """One text of JSON: the driver would write arrays of texts value by value, several times as slowly."""
    return msgspec.json.encode(list(records)).decode()
