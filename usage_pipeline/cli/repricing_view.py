"""What other prices change, as it is shown: the prices that differ, and the costs of cells before and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any

from usage_pipeline.cli.days import DayRange
from usage_pipeline.cli.output import print_line, print_note, print_table
from usage_pipeline.cli.price_view import quote_json, rates_json
from usage_pipeline.ledger.reconciled import CostFigure
from usage_pipeline.pricing.quotes import PriceKey, PriceQuote
from usage_pipeline.pricing.rates import RATE_NAMES, Rates
from usage_pipeline.reconcile.money import Amount
from usage_pipeline.reconcile.price_effects import Effect
from usage_pipeline.reconcile.report import money, nano_usd, plain
from usage_pipeline.reconcile.repricing import RepricedDay

_NOTHING = "–"


@dataclass(slots=True)
class PriceDiff:
    """A price that the book says otherwise today, with the days on which the old one is in force."""

    workspace: str
    key: PriceKey
    old: PriceQuote | None
    new: PriceQuote
    days: list[date] = field(default_factory=list)
    effect: Effect = field(default_factory=Effect)


def diffs_of(repriced: Sequence[RepricedDay]) -> list[PriceDiff]:
    """The changed prices, days of one change together."""
    found: dict[tuple[object, ...], PriceDiff] = {}
    for day in repriced:
        for change in day.prices:
            old = None if change.old is None else (change.old.version, change.old.basis, change.old.rates)
            new = (change.new.version, change.new.basis, change.new.rates)
            place = (day.workspace, change.key, old, new)
            diff = found.setdefault(place, PriceDiff(day.workspace, change.key, change.old, change.new))
            diff.days.append(day.day)
            diff.effect += change.effect
    return sorted(
        found.values(), key=lambda d: (d.workspace, d.key.provider, d.key.model, d.key.variant.text, d.days[0])
    )


def diff_json(repriced: Sequence[RepricedDay], days: DayRange, workspace: str | None) -> dict[str, Any]:
    """What the book says today against what is in force."""
    return {
        **_range_json(days, workspace),
        "prices": [
            {
                "workspace": diff.workspace,
                **_key_json(diff.key),
                "days": [day.isoformat() for day in diff.days],
                "old": quote_json(diff.old),
                "new": quote_json(diff.new),
                "effect": effect_json(diff.effect),
            }
            for diff in diffs_of(repriced)
        ],
        "totals": effect_json(_total(repriced)),
    }


def reprice_json(
    repriced: Sequence[RepricedDay], days: DayRange, workspace: str | None, *, dry_run: bool
) -> dict[str, Any]:
    """What repricing changes, by day and cell."""
    return {
        **_range_json(days, workspace),
        "dry_run": dry_run,
        "written": bool(repriced) and not dry_run,
        "days": [
            {
                "date": one.day.isoformat(),
                "workspace": one.workspace,
                "behind": one.behind,
                "prices": [
                    {**_key_json(change.key), "old": quote_json(change.old), "new": quote_json(change.new)}
                    for change in one.prices
                ],
                "cells": [
                    {
                        **change.cell._asdict(),
                        "computed": _before_after(change.before.computed, change.after.computed),
                        "counted": _before_after(change.before.counted, change.after.counted),
                    }
                    for change in one.cells
                ],
                "effect": effect_json(one.effect),
            }
            for one in repriced
        ],
        "totals": effect_json(_total(repriced)),
    }


def effect_json(effect: Effect) -> dict[str, Any]:
    """Known amounts of the changed cells before and after, and their difference."""
    return {
        "computed": _difference(effect.computed_before, effect.computed_after, effect.computed),
        "counted": _difference(effect.counted_before, effect.counted_after, effect.counted),
        "became_known": effect.became_known,
        "became_unknown": effect.became_unknown,
    }


def print_diff(repriced: Sequence[RepricedDay], days: DayRange) -> None:
    """The changed prices as a table, and the totals."""
    if not repriced:
        print_line(f"No price in force from {days.first_day} to {days.last_day} differs from the price book of today.")
        return
    rows = [
        (
            diff.workspace,
            f"{diff.key.provider} {diff.key.model}",
            diff.key.variant.text,
            f"{diff.days[0]} to {diff.days[-1]} ({len(diff.days)})",
            _version(diff.old),
            _version(diff.new),
            _rates_that_differ(diff.old, diff.new),
            _signed(diff.effect.computed),
            _signed(diff.effect.counted),
        )
        for diff in diffs_of(repriced)
    ]
    columns = ("workspace", "model", "variant", "days", "in force", "today", "rates", "computed USD", "counted USD")
    print_table("Prices that the book says otherwise today", columns, rows, right=("computed USD", "counted USD"))
    _print_totals(repriced)
    print_line("Next: usage-pipeline reprice --dry-run with the same days.")


def print_repriced(repriced: Sequence[RepricedDay], days: DayRange, *, dry_run: bool) -> None:
    """The cells whose costs change, and the totals."""
    if not repriced:
        print_line(
            f"Nothing changes: from {days.first_day} to {days.last_day} the prices in force are those of the book."
        )
        return
    rows = [
        (
            one.day.isoformat(),
            one.workspace,
            change.cell.provider,
            change.cell.route,
            change.cell.model or f"({change.cell.family})",
            *(_usd(cost) for cost in (change.before.computed, change.after.computed)),
            *(_usd(cost) for cost in (change.before.counted, change.after.counted)),
        )
        for one in repriced
        for change in one.cells
    ]
    numbers = ("computed before", "computed after", "counted before", "counted after")
    title = "Costs in USD at today's prices" + (" (dry run: nothing is written)" if dry_run else "")
    print_table(title, ("date", "workspace", "provider", "route", "model", *numbers), rows, right=numbers)
    _print_totals(repriced)
    behind = [one for one in repriced if one.behind]
    if behind:
        print_note(
            f"days with other news that is not reconciled yet: {len(behind)} of {len(repriced)}, the first is "
            f"{behind[0].day} of {behind[0].workspace}; the news comes with the new prices and is not in these figures"
        )
    if not dry_run:
        print_line(f"Days repriced: {len(repriced)}; the former rows are in the history.")


def _print_totals(repriced: Sequence[RepricedDay]) -> None:
    total = _total(repriced)
    for name, before, after, moved in (
        ("Computed", total.computed_before, total.computed_after, total.computed),
        ("Counted", total.counted_before, total.counted_after, total.counted),
    ):
        print_line(f"{name} cost of these cells: {plain(before)} → {plain(after)} USD ({_signed(moved)})")
    if total.became_known or total.became_unknown:
        print_line(f"Costs that become known: {total.became_known}; unknown: {total.became_unknown}")


def _total(repriced: Sequence[RepricedDay]) -> Effect:
    return sum((one.effect for one in repriced), Effect())


def _rates_that_differ(old: PriceQuote | None, new: PriceQuote) -> str:
    before, after = (_flat(None if quote is None else quote.rates) for quote in (old, new))
    names = [name for name in RATE_NAMES if before.get(name) != after.get(name)]
    return ", ".join(f"{name} {before.get(name, _NOTHING)} → {after.get(name, _NOTHING)}" for name in names)


def _flat(rates: Rates | None) -> Mapping[str, str]:
    return {} if rates is None else {name: told["usd"] for name, told in rates_json(rates).items()}


def _version(quote: PriceQuote | None) -> str:
    if quote is None:
        return "no price"
    return quote.version if quote.rates is not None else f"no price ({quote.version})"


def _before_after(before: Amount, after: Amount) -> dict[str, Any]:
    return {
        name: {**money(CostFigure(cost.usd, cost.basis)), "version": cost.version}
        for name, cost in (("before", before), ("after", after))
    }


def _difference(before: Decimal, after: Decimal, moved: Decimal) -> dict[str, Any]:
    return {
        "before_usd": plain(before),
        "after_usd": plain(after),
        "difference_usd": plain(moved),
        "difference_nano_usd": nano_usd(moved),
    }


def _key_json(key: PriceKey) -> dict[str, Any]:
    return {"provider": key.provider, "model": key.model, "variant": key.variant.text}


def _range_json(days: DayRange, workspace: str | None) -> dict[str, Any]:
    return {"from": days.first_day.isoformat(), "to": days.last_day.isoformat(), "workspace": workspace}


def _usd(cost: Amount) -> str:
    return _NOTHING if cost.usd is None else plain(cost.usd)


def _signed(usd: Decimal) -> str:
    return f"+{plain(usd)}" if usd > 0 else plain(usd)
