"""A materialisation's metadata: what a run says once, and what is true of each of its partitions alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

import dagster as dg

if TYPE_CHECKING:
    from usage_pipeline.ledger.replacement import Changes
    from usage_pipeline.ledger.stored_rows import StoredTable
    from usage_pipeline.stages import DaysSummary, Runtime


def row_counts(changes: Changes) -> dict[str, int]:
    """What became of the rows."""
    return {
        "rows_stored": changes.stored,
        "rows_updated": changes.updated,
        "rows_removed": changes.removed,
        "rows_unchanged": changes.unchanged,
    }


def newer_words(days: Sequence[date], done: DaysSummary) -> dict[date, dict[str, Any]]:
    """Of each day, whether a source had a newer word: 1 or 0, so that a plot shows when the past is restated."""
    moved = frozenset(done.days_moved)
    return {day: {"newer_word": int(day in moved)} for day in days}


def result_of_days(
    context: dg.AssetExecutionContext,
    runtime: Runtime,
    table: StoredTable,
    days: Sequence[date],
    summary: str,
    by_day: Mapping[date, Mapping[str, Any]] | None = None,
) -> dg.MaterializeResult[Any]:
    """The materialisation of days: the summary of the run, and of each day its own figures and rows that now stand."""
    from usage_pipeline.ledger.stored_rows import rows_in_all, rows_of_days

    with runtime.engine.connect() as connection:
        in_all = rows_in_all(connection, table)
        rows = rows_of_days(connection, table, days)
    own = {
        day.isoformat(): {**(by_day or {}).get(day, {}), "dagster/partition_row_count": count}
        for day, count in rows.items()
    }
    if len(days) > 1:
        summary = f"The run of {min(days)} to {max(days)}, {len(days)} days in all:\n\n{summary}"
    return result_of(context, {"summary": dg.MetadataValue.md(summary), "dagster/row_count": in_all}, own)


def result_of(
    context: dg.AssetExecutionContext, of_run: Mapping[str, Any], by_partition: Mapping[str, Mapping[str, Any]]
) -> dg.MaterializeResult[Any]:
    """What the run says of itself on every partition, and each partition's own figures on that one alone.

    A sum over a range would be plotted as if it were each day's, so the run's sums are in its summary only.
    """
    if len(by_partition) == 1:
        [own] = by_partition.values()
        return dg.MaterializeResult(metadata={**of_run, **own})
    for partition, own in by_partition.items():
        context.add_asset_metadata(own, partition_key=partition)
    return dg.MaterializeResult(metadata=of_run)
