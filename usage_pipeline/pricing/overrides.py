"""Prices of one's own, before the price lists: rates that were negotiated, or a factor of the list price.

Which override holds, where several could: a workspace's own before one for every workspace; then one that names the
model before one for every model of the vendor; then one that names the variant before a wider one. Two that say the
same of one day are refused.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from typing import Final

from usage_pipeline.errors import InvalidInputError
from usage_pipeline.pricing.rates import Rates
from usage_pipeline.pricing.variants import PriceVariant

EVERY_MODEL: Final = "*"
"""In place of a model's name: every model of the vendor. For a factor alone: rates are of one model."""

_FACTOR_DECIMALS_MAX: Final = 12


@dataclass(frozen=True, slots=True)
class PriceOverride:
    """A price of one's own on the UTC days from ``effective_from`` to before ``effective_to`` (None: without end).

    Either ``rates``, or ``factor`` of the list price. ``workspace`` is a slug, None for every workspace. ``model`` is
    compared in any case; :data:`EVERY_MODEL` goes with a factor only. ``variant`` None is every variant, with a factor
    only; a variant without a context window holds for every window, unless another override names the window.
    Raises InvalidInputError ``price_override_malformed``, ``price_override_empty``.
    """

    override_id: int
    provider: str
    model: str
    rates: Rates | None
    effective_from: date
    effective_to: date | None = None
    variant: PriceVariant | None = field(default_factory=PriceVariant)
    factor: Decimal | None = None
    workspace: str | None = None

    def __post_init__(self) -> None:
        if (self.rates is None) == (self.factor is None):
            raise self._malformed("it is either rates or a discount")
        if self.rates is not None and (self.model == EVERY_MODEL or self.variant is None):
            raise self._malformed("rates are of one model and one variant; only a discount may be for all")
        if self.factor is not None and not _is_factor(self.factor):
            raise self._malformed("a discount is above 0 % and at most 100 %, with at most ten decimals")
        if self.effective_to is not None and self.effective_to <= self.effective_from:
            raise InvalidInputError(
                "price_override_empty", "it ends before it starts", where=self.place, remedy="Correct its days."
            )

    @property
    def place(self) -> str:
        """The override in words, for messages."""
        return f"price override of {self.provider} {self.model} from {self.effective_from}"

    @property
    def name(self) -> str:
        """What a quote's version and basis call it."""
        return f"override {self.override_id}"

    def holds_on(self, day: date) -> bool:
        """Whether the price is in force on ``day``."""
        return self.effective_from <= day and (self.effective_to is None or day < self.effective_to)

    def says_the_same_as(self, other: PriceOverride) -> bool:
        """Whether both are for the same workspace, model and variant, on at least one day."""
        if self._scope != other._scope:
            return False
        first, second = sorted((self, other), key=lambda one: one.effective_from)
        return first.holds_on(second.effective_from)

    @property
    def _scope(self) -> tuple[str | None, str, str, PriceVariant | None]:
        return self.workspace, self.provider, self.model.lower(), self.variant

    def _malformed(self, what: str) -> InvalidInputError:
        remedy = "See: usage-pipeline prices set --help."
        return InvalidInputError("price_override_malformed", what, where=self.place, remedy=remedy)


def refuse_overlap(override: PriceOverride, others: Iterable[PriceOverride]) -> None:
    """Refuse an override beside another that says the same of one day.

    Raises InvalidInputError ``price_overrides_overlap``.
    """
    for other in others:
        if override.says_the_same_as(other):
            variant = "every variant" if other.variant is None else other.variant.text
            until = f"before {other.effective_to}" if other.effective_to else "further notice"
            raise InvalidInputError(
                "price_overrides_overlap",
                f"{other.name} holds for {variant} from {other.effective_from} until {until}",
                where=override.place,
                remedy="Let one end on the day when the other starts: usage-pipeline prices end ID --on DAY.",
            )


class Overrides:
    """Overrides by vendor and model, for one workspace: its own and those for all."""

    def __init__(self, overrides: Iterable[PriceOverride]) -> None:
        self._by_model: dict[tuple[str, str], list[PriceOverride]] = defaultdict(list)
        for override in overrides:
            same_model = self._by_model[override.provider, override.model.lower()]
            refuse_overlap(override, same_model)
            same_model.append(override)

    def __bool__(self) -> bool:
        return bool(self._by_model)

    def all(self) -> Iterator[PriceOverride]:
        """Every override."""
        for of_model in self._by_model.values():
            yield from of_model

    def find(self, provider: str, names: Iterable[str], variant: PriceVariant, day: date) -> PriceOverride | None:
        """The override that holds for a model on a day; ``names`` are the model's names, the exact one first."""
        ordered = (*names, EVERY_MODEL)
        holding: Mapping[tuple[bool, str, PriceVariant | None], PriceOverride] = {
            (one.workspace is None, name, one.variant): one
            for name in ordered
            for one in self._by_model.get((provider, name), ())
            if one.holds_on(day)
        }
        variants = (variant, replace(variant, context_window=None), None)
        places = ((for_all, name, wanted) for for_all in (False, True) for name in ordered for wanted in variants)
        return next((holding[place] for place in places if place in holding), None)


def _is_factor(factor: Decimal) -> bool:
    if not factor.is_finite() or not 0 <= factor < 1:
        return False
    exponent = factor.as_tuple().exponent
    return isinstance(exponent, int) and exponent >= -_FACTOR_DECIMALS_MAX
