"""``GET /api/usage``: what counts, in total and by any dimensions of the report, with its cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from sqlalchemy import Connection

from usage_pipeline.errors import InvalidInputError
from usage_pipeline.ledger.retention import require_history
from usage_pipeline.reconcile.cut_dimensions import DIMENSIONS, EVENT_COLUMNS, OF_CELL, OF_HERMES, read_dimensions
from usage_pipeline.reconcile.cut_report import LEVELS_ARE_OUTSIDE
from usage_pipeline.reconcile.report import report_head
from usage_pipeline.service.parameters import AS_OF, FROM, TO, WORKSPACE, Parameter, Parameters, limit_of
from usage_pipeline.service.reading import Asking
from usage_pipeline.service.usage_figures import Chosen, Group, Place, total_of, usage_figures

GROUPS_MAX: Final = 10_000

FILTERS: Final = tuple(name for name in DIMENSIONS if name not in {"day", "workspace"})
"""The dimensions that are parameters too."""

_ORDERS: Final = ("group", "cost", "tokens")


def _words(name: str) -> str:
    told = "a cell" if name in OF_CELL else "Hermes" if name in OF_HERMES else "a provider"
    by = f" ({told} tells it)" if name in {*OF_CELL, *OF_HERMES, *EVENT_COLUMNS} else ""
    return f"Only this {name.replace('_', ' ')}{by}; empty for what is not told. Repeatable: any of them."


PARAMETERS: Final = (
    FROM,
    TO,
    WORKSPACE,
    Parameter(
        "group_by",
        f"Dimensions, separated by commas: {', '.join(DIMENSIONS)}. Left out: the total alone.",
        {"type": "string", "examples": ["day,model"]},
    ),
    *(Parameter(name, _words(name), {"type": "string"}, repeatable=True) for name in FILTERS),
    AS_OF,
    Parameter(
        "order",
        "By the groups' values, or the greatest first by counted cost or tokens.",
        {"type": "string", "enum": list(_ORDERS), "default": "group"},
    ),
    limit_of(GROUPS_MAX, GROUPS_MAX),
)


def tell_usage(connection: Connection, asking: Asking) -> dict[str, Any]:
    """The answer. Raises :class:`InvalidInputError` for what cannot be asked."""
    first_day, end_day = asking.parameters.days()
    as_of = asking.parameters.as_of(asking.now)
    by = _dimensions(asking.parameters)
    only = {name: values for name in FILTERS if (values := asking.parameters.values(name))}
    order = asking.parameters.choice("order", _ORDERS)
    most = asking.parameters.number("limit", most=GROUPS_MAX, default=GROUPS_MAX)
    workspace = asking.reader.workspace
    require_history(connection, first_day, end_day, workspace, as_of)
    place = Place(asking.reader.workspace_id, workspace)
    groups, total = usage_figures(connection, Chosen(place, first_day, end_day, by, only, as_of), asking.day_groups)
    groups = _ordered(groups, order)
    left_out = groups[most:]
    head = report_head(first_day, end_day, asking.now, as_of)
    del head["now"]  # the same answer is the same bytes, at any time
    return {
        **head,
        "workspace": workspace,
        "by": list(by),
        "rows": [one.as_json(by) for one in groups[:most]],
        "rows_left_out": len(left_out),
        "rest": replace(total_of(left_out), names={}).as_json(()) if left_out else None,
        "totals": replace(total, names={}).as_json(()),
        "notes": [LEVELS_ARE_OUTSIDE],
    }


def _dimensions(parameters: Parameters) -> tuple[str, ...]:
    written = parameters.text("group_by")
    if not written:
        return ()
    try:
        return read_dimensions(written)
    except InvalidInputError as error:
        raise InvalidInputError(error.code, error.what, where="group_by", remedy=error.remedy) from None


def _ordered(groups: Sequence[Group], order: str) -> list[Group]:
    """The groups in their order; of equals the one whose values come first leads."""
    if order == "cost":
        return sorted(groups, key=lambda one: one.usd, reverse=True)
    if order == "tokens":
        return sorted(groups, key=lambda one: one.tokens, reverse=True)
    return list(groups)
