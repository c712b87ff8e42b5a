"""What counts by day for what budgets are of: the same amounts that a cut of the report by that dimension has.

In: workspaces, days, scopes. Out: an amount for each reconciled day. A cut reads every row of its days, so the amounts
of a day are kept in the process, by the digest of all that decides them.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping
from datetime import date, timedelta
from decimal import Decimal
from itertools import groupby
from typing import Final, NamedTuple

from sqlalchemy import Connection

from usage_pipeline.budgets.budget import Scope
from usage_pipeline.ledger.answer_state import states_by_day
from usage_pipeline.ledger.counted_costs import CellCost, WorkspaceDate, cell_costs, days_reconciled
from usage_pipeline.ledger.workspaces import list_workspaces
from usage_pipeline.pricing.rates import exact_arithmetic
from usage_pipeline.reconcile.cuts import cut

_CELL: Final = ("provider", "route", "family", "model")
_OF_CELLS: Final = frozenset({"workspace", "model"})
"""Kinds that the reconciled cells alone tell apart."""

_KEPT_MAX: Final = 5_000


class Amount(NamedTuple):
    """Exact US dollars that count, and the part of them that is in cells that may still change."""

    usd: Decimal = Decimal(0)
    provisional_usd: Decimal = Decimal(0)


def spending(
    connection: Connection, first_day: date, end_day: date, workspace: str | None, scopes: Collection[Scope]
) -> dict[Scope, dict[date, Amount]]:
    """By scope the amount of each reconciled day of the half-open range; what has no price adds nothing.

    ``workspace`` None is every real one, or the demo's. Raises :class:`InvariantError` ``cut_does_not_add_up``.
    """
    found: dict[Scope, dict[date, Amount]] = {scope: {} for scope in scopes}
    of_cells = [scope for scope in scopes if scope.kind in _OF_CELLS]
    of_rows = frozenset(scopes) - frozenset(of_cells)
    places = days_reconciled(connection, first_day, end_day, workspace)
    states = _states(connection, first_day, end_day, places) if of_rows else {}
    cells = {
        place: list(listed)
        for place, listed in groupby(
            cell_costs(connection, first_day, end_day, workspace), lambda cell: WorkspaceDate(cell.workspace, cell.day)
        )
    }
    for place in places:
        of_day = _of_cells(cells.get(place, ()), of_cells)
        if of_rows:
            key = states[place], of_rows
            of_day.update(_kept(key) or _keep(key, _of_rows(connection, place, cells.get(place, ()), of_rows)))
        for scope, amount in of_day.items():
            found[scope][place.day] = added(amount, found[scope].get(place.day))
    return found


def _states(
    connection: Connection, first_day: date, end_day: date, places: Iterable[WorkspaceDate]
) -> dict[WorkspaceDate, bytes]:
    """The digest of all that decides each day's amounts."""
    named = {place.workspace for place in places}
    return {
        WorkspaceDate(one.slug, day): state
        for one in list_workspaces(connection)
        if one.slug in named
        for day, state in states_by_day(connection, one.workspace_id, first_day, end_day).items()
    }


def added(one: Amount, other: Amount | None) -> Amount:
    """The sum of two amounts."""
    if other is None:
        return one
    with exact_arithmetic():
        return Amount(one.usd + other.usd, one.provisional_usd + other.provisional_usd)


def _of_cells(cells: Iterable[CellCost], scopes: Iterable[Scope]) -> dict[Scope, Amount]:
    found = dict.fromkeys(scopes, Amount())
    for cell in cells:
        for scope in found:
            if cell.usd is not None and scope.value in {None, cell.model}:
                found[scope] = added(Amount(cell.usd, cell.usd if cell.provisional else Decimal(0)), found[scope])
    return found


def _of_rows(
    connection: Connection, place: WorkspaceDate, cells: Iterable[CellCost], scopes: Collection[Scope]
) -> dict[Scope, Amount]:
    """The amounts of one day by dimensions that single rows tell."""
    kinds = tuple(sorted({scope.kind for scope in scopes}))
    open_ = {(cell.provider, cell.route, cell.family, cell.model) for cell in cells if cell.provisional}
    found = dict.fromkeys(scopes, Amount())
    made = cut(connection, place.day, place.day + timedelta(days=1), place.workspace, (*_CELL, *kinds))
    for row in made.rows:
        usd = row.cost.usd
        if usd is None:
            continue
        amount = Amount(usd, usd if row.values[: len(_CELL)] in open_ else Decimal(0))
        for kind, value in zip(kinds, row.values[len(_CELL) :], strict=True):
            if value is not None and (scope := Scope(kind, value)) in found:
                found[scope] = added(amount, found[scope])
    return found


_Key = tuple[bytes, frozenset[Scope]]
_amounts: OrderedDict[_Key, Mapping[Scope, Amount]] = OrderedDict()
_lock = threading.Lock()


def _kept(key: _Key) -> Mapping[Scope, Amount] | None:
    with _lock:
        if key in _amounts:
            _amounts.move_to_end(key)
        return _amounts.get(key)


def _keep(key: _Key, amounts: Mapping[Scope, Amount]) -> Mapping[Scope, Amount]:
    with _lock:
        _amounts[key] = amounts
        while len(_amounts) > _KEPT_MAX:
            _amounts.popitem(last=False)
    return amounts
