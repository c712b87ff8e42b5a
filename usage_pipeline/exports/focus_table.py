"""The export in FOCUS: each day's charges as rows, corrections of closed billing periods as rows of their own.

A day is told as its billing period said it when it closed, and what was recorded later as corrections (ChargeClass
``Correction``) of the period in which they came. All rows of a day sum to the day as it stands.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import Connection

from usage_pipeline.errors import InvalidInputError
from usage_pipeline.exports.billing_periods import BillingPeriod, Statement, period_of, statements
from usage_pipeline.exports.focus_charges import (
    CHARGED,
    Charge,
    ChargeKey,
    DayCharges,
    day_charges,
)
from usage_pipeline.exports.focus_columns import FOCUS_COLUMNS
from usage_pipeline.exports.focus_words import FocusWords
from usage_pipeline.exports.parts import cells_of
from usage_pipeline.exports.table import Amounts, Row
from usage_pipeline.ledger.export_rows import WorkspaceDay, recorded_at
from usage_pipeline.ledger.retention import require_history
from usage_pipeline.pricing.list_quotes import ListQuotes
from usage_pipeline.pricing.rates import exact_arithmetic
from usage_pipeline.utc_days import day_start


def focus_rows(
    connection: Connection, version: str, days: Iterable[WorkspaceDay], *, hourly: bool = False
) -> Iterator[Row]:
    """The rows in the order of ``FOCUS_COLUMNS[version]``, one workspace's day after the other."""
    names = tuple(column.name for column in FOCUS_COLUMNS[version])
    words = FocusWords(connection)
    lists = ListQuotes()
    for day in days:
        before: DayCharges | None = None
        standing = cells_of(connection, day)
        for statement in _statements(connection, day):
            now = day_charges(connection, day, lists, hourly=hourly, as_of=statement.as_of)
            for key, charge, of in charges_told(before, now):
                values = words.row(key, charge, of, statement.period, is_correction=before is not None)
                cell = standing.get(key.place)
                values["x_Provisional"] = cell is not None and cell.row.provisional
                yield tuple(map(values.get, names))
            before = now


def focus_amounts(version: str, row: Row) -> Amounts:
    """What a row adds to the control totals: its measure, its counted and its billed cost."""
    names = _INDEX[version]
    measure = row[names["x_TokenClass"]]
    costs = {"counted_usd": row[names["EffectiveCost"]], "billed_usd": row[names["BilledCost"]]}
    return {measure: row[names["ConsumedQuantity"]], **costs} if measure in CHARGED else costs


_INDEX: Final = {
    version: {column.name: at for at, column in enumerate(columns)} for version, columns in FOCUS_COLUMNS.items()
}


def _statements(connection: Connection, day: WorkspaceDay) -> Iterator[Statement]:
    """The statements of a day; one whose history retention took away is part of the next, and the first that is left
    speaks for the day's own period."""
    own: BillingPeriod | None = period_of(day.day)
    for statement in statements(day.day, recorded_at(connection, day)):
        try:
            require_history(connection, day.day, day.day + timedelta(days=1), day.workspace, statement.as_of)
        except InvalidInputError:
            continue
        yield statement if own is None else statement._replace(period=own)
        own = None


def charges_told(before: DayCharges | None, now: DayCharges) -> Iterator[tuple[ChargeKey, Charge, DayCharges]]:
    """The charges of the first statement; of a later one what it changes: the difference at an unchanged price, else
    the former charge taken back and the new one."""
    if before is None:
        for key in _in_order(now.charges):
            yield key, now.charges[key], now
        return
    for key in _in_order({**before.charges, **now.charges}):
        old, new = before.charges.get(key), now.charges.get(key)
        if old == new:
            continue
        if old is not None and new is not None and _prices(old) == _prices(new):
            yield key, _plus(new, _taken_back(old)), now
            continue
        if old is not None:
            yield key, _taken_back(old), before
        if new is not None:
            yield key, new, now


def _prices(charge: Charge) -> tuple[Decimal | None, Decimal | None]:
    return charge.list_price, charge.contracted_price


def _taken_back(charge: Charge) -> Charge:
    return replace(
        charge,
        quantity=-charge.quantity if charge.quantity is not None else None,
        billed_usd=-charge.billed_usd if charge.billed_usd is not None else None,
        effective_usd=-charge.effective_usd if charge.effective_usd is not None else None,
    )


def _plus(one: Charge, other: Charge) -> Charge:
    with exact_arithmetic():
        return replace(
            one,
            quantity=_sum(one.quantity, other.quantity),
            billed_usd=_sum(one.billed_usd, other.billed_usd),
            effective_usd=_sum(one.effective_usd, other.effective_usd),
        )


def _sum(one: Any, other: Any) -> Any:
    """The sum of two numbers of one type, one of which may be missing."""
    return one + other if one is not None and other is not None else one if other is None else other


def _in_order(charges: Mapping[ChargeKey, object]) -> list[ChargeKey]:
    return sorted(charges, key=_order)


def _order(key: ChargeKey) -> tuple[Any, ...]:
    hour = key.hour or datetime.min.replace(tzinfo=day_start(key.place.day).tzinfo)
    values = tuple((value is None, value or "") for value in key.values)
    return key.place, hour, values, CHARGED.index(key.measure) if key.measure in CHARGED else len(CHARGED)
