"""``usage-pipeline bills``: what was billed beside what the usage costs, per account and day, and why they differ."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Final

from usage_pipeline.cli.days import FromDay, ToDay, read_range
from usage_pipeline.cli.instants import AsOf, read_as_of
from usage_pipeline.cli.output import AsJson, print_json, print_line, print_table
from usage_pipeline.cli.workspace_option import OfWorkspace, reading
from usage_pipeline.clock import now

_COLUMNS: Final = (
    "date",
    "workspace",
    "provider",
    "account",
    "billed, USD",
    "computed, USD",
    "difference, USD",
    "allowed, USD",
    "agrees",
    "reason",
)
_NUMBERS: Final = ("billed, USD", "computed, USD", "difference, USD", "allowed, USD")
_NOTHING: Final = "–"
_AGREES: Final = {True: "yes", False: "no", None: "unknown"}


def bills(
    from_day: FromDay,
    to_day: ToDay,
    workspace: OfWorkspace = None,
    as_of: AsOf = None,
    as_json: AsJson = False,
) -> None:
    """Print each account's bill beside what its usage costs at list prices, and why they differ. --to is included."""
    days = read_range(from_day, to_day)
    instant = read_as_of(as_of, now(os.environ))
    with reading(os.environ, workspace) as connection:
        from usage_pipeline.ledger.account_bills import read_bills
        from usage_pipeline.ledger.retention import require_history
        from usage_pipeline.reconcile.account_bills import bill_as_json

        require_history(connection, days.first_day, days.end_day, workspace, instant)
        stored = read_bills(connection, days.first_day, days.end_day, workspace, as_of=instant)
        found = [bill_as_json(one) for one in stored]
    if as_json:
        print_json(found)
        return
    if not found:
        print_line(f"No account's bill is reconciled from {days.first_day} to {days.last_day} (both included).")
        return
    title = f"Bills and usage, {days.first_day} to {days.last_day} (UTC days, both included); * is not final"
    print_table(title, _COLUMNS, [_row(one) for one in found], right=_NUMBERS)
    for one in found:
        if one["reason_words"] and one["agrees"] is False:
            place = f"{one['date']} {one['workspace']} {one['provider']} {one['account']}"
            print_line(f"{place}: {one['reason']}. {one['reason_words']}")


def _row(one: Mapping[str, Any]) -> Sequence[str]:
    return (
        one["date"],
        one["workspace"],
        one["provider"],
        one["account"],
        f"{one['billed_usd'] or _NOTHING}{'' if one['final'] else '*'}",
        _computed(one),
        one["difference_usd"] or _NOTHING,
        one["tolerance_usd"] or _NOTHING,
        _AGREES[one["agrees"]],
        one["reason"] or "",
    )


def _computed(one: Mapping[str, Any]) -> str:
    """The computed cost; of usage that has a price in part, that part."""
    if one["computed_usd"] is not None:
        return str(one["computed_usd"])
    priced = one["compared_computed_usd"]
    return f"{priced} + unpriced" if priced is not None else _NOTHING
