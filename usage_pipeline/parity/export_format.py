"""What a kind of export file looks like: the contract that a provider's module fulfils.

A provider's module holds ``FORMATS``, a tuple of :class:`ExportFormat`. Reading, comparing and reporting know no
provider by name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field
from typing import Final, Literal

from usage_pipeline.measures import CACHE_WRITES, EVENT_MEASURES, LEVELS
from usage_pipeline.parity.cells import TimeForm

Kind = Literal["usage", "cost"]
CurrencyUnit = Literal["usd", "cents"]

AMOUNT: Final = "amount_usd"
"""The one measure of a cost file: exact US dollars."""

MEASURES: Final[Mapping[str, tuple[str, ...]]] = {
    **{name: (name,) for name in EVENT_MEASURES if name not in LEVELS},
    "cache_write": CACHE_WRITES,
    "input_not_read_from_cache": ("uncached_input", *CACHE_WRITES),
    "input": ("uncached_input", "cache_read", *CACHE_WRITES),
}
"""What is compared, and the columns of the store that it is the sum of. A file that does not tell classes apart is
compared by the sum of those that it puts together. Levels are states at an instant, which no sum over time equals."""


def as_written(cell: str) -> str | None:
    """A cell's text; None where it is empty."""
    return cell or None


def _same(value: str | None) -> str | None:
    return value


@dataclass(frozen=True, slots=True)
class DimensionColumn:
    """A column that tells one of our dimensions.

    ``read`` makes a cell comparable, ``stored`` the store's value (after its name, where ``by_name``: the file tells
    names, the store ids).
    """

    dimension: str
    read: Callable[[str], str | None] = as_written
    stored: Callable[[str | None], str | None] = _same
    by_name: bool = False


@dataclass(frozen=True, slots=True)
class AmountColumn:
    """A column of money. ``unit`` is what the column's own name says, None where nothing does; ``currency`` names the
    column that tells the currency, where there is one: its rows are then in whole units of that currency."""

    unit: CurrencyUnit | None = None
    currency: str | None = None


Derive = Callable[[Mapping[str, int]], Mapping[str, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportFormat:
    """One kind of file.

    ``family`` is the store's (``costs`` for cost files). ``file_name`` matches the names that the provider gives.
    ``start`` and ``end`` are the columns that may tell the window, the preferred first; ``in_utc`` those that say
    themselves that they are in UTC. ``signature`` are the columns that only this kind has; ``empty_header`` is whether
    a file without rows has the columns of time alone. ``counts`` and ``amounts`` are the columns of measures;
    ``derive`` makes comparable measures of the sums of counts: it must be linear, and gets the columns that the file
    tells. ``adds_up`` names a count and those that are its parts. ``ignored`` are known columns that are not compared,
    and why. ``never_blank`` are dimensions that every row has if the export is grouped by them.
    ``lists_empty_windows`` is whether windows without usage are rows too. ``account`` is the column that names the
    account. ``measures_if_empty`` are those of a file that has no usage, and then no columns for it.
    """

    provider: str
    kind: Kind
    family: str
    file_name: re.Pattern[str]
    form: TimeForm
    start: tuple[str, ...]
    end: tuple[str, ...] = ()
    in_utc: frozenset[str] = frozenset()
    signature: frozenset[str]
    empty_header: bool = False
    dimensions: Mapping[str, DimensionColumn]
    counts: Mapping[str, str] = field(default_factory=dict)
    amounts: Mapping[str, AmountColumn] = field(default_factory=dict)
    derive: Derive | None = None
    adds_up: tuple[str, tuple[str, ...]] | None = None
    ignored: Mapping[str, str] = field(default_factory=dict)
    never_blank: frozenset[str] = frozenset()
    lists_empty_windows: bool = False
    account: str | None = None
    measures_if_empty: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """The kind in words: ``openai usage (text)``."""
        return f"{self.provider} {self.kind}" + (f" ({self.family})" if self.kind == "usage" else "")

    def tells_time(self, header: Set[str]) -> bool:
        """Whether a header has the columns of time that this kind needs."""
        return any(name in header for name in self.start) and (not self.end or any(name in header for name in self.end))

    @property
    def dimension_names(self) -> tuple[str, ...]:
        """Our names of the dimensions that such a file may tell, each once."""
        return tuple(dict.fromkeys(column.dimension for column in self.dimensions.values()))

    @property
    def columns(self) -> frozenset[str]:
        """Every column that is known."""
        currencies = {column.currency for column in self.amounts.values() if column.currency}
        known = (self.start, self.end, self.dimensions, self.counts, self.amounts, self.ignored, currencies)
        return frozenset(name for names in known for name in names)

    def is_empty_export(self, header: Set[str]) -> bool:
        """Whether a header is that of a file of this kind without rows."""
        return self.empty_header and header <= {*self.start, *self.end}

    def fits(self, header: Set[str]) -> bool:
        """Whether a header may be of this kind."""
        return self.tells_time(header) and (self.is_empty_export(header) or self.signature <= header)
