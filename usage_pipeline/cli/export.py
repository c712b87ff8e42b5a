"""``usage-pipeline export``: what counts, as CSV, Parquet or FOCUS, written whole or not at all."""

from __future__ import annotations

import enum
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from usage_pipeline.cli.days import FromDay, ToDay, read_range
from usage_pipeline.cli.output import print_note, print_table
from usage_pipeline.cli.workspace_option import OfWorkspace, reading
from usage_pipeline.errors import InvalidInputError

if TYPE_CHECKING:
    from usage_pipeline.exports.query import ExportQuery
    from usage_pipeline.exports.table import Table

_STANDARD_OUTPUT: Final = "-"


class Format(enum.StrEnum):
    """What is written."""

    CSV = "csv"
    PARQUET = "parquet"
    FOCUS = "focus"


class Rows(enum.StrEnum):
    """What a row of a CSV or Parquet export is."""

    SUMMARY = "summary"
    EVENTS = "events"


class Grain(enum.StrEnum):
    """How time is told apart."""

    DAY = "day"
    HOUR = "hour"


def export(
    format_: Annotated[Format, typer.Argument(metavar="csv|parquet|focus", help="focus is FOCUS, as CSV.")],
    from_day: FromDay,
    to_day: ToDay,
    workspace: OfWorkspace = None,
    rows: Annotated[
        Rows, typer.Option("--rows", help="The reconciled table or a cut of it, or every stored event.")
    ] = Rows.SUMMARY,
    by: Annotated[Grain | None, typer.Option("--by", help="Rows by UTC day or hour.")] = None,
    group_by: Annotated[
        str | None,
        typer.Option("--group-by", metavar="DIMENSION[,…]", help="Dimensions of a summary, as of report --by."),
    ] = None,
    focus_version: Annotated[
        str | None, typer.Option("--focus-version", metavar="1.2|1.4", help="The version of FOCUS; 1.4 if not given.")
    ] = None,
    parquet: Annotated[bool, typer.Option("--parquet", help="FOCUS as Parquet.")] = False,
    out: Annotated[
        str, typer.Option("--out", metavar="FILE|FOLDER|-", help="Where to; - is standard output.")
    ] = _STANDARD_OUTPUT,
    describe: Annotated[
        bool, typer.Option("--describe", help="Print the columns, their units and meanings, and write nothing.")
    ] = False,
) -> None:
    """Write what counts in a range of UTC days as a file whose sums are the report's. --to is included."""
    query = _query(format_, from_day, to_day, workspace, rows, by, group_by, focus_version)
    if parquet and format_ is Format.CSV:
        raise InvalidInputError(
            "options_conflict", "csv is not Parquet", where="--parquet", remedy="Write: usage-pipeline export parquet."
        )
    if describe:
        _describe(query)
        return
    as_parquet = parquet or format_ is Format.PARQUET
    if as_parquet and out == _STANDARD_OUTPUT and sys.stdout.isatty():
        raise InvalidInputError(
            "out_is_a_terminal", "Parquet is not for reading", where="--out", remedy="Name a file or a folder."
        )
    with reading(os.environ, workspace) as connection:
        from usage_pipeline.exports.export import open_export

        _write(open_export(connection, query), query, out, as_parquet=as_parquet)


def _query(
    format_: Format,
    from_day: str,
    to_day: str,
    workspace: str | None,
    rows: Rows,
    by: Grain | None,
    group_by: str | None,
    focus_version: str | None,
) -> ExportQuery:
    from usage_pipeline.exports import query

    days = read_range(from_day, to_day)
    if focus_version is not None and format_ is not Format.FOCUS:
        raise InvalidInputError(
            "options_conflict", "only FOCUS has versions", where="--focus-version", remedy="Leave the option out."
        )
    if format_ is Format.FOCUS and rows is Rows.EVENTS:
        raise InvalidInputError(
            "options_conflict", "FOCUS has rows of its own", where="--rows", remedy="Leave the option out."
        )
    dimensions = tuple(name.strip().replace("-", "_") for name in group_by.split(",")) if group_by is not None else ()
    return query.ExportQuery(
        query.Kind.FOCUS if format_ is Format.FOCUS else query.Kind(rows.value),
        days.first_day,
        days.end_day,
        workspace,
        query.Grain(by.value) if by is not None else None,
        dimensions,
        focus_version or query.FOCUS_VERSIONS[-1],
    ).checked()


def _write(table: Table, query: ExportQuery, out: str, *, as_parquet: bool) -> None:
    from usage_pipeline.exports.files import spooled, write_file

    chunks = _chunks(table, as_parquet=as_parquet)
    if out == _STANDARD_OUTPUT:
        with spooled(chunks) as file:
            shutil.copyfileobj(file, sys.stdout.buffer)
            sys.stdout.buffer.flush()
        return
    path = Path(out)
    if path.is_dir() or out.endswith("/"):
        path /= f"{query.name}.{'parquet' if as_parquet else 'csv'}"
    size = write_file(path, chunks)
    days = len(table.control.provisional_days)
    print_note(f"{path}: {table.control.rows:,} rows, {size:,} bytes{f', {days} days provisional' if days else ''}.")


def _chunks(table: Table, *, as_parquet: bool) -> Iterator[bytes]:
    if as_parquet:
        from usage_pipeline.exports.parquet_file import parquet_chunks

        return parquet_chunks(table)
    from usage_pipeline.exports.csv_file import csv_chunks

    return csv_chunks(table)


def _describe(query: ExportQuery) -> None:
    from usage_pipeline.exports.export import columns_of

    columns = columns_of(query)
    print_table(
        f"{query.kind}: {len(columns)} columns",
        ("column", "type", "unit", "meaning"),
        [(one.name, one.type.value, one.unit, one.meaning) for one in columns],
    )
