"""Rates, and the exact cost of measured usage at them.

Belongs here: what a price list charges per unit (:class:`Rates`) and the multiplication (:func:`cost_usd`). Not here:
where the rates come from. In: rates and the measures of one row. Out: an exact amount in US dollars, or None with the
names of what has no rate.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Set
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields, replace
from decimal import Context, Decimal, DivisionByZero, Inexact, InvalidOperation, Overflow, localcontext
from typing import Final

from usage_pipeline.errors import InvalidInputError, InvariantError
from usage_pipeline.measures import OTHER_MEASURES, TOKEN_CLASSES

PRICED_PARTS: Final = {
    "uncached_input": ("input_audio", "input_image"),
    "cache_read": ("cache_read_audio", "cache_read_image"),
    "output": ("output_audio", "output_image"),
}
"""Parts of a token class that a price list may charge differently from the rest of the class, which is text."""

_UNITS_EXPONENT: Final = {"requests": 3, "searches": 3, "seconds": 0}
_MILLIONS: Final = 6
_OWN_UNITS: Final = frozenset({"requests", "searches", "seconds", "characters"})
_CHARGED: Final = (*TOKEN_CLASSES, *OTHER_MEASURES)
_RATE_DIGITS_MAX: Final = 60

_EXACT: Final = Context(prec=1000, traps=[Inexact, InvalidOperation, DivisionByZero, Overflow])


def exact_arithmetic() -> AbstractContextManager[Context]:
    """A decimal context that raises ``decimal.Inexact`` where it would have to round: sum costs within it.

    Python's default context rounds silently at 28 digits.
    """
    return localcontext(_EXACT)


@dataclass(frozen=True, slots=True)
class Rates:
    """Prices in US dollars, None where unknown, which is not zero.

    Token classes, their modality parts and ``characters`` are per million, ``requests`` and ``searches`` per thousand,
    ``seconds`` (of audio) per second. A modality part that is None is charged as the rest of its class.
    ``reasoning`` has no rate: it is a part of ``output``. ``stand_ins`` are pairs of a class and words: classes for
    which the list has no rate of their own, and the rate that a documented rule puts there.
    """

    uncached_input: Decimal | None = None
    cache_read: Decimal | None = None
    cache_write_5m: Decimal | None = None
    cache_write_30m: Decimal | None = None
    cache_write_1h: Decimal | None = None
    cache_write_12h: Decimal | None = None
    cache_write_unsplit: Decimal | None = None
    output: Decimal | None = None
    input_audio: Decimal | None = None
    input_image: Decimal | None = None
    cache_read_audio: Decimal | None = None
    cache_read_image: Decimal | None = None
    output_audio: Decimal | None = None
    output_image: Decimal | None = None
    requests: Decimal | None = None
    searches: Decimal | None = None
    seconds: Decimal | None = None
    characters: Decimal | None = None
    stand_ins: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        for name in RATE_NAMES:
            rate = getattr(self, name)
            if rate is not None and not _is_rate(rate):
                raise InvalidInputError(
                    "rate_invalid",
                    f"the rate of {name} is not a finite decimal of at least 0 and at most {_RATE_DIGITS_MAX} digits",
                    where="rates",
                    remedy="Write US dollars per unit as a decimal, for example 1.25.",
                )

    def times(self, factor: Decimal, *, but: Set[str] = frozenset()) -> Rates:
        """Every known rate times ``factor``, exact; those named in ``but`` stay."""
        if factor == 1:
            return self
        with exact_arithmetic():
            scaled = {
                name: rate * factor
                for name in RATE_NAMES
                if name not in but and (rate := getattr(self, name)) is not None
            }
        return replace(self, **scaled)

    def to_json(self) -> str:
        """Canonical JSON: each known rate as a decimal string, ``stand_ins`` as an object where there are any."""
        known: dict[str, object] = {
            name: format(rate, "f") for name in RATE_NAMES if (rate := getattr(self, name)) is not None
        }
        if self.stand_ins:
            known["stand_ins"] = dict(self.stand_ins)
        return json.dumps(known, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, stored: str) -> Rates:
        """The rates that :meth:`to_json` wrote. Raises InvariantError ``stored_rates_malformed``."""
        try:
            found = json.loads(stored)
            stand_ins = found.pop("stand_ins", {})
            return cls(
                **{name: Decimal(rate) for name, rate in found.items()},
                stand_ins=tuple(sorted(stand_ins.items())),
            )
        except (ValueError, TypeError, AttributeError, ArithmeticError):
            raise InvariantError(
                "stored_rates_malformed", "stored rates cannot be read as rates", where="table prices"
            ) from None


RATE_NAMES: Final = tuple(field.name for field in fields(Rates) if field.name != "stand_ins")
"""The fields of :class:`Rates` that are rates, each the name of a measure."""


def rate_unit(name: str) -> tuple[int, str]:
    """What a rate is for: ``(1000000, "tokens")`` for a token class or a part of one."""
    words = name if name in _OWN_UNITS else "tokens"
    return 10 ** _UNITS_EXPONENT.get(name, _MILLIONS), words


@dataclass(frozen=True, slots=True)
class CostResult:
    """A computed cost, exact, in US dollars.

    ``amount_usd`` is None where something was used that has no rate (then ``unpriced`` names it) or where nothing
    chargeable was measured at all. ``assumed`` says in words which stand-in rates the amount contains.
    """

    amount_usd: Decimal | None
    unpriced: tuple[str, ...]
    assumed: tuple[str, ...] = ()


def cost_usd(rates: Rates, measures: Mapping[str, int | None]) -> CostResult:
    """What ``measures`` cost at ``rates``: exact and never rounded, so the costs of two halves add up to the whole's.

    ``measures`` may hold any of ``measures.EVENT_MEASURES``; absent and None both mean not measured. A measure with an
    amount and no rate makes the whole amount None. A class with a part of another price (audio in a realtime model)
    is priced only if that part was measured. Requests cost something only where the list charges them.
    Raises InvariantError ``negative_measure``.
    """
    amount = Decimal(0)
    measured = False
    unpriced: list[str] = []
    stand_ins = dict(rates.stand_ins)
    assumed: list[str] = []
    charged = (*_CHARGED, "requests") if rates.requests is not None else _CHARGED
    with exact_arithmetic():
        for measure in charged:
            count = measures.get(measure)
            if count is None:
                continue
            measured = True
            charge = _charge(rates, measure, count, measures)
            if charge is None:
                unpriced.append(measure)
                continue
            amount += charge
            if count and measure in stand_ins:
                assumed.append(f"{measure} {stand_ins[measure]}")
    if unpriced or not measured:
        return CostResult(None, tuple(unpriced))
    return CostResult(amount, (), tuple(assumed))


def _charge(rates: Rates, measure: str, count: int, measures: Mapping[str, int | None]) -> Decimal | None:
    """What ``count`` units of ``measure`` cost, parts of another price told apart; None where a rate is missing."""
    if count < 0:
        raise InvariantError("negative_measure", f"{measure} is {count}", where="pricing")
    if count == 0:
        return Decimal(0)
    class_rate: Decimal | None = getattr(rates, measure, None)
    amount, rest = Decimal(0), count
    for part in PRICED_PARTS.get(measure, ()):
        part_rate: Decimal | None = getattr(rates, part)
        if part_rate is None or part_rate == class_rate:
            continue
        part_count = measures.get(part)
        if part_count is None:
            return None
        amount += _per_unit(part, part_rate) * part_count
        rest -= part_count
    if rest == 0:
        return amount
    # Parts that exceed their class come from rows with overlapping piles: there is no telling what was charged.
    if class_rate is None or rest < 0:
        return None
    return amount + _per_unit(measure, class_rate) * rest


def _per_unit(measure: str, rate: Decimal) -> Decimal:
    return rate.scaleb(-_UNITS_EXPONENT.get(measure, _MILLIONS))


def _is_rate(rate: object) -> bool:
    if not isinstance(rate, Decimal) or not rate.is_finite() or rate < 0:
        return False
    _, digits, exponent = rate.as_tuple()
    return isinstance(exponent, int) and len(digits) <= _RATE_DIGITS_MAX and abs(exponent) <= _RATE_DIGITS_MAX
