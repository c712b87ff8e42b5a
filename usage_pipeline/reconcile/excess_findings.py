"""Where Hermes says more than a final figure of the provider: an alarm, a session's wrong day, or not to be told.

In comes a decided cell; out come findings by measure. The rules are those of ``provider_first`` under every policy
that compares the two sides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from usage_pipeline.ledger.findings import Finding
from usage_pipeline.reconcile.cells import CellKey, DecidedCell
from usage_pipeline.reconcile.decision import Cell, tolerance
from usage_pipeline.reconcile.figures import COMPARED, COMPARED_TOKENS, Figures, add, compared
from usage_pipeline.reconcile.finding_grounds import behind_cell
from usage_pipeline.reconcile.hermes_rows import names_part_of_account
from usage_pipeline.reconcile.sides import DaySides
from usage_pipeline.reconcile.words import relative, units
from usage_pipeline.settings import Settings

EXCESS_CODES = ("hermes_exceeds_provider", "session_boundary")
"""Codes that hang on the days around, so that a change nearby decides them anew."""

NEIGHBOUR_DAYS = 3

_SCOPE_WORDS = (
    "The workspace's keys answer for some projects only, and Hermes does not say which projects it billed to. "
    "Set the feed's bills_to."
)
_EXCESS_WORDS = (
    "Likely causes: calls through another account, subscription or router that Hermes took for this account, a day "
    "reported by local time, or a payload that counts a call twice."
)
_REQUESTS_WORDS = (
    "Only requests differ; every token class agrees. Likely cause: retries, which Hermes counts and the provider does "
    "not."
)


@dataclass(frozen=True, slots=True)
class Exceeding:
    """A measure in which Hermes exceeds the provider by more than the tolerance."""

    measure: str
    provider: int
    hermes: int


def exceeding(
    provider: Figures, hermes: Figures, reported: frozenset[str] | None, settings: Settings, names: Sequence[str]
) -> list[Exceeding]:
    """The measures, of those that the provider reports, in which H is above P by more than the tolerance."""
    found = []
    for name in names:
        p, h = compared(provider, name) or 0, compared(hermes, name)
        if h is None or (reported is not None and name not in reported):
            continue
        if h - p > tolerance(p, settings.tolerance_fraction, settings.tolerance_floor):
            found.append(Exceeding(name, p, h))
    return found


def excess_findings(
    one: DecidedCell, sides: DaySides, settings: Settings, neighbour: Callable[[int], Cell]
) -> Iterator[Finding]:
    """Row 3's finding: the excess, or that it is only a session that ended on another day, or that it can't be told.

    ``neighbour`` gives the same cell some days later (earlier: negative).
    """
    if not one.cell.provider_decides or one.cell.passed_on or not one.cell.coverage.final or one.cell.hermes is None:
        return
    found = exceeding(one.cell.provider, one.cell.hermes, one.cell.provider_reports, settings, COMPARED)
    tokens = [excess for excess in found if excess.measure in COMPARED_TOKENS]
    if found and _scope_is_unknown(one, sides):
        for excess in tokens or found:
            yield _finding("scope_unknown", one.key, sides, excess, _SCOPE_WORDS)
        return
    around = _Around(one, sides, cache(neighbour))
    for excess in tokens:
        total = around.agreeing(excess.measure, settings)
        if total is not None:
            yield _finding("session_boundary", one.key, sides, excess, total.words)
        else:
            yield _finding("hermes_exceeds_provider", one.key, sides, excess, _EXCESS_WORDS)
    for excess in found:
        if excess.measure == "requests" and not tokens:
            yield _finding("requests_differ", one.key, sides, excess, _REQUESTS_WORDS)


def _scope_is_unknown(one: DecidedCell, sides: DaySides) -> bool:
    """Whether the keys answer for parts of accounts only, and a feed of the cell names neither account nor projects."""
    family = sides.family_of(one.key)
    return (
        family is not None
        and family.scoped_only
        and not all(
            names_part_of_account(sides.bills_to[row.feed_id].get(one.key.provider, ""))
            for row in one.sides.hermes_rows
        )
    )


@dataclass(frozen=True, slots=True)
class _Total:
    """A measure's sum over some days around, in which nothing exceeds."""

    days: int
    provider: int
    hermes: int

    @property
    def words(self) -> str:
        return (
            f"In the sum of the {self.days} known days around, Hermes has {units(self.hermes)} and the provider "
            f"{units(self.provider)}, so the excess vanishes. Likely cause: a session counted on the day when it ended."
        )


@dataclass(frozen=True, slots=True)
class _Around:
    """A cell with the same cell of the days around it."""

    one: DecidedCell
    sides: DaySides
    neighbour: Callable[[int], Cell]

    def agreeing(self, measure: str, settings: Settings) -> _Total | None:
        """Row 3's test on the sum of D−1…D+1 or of the 7 days around D, over days known and final on both sides.

        None where the excess is in both sums. Only where D is such a day and no feed of the cell states call times: a
        call has no other day.
        """
        stated = any(self.sides.hermes_slices[row.feed_id].hours_are_call_time for row in self.one.sides.hermes_rows)
        if stated or not _is_settled(self.one.cell):
            return None
        for reach in (1, NEIGHBOUR_DAYS):
            around = [self.one.cell, *(self.neighbour(n) for n in range(-reach, reach + 1) if n)]
            known = [cell for cell in around if _is_settled(cell)]
            provider = add(*(cell.provider for cell in known))
            hermes = add(*(cell.hermes for cell in known if cell.hermes is not None))
            if not exceeding(provider, hermes, None, settings, [measure]):
                return _Total(len(known), compared(provider, measure) or 0, compared(hermes, measure) or 0)
        return None


def _is_settled(cell: Cell) -> bool:
    return cell.coverage.final and not cell.passed_on and cell.hermes is not None and cell.hermes_final


def _finding(code: str, key: CellKey, sides: DaySides, excess: Exceeding, words: str) -> Finding:
    return Finding(
        code,
        sides.day,
        f"{excess.measure}: Hermes reports {units(excess.hermes)}, the provider {units(excess.provider)}: "
        f"{units(excess.hermes - excess.provider)} more"
        f"{relative(excess.hermes - excess.provider, excess.provider)}. {words}",
        provider=key.provider,
        route=key.route,
        family=key.family,
        model=key.model,
        measure=excess.measure,
        figure_provider=excess.provider,
        figure_hermes=excess.hermes,
        difference=excess.hermes - excess.provider,
        behind=behind_cell(key, sides),
    )
