"""How results, notes and tables are printed: results on standard output, everything else on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Annotated, Final

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a script.")]

_WIDTH_IN_A_FILE: Final = 220


def print_json(value: object) -> None:
    """One JSON value on standard output; days and instants must be texts already."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_line(line: str) -> None:
    """One line of a result on standard output."""
    typer.echo(line)


def print_note(note: str) -> None:
    """One line on standard error: what a person should know although the command went well."""
    typer.echo(f"note: {note}", err=True)


def print_progress(line: str) -> None:
    """One line on standard error about work that goes on."""
    typer.echo(line, err=True)


def print_table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[str] = ()
) -> None:
    """A table on standard output; the columns named in ``right`` are numbers. Texts are printed as they are."""
    from rich.console import Console
    from rich.table import Table

    width = None if sys.stdout.isatty() else _WIDTH_IN_A_FILE
    # Names come from providers and plugins: nothing in them may be read as markup.
    console = Console(file=sys.stdout, width=width, markup=False, emoji=False, highlight=False)
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    console.print(table)
