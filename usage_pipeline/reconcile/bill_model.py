"""Where the billed lines of single models part from their computed cost: by tier, by cache, by tokens, by price.

In: one model's lines and its counted usage. Out: parts of billed minus computed, none of which overlap. Amounts are
divided here; the caller sets a precision at which that is of no account.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from usage_pipeline.measures import CACHE_WRITES
from usage_pipeline.pricing.rates import Rates
from usage_pipeline.pricing.variants import PriceVariant
from usage_pipeline.reconcile.bill_lines import Line, PriceGroup, Use
from usage_pipeline.reconcile.bill_parts import Part
from usage_pipeline.reconcile.words import about_dollars, dollars, units

Price = Callable[[str, PriceVariant], Rates | None]
"""List prices of a model, as its vendor names it, at a variant; None where there is none."""

_INPUT: Final = frozenset({"uncached_input", "cache_read", *CACHE_WRITES})
_SAME_TOKENS: Final = Decimal("0.005")
"""Counts within half a percent are the same: a bill's own rounding is far below, a missing hour far above."""
_SAME_FACTOR: Final = Decimal("0.0005")
_MILLION: Final = 1_000_000

_Place = tuple[PriceGroup, str]
"""A price group and a token class."""


@dataclass(frozen=True, slots=True)
class Billed:
    """One model's lines of the bill, and its counted usage."""

    model: str
    lines: tuple[Line, ...]
    uses: tuple[Use, ...]


@dataclass(slots=True)
class _Compared:
    """Lines and usage that are about the same class at the same price, in sums."""

    usd: Decimal = Decimal(0)
    computed: Decimal = Decimal(0)
    used: int = 0
    stated: Decimal | None = Decimal(0)

    @property
    def rate(self) -> Decimal | None:
        """Dollars per token as computed."""
        return self.computed / self.used if self.used else None

    @property
    def tokens(self) -> Decimal | None:
        """The tokens behind the lines: as they state, else what their dollars buy at the computed price."""
        if self.stated is not None:
            return self.stated
        return self.usd / self.rate if self.rate else None


@dataclass(slots=True)
class _Factor:
    """How the lines of a model stand to their computed cost: ``usd`` is what the factor makes."""

    model: str
    factor: Decimal
    lines: int
    usd: Decimal
    sure: bool


def model_parts(billed: Sequence[Billed], price: Price) -> Iterator[Part]:
    """The parts of every model."""
    factors: list[_Factor] = []
    for one in billed:
        if one.uses and not any(name for use in one.uses for name in use.classes()):
            continue  # seconds and characters: lines do not say them in a way that could be compared
        if not one.uses:
            usd = sum((line.usd for line in one.lines), Decimal(0))
            yield Part("model_not_used", usd, f"{one.model} is billed {dollars(usd)} and was not used")
        elif not one.lines:
            usd = sum((use.cost(name) for use in one.uses for name in use.classes()), Decimal(0))
            yield Part("model_not_billed", -usd, f"{one.model} was used for {dollars(usd)} and no line is for it")
        else:
            yield from _of_model(one, price, factors)
    for factor in factors:
        others = [one for one in factors if one is not factor and abs(one.factor - factor.factor) <= _SAME_FACTOR]
        # A single line may be off for any reason; that several are off by the same factor is a price.
        if factor.sure or factor.lines > 1 or others:
            times = round(factor.factor, 4).normalize()
            words = f"every line of {factor.model} is {times:f} times its computed cost"
            yield Part("negotiated", factor.usd, words)


def _of_model(one: Billed, price: Price, factors: list[_Factor]) -> Iterator[Part]:
    known = {use.group for use in one.uses}
    strange = [line for line in one.lines if line.group not in known]
    ordinary = [line for line in one.lines if line.group in known]
    if strange:
        yield from _other_prices(one, strange, ordinary, price)
        # The tokens behind these lines are also in the usage, so what is left cannot be compared class by class.
        return
    compared = _by_place(one, ordinary)
    if compared is None:
        return
    cached = _cached(one, compared)
    if cached is not None:
        yield cached
        compared = {place: sums for place, sums in compared.items() if place[1] not in _INPUT}
    for (group, name), sums in sorted(compared.items(), key=repr):
        rate = sums.rate
        if rate is None or sums.stated is None:
            continue
        more = sums.stated - sums.used
        if abs(more) > _SAME_TOKENS * sums.used:
            words = (
                f"{one.model} {name} at {group.words}: the bill states {units(sums.stated)} tokens, the usage "
                f"{units(sums.used)}"
            )
            yield Part("tokens_differ", more * rate, words)
    factor = _factor(one.model, compared)
    if factor is not None:
        factors.append(factor)


def _other_prices(one: Billed, strange: Sequence[Line], ordinary: Sequence[Line], price: Price) -> Iterator[Part]:
    """Lines of a price that the usage does not show: what they cost beyond the price that the usage shows."""
    reference = _reference(one, ordinary)
    groups = {line.group for line in strange}
    for line in strange:
        uses = [use for use in one.uses if use.group == reference]
        name = line.token_type
        used = sum(use.tokens(name) for use in uses) if name else 0
        if name is None or not used:
            continue
        rate = sum((use.cost(name) for use in uses), Decimal(0)) / used
        tokens = line.tokens
        if tokens is None:
            tokens = _bought(line, name, uses[0].name, price)
        if tokens is None and len(groups) == 1 and rate:
            others = sum((o.usd for o in ordinary if o.group == reference and o.token_type == name), Decimal(0))
            alike = sum((o.usd for o in strange if o.token_type == name), Decimal(0))
            tokens = (used - others / rate) * line.usd / alike if alike else None
        if tokens is None or not 0 < tokens <= used * (1 + _SAME_TOKENS):
            continue
        words = (
            f"{one.model} {name} at {line.group.words}: {dollars(line.usd)} for {units(round(tokens))} tokens that the "
            f"usage shows at {reference.words} for {about_dollars(tokens * rate)}"
        )
        yield Part(_word(line.group, reference), line.usd - tokens * rate, words)


def _reference(one: Billed, ordinary: Sequence[Line]) -> PriceGroup:
    """The price at which the usage shows what these lines bill: one without lines of its own, else the dearest."""
    costs: dict[PriceGroup, Decimal] = defaultdict(Decimal)
    for use in one.uses:
        costs[use.group] += sum((use.cost(name) for name in use.classes()), Decimal(0))
    billed = {line.group for line in ordinary}
    without = [group for group in costs if group not in billed]
    return max(sorted(without or costs, key=repr), key=lambda group: costs[group])


def _word(group: PriceGroup, reference: PriceGroup) -> str:
    if group.tier != reference.tier:
        return "tier"
    if group.batch != reference.batch:
        return "batch"
    return "long_context" if group.long_context != reference.long_context else "inference_geo"


def _bought(line: Line, name: str, model: str, price: Price) -> Decimal | None:
    """The tokens that a line's dollars buy at the list price of what it names."""
    rates = price(model, line.variant)
    rate: Decimal | None = getattr(rates, name) if rates is not None else None
    return line.usd * _MILLION / rate if rate else None


def _by_place(one: Billed, lines: Sequence[Line]) -> dict[_Place, _Compared] | None:
    """Lines and usage by price group and class; None where a line does not name its class."""
    if any(line.token_type is None for line in lines):
        return None
    compared: dict[_Place, _Compared] = defaultdict(_Compared)
    for use in one.uses:
        for name in use.classes():
            sums = compared[(use.group, name)]
            sums.used += use.tokens(name)
            sums.computed += use.cost(name)
    for line in lines:
        sums = compared[(line.group, line.token_type or "")]
        sums.usd += line.usd
        sums.stated = None if sums.stated is None or line.tokens is None else sums.stated + line.tokens
    for place, sums in compared.items():
        if not any((line.group, line.token_type) == place for line in lines):
            sums.stated = Decimal(0)
    return dict(compared)


def _cached(one: Billed, compared: dict[_Place, _Compared]) -> Part | None:
    """The input that is billed as another class than the usage shows: the tokens agree in sum, not by class."""
    groups = {group for group, _ in compared}
    if len(groups) != 1:
        return None
    rates = one.uses[0].rates
    billed: dict[str, Decimal] = {}
    usd = Decimal(0)
    used: dict[str, int] = {}
    for (_, name), sums in compared.items():
        if name not in _INPUT:
            continue
        list_rate: Decimal | None = getattr(rates, name)
        at_list = sums.usd * _MILLION / list_rate if list_rate else None
        tokens: Decimal | None = sums.tokens if sums.used else at_list
        if tokens is None:
            return None
        billed[name], used[name] = tokens, sums.used
        usd += sums.usd - sums.computed
    total = sum(used.values())
    if not total or abs(sum(billed.values(), Decimal(0)) - total) > _SAME_TOKENS * total:
        return None
    if all(abs(billed[name] - used[name]) <= _SAME_TOKENS * total for name in billed):
        return None
    of_bill = ", ".join(f"{name} {units(round(billed[name]))}" for name in sorted(billed))
    of_usage = ", ".join(f"{name} {units(used[name])}" for name in sorted(used))
    return Part("cached", usd, f"{one.model}: the input is billed as {of_bill}; the usage shows {of_usage}")


def _factor(model: str, compared: dict[_Place, _Compared]) -> _Factor | None:
    """The one factor by which all lines are off; None where there is none, or it is 1."""
    factors: list[Decimal] = []
    usd = Decimal(0)
    stated = True
    for sums in compared.values():
        rate = sums.rate
        if not rate or not sums.usd:
            return None
        # Tokens that the line states are taken as stated: what is left is the price.
        at_list = sums.stated * rate if sums.stated else sums.computed
        stated = stated and bool(sums.stated)
        factors.append(sums.usd / at_list)
        usd += sums.usd - at_list
    if not factors or max(factors) - min(factors) > _SAME_FACTOR or abs(factors[0] - 1) <= 2 * _SAME_FACTOR:
        return None
    return _Factor(model, factors[0], len(factors), usd, stated)
