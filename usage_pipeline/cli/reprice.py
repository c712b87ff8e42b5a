"""``usage-pipeline reprice``: what reconciled days would cost at the prices of today, and making it so."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from usage_pipeline.cli.days import DayRange, FromDay, ToDay, read_range
from usage_pipeline.cli.output import AsJson, print_json
from usage_pipeline.cli.store import opened
from usage_pipeline.cli.workspace_option import OfWorkspace
from usage_pipeline.clock import now

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from usage_pipeline.ledger.workspaces import Workspace
    from usage_pipeline.reconcile.repricing import RepricedDay


def reprice(
    from_day: FromDay,
    to_day: ToDay,
    workspace: OfWorkspace = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change; write nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Compute reconciled days at the prices of today, with history. --to is included; billed costs do not move."""
    from usage_pipeline.cli.repricing_view import print_repriced, reprice_json

    days = read_range(from_day, to_day)
    found = repriced_days(days, workspace, write=not dry_run)
    if as_json:
        print_json(reprice_json(found, days, workspace, dry_run=dry_run))
    else:
        print_repriced(found, days, dry_run=dry_run)


def repriced_days(days: DayRange, workspace: str | None, *, write: bool) -> list[RepricedDay]:
    """What today's prices change on the days: of one workspace, or of all as a report has them."""
    from usage_pipeline.pricing.price_book import PriceBook
    from usage_pipeline.providers.registry import providers
    from usage_pipeline.reconcile.repricing import reprice as reprice_workspaces
    from usage_pipeline.settings import Settings

    settings = Settings.from_environment(os.environ)
    with opened(os.environ, writes=write) as engine:
        with engine.begin() as connection:
            chosen = chosen_workspaces(connection, workspace)
        return reprice_workspaces(
            engine,
            chosen,
            (days.first_day, days.end_day),
            now(os.environ),
            {provider.name: provider for provider in providers()},
            PriceBook(),
            settings,
            write=write,
        )


def chosen_workspaces(connection: Connection, workspace: str | None) -> tuple[Workspace, ...]:
    """The named workspace; none named, all but a demo's, or the demo's where there is nothing else."""
    from usage_pipeline.ledger.workspaces import get_workspace, list_workspaces

    if workspace is not None:
        return (get_workspace(connection, workspace),)
    every = list_workspaces(connection)
    return tuple(one for one in every if not one.demo) or every
