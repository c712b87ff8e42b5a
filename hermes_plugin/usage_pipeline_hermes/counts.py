"""Counters and what they grew by.

Belongs here: arithmetic of the six counters and two costs that Hermes keeps. In: cumulative counters of two moments.
Out: growth, never negative. Tokens and requests are whole numbers, costs whole nano-USD (a billionth of a US dollar),
so that sums are exact: Hermes keeps costs as floats, whose sums carry artefacts such as 0.30000000000000004.

None means "not recorded" or, for a cost, "not observed"; it is never 0.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass, fields
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation

NANO = Decimal(10) ** 9
COUNT_MAX = 2**63 - 1
"""The largest whole number that SQLite and the server hold; as a cost it is nine billion US dollars."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Six counters and two costs (nano-USD), of one moment or of a span."""

    requests: int | None = None
    uncached_input: int = 0
    cache_read: int = 0
    cache_write: int = 0
    output: int = 0
    reasoning: int | None = None
    estimated_nano_usd: int | None = None
    actual_nano_usd: int | None = None

    @property
    def has_calls(self) -> bool:
        """Whether any request or token is counted; costs alone are no calls."""
        counters = (self.uncached_input, self.cache_read, self.cache_write, self.output, self.reasoning, self.requests)
        return any(counters)

    @property
    def is_nothing(self) -> bool:
        """Whether there is neither a call nor money. A cost of 0 without a call is nothing either."""
        return not self.has_calls and not self.estimated_nano_usd and not self.actual_nano_usd


COUNT_FIELDS = tuple(field.name for field in fields(Counts))
_COST_FIELDS = frozenset({"estimated_nano_usd", "actual_nano_usd"})
_COUNTER_FIELDS = tuple(name for name in COUNT_FIELDS if name not in _COST_FIELDS)

Values = tuple[int | None, ...]


def values_of(counts: Counts) -> Values:
    """The values in the order of :data:`COUNT_FIELDS`."""
    values: Values = astuple(counts)
    return values


def counts_of(values: Values) -> Counts:
    """The inverse of :func:`values_of`."""
    by_name = dict(zip(COUNT_FIELDS, values, strict=True))
    return Counts(
        requests=by_name["requests"],
        uncached_input=by_name["uncached_input"] or 0,
        cache_read=by_name["cache_read"] or 0,
        cache_write=by_name["cache_write"] or 0,
        output=by_name["output"] or 0,
        reasoning=by_name["reasoning"],
        estimated_nano_usd=by_name["estimated_nano_usd"],
        actual_nano_usd=by_name["actual_nano_usd"],
    )


def add(left: Counts, right: Counts) -> Counts:
    """The sum; None only where both are None."""
    return counts_of(tuple(_plus(a, b) for a, b in zip(values_of(left), values_of(right), strict=True)))


def above(upper: Counts, lower: Counts) -> Counts:
    """``upper − lower`` where it is positive, else 0; None where ``upper`` has no figure."""
    pairs = zip(values_of(upper), values_of(lower), strict=True)
    return counts_of(tuple(None if a is None else max(0, a - (b or 0)) for a, b in pairs))


def highest(left: Counts, right: Counts) -> Counts:
    """The larger of each figure."""
    pairs = zip(values_of(left), values_of(right), strict=True)
    return counts_of(tuple(b if a is None else a if b is None else max(a, b) for a, b in pairs))


def least(left: Counts, right: Counts) -> Counts:
    """The smaller of each figure, None taken for 0."""
    pairs = zip(values_of(left), values_of(right), strict=True)
    return counts_of(tuple(min(a or 0, b or 0) for a, b in pairs))


def has_fallen(before: Counts, now: Counts) -> bool:
    """Whether a counter is lower than before. Costs don't tell: Hermes sets an estimate to 0 where a call had none."""
    for name in _COUNTER_FIELDS:
        old, new = getattr(before, name), getattr(now, name)
        if old is not None and new is not None and new < old:
            return True
    return False


def with_highest_costs(before: Counts, now: Counts) -> Counts:
    """``now``, with each cost no lower than before, so that a cost that vanishes and returns is not counted twice."""
    both = highest(before, now)
    return counts_of(
        tuple(getattr(both, name) if name in _COST_FIELDS else getattr(now, name) for name in COUNT_FIELDS)
    )


def count_from(value: object) -> int | None:
    """A counter as SQLite gives it: a whole number from 0 to 2**63 - 1, None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        return None
    return min(max(0, int(value)), COUNT_MAX) if abs(value) != float("inf") else None


def nano_usd_from(value: object) -> int | None:
    """A cost in US dollars as SQLite gives it, in nano-USD, None for anything that is no cost.

    The shortest decimal that means the float is taken, which is what was written, then rounded half to even.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        nano = (Decimal(repr(value) if isinstance(value, float) else value) * NANO).to_integral_value(ROUND_HALF_EVEN)
        return min(max(0, int(nano)), COUNT_MAX)
    except (InvalidOperation, ValueError, OverflowError):
        return None


def _plus(left: int | None, right: int | None) -> int | None:
    if left is None or right is None:
        return left if right is None else right
    return min(left + right, COUNT_MAX)
