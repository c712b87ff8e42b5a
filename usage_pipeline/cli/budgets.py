"""``usage-pipeline budgets``: what may be spent, and what was."""

from __future__ import annotations

import os
from typing import Annotated, Final

import typer

from usage_pipeline.cli.days import EndDay, read_day, read_range
from usage_pipeline.cli.output import AsJson, print_json, print_line, print_note
from usage_pipeline.cli.store import opened
from usage_pipeline.cli.workspace_option import OfWorkspace, reading
from usage_pipeline.clock import now

app = typer.Typer(help="Budgets: what may be spent, what was, and who is told.", rich_markup_mode=None)

_ONE_OF: Final = "Of this one alone."


@app.command("set")
def add(
    amount: Annotated[str, typer.Option("--amount", metavar="USD", help="US dollars for each period.")],
    every: Annotated[str, typer.Option("--every", metavar="PERIOD", help="day, week (ISO, UTC) or month.")],
    workspace: Annotated[
        str | None, typer.Option("--workspace", metavar="SLUG", help="Of this one; else of all real ones together.")
    ] = None,
    project: Annotated[str | None, typer.Option("--project", metavar="ID", help=f"{_ONE_OF} An id or a name.")] = None,
    api_key: Annotated[str | None, typer.Option("--api-key", metavar="ID", help=f"{_ONE_OF} An id or a name.")] = None,
    model: Annotated[str | None, typer.Option("--model", metavar="NAME", help=_ONE_OF)] = None,
    cost_center: Annotated[str | None, typer.Option("--cost-center", metavar="NAME", help=_ONE_OF)] = None,
    team: Annotated[str | None, typer.Option("--team", metavar="NAME", help=_ONE_OF)] = None,
    from_day: Annotated[
        str | None, typer.Option("--from", metavar="DAY", help="The first UTC day; today where left out.")
    ] = None,
    to_day: Annotated[
        str | None,
        typer.Option(
            "--to", metavar="DAY", help="The last UTC day, itself included; without it: until further notice."
        ),
    ] = None,
    warning: Annotated[str, typer.Option("--warning", metavar="PERCENT", help="Warn at this part of it.")] = "80%",
    exceeded: Annotated[
        str, typer.Option("--exceeded", metavar="PERCENT", help="It is exceeded at this part.")
    ] = "100%",
    note: Annotated[str, typer.Option("--note", metavar="TEXT", help="Who decided it.")] = "",
    as_json: AsJson = False,
) -> None:
    """Set a budget. From its first day on it stands for what was set before of the same thing and period."""
    from usage_pipeline.cli.budget_input import budget_of, known_scope, read_scope
    from usage_pipeline.cli.budget_view import budget_in_words, budget_json
    from usage_pipeline.ledger.budgets import set_budget
    from usage_pipeline.ledger.dimension_names import known_names
    from usage_pipeline.ledger.price_overrides import check_note
    from usage_pipeline.ledger.workspaces import get_workspace

    at = now(os.environ)
    written = {"project": project, "api_key": api_key, "model": model, "cost_center": cost_center, "team": team}
    scope = read_scope(written)
    first = at.date().isoformat() if from_day is None else from_day
    days = read_range(first, first if to_day is None else to_day)
    asked = budget_of(workspace, scope, every, amount, warning, exceeded, days, endless=to_day is None)
    checked = check_note(note)
    with opened(os.environ, writes=True) as engine, engine.begin() as connection:
        if workspace is not None:
            get_workspace(connection, workspace)
        budget, unknown = known_scope(connection, asked)
        stored, ended = set_budget(connection, budget, checked, at)
        names = known_names(connection)
    if unknown:
        print_note(unknown)
    for one in ended:
        until = "is taken back" if one.taken_back else f"ends before {one.budget.effective_to}"
        print_note(f"budget {one.budget.budget_id}, which was of the same, {until}")
    if as_json:
        print_json(budget_json(stored, names))
    else:
        print_line(f"Budget {stored.budget.budget_id}: {budget_in_words(stored.budget, names)}.")


@app.command("list")
def list_all(workspace: OfWorkspace = None, as_json: AsJson = False) -> None:
    """List the budgets, those that have ended too."""
    from usage_pipeline.cli.budget_view import budget_json, print_budgets
    from usage_pipeline.ledger.budgets import list_budgets
    from usage_pipeline.ledger.dimension_names import known_names

    with reading(os.environ, workspace) as connection:
        budgets, names = list_budgets(connection, workspace), known_names(connection)
    if as_json:
        print_json([budget_json(one, names) for one in budgets])
    elif not budgets:
        print_line("No budget is set. Next: usage-pipeline budgets set --help")
    else:
        print_budgets(budgets, names)


@app.command()
def end(
    budget_id: Annotated[int, typer.Argument(metavar="ID", help="Its number, see: budgets list.")],
    on: EndDay,
    as_json: AsJson = False,
) -> None:
    """Let a budget end."""
    from usage_pipeline.cli.budget_view import budget_json
    from usage_pipeline.ledger.budgets import end_budget
    from usage_pipeline.ledger.dimension_names import known_names

    at = now(os.environ)
    day = read_day(on, "--on")
    with opened(os.environ, writes=True) as engine, engine.begin() as connection:
        ended, names = end_budget(connection, budget_id, day, at), known_names(connection)
    if as_json:
        print_json(budget_json(ended, names))
    elif ended.taken_back:
        print_line(f"Budget {budget_id} is taken back: it holds on no day.")
    else:
        print_line(f"Budget {budget_id} holds until before {day}.")


@app.command()
def status(
    workspace: OfWorkspace = None,
    on: Annotated[
        str | None, typer.Option("--on", metavar="DAY", help="In the periods of this UTC day; today where left out.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what is spent of each budget in its period, and what it may come to."""
    from usage_pipeline.budgets.status import budget_statuses, status_json
    from usage_pipeline.cli.budget_view import print_statuses
    from usage_pipeline.ledger.dimension_names import known_names

    today = now(os.environ).date()
    day = today if on is None else read_day(on, "--on")
    with reading(os.environ, workspace) as connection:
        statuses = budget_statuses(connection, today, on=day, workspace=workspace)
        names = known_names(connection)
    if as_json:
        print_json([status_json(one, names) for one in statuses])
    elif not statuses:
        print_line(f"No budget holds on {day}. See: usage-pipeline budgets list")
    else:
        print_statuses(statuses, names, day)
