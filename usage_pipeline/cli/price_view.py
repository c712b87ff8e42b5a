"""Prices as they are shown: quotes with their rates, and negotiated prices."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from usage_pipeline.cli.output import print_line, print_table
from usage_pipeline.ledger.price_overrides import StoredOverride
from usage_pipeline.pricing.overrides import PriceOverride
from usage_pipeline.pricing.quotes import PriceQuote
from usage_pipeline.pricing.rates import RATE_NAMES, Rates, rate_unit
from usage_pipeline.reconcile.report import plain


def quote_json(quote: PriceQuote | None) -> dict[str, Any] | None:
    """A quote: version, basis, and each rate in US dollars per how many of what; ``rates`` null without a price."""
    if quote is None:
        return None
    return {
        "version": quote.version,
        "basis": quote.basis,
        "rates": None if quote.rates is None else rates_json(quote.rates),
    }


def rates_json(rates: Rates) -> dict[str, Any]:
    """Each known rate, by measure."""
    told: dict[str, Any] = {}
    for name in RATE_NAMES:
        usd: Decimal | None = getattr(rates, name)
        if usd is not None:
            per, unit = rate_unit(name)
            told[name] = {"usd": plain(usd), "per": per, "unit": unit}
    for name, words in rates.stand_ins:
        told[name]["stand_in"] = words
    return told


def print_quote(quote: PriceQuote, workspace: str | None) -> None:
    """The rates of a quote as a table, its version and basis below."""
    of = f" for {workspace}" if workspace else ""
    title = f"{quote.provider} {quote.model}, {quote.variant.text}, on {quote.day} (UTC){of}"
    if quote.rates is None:
        print_line(f"{title}: no price ({quote.basis.removeprefix('unpriced: ')}).")
        return
    rows = [
        (name, one["usd"], f"{one['per']:,} {one['unit']}" if one["per"] > 1 else "second", one.get("stand_in", ""))
        for name, one in rates_json(quote.rates).items()
    ]
    print_table(title, ("measure", "USD", "per", ""), rows, right=("USD",))
    print_line(f"Version: {quote.version}")
    print_line(f"Basis: {quote.basis}")


def not_priced_by(override: PriceOverride, listed: PriceQuote) -> tuple[str, ...]:
    """The measures that the list has rates for and the override's own rates do not."""
    if override.rates is None or listed.rates is None:
        return ()
    of_list, own = rates_json(listed.rates), rates_json(override.rates)
    return tuple(name for name in of_list if name not in own and "stand_in" not in of_list[name])


def override_json(stored: StoredOverride) -> dict[str, Any]:
    """An override and its life; ``to`` is its last day, ``taken_back`` where none is left."""
    one = stored.described
    return {
        "id": stored.override_id,
        "workspace": one.workspace,
        "provider": one.provider,
        "model": one.model,
        "variant": None if one.variant is None else one.variant.text,
        "rates": None if one.rates is None else rates_json(one.rates),
        "factor": None if one.factor is None else f"{one.factor.normalize():f}",
        "from": one.effective_from.isoformat(),
        "to": _last_day(one),
        "taken_back": stored.override is None,
        "note": stored.note,
        "created_at": _instant(stored.created_at),
        "ended_at": None if stored.ended_at is None else _instant(stored.ended_at),
    }


def price_in_words(one: PriceOverride) -> str:
    """What an override says: ``0.85 × list price`` or ``output 8.50 per 1,000,000 tokens``."""
    if one.rates is None:
        assert one.factor is not None
        return f"{one.factor.normalize():f} × list price"
    return ", ".join(
        f"{name} {told['usd']} per {told['per']:,} {told['unit']}" for name, told in rates_json(one.rates).items()
    )


def print_overrides(overrides: Sequence[StoredOverride]) -> None:
    """Every override as a table."""
    rows = [
        (
            str(stored.override_id),
            one.workspace or "every one",
            one.provider,
            one.model,
            "every one" if one.variant is None else one.variant.text,
            price_in_words(one),
            one.effective_from.isoformat(),
            "taken back" if stored.override is None else _last_day(one) or "further notice",
            stored.note,
        )
        for stored in overrides
        for one in (stored.described,)
    ]
    columns = ("id", "workspace", "provider", "model", "variant", "price in USD", "from", "to (included)", "note")
    print_table("Price overrides", columns, rows, right=("id",))


def _last_day(one: PriceOverride) -> str | None:
    return None if one.effective_to is None else (one.effective_to - timedelta(days=1)).isoformat()


def _instant(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")
