"""Prices as a person writes them: rates, a discount, a variant, a model; checked before anything is written."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import fields
from decimal import Decimal
from typing import Final

from usage_pipeline.cli.days import read_range
from usage_pipeline.errors import InvalidInputError
from usage_pipeline.pricing.overrides import PriceOverride
from usage_pipeline.pricing.rates import RATE_NAMES, Rates, exact_arithmetic
from usage_pipeline.pricing.variants import STANDARD, PriceVariant

_DECIMAL: Final = re.compile(r"\d{1,20}(?:\.\d{1,20})?", re.ASCII)
_PERCENT: Final = re.compile(r"(\d{1,3}(?:\.\d{1,10})?) ?%", re.ASCII)
_VARIANT_NAMES: Final = tuple(field.name for field in fields(PriceVariant))
_MODEL_CHARACTERS_MAX: Final = 200
_SHOWN_CHARACTERS_MAX: Final = 40


def read_override(
    *,
    provider: str,
    model: str,
    from_day: str,
    to_day: str | None,
    workspace: str | None,
    variant: Sequence[str],
    rate: Sequence[str],
    discount: str | None,
) -> PriceOverride:
    """The override that a person described; its number is 0 until it is stored. ``to_day`` is included.

    Raises InvalidInputError: ``price_unclear``, ``slug_malformed``, ``model_malformed``, ``variant_malformed``,
    ``rate_malformed``, ``discount_malformed``, ``date_malformed``, ``range_reversed``, ``price_override_malformed``.
    """
    if bool(rate) == (discount is not None):
        raise InvalidInputError(
            "price_unclear",
            "it takes either --rate, once for each measure, or --discount",
            where="usage-pipeline prices set",
            remedy="See: usage-pipeline prices set --help.",
        )
    days = read_range(from_day, from_day if to_day is None else to_day)
    return PriceOverride(
        override_id=0,
        provider=read_provider(provider),
        model=read_model(model),
        rates=read_rates(rate) if rate else None,
        effective_from=days.first_day,
        effective_to=None if to_day is None else days.end_day,
        variant=None if discount is not None and not variant else read_variant(variant),
        factor=None if discount is None else read_discount(discount),
        workspace=workspace,
    )


def read_provider(written: str) -> str:
    """A vendor's slug. Raises InvalidInputError ``slug_malformed``."""
    from usage_pipeline.ledger.slugs import check_part

    return check_part(written, where="--provider")


def read_model(written: str) -> str:
    """A model's name as its vendor writes it. Raises InvalidInputError ``model_malformed``."""
    from usage_pipeline.reconcile.aliases import vendors_name

    name = written.strip()
    if not name or len(name) > _MODEL_CHARACTERS_MAX or not name.isprintable():
        raise InvalidInputError(
            "model_malformed",
            f"the name is empty, longer than {_MODEL_CHARACTERS_MAX} characters, or has control characters",
            where="--model",
            remedy="Write it as the provider reports it, for example gpt-5.",
        )
    return vendors_name(name)


def read_variant(written: Sequence[str]) -> PriceVariant:
    """A variant from ``name=value`` parts; none, or ``standard``, is the ordinary case.

    Raises InvalidInputError ``variant_malformed``.
    """
    parts = [part for part in written if part != STANDARD]
    found: dict[str, str] = {}
    for part in parts:
        name, equals, value = part.partition("=")
        if name not in _VARIANT_NAMES or not equals or not value or not value.isprintable() or name in found:
            raise InvalidInputError(
                "variant_malformed",
                f"{_shown(part)} is no variant, or names one twice",
                where="--variant",
                remedy=f"Write {STANDARD}, or name=value with a name of: {', '.join(_VARIANT_NAMES)}.",
            )
        found[name] = value
    return PriceVariant(**found)


def read_rates(written: Sequence[str]) -> Rates:
    """Rates from ``measure=dollars`` parts. Raises InvalidInputError ``rate_malformed``."""
    found: dict[str, Decimal] = {}
    for part in written:
        name, _, amount = part.partition("=")
        if name not in RATE_NAMES:
            raise _rate(f"{_shown(name)} is no measure that has a rate", f"Choose of: {', '.join(RATE_NAMES)}.")
        if name in found:
            raise _rate(f"{name} is given twice", "Give each measure once.")
        if _DECIMAL.fullmatch(amount) is None:
            remedy = "Write US dollars, not negative: output=8.5 is 8.50 per million tokens."
            raise _rate(f"{_shown(part)} is no rate", remedy)
        found[name] = Decimal(amount)
    return Rates(**found, stand_ins=())


def read_discount(written: str) -> Decimal:
    """The part of the list price that a discount in percent leaves.

    Raises InvalidInputError ``discount_malformed``.
    """
    percent = _PERCENT.fullmatch(written.strip())
    amount = Decimal(percent[1]) if percent else Decimal(0)
    if not 0 < amount <= 100:
        raise InvalidInputError(
            "discount_malformed",
            f"{_shown(written)} is no discount",
            where="--discount",
            remedy="Write a percentage above 0 and at most 100, for example 15%.",
        )
    with exact_arithmetic():
        return 1 - amount.scaleb(-2)


def _rate(what: str, remedy: str) -> InvalidInputError:
    return InvalidInputError("rate_malformed", what, where="--rate", remedy=remedy)


def _shown(written: str) -> str:
    return repr(written) if len(written) <= _SHOWN_CHARACTERS_MAX else "the value"
