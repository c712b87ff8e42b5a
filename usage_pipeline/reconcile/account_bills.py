"""Each account's bill of a day held against what its usage costs: agreeing or not, and the reason where it can be told.

In: both sides of the day, its bills, and those of the days around. Out: :class:`ComparedBill`, one per account that a
key can ask for its bill, and their shape in the report. What has no price is left out of the comparison and named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC
from decimal import Decimal
from typing import Any, Final

from usage_pipeline.ledger.account_bills import ComparedBill, StoredBill
from usage_pipeline.pricing.quotes import Quotes
from usage_pipeline.pricing.rates import Rates, exact_arithmetic
from usage_pipeline.pricing.variants import PriceVariant
from usage_pipeline.reconcile.aliases import canonical_model, vendors_name
from usage_pipeline.reconcile.bill_lines import Line, Use, read_line
from usage_pipeline.reconcile.bill_reasons import DayGap, Reason, reason_of
from usage_pipeline.reconcile.cells import CellKey, PricedSum
from usage_pipeline.reconcile.figures import any_positive
from usage_pipeline.reconcile.money import AccountBill, DayBills
from usage_pipeline.reconcile.sides import DaySides
from usage_pipeline.reconcile.words import plain_digits
from usage_pipeline.settings import Settings

BILL_NEIGHBOUR_DAYS: Final = 1
"""How far around a day a difference may be made up for."""

_FLOOR_USD: Final = Decimal("0.01")

Nearby = Callable[[int], tuple[DaySides, DayBills]]
"""Both sides and the bills of the day that many days later (earlier: negative)."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What has a price, as billed and as computed. ``lines_usd`` of the bill name no model that was used; they are left
    out (``without_lines``) where they may be the bill of what has no price and leaving them out leaves less."""

    billed: Decimal
    computed: Decimal
    lines_usd: Decimal
    without_lines: bool
    difference: Decimal
    tolerance: Decimal

    @property
    def agrees(self) -> bool:
        """Whether the difference, computed minus billed, is within the tolerance."""
        return abs(self.difference) <= self.tolerance


def compare(bill: AccountBill, sides: DaySides, settings: Settings) -> Comparison:
    """Hold what was billed against what was computed, of everything that has a price.

    Where something was used that no price list has (storage, sessions, images), lines that name no model may be its
    bill, or that of something computed (web searches): a difference between the bill with and without these lines is
    explained. Where nothing of the kind was used, they explain nothing.
    """
    with exact_arithmetic():
        billed = sum((usd for key, usd in bill.billed.items() if key not in bill.unpriced), Decimal(0))
        computed = sum((usd for key, usd in bill.computed.items() if key not in bill.unpriced), Decimal(0))
        lines = sum((usd for key, usd in bill.billed.items() if key not in sides.cells), Decimal(0))
        least, most = sorted((billed, billed - lines if bill.unpriced else billed))
        difference = max(computed - most, Decimal(0)) + min(computed - least, Decimal(0))
        tolerance = max(settings.bill_tolerance_fraction * abs(billed), _FLOOR_USD)
        without_lines = bool(bill.unpriced) and abs(computed - (billed - lines)) < abs(computed - billed)
    return Comparison(billed, computed, lines, without_lines, difference, tolerance)


def can_be_compared(sides: DaySides, bill: AccountBill) -> bool:
    """Whether the account's bill and all of its usage are final."""
    usage = [
        family.accounts[bill.account].coverage
        for name, family in sides.families.items()
        if name.provider == bill.provider and bill.account in family.accounts
    ]
    return bill.final and bool(usage) and all(one.final for one in usage)


def compared_bills(
    sides: DaySides, bills: DayBills, prices: Quotes, settings: Settings, nearby: Nearby | None
) -> list[ComparedBill]:
    """Every account's bill of the day beside its usage. ``nearby`` is None where the days around are not to be asked.

    They are asked only where a difference is there.
    """
    found = []
    for bill in sorted(bills.accounts.values(), key=lambda one: (one.provider, one.account)):
        costs = sides.costs.get(bill.provider)
        if costs is None or bill.account not in costs.accounts:
            continue  # nobody can be asked for its bill
        known = costs.accounts[bill.account].coverage.covers or bool(bill.billed)
        if known or bill.computed or bill.unpriced:
            found.append(_compared(bill, sides, prices, settings, nearby, known=known))
    return found


def _compared(
    bill: AccountBill,
    sides: DaySides,
    prices: Quotes,
    settings: Settings,
    nearby: Nearby | None,
    *,
    known: bool,
) -> ComparedBill:
    comparison = compare(bill, sides, settings)
    final = can_be_compared(sides, bill)
    nothing_priced = bool(bill.unpriced) and not any(bill.computed[key] for key in bill.computed.keys() - bill.unpriced)
    with exact_arithmetic():
        billed = sum(bill.billed.values(), Decimal(0))
        computed = sum(bill.computed.values(), Decimal(0))
    agrees = comparison.agrees if final else None
    reason: Reason | None = None
    if agrees is False:
        reason = _reason(comparison, bill, sides, prices, settings, nearby)
    elif nothing_priced:
        agrees = None
        reason = Reason("unpriced", Decimal(0), "Nothing that was used has a list price, so nothing is compared.")
    return ComparedBill(
        provider=bill.provider,
        account=bill.account,
        route=bill.route,
        final=final,
        billed_usd=billed if known else None,
        computed_usd=None if bill.unpriced else computed,
        compared_billed_usd=comparison.billed if known else None,
        compared_computed_usd=None if nothing_priced else comparison.computed,
        unpriced=tuple(sorted(set().union(*bill.unpriced.values()))),
        difference_usd=comparison.difference if known and not nothing_priced else None,
        tolerance_usd=comparison.tolerance if known else None,
        agrees=agrees,
        reason=reason.word if reason else None,
        reason_usd=round(reason.usd, 9) if reason else None,
        reason_words=reason.words if reason else None,
        price_versions=tuple(sorted(bill.asked_versions)),
    )


def _reason(
    comparison: Comparison,
    bill: AccountBill,
    sides: DaySides,
    prices: Quotes,
    settings: Settings,
    nearby: Nearby | None,
) -> Reason:
    vendors = {vendors_name(row.model): key.provider for key, row in _rows(bill, sides)}

    def price(model: str, variant: PriceVariant) -> Rates | None:
        return prices.quote(vendors.get(model, bill.provider), model, variant, sides.day).rates

    def around() -> Iterator[DayGap]:
        for days in (-BILL_NEIGHBOUR_DAYS, BILL_NEIGHBOUR_DAYS) if nearby is not None else ():
            other_sides, other_bills = nearby(days) if nearby is not None else (sides, DayBills())
            other = other_bills.accounts.get((bill.provider, bill.account))
            if other is not None and can_be_compared(other_sides, other) and not other.unpriced:
                with exact_arithmetic():
                    yield DayGap(other_sides.day, -compare(other, other_sides, settings).difference)

    with exact_arithmetic():
        gap = -comparison.difference
    lines = [line for key, line in _lines(bill) if key in sides.cells or not comparison.without_lines]
    return reason_of(gap, comparison.tolerance, lines, list(_uses(bill, sides, prices)), price, lambda: list(around()))


def _lines(bill: AccountBill) -> Iterator[tuple[CellKey, Line]]:
    """The lines for what has a price, with their cells."""
    return ((key, read_line(line)) for key, line in bill.lines if key not in bill.unpriced)


def _rows(bill: AccountBill, sides: DaySides) -> Iterator[tuple[CellKey, PricedSum]]:
    """The account's counted rows of which anything was used, with their cells."""
    for key, cell in sides.cells.items():
        if (key.biller, key.route) == (bill.provider, bill.route):
            yield from (
                (key, row) for row in cell.provider_rows if row.account == bill.account and any_positive(row.figures)
            )


def _uses(bill: AccountBill, sides: DaySides, prices: Quotes) -> Iterator[Use]:
    """The usage that has a price."""
    for key, row in _rows(bill, sides):
        quote = prices.quote(key.provider, vendors_name(row.model), PriceVariant(*row.variant), sides.day)
        if quote.rates is not None and key not in bill.unpriced:
            yield Use(canonical_model(row.model), quote.model, quote.variant, quote.rates, row.figures)


def bill_as_json(one: StoredBill) -> dict[str, Any]:
    """A compared bill in the shape that ``report --json`` and ``bills --json`` promise; amounts are exact texts."""
    bill = one.bill
    return {
        "date": one.day.isoformat(),
        "workspace": one.workspace,
        "provider": bill.provider,
        "account": bill.account,
        "route": bill.route,
        "final": bill.final,
        "billed_usd": _exact(bill.billed_usd),
        "computed_usd": _exact(bill.computed_usd),
        "compared_billed_usd": _exact(bill.compared_billed_usd),
        "compared_computed_usd": _exact(bill.compared_computed_usd),
        "unpriced": list(bill.unpriced),
        "difference_usd": _exact(bill.difference_usd),
        "tolerance_usd": _exact(bill.tolerance_usd),
        "agrees": bill.agrees,
        "reason": bill.reason,
        "reason_usd": _exact(bill.reason_usd),
        "reason_words": bill.reason_words,
        "price_versions": list(bill.price_versions),
        "recorded_at": one.recorded_at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
    }


def _exact(usd: Decimal | None) -> str | None:
    return None if usd is None else plain_digits(usd)
