"""The export of events: every stored event with its state, what counts by it, and its part of the cost."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import Connection

from usage_pipeline.exports.columns import EVENT_COLUMNS
from usage_pipeline.exports.parts import EventPart, Part, cells_of, event_parts
from usage_pipeline.exports.table import Amounts, Row
from usage_pipeline.ledger.export_rows import FLOWS, WorkspaceDay
from usage_pipeline.ledger.reconciled import StoredRow
from usage_pipeline.reconcile.cut_dimensions import EVENT_COLUMNS as COLUMN_OF_DIMENSION
from usage_pipeline.reconcile.cut_lines import CUT_MEASURES, Place

_NAMES: Final = tuple(column.name for column in EVENT_COLUMNS)
_COUNTED: Final = tuple((name, _NAMES.index(f"counted_{name}")) for name in FLOWS)
_USD: Final = _NAMES.index("cost_usd")
_DECIMALS: Final = ("estimated_cost_usd", "actual_cost_usd")


def event_table_rows(connection: Connection, days: Iterable[WorkspaceDay]) -> Iterator[Row]:
    """The rows in the order of :data:`EVENT_COLUMNS`, one event after the other; each day's remainder comes last."""
    for day in days:
        cells = cells_of(connection, day)
        for one in event_parts(connection, day):
            told = _event(one.event) if one.event is not None else _remainder(day, one)
            counted = _counted(one.part, cells) if one.part is not None else {}
            values = {**told, **counted}
            yield tuple(map(values.get, _NAMES))


def event_amounts(row: Row) -> Amounts:
    """What a row adds to the control totals."""
    return {**{name: row[at] for name, at in _COUNTED}, "counted_usd": row[_USD]}


def _event(event: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **event,
        "record": "event",
        "day": datetime.fromisoformat(event["date"]).date(),
        "recorded_at": datetime.fromisoformat(event["recorded_at"]),
        **{name: Decimal(event[name]) for name in _DECIMALS if event[name] is not None},
    }


def _remainder(day: WorkspaceDay, one: EventPart) -> dict[str, Any]:
    """A part that no event tells: what a cut says of it stands where an event has its own words."""
    assert one.part is not None
    told = one.part.dimensions
    return {
        "record": "remainder",
        "day": day.day,
        "workspace": day.workspace,
        **{name: told[name] for name in ("feed", "source", "provider", "account", "family", "route")},
        "model": told["reported_model"],
        **{column: told[name] for name, column in COLUMN_OF_DIMENSION.items()},
    }


def _counted(part: Part, cells: Mapping[Place, StoredRow]) -> dict[str, Any]:
    cell = cells.get(part.place)
    basis = cell.row.costs["counted"].basis if cell else None
    return {
        "canonical_model": part.place.model,
        "provisional": cell.row.provisional if cell else None,
        **{f"counted_{name}": part.figures.get(name) for name in CUT_MEASURES},
        "cost_usd": part.usd,
        "cost_basis": basis,
    }
