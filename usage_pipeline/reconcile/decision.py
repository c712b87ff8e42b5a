"""The table of decisions: what counts in one cell, and how both sides share it. Arithmetic is per measure.

In come both sides of a cell as integers and the coverage; out comes the decided cell, its conservation asserted. The
numbers of the rows are those of docs/reconciliation.md. Findings are raised elsewhere, by what is decided here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Literal, NamedTuple

from usage_pipeline.errors import InvariantError
from usage_pipeline.measures import LEVELS
from usage_pipeline.reconcile.coverage import Coverage, State
from usage_pipeline.reconcile.figures import (
    CACHE_WRITE_GROUP,
    COMPARED,
    NOTHING,
    Figures,
    any_positive,
    compared,
    fill_cache_writes,
    parts_of,
)

RULES_VERSION = "2"
"""The version of these rules, stored on every reconciled row."""

Policy = Literal["provider_first", "hermes_first", "provider_only", "hermes_only"]
POLICIES: tuple[Policy, ...] = ("provider_first", "hermes_first", "provider_only", "hermes_only")


@dataclass(frozen=True, slots=True)
class Halves:
    """One side of an open day, before and after t, by call-time hours."""

    before: Figures
    after: Figures


@dataclass(frozen=True, slots=True)
class Cell:
    """Both sides of a cell.

    ``provider_decides`` is whether a provider's figure can decide: on the vendor's account, and off it where the
    reports of whoever bills it are known. ``passed_on`` is whether a proxy passed the cell's calls on to an account
    whose own figures are known; ``coverage`` is then that account's. ``provider`` is P as far as it is known (NOTHING
    where no account is); ``hermes`` is H, None where no batch covers the day. ``provider_reports`` are the compared
    measures that the provider's adapter declares, None where there is no adapter and where no provider decides. The
    halves are there only on an open day with call-time hours on every feed and 1h provider rows.
    """

    provider_decides: bool
    coverage: Coverage
    provider_known: bool
    day_end: datetime
    provider: Figures
    hermes: Figures | None
    hermes_final: bool
    hermes_until: datetime | None
    hermes_call_time: bool
    provider_reports: frozenset[str] | None
    provider_halves: Halves | None = None
    hermes_halves: Halves | None = None
    passed_on: bool = False

    def only_hermes_tells(self, name: str) -> bool:
        """Whether a compared measure is one that the provider's adapter never reports: outside of conservation."""
        return self.provider_decides and self.provider_reports is not None and name not in self.provider_reports


@dataclass(frozen=True, slots=True)
class Decided:
    """A decided cell. ``row`` is the number of the table's row; the figures follow ``RECONCILED_MEASURES``."""

    row: int
    decision: str
    provisional: bool
    until: datetime | None
    counted: dict[str, int] = field(default_factory=dict)
    explained: dict[str, int] = field(default_factory=dict)
    unattributed: dict[str, int] = field(default_factory=dict)
    excess: dict[str, int] = field(default_factory=dict)
    stand_in: dict[str, int] = field(default_factory=dict)
    lower_bound: tuple[str, ...] = ()


class _Share(NamedTuple):
    """One compared measure: how much is explained by Hermes, and how much of Hermes stands in."""

    explained: int
    stand_in: int


_Rule = Callable[[Cell, str, int, int], _Share]
"""(cell, measure, P, H) → how the measure is shared."""


def decide(cell: Cell, policy: Policy = "provider_first") -> Decided:
    """Decide a cell under a policy. Raises :class:`InvariantError` ``conservation_broken``."""
    if cell.passed_on and policy != "hermes_only":
        decided = _counted_upstream(cell)
        assert_conserved(cell, decided)
        return decided
    decided = _decide_provider_first(cell)
    if policy == "hermes_first":
        decided = _hermes_first(cell, decided)
    elif policy == "provider_only":
        decided = _provider_only(cell, decided)
    elif policy == "hermes_only":
        decided = _hermes_only(cell)
    assert_conserved(cell, decided)
    return decided


def _decide_provider_first(cell: Cell) -> Decided:
    hermes_used = cell.hermes is not None and any_positive(cell.hermes)
    if not cell.provider_decides:
        return _off_account(cell)
    if cell.coverage.final:
        return _shared(cell, Decided(2 if hermes_used else 1, "provider", False, cell.coverage.until), _within)
    if cell.coverage.state is State.PROVISIONAL:
        return _provisional(cell)
    if hermes_used:
        return _shared(cell, Decided(7, "hermes_standin", True, cell.hermes_until), _topped_up)
    if cell.provider_known:
        return _shared(cell, Decided(8, "provider", True, None), _within)
    return Decided(9, "no_data", True, None)


def _counted_upstream(cell: Cell) -> Decided:
    """Row 11: the same calls are in the figures of the account that the proxy passed them on to, and count there.

    P is what the proxy passed on to others; Hermes does not say which of its calls went where, so none stands in.
    """
    return _shared(cell, Decided(11, "provider", not cell.coverage.final, cell.coverage.until), _within)


def _off_account(cell: Cell) -> Decided:
    counted = {name: value for name, value in (cell.hermes or NOTHING).items() if value is not None}
    decided = Decided(10, "hermes_only", not cell.hermes_final, cell.hermes_until)
    for name, value in counted.items():
        _enter(decided, name, value, value, 0, 0)
    return decided


def _provisional(cell: Cell) -> Decided:
    until = cell.coverage.until
    assert until is not None
    closed = until >= cell.day_end
    if closed:
        rule: _Rule = _topped_up if cell.hermes_call_time else _within
        row = 4
    elif cell.provider_halves is not None and cell.hermes_halves is not None:
        rule, row = _topped_up_by_halves, 5
    else:
        rule, row = _topped_up, 6
    decided = _shared(cell, Decided(row, "provider", True, until), rule)
    if any(decided.stand_in.values()):
        return replace(decided, decision="provider_then_hermes")
    return decided


def _within(_cell: Cell, _name: str, provider: int, hermes: int) -> _Share:
    return _Share(min(provider, hermes), 0)


def _topped_up(_cell: Cell, _name: str, provider: int, hermes: int) -> _Share:
    return _Share(min(provider, hermes), max(0, hermes - provider))


def _topped_up_by_halves(cell: Cell, name: str, _provider: int, _hermes: int) -> _Share:
    assert cell.provider_halves is not None
    assert cell.hermes_halves is not None
    before = _topped_up(
        cell, name, compared(cell.provider_halves.before, name) or 0, compared(cell.hermes_halves.before, name) or 0
    )
    after = _topped_up(
        cell, name, compared(cell.provider_halves.after, name) or 0, compared(cell.hermes_halves.after, name) or 0
    )
    return _Share(before.explained + after.explained, before.stand_in + after.stand_in)


def _shared(cell: Cell, head: Decided, rule: _Rule) -> Decided:
    """Fill in the figures of every measure by ``rule``."""
    lower_bound: list[str] = []
    for name in COMPARED:
        provider, hermes = compared(cell.provider, name), compared(cell.hermes or NOTHING, name)
        if provider is None and hermes is None:
            continue
        if hermes is not None and cell.only_hermes_tells(name):
            _count_lower_bound(cell, head, name)
            lower_bound.append(name)
            continue
        share = rule(cell, name, provider or 0, hermes or 0)
        _book(cell, head, name, share, hermes or 0)
    _count_levels(cell, head)
    return replace(head, lower_bound=tuple(lower_bound)) if lower_bound else head


def _count_lower_bound(cell: Cell, head: Decided, name: str) -> None:
    """Count what only Hermes reports; it has no other side to be conserved against."""
    for part in parts_of(name):
        value = (cell.hermes or NOTHING).get(part)
        if value is not None:
            head.counted[part] = value


def _count_levels(cell: Cell, head: Decided) -> None:
    """Count the provider's levels as they are: nothing explains a level, or stands in for it."""
    head.counted.update({name: value for name in LEVELS if (value := cell.provider.get(name)) is not None})


def _book(cell: Cell, head: Decided, name: str, share: _Share, hermes: int) -> None:
    """Enter one compared measure. The cache writes' lifetimes are filled in order; what stands in is unsplit."""
    excess = hermes - share.explained - share.stand_in
    if name != CACHE_WRITE_GROUP:
        provider = cell.provider.get(name) or 0
        _enter(head, name, provider + share.stand_in, share.explained, share.stand_in, excess)
        return
    filled = dict(fill_cache_writes(cell.provider, min(share.explained, compared(cell.provider, name) or 0)))
    for part, explained in filled.items():
        _enter(head, part, cell.provider.get(part) or 0, explained, 0, 0)
    beyond = share.explained - sum(filled.values())
    if beyond or share.stand_in or excess or not filled:
        unsplit = "cache_write_unsplit"
        _enter(
            head,
            unsplit,
            (cell.provider.get(unsplit) or 0) + share.stand_in + beyond,
            filled.get(unsplit, 0) + beyond,
            share.stand_in,
            excess,
        )


def _enter(head: Decided, name: str, counted: int, explained: int, stand_in: int, excess: int) -> None:
    head.counted[name] = counted
    head.explained[name] = explained
    head.stand_in[name] = stand_in
    head.excess[name] = excess
    head.unattributed[name] = counted - explained - stand_in


def _hermes_first(cell: Cell, base: Decided) -> Decided:
    if not cell.provider_decides or cell.hermes is None:
        return base
    decided = Decided(base.row, "hermes", False, base.until)
    lower_bound: list[str] = []
    rest_counts = False
    for name in COMPARED:
        provider, hermes = compared(cell.provider, name), compared(cell.hermes, name)
        if provider is None and hermes is None:
            continue
        if hermes is None:
            _book(cell, decided, name, _Share(0, 0), 0)
            rest_counts = rest_counts or bool(provider)
        elif cell.only_hermes_tells(name):
            _count_lower_bound(cell, decided, name)
            lower_bound.append(name)
        else:
            _book_hermes_first(cell, decided, name, provider or 0, hermes)
            rest_counts = rest_counts or (provider or 0) > hermes
    _count_levels(cell, decided)
    provisional = not cell.hermes_final or (rest_counts and not cell.coverage.final)
    return replace(decided, provisional=provisional, lower_bound=tuple(lower_bound))


def _book_hermes_first(cell: Cell, head: Decided, name: str, provider: int, hermes: int) -> None:
    """counted = H + max(0, P − H), explained = H."""
    if name == CACHE_WRITE_GROUP:
        _book(cell, head, name, _Share(hermes, 0), hermes)
    else:
        _enter(head, name, max(provider, hermes), hermes, 0, 0)


def _provider_only(cell: Cell, base: Decided) -> Decided:
    if not cell.provider_decides:
        return Decided(10, "hermes_only", False, base.until, excess=_all_in_excess(cell))
    if not cell.provider_known and not cell.coverage.covers:
        return Decided(9, "no_data", True, None, excess=_all_in_excess(cell))
    decided = _shared(cell, Decided(base.row, "provider", not cell.coverage.final, cell.coverage.until), _within)
    for name in decided.lower_bound:
        for part in parts_of(name):
            decided.counted.pop(part, None)
    return replace(decided, lower_bound=())


def _all_in_excess(cell: Cell) -> dict[str, int]:
    """What Hermes says where none of it counts."""
    return {
        part: value
        for name in COMPARED
        if not cell.only_hermes_tells(name)
        for part in parts_of(name)
        if (value := (cell.hermes or NOTHING).get(part)) is not None
    }


def _hermes_only(cell: Cell) -> Decided:
    if cell.hermes is None:
        return Decided(9, "no_data", True, None)
    decision = "hermes" if cell.provider_decides else "hermes_only"
    decided = Decided(10, decision, not cell.hermes_final, cell.hermes_until)
    lower_bound: list[str] = []
    for name in COMPARED:
        if compared(cell.hermes, name) is None:
            continue
        if cell.only_hermes_tells(name):
            _count_lower_bound(cell, decided, name)
            lower_bound.append(name)
            continue
        for part in parts_of(name):
            value = cell.hermes.get(part)
            if value is not None:
                _enter(decided, part, value, value, 0, 0)
    return replace(decided, lower_bound=tuple(lower_bound))


def assert_conserved(cell: Cell, decided: Decided) -> None:
    """Assert rule 1: what counts is explained, unattributed or stands in; H is explained, excess or stands in.

    No figure is negative. Measures that only Hermes tells, and levels, have no shares and are skipped.
    """
    for name in decided.explained:
        shares = (decided.explained[name], decided.unattributed[name], decided.stand_in[name], decided.excess[name])
        if sum(shares[:3]) != decided.counted[name] or min(shares) < 0:
            raise _not_conserved(name, decided.counted[name], sum(shares[:3]))
    for name in COMPARED if cell.hermes else ():
        hermes = compared(cell.hermes or NOTHING, name)
        if hermes is None or cell.only_hermes_tells(name):
            continue
        told = sum((compared(side, name) or 0) for side in (decided.explained, decided.excess, decided.stand_in))
        if told != hermes:
            raise _not_conserved(name, hermes, told)


def _not_conserved(measure: str, whole: int, parts: int) -> InvariantError:
    return InvariantError(
        "conservation_broken",
        f"{measure}: {whole} is not the sum of its parts, {parts}",
        remedy="Nothing was published; this is a defect of the program, report it with the day.",
    )


def tolerance(provider: int, fraction: Decimal, floor: int) -> Decimal:
    """How far Hermes may exceed the provider without a finding: a part of P, or a small floor. Changes no figure."""
    return max(fraction * provider, Decimal(floor))
