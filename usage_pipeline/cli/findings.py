"""``usage-pipeline findings``: what is worth a person's look: listed, shown whole, acknowledged."""

from __future__ import annotations

import enum
import os
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Annotated, Any, Final

import typer

from usage_pipeline.cli.days import read_range
from usage_pipeline.cli.instants import AsOf, read_as_of
from usage_pipeline.cli.output import AsJson, print_json, print_line, print_note
from usage_pipeline.cli.store import opened
from usage_pipeline.cli.workspace_option import OfWorkspace, reading
from usage_pipeline.clock import now
from usage_pipeline.errors import InvalidInputError

app = typer.Typer(help="Findings: what is worth a person's look.", rich_markup_mode=None)

_FIRST_DAY: Final = date.min
_END_DAY: Final = date.max


class State(enum.StrEnum):
    """Which findings are listed."""

    OPEN = "open"
    CLOSED = "closed"
    ALL = "all"


@app.callback(invoke_without_command=True)
def findings(
    context: typer.Context,
    from_day: Annotated[
        str | None, typer.Option("--from", metavar="DAY", help="The first UTC day, as YYYY-MM-DD; else from the first.")
    ] = None,
    to_day: Annotated[
        str | None, typer.Option("--to", metavar="DAY", help="The last UTC day, itself included; else to the last.")
    ] = None,
    workspace: OfWorkspace = None,
    code: Annotated[
        list[str] | None, typer.Option("--code", metavar="CODE", help="Only this code (repeatable).")
    ] = None,
    only_open: Annotated[bool, typer.Option("--open", help="Those that are open (the default).")] = False,
    only_closed: Annotated[bool, typer.Option("--closed", help="Those that are closed.")] = False,
    both: Annotated[bool, typer.Option("--all", help="Open and closed ones.")] = False,
    as_of: AsOf = None,
    as_json: AsJson = False,
) -> None:
    """List what is worth a person's look: every difference and problem, open until it is gone."""
    if context.invoked_subcommand is not None:
        return
    state = _state(only_open, only_closed, both)
    first_day, end_day = _range(from_day, to_day)
    codes = _codes(code)
    instant = read_as_of(as_of, now(os.environ))
    with reading(os.environ, workspace) as connection:
        from usage_pipeline.ledger.findings import read_findings
        from usage_pipeline.ledger.retention import require_history
        from usage_pipeline.reconcile.finding_report import finding_as_json

        require_history(connection, first_day, end_day, workspace, instant)
        stored = read_findings(connection, first_day, end_day, workspace, open_only=state is State.OPEN, as_of=instant)
        found = [
            finding_as_json(one)
            for one in stored
            if (not codes or one.finding.code in codes) and (state is not State.CLOSED or one.closed_at is not None)
        ]
    if as_json:
        print_json(found)
        return
    from usage_pipeline.cli.finding_tables import print_listed

    print_listed(found, state.value, as_of)


@app.command()
def show(
    finding_id: Annotated[int, typer.Argument(metavar="ID", help="The number of a finding.")], as_json: AsJson = False
) -> None:
    """Show a finding whole: figures, explanation, what stands behind it, and what it said before."""
    from usage_pipeline.ledger.findings import find_finding, former_words
    from usage_pipeline.reconcile.finding_report import finding_as_json, former_as_json

    with opened(os.environ, writes=False) as engine, engine.begin() as connection:
        stored = find_finding(connection, finding_id)
        former = [former_as_json(one) for one in former_words(connection, finding_id)] if stored else []
    if stored is None:
        raise InvalidInputError(
            "finding_unknown",
            "no finding has this number",
            where=str(finding_id),
            remedy="See: usage-pipeline findings --all.",
        )
    told: dict[str, Any] = {**finding_as_json(stored), "former": former}
    if as_json:
        print_json(told)
        return
    from usage_pipeline.cli.finding_tables import print_whole

    print_whole(told)


@app.command()
def acknowledge(
    finding_ids: Annotated[list[int], typer.Argument(metavar="ID…", help="The numbers of findings.")],
    note: Annotated[str | None, typer.Option("--note", metavar="TEXT", help="Why it may be let be.")] = None,
    by: Annotated[str | None, typer.Option("--by", metavar="NAME", help="Who acknowledges it.")] = None,
    as_json: AsJson = False,
) -> None:
    """Acknowledge findings that wait for a person: they close, and the same figures do not raise them again."""
    from usage_pipeline.ledger.finding_acknowledgement import acknowledge_findings
    from usage_pipeline.ledger.findings import find_finding
    from usage_pipeline.reconcile.finding_report import finding_as_json

    with opened(os.environ, writes=True) as engine, engine.begin() as connection:
        done = [
            one.finding_id for one in acknowledge_findings(connection, finding_ids, now(os.environ), by=by, note=note)
        ]
        stored = [found for one in done if (found := find_finding(connection, one)) is not None]
    if as_json:
        print_json([finding_as_json(one) for one in stored])
        return
    for one in stored:
        print_line(f"{one.finding_id}: {one.finding.code} of {one.finding.day} is acknowledged.")
    for finding_id in sorted(set(finding_ids) - set(done)):
        print_note(f"{finding_id} was acknowledged already")


def _state(only_open: bool, only_closed: bool, both: bool) -> State:
    if only_open + only_closed + both > 1:
        raise InvalidInputError(
            "options_conflict",
            "--open, --closed and --all exclude each other",
            where="--open",
            remedy="Give one of them.",
        )
    return State.CLOSED if only_closed else State.ALL if both else State.OPEN


def _range(from_day: str | None, to_day: str | None) -> tuple[date, date]:
    """Half-open; without a bound, to the ends of all days."""
    if from_day is None and to_day is None:
        return _FIRST_DAY, _END_DAY
    last = (_END_DAY - timedelta(days=1)).isoformat()
    days = read_range(from_day or _FIRST_DAY.isoformat(), to_day or last)
    return days.first_day, days.end_day


def _codes(written: Sequence[str] | None) -> frozenset[str]:
    from usage_pipeline.reconcile.findings import FINDING_CODES

    codes = frozenset(written or ())
    unknown = sorted(codes - set(FINDING_CODES))
    if unknown:
        raise InvalidInputError(
            "code_unknown",
            f"{unknown[0]!r} is no code of a finding",
            where="--code",
            remedy="See docs/reconciliation.md, findings.",
        )
    return codes
