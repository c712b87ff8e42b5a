"""Amounts of money in an answer: beside every exact decimal text in US dollars, whole billionths of a dollar."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from usage_pipeline.reconcile.report import nano_usd

_USD: Final = "_usd"


def with_nano_usd(told: Mapping[str, Any]) -> dict[str, Any]:
    """The object with ``x_nano_usd`` after every ``x_usd``: rounded once, half even; null where the amount is null."""
    found: dict[str, Any] = {}
    for name, value in told.items():
        found[name] = value
        if name.endswith(_USD):
            found[f"{name.removesuffix(_USD)}_nano_usd"] = None if value is None else nano_usd(Decimal(value))
    return found
