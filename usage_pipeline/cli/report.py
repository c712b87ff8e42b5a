"""``usage-pipeline report``: the reconciled rows of a range of days, their cuts, and the rows behind them, now or as
they were believed at an instant."""

from __future__ import annotations

import enum
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from usage_pipeline.cli.days import DayRange, FromDay, ToDay, read_range
from usage_pipeline.cli.instants import AsOf, read_as_of
from usage_pipeline.cli.output import AsJson, print_json, print_line, print_note
from usage_pipeline.cli.workspace_option import OfWorkspace, reading
from usage_pipeline.clock import now
from usage_pipeline.errors import InvalidInputError

if TYPE_CHECKING:
    from sqlalchemy import Connection


class Rows(enum.StrEnum):
    """What a row of the report is."""

    CELLS = "cells"
    EVENTS = "events"
    BILLS = "bills"


def report(
    from_day: FromDay,
    to_day: ToDay,
    workspace: OfWorkspace = None,
    by: Annotated[
        str | None,
        typer.Option("--by", metavar="DIMENSION[,…]", help="Cut what counts, such as by model, project or repository."),
    ] = None,
    rows: Annotated[
        Rows, typer.Option("--rows", help="Reconciled cells, all usage events, or all billed lines.")
    ] = Rows.CELLS,
    shadowed: Annotated[
        bool, typer.Option("--shadowed", help="Also show what is stored and not counted, and which feed leads.")
    ] = False,
    as_of: AsOf = None,
    as_json: AsJson = False,
) -> None:
    """Print what counts, and why, for a range of UTC days. --to is included."""
    at = now(os.environ)
    days = read_range(from_day, to_day)
    instant = read_as_of(as_of, at)
    if rows is not Rows.CELLS and (by is not None or shadowed):
        raise InvalidInputError(
            "options_conflict",
            f"--rows {rows} prints single rows, which --by and --shadowed sum up",
            where="--rows",
            remedy="Leave out --rows, or the other two.",
        )
    asked = _Asked(days, workspace, _dimensions(by), rows, shadowed, at, instant, as_json)
    with reading(os.environ, workspace) as connection:
        _print(connection, asked)


@dataclass(frozen=True, slots=True)
class _Asked:
    days: DayRange
    workspace: str | None
    by: tuple[str, ...]
    rows: Rows
    shadowed: bool
    at: datetime
    as_of: datetime | None
    as_json: bool


def _dimensions(by: str | None) -> tuple[str, ...]:
    if by is None:
        return ()
    from usage_pipeline.reconcile.cut_dimensions import read_dimensions

    return read_dimensions(by)


def _print(connection: Connection, asked: _Asked) -> None:
    _note_if_unrecorded(connection, asked)
    if asked.rows is not Rows.CELLS:
        _print_single_rows(connection, asked)
        return
    told = _told(connection, asked)
    if asked.as_json:
        print_json(told)
        return
    from usage_pipeline.cli.report_tables import print_report
    from usage_pipeline.cli.row_tables import print_cut, print_shadowed

    if asked.by:
        print_cut(told)
    else:
        print_report(told)
    if asked.shadowed:
        print_shadowed(told)


def _told(connection: Connection, asked: _Asked) -> dict[str, Any]:
    range_ = (asked.days.first_day, asked.days.end_day, asked.workspace)
    if asked.by:
        from usage_pipeline.reconcile.cut_report import build_cut

        told = build_cut(connection, *range_, asked.by, asked.at, asked.as_of)
    else:
        from usage_pipeline.reconcile.report import build_report

        told = build_report(connection, *range_, asked.at, asked.as_of)
    if asked.shadowed:
        from usage_pipeline.reconcile.cut_report import shadowed_rows

        told["shadowed"] = shadowed_rows(connection, *range_, asked.as_of)
    return told


def _print_single_rows(connection: Connection, asked: _Asked) -> None:
    """One JSON object a line, so that any number of rows needs little memory; for people the first rows."""
    from usage_pipeline.cli.row_tables import print_bills, print_events
    from usage_pipeline.ledger.dimension_names import known_names
    from usage_pipeline.reconcile.row_report import bill_rows, event_rows

    read = event_rows if asked.rows is Rows.EVENTS else bill_rows
    found: Iterator[dict[str, Any]] = read(
        connection, asked.days.first_day, asked.days.end_day, asked.workspace, asked.as_of
    )
    if asked.as_json:
        for row in found:
            print_line(json.dumps(row, ensure_ascii=False))
        return
    names = known_names(connection, asked.workspace)
    (print_events if asked.rows is Rows.EVENTS else print_bills)(found, names)


def _note_if_unrecorded(connection: Connection, asked: _Asked) -> None:
    """Say that nothing was recorded yet at an instant before the first recording."""
    if asked.as_of is None:
        return
    from usage_pipeline.ledger.retention import require_history
    from usage_pipeline.ledger.versions import first_recording
    from usage_pipeline.reconcile.report import instant

    require_history(connection, asked.days.first_day, asked.days.end_day, asked.workspace, asked.as_of)
    first = first_recording(connection, asked.days.first_day, asked.days.end_day, asked.workspace)
    if first is None or asked.as_of < first:
        since = f"; the first result about these days is of {instant(first)}" if first else ""
        print_note(f"nothing was reconciled at that time ({instant(asked.as_of)}){since}.")
