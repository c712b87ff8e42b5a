"""Opens an export: its columns, its rows, and the sums that the reconciled rows of the same snapshot have."""

from __future__ import annotations

from functools import partial

from sqlalchemy import Connection

from usage_pipeline.exports.columns import CELL_COLUMNS, EVENT_COLUMNS, Column, cut_columns
from usage_pipeline.exports.event_table import event_amounts, event_table_rows
from usage_pipeline.exports.focus_charges import CHARGED
from usage_pipeline.exports.focus_columns import FOCUS_COLUMNS
from usage_pipeline.exports.focus_table import focus_amounts, focus_rows
from usage_pipeline.exports.query import ExportQuery, Grain, Kind
from usage_pipeline.exports.summary_table import cell_amounts, cell_rows, cut_amounts, cut_rows
from usage_pipeline.exports.table import Amounts, Control, Table
from usage_pipeline.ledger.export_rows import FLOWS, reconciled_sums, stored_days
from usage_pipeline.ledger.workspaces import get_workspace


def columns_of(query: ExportQuery) -> tuple[Column, ...]:
    """The columns of an export, without reading anything."""
    if query.kind is Kind.EVENTS:
        return EVENT_COLUMNS
    if query.kind is Kind.FOCUS:
        return FOCUS_COLUMNS[query.focus_version]
    return cut_columns(query.dimensions) if query.dimensions else CELL_COLUMNS


def open_export(connection: Connection, query: ExportQuery) -> Table:
    """The export, its rows not read yet. ``connection`` must see one snapshot (``ledger.snapshot``) to the end.

    Without a workspace it is of every real one, a demo's only where there is no other, as in ``report``. Raises
    :class:`InvalidInputError`: what :meth:`ExportQuery.checked` raises, and ``workspace_unknown``.
    """
    query.checked()
    if query.workspace is not None:
        get_workspace(connection, query.workspace)
    place = query.first_day, query.end_day, query.workspace
    sums = reconciled_sums(connection, *place)
    days = stored_days(connection, *place)
    costs = {"counted_usd": sums.counted_usd, "billed_usd": sums.billed_usd}
    control = Control(provisional_days=sums.provisional_days)
    columns = columns_of(query)
    if query.kind is Kind.FOCUS:
        rows = focus_rows(connection, query.focus_version, days, hourly=query.by is Grain.HOUR)
        expected: Amounts = {**{name: sums.counted[name] for name in CHARGED}, **costs}
        return Table(columns, rows, partial(focus_amounts, query.focus_version), expected, control)
    if query.kind is Kind.SUMMARY and not query.dimensions:
        return Table(columns, cell_rows(connection, days), cell_amounts, {**sums.counted, **costs}, control)
    counted: Amounts = {**{name: sums.counted[name] for name in FLOWS}, "counted_usd": sums.counted_usd}
    if query.kind is Kind.EVENTS:
        return Table(columns, event_table_rows(connection, days), event_amounts, counted, control)
    return Table(columns, cut_rows(connection, query, days), cut_amounts, counted, control)
