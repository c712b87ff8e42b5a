"""Figures in the words of an explanation: exact, grouped, and how large a difference is beside what it is about."""

from __future__ import annotations

from decimal import Decimal


def units(figure: int | Decimal) -> str:
    """A count in digits, grouped by thousands."""
    return f"{figure:,}"


def dollars(usd: Decimal) -> str:
    """An exact amount, at least two decimals, grouped: ``1,234.50 USD``."""
    whole, _, fraction = plain_digits(usd).partition(".")
    return f"{whole if whole == '-0' else f'{int(whole):,}'}.{fraction} USD"


def plain_digits(usd: Decimal) -> str:
    """An exact amount in digits, at least two after the point, without zeros that say nothing."""
    text = f"{usd:f}" if usd else "0"  # a zero may come with thousands of decimals, or negative
    whole, _, fraction = text.partition(".")
    return f"{whole}.{fraction.rstrip('0').ljust(2, '0')}"


def about_dollars(usd: Decimal) -> str:
    """An amount that was divided out, to the millionth: ``about 0.333333 USD``."""
    rounded = round(usd, 6)
    return f"{'' if rounded == usd else 'about '}{dollars(rounded)}"


def relative(difference: int | Decimal, of: int | Decimal) -> str:
    """``, 10.0 %`` of what the difference is about; nothing where that is 0."""
    return f", {abs(100 * Decimal(difference) / Decimal(of)):,.1f} %" if of else ""
