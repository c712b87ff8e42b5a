"""``GET /api/findings``: what is worth a person's look, open or closed, page by page."""

from __future__ import annotations

from datetime import date
from typing import Any, Final

from sqlalchemy import Connection

from usage_pipeline.ledger.findings import StoredFinding, read_findings
from usage_pipeline.ledger.retention import require_history
from usage_pipeline.reconcile.finding_report import finding_as_json
from usage_pipeline.reconcile.findings import FINDING_CODES
from usage_pipeline.service.parameters import (
    AS_OF,
    CURSOR,
    FROM,
    TO,
    WORKSPACE,
    Parameter,
    cursor_of,
    limit_of,
    no_such_cursor,
)
from usage_pipeline.service.reading import Asking

ROWS_MAX: Final = 1000
_ROWS_BY_DEFAULT: Final = 100
_STATES: Final = ("open", "closed", "all")
_FILTERS: Final = ("provider", "model", "feed")

PARAMETERS: Final = (
    FROM,
    TO,
    WORKSPACE,
    Parameter(
        "state", "Those that are open, closed, or all.", {"type": "string", "enum": list(_STATES), "default": "open"}
    ),
    Parameter(
        "code", "Only this code. Repeatable.", {"type": "string", "enum": sorted(FINDING_CODES)}, repeatable=True
    ),
    *(
        Parameter(name, f"Only about this {name}; empty for none. Repeatable.", {"type": "string"}, repeatable=True)
        for name in _FILTERS
    ),
    AS_OF,
    CURSOR,
    limit_of(ROWS_MAX, _ROWS_BY_DEFAULT),
)

_Place = tuple[str, str, int]
"""Day, code, number: the order of the pages."""


def tell_findings(connection: Connection, asking: Asking) -> dict[str, Any]:
    """A page of findings by day, code and number. Raises :class:`InvalidInputError` for what cannot be asked."""
    parameters = asking.parameters
    first_day, end_day = parameters.days()
    as_of = parameters.as_of(asking.now)
    state = parameters.choice("state", _STATES)
    codes = parameters.texts("code")
    for code in codes:
        parameters.check(code, sorted(FINDING_CODES), "code")
    only = {name: values for name in _FILTERS if (values := parameters.values(name))}
    most = parameters.number("limit", most=ROWS_MAX, default=_ROWS_BY_DEFAULT)
    after = _after(asking)
    workspace = asking.reader.workspace
    require_history(connection, first_day, end_day, workspace, as_of)
    if after is not None:
        first_day = max(first_day, date.fromisoformat(after[0]))
    found = sorted(
        (
            one
            for one in read_findings(connection, first_day, end_day, workspace, open_only=state == "open", as_of=as_of)
            if (state != "closed" or one.closed_at is not None)
            and (not codes or one.finding.code in codes)
            and all(getattr(one if name == "feed" else one.finding, name) in values for name, values in only.items())
            and (after is None or _place(one) > after)
        ),
        key=_place,
    )
    return {
        "from": parameters.text("from"),
        "to": parameters.text("to"),
        "workspace": workspace,
        "findings": [finding_as_json(one) for one in found[:most]],
        "next_cursor": cursor_of(*_place(found[most - 1])) if len(found) > most else None,
    }


def _place(one: StoredFinding) -> _Place:
    return one.finding.day.isoformat(), one.finding.code, one.finding_id


def _after(asking: Asking) -> _Place | None:
    cursor = asking.parameters.cursor(str, str, int)
    if cursor is None:
        return None
    day, code, finding_id = cursor
    try:
        return date.fromisoformat(day).isoformat(), code, finding_id
    except ValueError:
        raise no_such_cursor() from None
