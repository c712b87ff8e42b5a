"""The command ``usage-pipeline``: every group of verbs, and one way for all of them to fail."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any, Final

import typer
from typer.core import TyperGroup

from usage_pipeline.cli import (
    alerts,
    audit,
    backfill,
    backup,
    bills,
    budgets,
    database,
    demo,
    erase,
    export,
    findings,
    hermes,
    keys,
    names,
    parity,
    prices,
    raw,
    report,
    reprice,
    retention,
    runs,
    serve,
    showback,
    tokens,
    workspaces,
)
from usage_pipeline.cli.failures import describe

INTERRUPTED: Final = 130
"""The exit code of a command that Ctrl-C ended, as shells know it."""


class OneLineErrors(TyperGroup):
    """A command group whose failures are one line on standard error and an exit code."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run the command line ``args`` (``sys.argv`` where None) and, in ``standalone_mode``, end the process."""
        if not standalone_mode:
            return super().main(args, prog_name, complete_var, False, windows_expand_args, **extra)
        try:
            code = super().main(args, prog_name, complete_var, False, windows_expand_args, **extra)
        except Exception as error:  # noqa: BLE001 - the outermost edge: whatever comes must become one line
            failure = describe(error, os.environ)
            if failure.traceback:
                typer.echo(failure.traceback, err=True, nl=False)
            typer.echo(failure.line, err=True)
            sys.exit(failure.exit_code)
        if code == INTERRUPTED:
            typer.echo(describe(typer.Abort(), os.environ).line, err=True)
        sys.exit(code if isinstance(code, int) else 0)


app = typer.Typer(
    cls=OneLineErrors,
    name="usage-pipeline",
    help="What language models cost and who spent it: to the token, to the cent, and with proof.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@app.callback(invoke_without_command=True)
def start(context: typer.Context) -> None:
    """What language models cost and who spent it: to the token, to the cent, and with proof."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


app.add_typer(workspaces.app, name="workspace")
app.add_typer(keys.app, name="keys")
app.add_typer(names.app, name="names")
app.add_typer(hermes.app, name="hermes")
app.command("backfill")(backfill.backfill)
app.command("report")(report.report)
app.command("export")(export.export)
app.command("bills")(bills.bills)
app.add_typer(findings.app, name="findings")
app.command("raw")(raw.raw)
app.command("parity")(parity.parity)
app.add_typer(prices.app, name="prices")
app.command("reprice")(reprice.reprice)
app.add_typer(showback.app, name="showback")
app.add_typer(budgets.app, name="budgets")
app.add_typer(alerts.app, name="alerts")
app.command("runs")(runs.runs)
app.command("audit")(audit.audit)
app.command("backup")(backup.backup)
app.command("restore")(backup.restore)
app.command("retention")(retention.retention)
app.command("erase-user")(erase.erase_user)
app.command("serve")(serve.serve)
app.add_typer(tokens.app, name="tokens")
app.add_typer(database.app, name="db")
app.command("demo")(demo.demo)
