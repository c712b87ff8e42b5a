"""``GET /api/workspaces``, ``/api/bills`` and ``/api/session``: the workspace, its bills, and who asks."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Connection

from usage_pipeline.ledger.account_bills import read_bills
from usage_pipeline.ledger.reconciled_days import reconciled_days
from usage_pipeline.ledger.retention import require_history
from usage_pipeline.ledger.workspaces import get_workspace
from usage_pipeline.reconcile.account_bills import bill_as_json
from usage_pipeline.reconcile.report import instant
from usage_pipeline.service.money import with_nano_usd
from usage_pipeline.service.parameters import AS_OF, FROM, TO, WORKSPACE
from usage_pipeline.service.reading import Asking

BILLS_PARAMETERS: Final = (FROM, TO, WORKSPACE, AS_OF)


def tell_bills(connection: Connection, asking: Asking) -> dict[str, Any]:
    """Each account's bill of a day beside its usage. Raises :class:`InvalidInputError` for what cannot be asked."""
    first_day, end_day = asking.parameters.days()
    as_of = asking.parameters.as_of(asking.now)
    workspace = asking.reader.workspace
    require_history(connection, first_day, end_day, workspace, as_of)
    bills = read_bills(connection, first_day, end_day, workspace, as_of=as_of)
    return {
        "from": asking.parameters.text("from"),
        "to": asking.parameters.text("to"),
        "workspace": workspace,
        "bills": [with_nano_usd(bill_as_json(one)) for one in bills],
    }


def tell_workspaces(connection: Connection, asking: Asking) -> dict[str, Any]:
    """The reader's workspace, and of which days anything is reconciled."""
    workspace = get_workspace(connection, asking.reader.workspace)
    days = reconciled_days(connection, workspace.workspace_id)
    return {
        "workspaces": [
            {
                "slug": workspace.slug,
                "name": workspace.name,
                "policy": workspace.policy,
                "demo": workspace.demo,
                "created_at": instant(workspace.created_at),
                "first_day": days.first_day.isoformat() if days else None,
                "last_day": days.last_day.isoformat() if days else None,
                "reconciled_at": instant(days.reconciled_at) if days else None,
            }
        ]
    }


def tell_session(_connection: Connection, asking: Asking) -> dict[str, Any]:
    """Who asks: through what, for which workspace, with which scopes, until when."""
    reader = asking.reader
    return {
        "workspace": reader.workspace,
        "scopes": sorted(reader.scopes),
        "token": reader.token_prefix,
        "through": reader.through,
        "ends_at": instant(reader.ends_at) if reader.ends_at else None,
        "now": instant(asking.now),
    }
