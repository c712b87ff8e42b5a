"""Why a bill and what its usage costs at list prices differ, where lines and figures can tell.

In: the lines and the counted usage of one account's day, and the same of the days around. Out: a :class:`Reason`. A
reason is told by figures alone: each part says how many dollars of the difference it makes, and it is *the* reason
where what it says leaves no more than the tolerance. All amounts are billed minus computed, so a bill that is higher
than its usage is positive.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, localcontext
from itertools import combinations
from typing import Final

from usage_pipeline.reconcile.bill_lines import (
    COMMITMENT,
    OTHER_LINES,
    TOOLS,
    WEB_SEARCH,
    Line,
    Use,
    kind_without_model,
)
from usage_pipeline.reconcile.bill_model import Billed, Price, model_parts
from usage_pipeline.reconcile.bill_parts import Part
from usage_pipeline.reconcile.words import about_dollars, dollars

DAY_BOUNDARY: Final = "day_boundary"
UNKNOWN: Final = "unknown"

REASONS: Final = {
    "tier": "lines of a service tier that the usage does not show",
    "batch": "lines of the batch price that the usage does not show, or the other way round",
    "long_context": "lines of the price for long prompts, which usage in sums cannot show",
    "inference_geo": "lines of a place of inference that the usage does not show",
    WEB_SEARCH: "lines for web searches beyond those that the usage shows",
    TOOLS: "lines for tools, storage or sessions, which have no tokens",
    COMMITMENT: "lines for a commitment, reserved or priority capacity",
    OTHER_LINES: "lines that name neither a model nor a tool, such as credits and taxes",
    "cached": "another part of the input is billed as cached than the usage shows",
    "negotiated": "all lines of a model are off by one factor",
    "tokens_differ": "the lines state another number of tokens than the usage",
    "model_not_used": "lines of a model that the usage does not have",
    "model_not_billed": "usage of a model that no line is for",
    DAY_BOUNDARY: "this day and a neighbouring one agree together",
    "unpriced": "all that was used has no list price, so there is nothing to compare",
    UNKNOWN: "what differs is in none of the figures that lines and usage tell",
}
"""Every reason, and what it says."""

_ORDER_MODELS: Final = ("tier", "batch", "long_context", "inference_geo")
_STATED_BY_LINES: Final = frozenset({*_ORDER_MODELS, WEB_SEARCH, TOOLS, COMMITMENT, OTHER_LINES})
"""Reasons that lines state themselves; they go before what is only inferred from amounts."""

_LABELS_NAMED_MAX: Final = 3
_DIGITS: Final = 60  # enough that what is divided here is off by far less than a nano-dollar


@dataclass(frozen=True, slots=True)
class Reason:
    """Why bill and usage differ: a word of :data:`REASONS`, how many dollars of the difference it makes, and words."""

    word: str
    usd: Decimal
    words: str


@dataclass(frozen=True, slots=True)
class DayGap:
    """Billed minus computed of the same account on a day nearby, both final."""

    day: date
    usd: Decimal


def reason_of(
    gap: Decimal,
    tolerance: Decimal,
    lines: Sequence[Line],
    uses: Sequence[Use],
    price: Price,
    around: Callable[[], Sequence[DayGap]],
) -> Reason:
    """The reason for ``gap``, which is above ``tolerance``. ``around`` is asked only where the lines do not tell."""
    with localcontext() as context:
        context.prec = _DIGITS
        parts = [part for part in all_parts(lines, uses, price) if part.usd]
        stated = [part for part in parts if part.word in _STATED_BY_LINES]
        if stated and _accounts(gap, stated, tolerance):
            return _told(gap, stated)
        boundary = _day_boundary(gap, tolerance, around())
        if boundary is not None:
            return boundary
        for some in (stated, parts):
            if some and _accounts(gap, some, tolerance):
                return _told(gap, some)
        best = min((stated, parts), key=lambda some: abs(gap - _sum(some)))
        if best and abs(gap - _sum(best)) < abs(gap):
            return _told(gap, best, rest=True)
    return Reason(UNKNOWN, Decimal(0), "The lines of the bill and the figures of the usage do not tell why.")


def all_parts(lines: Sequence[Line], uses: Sequence[Use], price: Price) -> Iterator[Part]:
    """What each of the bill's lines makes of the difference: those without a model by kind, the others by model."""
    yield from _parts_without_model(lines, uses)
    models = sorted({line.model for line in lines if line.model} | {use.model for use in uses})
    billed = [
        Billed(
            model,
            tuple(line for line in lines if line.model == model),
            tuple(use for use in uses if use.model == model),
        )
        for model in models
    ]
    yield from model_parts(billed, price)


def _parts_without_model(lines: Sequence[Line], uses: Sequence[Use]) -> Iterator[Part]:
    kinds: dict[str, list[Line]] = defaultdict(list)
    for line in lines:
        if line.model is None:
            kinds[kind_without_model(line)].append(line)
    searches = sum((use.cost("searches") for use in uses), Decimal(0))
    for kind in sorted(kinds.keys() | ({WEB_SEARCH} if searches else set())):
        billed = sum((line.usd for line in kinds[kind]), Decimal(0))
        labels = ", ".join(sorted({repr(line.label) for line in kinds[kind]})[:_LABELS_NAMED_MAX]) or "no line"
        if kind == WEB_SEARCH:
            yield Part(
                kind, billed - searches, f"web searches are billed {dollars(billed)} and computed {dollars(searches)}"
            )
        else:
            yield Part(kind, billed, f"{dollars(billed)} is billed without tokens ({labels})")


def _day_boundary(gap: Decimal, tolerance: Decimal, around: Sequence[DayGap]) -> Reason | None:
    """The neighbours that make up for the gap, the fewest: within the tolerance of this day alone."""
    for count in range(1, len(around) + 1):
        for chosen in combinations(around, count):
            others = sum((one.usd for one in chosen), Decimal(0))
            if abs(gap + others) <= tolerance:
                named = " and ".join(f"{one.day.isoformat()} ({_signed(one.usd)})" for one in chosen)
                words = (
                    f"The difference vanishes in the sum with {named}: {_signed(gap + others)} is left. What was used "
                    "around midnight is billed on the other day."
                )
                return Reason(DAY_BOUNDARY, -others, words)
    return None


def _accounts(gap: Decimal, parts: Sequence[Part], tolerance: Decimal) -> bool:
    return abs(gap - _sum(parts)) <= tolerance


def _told(gap: Decimal, parts: Sequence[Part], *, rest: bool = False) -> Reason:
    by_word: dict[str, Decimal] = defaultdict(Decimal)
    for part in parts:
        by_word[part.word] += part.usd
    word = max(sorted(by_word), key=lambda one: abs(by_word[one]))
    total = _sum(parts)
    # The largest first: what matters most is read first.
    ordered = sorted(parts, key=lambda part: (-abs(part.usd), part.word, part.words))
    named = len(by_word) > 1
    said = "; ".join(f"{f'{part.word}: ' if named else ''}{part.words}, {_signed(part.usd)}" for part in ordered)
    left = f" This makes {_signed(total)} of {_signed(gap)}; why the rest differs is not known." if rest else ""
    return Reason(word, total, f"{said}.{left}")


def _sum(parts: Sequence[Part]) -> Decimal:
    return sum((part.usd for part in parts), Decimal(0))


def _signed(usd: Decimal) -> str:
    return f"{'+' if usd >= 0 else ''}{about_dollars(usd)}"
