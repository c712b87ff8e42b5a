"""``GET /api/budgets``: the workspace's budgets, and where each stands in a period."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Connection

from usage_pipeline.budgets.status import budget_statuses, status_json
from usage_pipeline.cli.days import read_day
from usage_pipeline.ledger.dimension_names import known_names
from usage_pipeline.service.parameters import DAY_SCHEMA, WORKSPACE, Parameter
from usage_pipeline.service.reading import Asking

PARAMETERS: Final = (
    WORKSPACE,
    Parameter("on", "In the periods of this UTC day; today where it is left out.", DAY_SCHEMA),
)


def tell_budgets(connection: Connection, asking: Asking) -> dict[str, Any]:
    """The answer; budgets of all workspaces together are not among it.

    Raises :class:`InvalidInputError` for what cannot be asked.
    """
    workspace, today = asking.reader.workspace, asking.now.date()
    written = asking.parameters.text("on")
    on = today if written is None else read_day(written, "on")
    names = known_names(connection, workspace)
    statuses = budget_statuses(connection, today, on=on, workspace=workspace)
    return {
        "on": on.isoformat(),
        "workspace": workspace,
        "budgets": [status_json(one, names) for one in statuses],
    }
