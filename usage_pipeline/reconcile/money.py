"""What a day cost: billed, computed and what Hermes says, kept apart; and which of them counts.

The billed total of an account-day counts once the bill is final; until then what its tokens cost at list prices, marked
an estimate. Lines that name a model go to that model's cell; every other line is a row of its own, so that the rows of
an account-day always add up to its bill. Where Hermes alone counts, its cost does, and the bill is only shown. Amounts
are exact US dollars; None is "not known", never 0.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from functools import lru_cache
from typing import Final

from usage_pipeline.hermes.routes import vendor_of_model
from usage_pipeline.ledger.reconcile_inputs import BilledSum
from usage_pipeline.ledger.reconciled import CostFigure
from usage_pipeline.pricing.quotes import PriceKey, PriceQuote, Quotes
from usage_pipeline.pricing.rates import cost_usd, exact_arithmetic
from usage_pipeline.pricing.variants import PriceVariant
from usage_pipeline.reconcile.aliases import canonical_model, vendors_name
from usage_pipeline.reconcile.cells import CellKey, CellSides, DecidedCell, HermesShare
from usage_pipeline.reconcile.families import FamilyDay
from usage_pipeline.reconcile.figures import Figures, any_positive
from usage_pipeline.reconcile.shares import spread_over_rows
from usage_pipeline.reconcile.sides import DaySides

LINE_FAMILY = "billed_line"
"""The family of rows that are only a line of the bill; their ``model`` is the line's own words, or ``unallocated``."""

UNALLOCATED = "unallocated"

COUNTED_UPSTREAM = "counted upstream"
"""The basis of a cost of 0: the calls are in the cost of the account that a proxy passed them on to."""


Amount = CostFigure
"""An amount and what it rests on, as it is stored."""

_NOT_KNOWN: Final = Amount()


@dataclass(frozen=True, slots=True)
class CellCost:
    """The costs of one cell, kept apart."""

    counted: Amount = _NOT_KNOWN
    billed: Amount = _NOT_KNOWN
    computed: Amount = _NOT_KNOWN
    hermes: Amount = _NOT_KNOWN


@dataclass(slots=True)
class AccountBill:
    """One account's day: what was billed by cell, whether the bill is final, what its tokens cost by cell.

    ``provider`` is who bills, ``route`` the one of the cells that it bills. ``versions`` are those of the prices behind
    a cell's computed cost, ``asked_versions`` of every price that was asked for, known or not.
    """

    provider: str
    account: str
    route: str
    final: bool = False
    billed: dict[CellKey, Decimal] = field(default_factory=dict)
    computed: dict[CellKey, Decimal] = field(default_factory=dict)
    unpriced: dict[CellKey, set[str]] = field(default_factory=lambda: defaultdict(set))
    lines: list[tuple[CellKey, BilledSum]] = field(default_factory=list)
    bases: dict[CellKey, set[str]] = field(default_factory=lambda: defaultdict(set))
    versions: dict[CellKey, set[str]] = field(default_factory=lambda: defaultdict(set))
    asked_versions: set[str] = field(default_factory=set)


@dataclass(slots=True)
class DayBills:
    """Every account's day, and the price quotes that were used."""

    accounts: dict[tuple[str, str], AccountBill] = field(default_factory=dict)
    quotes: dict[PriceKey, PriceQuote] = field(default_factory=dict)

    def of(self, key: CellKey) -> list[AccountBill]:
        """The accounts of whoever bills the cell."""
        return [bill for bill in self.accounts.values() if (bill.provider, bill.route) == (key.biller, key.route)]


def bill_day(sides: DaySides, lines: list[BilledSum], prices: Quotes) -> DayBills:
    """Sort the billed lines to their cells, and compute what each account's counted rows cost."""
    bills = DayBills()
    for costs in sides.costs.values():
        for account, settled in costs.accounts.items():
            _account(bills, costs.key.provider, costs.route, account).final = settled.coverage.final
    cells = _cells_by_model(sides)
    for line in lines:
        costs, account = _account_of_slice(sides, line.slice_id)
        if _is_counted_upstream(costs, line):
            continue
        bill = _account(bills, costs.key.provider, costs.route, account)
        cell = _cell_of_line(cells, costs, line)
        bill.lines.append((cell, line))
        with exact_arithmetic():
            bill.billed[cell] = bill.billed.get(cell, Decimal(0)) + line.amount_usd
    for key, cell_sides in sides.cells.items():
        _compute(bills, key, cell_sides, prices, sides.day)
    return bills


def _account(bills: DayBills, biller: str, route: str, account: str) -> AccountBill:
    found = bills.accounts.get((biller, account))
    if found is None:
        found = bills.accounts[biller, account] = AccountBill(biller, account, route)
    return found


def _account_of_slice(sides: DaySides, slice_id: int) -> tuple[FamilyDay, str]:
    for costs in sides.costs.values():
        row = costs.slices.get(slice_id)
        if row is not None:
            return costs, sides.keys[row.feed_id].account
    raise AssertionError("a billed line without a slice")


def _is_counted_upstream(costs: FamilyDay, line: BilledSum) -> bool:
    """Whether a proxy's line is for calls that an account's own figures have: they are in that account's bill.

    A line that does not say whose model it is for counts only while nothing was passed on to a known account.
    """
    if not costs.passed_on_to:
        return False
    return line.model is None or vendor_of_model(line.model) in costs.passed_on_to


def _cells_by_model(sides: DaySides) -> dict[tuple[str, str, str], CellKey]:
    """The cells by who bills, route and model; of several families with one model the first has the lines.

    A cell of something that is of no model at all (storage, sessions) is not meant by a line that names one.
    """
    cells: dict[tuple[str, str, str], CellKey] = {}
    for key in sides.cells:
        reports = sides.reports.get(key.reported_in)
        of_no_model = key.model == "" and reports is not None and not reports.by_model
        if not of_no_model and not sides.upstreams(key):
            cells.setdefault((key.biller, key.route, key.model), key)
    return cells


def _cell_of_line(cells: Mapping[tuple[str, str, str], CellKey], costs: FamilyDay, line: BilledSum) -> CellKey:
    """The usage cell that the line names, else a row of its own; a reseller's line has the model's vendor there."""
    biller, route = costs.key.provider, costs.route
    if line.model is None:
        return CellKey(biller, route, LINE_FAMILY, line.label or line.cost_type or UNALLOCATED)
    model = canonical_model(line.model)
    known = cells.get((biller, route, model)) or cells.get((biller, route, ""))
    vendor = biller if costs.role == "vendor" else vendor_of_model(line.model)
    return known or CellKey(vendor, route, LINE_FAMILY, model)


def price_keys(key: CellKey, sides: CellSides) -> set[PriceKey]:
    """Every price that the costs of a cell may hang on."""
    of_provider = {
        PriceKey(key.provider, vendors_name(row.model), _variant(row.variant)) for row in sides.provider_rows
    }
    return of_provider | {PriceKey(key.provider, vendors_name(row.model), PriceVariant()) for row in sides.hermes_rows}


def _compute(bills: DayBills, key: CellKey, sides: CellSides, prices: Quotes, day: date) -> None:
    """What the counted rows cost at the list price of the model's vendor, whoever billed them."""
    for row in sides.provider_rows:
        bill = _account(bills, key.biller, key.route, row.account)
        if not any_positive(row.figures):
            bill.computed.setdefault(key, Decimal(0))
            continue
        quote = prices.quote(key.provider, vendors_name(row.model), _variant(row.variant), day)
        bills.quotes[quote.key] = quote
        bill.asked_versions.add(quote.version)
        amount, words, unpriced = _priced(quote, row.figures)
        if amount is None:
            bill.unpriced[key].update(unpriced)
        else:
            with exact_arithmetic():
                bill.computed[key] = bill.computed.get(key, Decimal(0)) + amount
            bill.bases[key].add(words)
            bill.versions[key].add(quote.version)


@lru_cache(maxsize=1024)
def _variant(told: tuple[str | None, ...]) -> PriceVariant:
    """The price variant of a row's dimensions; a day has many rows and few variants."""
    return PriceVariant(*told)


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
    one: DecidedCell, bills: DayBills, prices: Quotes, day: date, *, bill_counts: bool
) -> tuple[CellCost, frozenset[str]]:
    """The costs of a decided cell, and what of it has no price.

    ``bill_counts`` is False where the workspace's policy counts Hermes alone: then the bill is only shown.
    """
    hermes = _hermes_cost(one.sides.hermes_rows)
    if one.cell.passed_on and bill_counts and not one.sides.provider_rows:
        return CellCost(counted=Amount(Decimal(0), COUNTED_UPSTREAM), hermes=hermes), frozenset()
    accounts = bills.of(one.key)
    lines = [bill for bill in accounts if one.key in bill.billed]
    with exact_arithmetic():
        billed = sum((bill.billed[one.key] for bill in lines), Decimal(0))
    final = all(bill.final for bill in lines)
    shown = Amount(billed, "final" if final else "provisional") if lines else _NOT_KNOWN
    if not one.cell.provider_decides:
        # Where the biller's report of usage is missing, its final bill still is the cost.
        of_hermes = hermes if one.decided.counted else _NOT_KNOWN
        counted = Amount(billed, "billed") if lines and final and bill_counts else of_hermes
        return CellCost(counted=counted, billed=shown, hermes=hermes), frozenset()
    if not bill_counts:
        computed = _computed(one.key, accounts, _Estimate())
        return CellCost(hermes if one.decided.counted else _NOT_KNOWN, shown, computed, hermes), frozenset()
    beyond = _cost_beyond(one, bills, prices, day)
    missing = beyond.unpriced.union(*(bill.unpriced.get(one.key, ()) for bill in accounts))
    counted = _counted(one, accounts, beyond)
    return CellCost(counted, shown, _computed(one.key, accounts, beyond), hermes), missing


@dataclass(frozen=True, slots=True)
class _Estimate:
    """What usage that no provider row tells costs at list prices; ``amount`` None where something has no price."""

    used: bool = False
    amount: Decimal | None = Decimal(0)
    bases: frozenset[str] = frozenset()
    versions: frozenset[str] = frozenset()
    unpriced: frozenset[str] = frozenset()


def _cost_beyond(one: DecidedCell, bills: DayBills, prices: Quotes, day: date) -> _Estimate:
    """What counts beyond the provider's figure, at the base tier of the models as Hermes names them."""
    figures: dict[str, int | None] = {
        name: more
        for name in one.decided.explained
        if (more := one.decided.counted[name] - (one.cell.provider.get(name) or 0)) > 0
    }
    if not figures:
        return _Estimate()
    amount: Decimal | None = Decimal(0)
    bases, versions, unpriced = set[str](), set[str](), set[str]()
    for row, share in spread_over_rows(figures, one.sides.hermes_rows):
        quote = prices.quote(one.key.provider, vendors_name(row.model), PriceVariant(), day)
        bills.quotes[quote.key] = quote
        cost, words, without = _priced(quote, share)
        bases.add(f"stand-in at {words}")
        versions.add(quote.version)
        unpriced |= without
        with exact_arithmetic():
            amount = amount + cost if amount is not None and cost is not None else None
    return _Estimate(bool(figures), amount, frozenset(bases), frozenset(versions), frozenset(unpriced))


def _computed(key: CellKey, accounts: list[AccountBill], beyond: _Estimate) -> Amount:
    """What the provider's rows of the cell cost at list prices, and what counts beyond them."""
    of_cell = [bill for bill in accounts if key in bill.computed or key in bill.unpriced]
    if (not of_cell and not beyond.used) or beyond.amount is None or any(key in bill.unpriced for bill in of_cell):
        return _NOT_KNOWN
    with exact_arithmetic():
        amount = sum((bill.computed[key] for bill in of_cell), beyond.amount)
    bases = beyond.bases.union(*(bill.bases.get(key, ()) for bill in of_cell))
    versions = beyond.versions.union(*(bill.versions.get(key, ()) for bill in of_cell))
    return Amount(amount, "; ".join(sorted(bases)) or None, "; ".join(sorted(versions)) or None)


def _counted(one: DecidedCell, accounts: list[AccountBill], beyond: _Estimate) -> Amount:
    """The billed lines of final bills, and the computed cost of the other accounts' rows.

    What counts beyond the provider's figure was billed by one of the accounts: if all bills are final, it is in them.
    """
    if one.decided.decision == "no_data":
        # Nothing is known of the usage; what a bill says that it cost counts all the same.
        accounts = [bill for bill in accounts if one.key in bill.billed]
    amounts: list[tuple[str, Decimal | None]] = []
    for bill in accounts:
        if bill.final:
            amounts.append(("billed", bill.billed.get(one.key, Decimal(0))))
        elif one.key in bill.unpriced or one.key in bill.computed:
            amounts.append(("estimate", None if one.key in bill.unpriced else bill.computed[one.key]))
    if beyond.used and not (accounts and all(bill.final for bill in accounts)):
        amounts.append(("estimate", beyond.amount))
    if not amounts:
        return _NOT_KNOWN
    bases = {"unpriced" if usd is None else basis for basis, usd in amounts}
    # What is not known of one account does not undo another's bill.
    if "unpriced" in bases and not any(bill.final and one.key in bill.billed for bill in accounts):
        return Amount(None, "unpriced")
    with exact_arithmetic():
        return Amount(sum((usd or Decimal(0) for _, usd in amounts), Decimal(0)), " and ".join(sorted(bases)))


def line_cells(sides: DaySides, bills: DayBills, *, bill_counts: bool) -> Mapping[CellKey, CellCost]:
    """The rows that are only a line of the bill."""
    cells: dict[CellKey, CellCost] = {}
    names = sorted({key for bill in bills.accounts.values() for key in bill.billed if key not in sides.cells})
    for key in names:
        owners = [bill for bill in bills.of(key) if key in bill.billed]
        with exact_arithmetic():
            billed = sum((bill.billed[key] for bill in owners), Decimal(0))
            counted = sum((bill.billed[key] for bill in owners if bill.final), Decimal(0))
        counts = bill_counts and any(bill.final for bill in owners)
        cells[key] = CellCost(
            counted=Amount(counted, "billed") if counts else _NOT_KNOWN,
            billed=Amount(billed, "final" if all(bill.final for bill in owners) else "provisional"),
        )
    return cells


def _hermes_cost(rows: list[HermesShare]) -> Amount:
    """What Hermes says: actual where every row has it, else estimated where every row has that; included rows are 0.

    None where a row says nothing of its cost. Rows that used nothing and cost nothing are asked only where no other is.
    """
    used = [row for row in rows if any_positive(row.figures) or row.actual_cost_usd or row.estimated_cost_usd]
    telling = used or rows
    charged = [row for row in telling if not row.included]
    if telling and not charged:
        return Amount(Decimal(0), "included")
    for basis, amounts in (
        ("actual", [row.actual_cost_usd for row in charged]),
        ("estimated", [row.estimated_cost_usd for row in charged]),
    ):
        known = [usd for usd in amounts if usd is not None]
        if known and len(known) == len(amounts):
            with exact_arithmetic():
                return Amount(sum(known, Decimal(0)), basis)
    return _NOT_KNOWN
