"""Events and billed lines as ``report --rows events`` and ``--rows bills`` print them, each with its state.

In come stored rows; out come objects in the report's words, one at a time: amounts exact, instants in UTC.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection

from usage_pipeline.hermes.routes import vendor_of_model
from usage_pipeline.ledger.rows_behind import stored_bills, stored_events
from usage_pipeline.normalise.hermes_days import HERMES_HOURS, HERMES_REPOSITORIES
from usage_pipeline.reconcile.report import instant, plain

_PLACE: Final = ("day", "workspace", "feed", "source", "endpoint", "provider", "account", "family", "route")
_LEFT_OUT: Final = frozenset(
    {*_PLACE, "decided", "slice_counts", "excluded_projects", "excluded_upstreams", "shadowed"}
)
_AS_JSON: Final = frozenset({type(None), int, str, bool})
_instant = lru_cache(maxsize=4096)(instant)  # a day's rows share their windows
_OTHER_CUTS: Final = {HERMES_HOURS: "hours", HERMES_REPOSITORIES: "repositories"}


def event_rows(
    connection: Connection, first_day: date, end_day: date, workspace: str | None, as_of: datetime | None = None
) -> Iterator[dict[str, Any]]:
    """Every usage event of the half-open range of days.

    ``state`` of a provider's row: ``counted`` (it is a part of P), ``shadowed``, ``informational`` or
    ``not_reconciled_yet``. Of a Hermes row: ``compared`` (it is a part of H), ``shown`` (its feed does not count, or it
    counts nowhere), ``hours`` or ``repositories`` (other cuts of the same day), ``not_reconciled_yet``.
    """
    for row in stored_events(connection, first_day, end_day, workspace, as_of):
        yield told_of_row(row, state_of_event(row))


def bill_rows(
    connection: Connection, first_day: date, end_day: date, workspace: str | None, as_of: datetime | None = None
) -> Iterator[dict[str, Any]]:
    """Every billed line of the half-open range of days; its ``state`` is ``counted``, ``shadowed`` or
    ``not_reconciled_yet``."""
    for row in stored_bills(connection, first_day, end_day, workspace, as_of):
        yield told_of_row(row, _state_of_bill(row))


def state_of_event(row: Mapping[str, Any]) -> str:
    """Whether a stored event counts, is shadowed, or stands beside what counts, in the report's words."""
    if row["provider"] is None:
        if row["endpoint"] in _OTHER_CUTS:
            return _OTHER_CUTS[row["endpoint"]]
        if not row["decided"]:
            return "not_reconciled_yet"
        return "shown" if row["shadowed"] else "compared"
    if not row["decided"]:
        return "not_reconciled_yet"
    if row["family"] is None:
        return "informational"
    return "shadowed" if row["shadowed"] else "counted"


def _state_of_bill(row: Mapping[str, Any]) -> str:
    if not row["decided"]:
        return "not_reconciled_yet"
    upstreams = row["excluded_upstreams"]
    passed_on = bool(upstreams) and (row["model"] is None or vendor_of_model(row["model"]) in upstreams)
    return "shadowed" if row["shadowed"] or passed_on else "counted"


def told_of_row(row: Mapping[str, Any], state: str) -> dict[str, Any]:
    """A stored row as the report tells it: its place, its values that are known, and its state."""
    place = {("date" if name == "day" else name): _written(row[name]) for name in _PLACE}
    # Most of a row's fifty values are nothing, numbers and texts: asking here spares a call for each.
    told = {
        name: value if type(value) in _AS_JSON else _written(value)
        for name, value in row.items()
        if name not in _LEFT_OUT
    }
    return {**place, "state": state, **told}


def _written(value: Any) -> Any:
    """A value as JSON has it."""
    if type(value) in _AS_JSON:
        return value
    if isinstance(value, datetime):
        return _instant(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return plain(value)
    return str(value) if isinstance(value, UUID) else value
