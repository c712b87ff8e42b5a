"""``usage-pipeline report``: the reconciled rows of a range of days."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from usage_pipeline.cli.days import FromDay, ToDay, read_range
from usage_pipeline.cli.output import AsJson, print_json
from usage_pipeline.cli.store import opened
from usage_pipeline.clock import now


def report(
    from_day: FromDay,
    to_day: ToDay,
    workspace: Annotated[str | None, typer.Option("--workspace", metavar="SLUG", help="Only of this one.")] = None,
    as_json: AsJson = False,
) -> None:
    """Print what counts, and why, for a range of UTC days. --to is included."""
    from usage_pipeline.ledger.slugs import check_part
    from usage_pipeline.ledger.workspaces import get_workspace

    at = now(os.environ)
    days = read_range(from_day, to_day)
    if workspace is not None:
        check_part(workspace, where="--workspace")
    with opened(os.environ, writes=False) as engine, engine.begin() as connection:
        if workspace is not None:
            get_workspace(connection, workspace)
        from usage_pipeline.reconcile.report import build_report

        told = build_report(connection, days.first_day, days.end_day, workspace, at)
    if as_json:
        print_json(told)
        return
    from usage_pipeline.cli.report_tables import print_report

    print_report(told)
