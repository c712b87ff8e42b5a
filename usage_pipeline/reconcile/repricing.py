"""Repricing: what today's price book would change on days whose prices are in force, and changing it.

In: a workspace, a range of days, the price book. Out: per day the prices that differ and the costs of the cells before
and after. Looking writes nothing. Applying reconciles the days at today's prices, with history, and puts those in
force; a price that charges what it did keeps its version, so a second time changes nothing. Billed costs do not hang on
prices and never move by it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import partial

from sqlalchemy import Connection, Engine

from usage_pipeline.ledger.audit_log import record_change
from usage_pipeline.ledger.price_overrides import load_overrides
from usage_pipeline.ledger.prices_in_force import (
    InForce,
    asked_without_price,
    drop_from_force,
    load_in_force,
    load_in_force_of_days,
)
from usage_pipeline.ledger.reconciled import lock_reconciliation, read_reconciled
from usage_pipeline.ledger.workspaces import Workspace
from usage_pipeline.pricing.price_book import PriceBook
from usage_pipeline.pricing.quotes import PriceKey, PriceQuote, PricesInForce, Quotes
from usage_pipeline.pricing.variants import PriceVariant
from usage_pipeline.providers.contract import Provider
from usage_pipeline.reconcile.cells import CellKey
from usage_pipeline.reconcile.day import DayRun
from usage_pipeline.reconcile.day_costs import DayCosts, DecidedDay
from usage_pipeline.reconcile.money import CellCost
from usage_pipeline.reconcile.price_effects import Effect, effect_of, effects_by_price
from usage_pipeline.settings import Settings


class TodaysPrices:
    """Today's book for the days of a half-open range, whatever is in force there; on other days that stays.

    One that charges as before stays too, under its version.
    """

    def __init__(self, in_force: InForce, book: Quotes, *, first_day: date, end_day: date) -> None:
        self._in_force = in_force
        self._book = book
        self._first_day = first_day
        self._end_day = end_day

    def quote(self, provider: str, model: str, variant: PriceVariant, day: date) -> PriceQuote:
        """The book's quote, or the one in force where that says the same or stays."""
        today = self._book.quote(provider, model, variant, day)
        standing = self._in_force.get(today.key)
        stays = not self._first_day <= day < self._end_day
        return standing if standing is not None and (stays or standing.charges_as(today)) else today


class _NothingElse:
    """What a day believes of what has no price in force: that there is none."""

    def quote(self, provider: str, model: str, variant: PriceVariant, day: date) -> PriceQuote:
        return PriceQuote(provider, model, variant, day, None, "", "unpriced: no price in force")


@dataclass(frozen=True, slots=True)
class PriceChange:
    """A price that a day used and that the book says otherwise today. ``old`` None: it had none. ``effect`` is on the
    day's costs if this price alone changed."""

    key: PriceKey
    old: PriceQuote | None
    new: PriceQuote
    effect: Effect


@dataclass(frozen=True, slots=True)
class CellChange:
    """A cell's costs at the prices in force and at today's; they differ."""

    cell: CellKey
    before: CellCost
    after: CellCost


@dataclass(frozen=True, slots=True)
class RepricedDay:
    """What today's prices change on one workspace's day; ``effect`` is on the day as a whole.

    ``behind``: the stored day is not what reconciling gives at the prices in force. There is other news, which comes
    with the day when it is repriced and is no part of these figures.
    """

    workspace: str
    day: date
    prices: tuple[PriceChange, ...]
    cells: tuple[CellChange, ...]
    effect: Effect
    behind: bool


@dataclass(frozen=True, slots=True)
class Repricing:
    """A workspace's days from ``first_day`` to before ``end_day`` at the prices of ``book``.

    ``run`` reconciles at them. Every ``connection`` is in the caller's transaction.
    """

    workspace: Workspace
    first_day: date
    end_day: date
    book: PriceBook
    run: DayRun

    def look(self, connection: Connection) -> list[RepricedDay]:
        """What would change; writes nothing. Days without a change are left out."""
        days = self._candidates(connection)
        found = [self._compare(connection, day, load_in_force(connection, self._id, day)) for day in days]
        return [one for one in found if one.prices]

    def apply(self, connection: Connection, now: datetime) -> list[RepricedDay]:
        """Reprice the days; what changed. Writes nothing where nothing does."""
        changed: list[RepricedDay] = []
        for day in self._candidates(connection):
            lock_reconciliation(connection, self._id, day)
            in_force = load_in_force(connection, self._id, day)
            one = self._compare(connection, day, in_force)
            # Also a price that the day does not use any more, or that nobody knows any more.
            drop_from_force(connection, self._id, day, [key for key in in_force if self._differs(in_force[key], day)])
            if one.prices:
                self.run.reconcile_within(connection, day)
                changed.append(one)
        if changed:
            record_change(connection, now, "repriced", self.workspace.slug, self._detail(changed))
        return changed

    def prices_of(self, in_force: InForce) -> TodaysPrices:
        """Today's prices of a day with these in force."""
        return TodaysPrices(in_force, self.book, first_day=self.first_day, end_day=self.end_day)

    @property
    def _id(self) -> int:
        return self.workspace.workspace_id

    def _differs(self, standing: PriceQuote, day: date) -> bool:
        return not standing.charges_as(self.book.quote(*standing.key, day))

    def _candidates(self, connection: Connection) -> list[date]:
        """Days on which some price may differ: all others cost what they did, and are not even read."""
        in_force = load_in_force_of_days(connection, self._id, self.first_day, self.end_day)
        missing = asked_without_price(connection, self._id, self.first_day, self.end_day)
        moved = {day for day, prices in in_force.items() if any(self._differs(one, day) for one in prices.values())}
        known = {
            day for day, keys in missing.items() if any(self.book.quote(*key, day).rates is not None for key in keys)
        }
        return sorted(moved | known)

    def _compare(self, connection: Connection, day: date, in_force: InForce) -> RepricedDay:
        at_hand = self.run.decided_day(connection, day)
        before = at_hand.costs(PricesInForce(in_force, _NothingElse()))
        after = at_hand.costs(self.prices_of(in_force))
        changes = {
            key: quote
            for key, quote in after.bills.quotes.items()
            if quote != in_force.get(key) and (quote.rates is not None or key in in_force)
        }
        effects = effects_by_price(at_hand, before, in_force, changes, _NothingElse())
        return RepricedDay(
            workspace=self.workspace.slug,
            day=day,
            prices=tuple(PriceChange(key, in_force.get(key), changes[key], effects[key]) for key in _sorted(changes)),
            cells=tuple(
                CellChange(key, old, new) for key, new in after.cells.items() if (old := before.cells[key]) != new
            ),
            effect=effect_of(before.cells, after.cells),
            behind=bool(changes) and self._is_behind(connection, at_hand, before),
        )

    def _detail(self, changed: Sequence[RepricedDay]) -> dict[str, object]:
        total = sum((one.effect for one in changed), Effect())
        return {
            "from": self.first_day.isoformat(),
            "to": (self.end_day - timedelta(days=1)).isoformat(),
            "days": [one.day.isoformat() for one in changed],
            "versions": sorted({change.new.version for one in changed for change in one.prices}),
            "computed_usd": {"before": f"{total.computed_before:f}", "after": f"{total.computed_after:f}"},
            "counted_usd": {"before": f"{total.counted_before:f}", "after": f"{total.counted_after:f}"},
        }

    def _is_behind(self, connection: Connection, at_hand: DecidedDay, costs: DayCosts) -> bool:
        day = at_hand.sides.day
        stored = {
            CellKey(one.row.provider, one.row.route, one.row.family, one.row.model): tuple(
                one.row.costs[name].usd for name in ("counted", "billed", "computed", "hermes")
            )
            for one in read_reconciled(connection, day, day + timedelta(days=1), self.workspace.slug)
        }
        return stored != {
            key: (cost.counted.usd, cost.billed.usd, cost.computed.usd, cost.hermes.usd)
            for key, cost in {**costs.cells, **costs.lines}.items()
        }


def reprice(
    engine: Engine,
    workspaces: Iterable[Workspace],
    days: tuple[date, date],
    now: datetime,
    providers: Mapping[str, Provider],
    prices: PriceBook,
    settings: Settings,
    *,
    write: bool,
) -> list[RepricedDay]:
    """What today's prices change on the half-open range of days, by workspace and day; with ``write`` it is changed,
    each workspace in one transaction. Without, nothing can be written: the transaction is read-only.
    """
    first_day, end_day = days
    found: list[RepricedDay] = []
    for workspace in workspaces:
        with engine.begin() as connection:
            book = prices.with_overrides(load_overrides(connection, workspace.workspace_id))
        prices_of = partial(TodaysPrices, first_day=first_day, end_day=end_day)
        run = DayRun(workspace, now, providers, book, settings, prices_of)
        one = Repricing(workspace, first_day, end_day, book, run)
        if write:
            with engine.begin() as connection:
                changed = one.apply(connection, now)
            for day in run.neighbours_to_settle(engine, [each.day for each in changed]):
                run.reconcile(engine, day)
        else:
            with engine.connect() as connection:
                connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
                changed = one.look(connection)
        found.extend(changed)
    return found


def _sorted(changes: Mapping[PriceKey, PriceQuote]) -> list[PriceKey]:
    return sorted(changes, key=lambda key: (key.provider, key.model, key.variant.text))
