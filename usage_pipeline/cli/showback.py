"""``usage-pipeline showback``: which cost centre and team what counts belongs to."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from usage_pipeline.cli.days import EndDay, FromDay, read_day, read_range
from usage_pipeline.cli.output import AsJson, print_json, print_line
from usage_pipeline.cli.store import opened
from usage_pipeline.clock import now

app = typer.Typer(help="Showback: cost centres and teams, by rules over what counts.", rich_markup_mode=None)

RuleId = Annotated[int, typer.Argument(metavar="ID", help="The rule's number, see: showback list.")]
Before = Annotated[int | None, typer.Option("--before", metavar="ID", help="Put it before this rule; else it is last.")]

_MANY = "An id, a name or a pattern as 'web-*'; repeatable: any of them."
_ONE = "What the row tells; leave out what it does not tell."


@app.command()
def add(
    from_day: FromDay,
    cost_center: Annotated[str | None, typer.Option("--cost-center", metavar="NAME", help="The cost centre.")] = None,
    team: Annotated[str | None, typer.Option("--team", metavar="NAME", help="The team.")] = None,
    workspace: Annotated[list[str] | None, typer.Option("--workspace", metavar="SLUG", help=_MANY)] = None,
    project: Annotated[list[str] | None, typer.Option("--project", metavar="ID", help=_MANY)] = None,
    api_key: Annotated[list[str] | None, typer.Option("--api-key", metavar="ID", help=_MANY)] = None,
    user: Annotated[list[str] | None, typer.Option("--user", metavar="ID", help=_MANY)] = None,
    feed: Annotated[list[str] | None, typer.Option("--feed", metavar="SLUG", help=_MANY)] = None,
    model: Annotated[list[str] | None, typer.Option("--model", metavar="NAME", help=_MANY)] = None,
    to_day: Annotated[
        str | None,
        typer.Option(
            "--to", metavar="DAY", help="The last UTC day, itself included; without it: until further notice."
        ),
    ] = None,
    before: Before = None,
    note: Annotated[str, typer.Option("--note", metavar="TEXT", help="Why it is so.")] = "",
    as_json: AsJson = False,
) -> None:
    """Add a rule: rows that match all of its conditions, and no rule before it, belong there."""
    from usage_pipeline.cli.showback_view import note_reach, rule_in_words, rule_json
    from usage_pipeline.ledger.dimension_names import known_names
    from usage_pipeline.ledger.price_overrides import check_note
    from usage_pipeline.ledger.showback_rules import add_rule, list_rules
    from usage_pipeline.showback.rules import new_rule

    at = now(os.environ)
    days = read_range(from_day, from_day if to_day is None else to_day)
    asked = {"workspace": workspace, "project": project, "api_key": api_key, "user": user, "feed": feed, "model": model}
    rule = new_rule(
        {name: values or () for name, values in asked.items()},
        cost_center,
        team,
        days.first_day,
        None if to_day is None else days.end_day,
    )
    checked = check_note(note)
    with opened(os.environ, writes=True) as engine, engine.begin() as connection:
        former = list_rules(connection)
        stored = add_rule(connection, rule, checked, at, before)
        rules, names = list_rules(connection), known_names(connection)
    note_reach(former, rules)
    if as_json:
        print_json(rule_json(stored, rules))
    else:
        print_line(
            f"Rule {stored.rule.rule_id}, number {stored.position} in the order: {rule_in_words(stored, names)}."
        )


@app.command("list")
def list_all(as_json: AsJson = False) -> None:
    """List the rules in their order, those that have ended too."""
    from usage_pipeline.cli.showback_view import print_rules, rule_json
    from usage_pipeline.ledger.dimension_names import known_names
    from usage_pipeline.ledger.showback_rules import list_rules

    with opened(os.environ, writes=False) as engine, engine.begin() as connection:
        rules, names = list_rules(connection), known_names(connection)
    if as_json:
        print_json([rule_json(one, rules) for one in rules])
    elif not rules:
        print_line("There is no rule: everything is unassigned. Next: usage-pipeline showback add --help")
    else:
        print_rules(rules, names)


@app.command()
def end(
    rule_id: RuleId,
    on: EndDay,
    as_json: AsJson = False,
) -> None:
    """Let a rule end. On earlier days it still holds."""
    from usage_pipeline.cli.showback_view import rule_json
    from usage_pipeline.ledger.showback_rules import end_rule, list_rules

    at = now(os.environ)
    day = read_day(on, "--on")
    with opened(os.environ, writes=True) as engine, engine.begin() as connection:
        ended = end_rule(connection, rule_id, day, at)
        rules = list_rules(connection)
    if as_json:
        print_json(rule_json(ended, rules))
    elif ended.taken_back:
        print_line(f"Rule {rule_id} is taken back: it holds on no day.")
    else:
        print_line(f"Rule {rule_id} holds until before {day}.")


@app.command()
def move(rule_id: RuleId, before: Before = None, as_json: AsJson = False) -> None:
    """Move a rule in the order, of all days."""
    from usage_pipeline.cli.showback_view import note_reach, rule_json
    from usage_pipeline.ledger.showback_rules import list_rules, move_rule

    at = now(os.environ)
    with opened(os.environ, writes=True) as engine, engine.begin() as connection:
        former = list_rules(connection)
        moved = move_rule(connection, rule_id, before, at)
        rules = list_rules(connection)
    note_reach(former, rules)
    if as_json:
        print_json(rule_json(moved, rules))
    else:
        print_line(f"Rule {rule_id} is number {moved.position} of {len(rules)} in the order.")


@app.command("test")
def try_row(
    workspace: Annotated[str, typer.Option("--workspace", metavar="SLUG", help="The row's workspace.")],
    project: Annotated[str | None, typer.Option("--project", metavar="ID", help=_ONE)] = None,
    api_key: Annotated[str | None, typer.Option("--api-key", metavar="ID", help=_ONE)] = None,
    user: Annotated[str | None, typer.Option("--user", metavar="ID", help=_ONE)] = None,
    feed: Annotated[str | None, typer.Option("--feed", metavar="SLUG", help=_ONE)] = None,
    model: Annotated[str | None, typer.Option("--model", metavar="NAME", help=_ONE)] = None,
    day: Annotated[str | None, typer.Option("--day", metavar="DAY", help="The UTC day; today where left out.")] = None,
    as_json: AsJson = False,
) -> None:
    """Explain which rule takes a row, and why those before it do not. Nothing is written."""
    from usage_pipeline.cli.showback_view import print_verdicts, verdicts_json
    from usage_pipeline.ledger.dimension_names import known_names
    from usage_pipeline.ledger.showback_rules import load_showback
    from usage_pipeline.ledger.workspaces import get_workspace
    from usage_pipeline.reconcile.aliases import canonical_model
    from usage_pipeline.showback.rules import NAMED, Told

    on = now(os.environ).date() if day is None else read_day(day, "--day")
    told = Told(workspace, project, api_key, user, feed, None if model is None else canonical_model(model))
    with opened(os.environ, writes=False) as engine, engine.begin() as connection:
        get_workspace(connection, workspace)
        known = known_names(connection, workspace)
        names = {
            name: known[column, value]
            for name, column in NAMED.items()
            if (value := getattr(told, name)) is not None and (column, value) in known
        }
        verdicts = load_showback(connection).explain(on, told, names)
        everywhere = known_names(connection)
    if as_json:
        print_json(verdicts_json(on, told, names, verdicts))
    else:
        print_verdicts(on, told, names, verdicts, everywhere)
