"""What a day cost: billed, computed and what Hermes says, kept apart; and which of them counts.

The billed total of an account-day counts once the bill is final; until then what its tokens cost at list prices, marked
an estimate. Lines that name a model go to that model's cell; every other line is a row of its own, so that the rows of
an account-day always add up to its bill. Amounts are exact US dollars; None is "not known", never 0.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

from usage_pipeline.hermes.routes import ACCOUNT
from usage_pipeline.ledger.reconcile_inputs import BilledSum
from usage_pipeline.pricing.price_book import PriceBook, PriceQuote
from usage_pipeline.pricing.rates import cost_usd, exact_arithmetic
from usage_pipeline.pricing.variants import PriceVariant
from usage_pipeline.reconcile.aliases import canonical_model
from usage_pipeline.reconcile.decision import Decided
from usage_pipeline.reconcile.figures import Figures, any_positive
from usage_pipeline.reconcile.sides import CellKey, CellSides, DaySides, HermesShare

LINE_FAMILY = "billed_line"
"""The family of rows that are only a line of the bill; their ``model`` is the line's own words, or ``unallocated``."""

UNALLOCATED = "unallocated"


@dataclass(frozen=True, slots=True)
class Amount:
    """An amount and what it rests on; ``usd`` None is not known."""

    usd: Decimal | None = None
    basis: str | None = None


@dataclass(frozen=True, slots=True)
class CellCost:
    """The costs of one cell, kept apart."""

    counted: Amount = Amount()
    billed: Amount = Amount()
    computed: Amount = Amount()
    hermes: Amount = Amount()


@dataclass(slots=True)
class AccountBill:
    """One account's day: what was billed by cell, whether the bill is final, what its tokens cost by cell."""

    provider: str
    account: str
    final: bool = False
    known: bool = False
    billed: dict[CellKey, Decimal] = field(default_factory=dict)
    computed: dict[CellKey, Decimal] = field(default_factory=dict)
    unpriced: dict[CellKey, set[str]] = field(default_factory=lambda: defaultdict(set))
    bases: dict[CellKey, set[str]] = field(default_factory=lambda: defaultdict(set))


@dataclass(slots=True)
class DayBills:
    """Every account's day, and the price quotes that were used."""

    accounts: dict[tuple[str, str], AccountBill] = field(default_factory=dict)
    quotes: set[PriceQuote] = field(default_factory=set)

    def of(self, provider: str) -> list[AccountBill]:
        """The accounts of a provider."""
        return [bill for bill in self.accounts.values() if bill.provider == provider]


def bill_day(sides: DaySides, lines: list[BilledSum], prices: PriceBook) -> DayBills:
    """Sort the billed lines to their cells, and compute what each account's counted rows cost."""
    bills = DayBills()
    for provider, costs in sides.costs.items():
        for account, settled in costs.accounts.items():
            bill = _account(bills, provider, account)
            bill.known, bill.final = settled.coverage.covers, settled.coverage.final
    for line in lines:
        costs_of, account = _account_of_slice(sides, line.slice_id)
        bill = _account(bills, costs_of, account)
        cell = _cell_of_line(sides, costs_of, line)
        with exact_arithmetic():
            bill.billed[cell] = bill.billed.get(cell, Decimal(0)) + line.amount_usd
    for key, cell_sides in sides.cells.items():
        if key.route == ACCOUNT:
            _compute(bills, key, cell_sides, prices, sides.day)
    return bills


def _account(bills: DayBills, provider: str, account: str) -> AccountBill:
    return bills.accounts.setdefault((provider, account), AccountBill(provider, account))


def _account_of_slice(sides: DaySides, slice_id: int) -> tuple[str, str]:
    for provider, costs in sides.costs.items():
        row = costs.slices.get(slice_id)
        if row is not None:
            return provider, sides.keys[row.feed_id].account
    raise AssertionError("a billed line without a slice")


def _cell_of_line(sides: DaySides, provider: str, line: BilledSum) -> CellKey:
    """The usage cell that the line names, else a row of its own."""
    if line.model is not None:
        model = canonical_model(line.model)
        for candidate in (model, ""):
            for key in sides.cells:
                if key.provider == provider and key.route == ACCOUNT and key.model == candidate:
                    return key
        return CellKey(provider, ACCOUNT, LINE_FAMILY, model)
    return CellKey(provider, ACCOUNT, LINE_FAMILY, line.label or line.cost_type or UNALLOCATED)


def _compute(bills: DayBills, key: CellKey, sides: CellSides, prices: PriceBook, day: date) -> None:
    for row in sides.provider_rows:
        bill = _account(bills, key.provider, row.account)
        if not any_positive(row.figures):
            bill.computed.setdefault(key, Decimal(0))
            continue
        quote = prices.quote(key.provider, row.model, PriceVariant(*row.variant), day)
        bills.quotes.add(quote)
        amount, words, unpriced = _priced(quote, row.figures)
        if amount is None:
            bill.unpriced[key].update(unpriced)
        else:
            with exact_arithmetic():
                bill.computed[key] = bill.computed.get(key, Decimal(0)) + amount
            bill.bases[key].add(words)


def _priced(quote: PriceQuote, figures: Figures) -> tuple[Decimal | None, str, set[str]]:
    """The cost at a quote: (amount, basis in words, what has no price)."""
    name = f"{quote.model} {quote.variant.text}"
    if quote.rates is None:
        return None, quote.basis, {f"{name}: {quote.basis}"}
    result = cost_usd(quote.rates, figures)
    words = "; ".join([quote.basis, *result.assumed])
    if result.amount_usd is None and not result.unpriced:
        return Decimal(0), words, set()
    return result.amount_usd, words, {f"{name}: no rate for {measure}" for measure in result.unpriced}


def cost_of_cell(
    key: CellKey, sides: CellSides, decided: Decided, bills: DayBills, prices: PriceBook, day: date
) -> tuple[CellCost, set[str]]:
    """The costs of a decided cell, and what of it has no price."""
    hermes = _hermes_cost(sides.hermes_rows)
    if key.route != ACCOUNT or decided.decision == "hermes":
        counts = bool(decided.counted)
        return CellCost(counted=hermes if counts else Amount(), hermes=hermes), set()
    stand_in, unpriced, basis = _stand_in_cost(key, sides, decided, bills, prices, day)
    bases, computed, computed_known = set(basis), stand_in, True
    counted, parts = stand_in, set[str]()
    counted_known = not unpriced
    billed: Decimal | None = None
    with exact_arithmetic():
        for bill in bills.of(key.provider):
            priced = bill.computed.get(key)
            missing = bill.unpriced.get(key, set())
            unpriced |= missing
            bases |= bill.bases.get(key, set())
            computed_known = computed_known and not missing
            computed += priced or Decimal(0)
            if key in bill.billed:
                billed = (billed or Decimal(0)) + bill.billed[key]
            if bill.final:
                counted += bill.billed.get(key, Decimal(0))
                parts.add("billed")
            elif priced is not None or missing:
                counted += priced or Decimal(0)
                counted_known = counted_known and not missing
                parts.add("estimate")
    if any(decided.stand_in.values()):
        parts.add("estimate")
    used = any_positive(decided.counted) or bool(sides.provider_rows)
    computed_amount = (
        Amount(computed, "; ".join(sorted(bases)) or None) if computed_known and not unpriced else Amount()
    )
    final = [bill.final for bill in bills.of(key.provider) if key in bill.billed]
    return (
        CellCost(
            counted=_counted(counted if counted_known else None, parts, used=used),
            billed=Amount(billed, None if billed is None else "final" if all(final) else "provisional"),
            computed=computed_amount if used else Amount(),
            hermes=hermes,
        ),
        unpriced,
    )


def _counted(amount: Decimal | None, parts: set[str], *, used: bool) -> Amount:
    if not parts or (not used and parts == {"estimate"}):
        return Amount()
    if amount is None:
        return Amount(None, "unpriced")
    return Amount(amount, parts.pop() if len(parts) == 1 else "billed and estimate")


def _stand_in_cost(
    key: CellKey, sides: CellSides, decided: Decided, bills: DayBills, prices: PriceBook, day: date
) -> tuple[Decimal, set[str], set[str]]:
    """What stands in, at the base tier of the model as Hermes names it."""
    if not any(decided.stand_in.values()):
        return Decimal(0), set(), set()
    model = sides.hermes_rows[0].model if sides.hermes_rows else key.model
    quote = prices.quote(key.provider, model, PriceVariant(), day)
    bills.quotes.add(quote)
    amount, words, unpriced = _priced(quote, decided.stand_in)
    return amount or Decimal(0), unpriced, {f"stand-in at {words}"}


def line_cells(sides: DaySides, bills: DayBills) -> Mapping[CellKey, CellCost]:
    """The rows that are only a line of the bill."""
    cells: dict[CellKey, CellCost] = {}
    names = sorted({key for bill in bills.accounts.values() for key in bill.billed if key not in sides.cells})
    for key in names:
        owners = [bill for bill in bills.of(key.provider) if key in bill.billed]
        with exact_arithmetic():
            billed = sum((bill.billed[key] for bill in owners), Decimal(0))
            counted = sum((bill.billed[key] for bill in owners if bill.final), Decimal(0))
        final = all(bill.final for bill in owners)
        cells[key] = CellCost(
            counted=Amount(counted, "billed") if any(bill.final for bill in owners) else Amount(),
            billed=Amount(billed, "final" if final else "provisional"),
        )
    return cells


def _hermes_cost(rows: list[HermesShare]) -> Amount:
    """What Hermes says: actual where every row has it, else estimated; 0 where a subscription includes it."""
    if not rows:
        return Amount()
    if all(row.included for row in rows):
        return Amount(Decimal(0), "included")
    with exact_arithmetic():
        if all(row.actual_cost_usd is not None for row in rows):
            return Amount(sum((row.actual_cost_usd or Decimal(0) for row in rows), Decimal(0)), "actual")
        known = [row.estimated_cost_usd for row in rows if row.estimated_cost_usd is not None]
        return Amount(sum(known, Decimal(0)), "estimated") if known else Amount()
