"""The exports as assets by month: files of what counts, whose sums are the report's.

Each writes one month's files below the folder of exports and replaces those of an earlier run at once. (No postponed
annotations here, as in ``assets``.)
"""

from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import dagster as dg

from usage_pipeline.exports.columns import CELL_COLUMNS, EVENT_COLUMNS, Column, Type
from usage_pipeline.exports.focus_columns import FOCUS_COLUMNS
from usage_pipeline.exports.query import FOCUS_VERSIONS, ExportQuery, Kind
from usage_pipeline.orchestration.assets import RECONCILED_USAGE_KEY
from usage_pipeline.orchestration.failures import readable_failures
from usage_pipeline.orchestration.partitions import START_DAY
from usage_pipeline.orchestration.resources import RuntimeResource
from usage_pipeline.orchestration.summaries import markdown_table
from usage_pipeline.reconcile.report import plain

if TYPE_CHECKING:
    from usage_pipeline.exports.exported_file import ExportedFile

MONTHS: Final = dg.MonthlyPartitionsDefinition(start_date=START_DAY.isoformat(), timezone="UTC", end_offset=1)
"""Calendar months in UTC, the open one included."""

# The days of the open month that are still to come are no partitions yet.
_DEPENDS: Final = [
    dg.AssetDep(
        RECONCILED_USAGE_KEY,
        partition_mapping=dg.TimeWindowPartitionMapping(allow_nonexistent_upstream_partitions=True),
    )
]
_OWNERS: Final = ["team:usage-pipeline"]
_SQL_TYPES: Final = {
    Type.TEXT: "text",
    Type.COUNT: "bigint",
    Type.DECIMAL: "numeric",
    Type.QUANTITY: "numeric",
    Type.INSTANT: "timestamptz",
    Type.DAY: "date",
    Type.FLAG: "boolean",
}


def _schema(columns: tuple[Column, ...]) -> dg.TableSchema:
    return dg.TableSchema(
        columns=[
            dg.TableColumn(one.name, _SQL_TYPES[one.type], f"{one.meaning}{f' Unit: {one.unit}.' if one.unit else ''}")
            for one in columns
        ]
    )


def _metadata(columns: tuple[Column, ...]) -> dict[str, Any]:
    return {"dagster/column_schema": _schema(columns), "read_exports": dg.MetadataValue.path("docs/exports.md")}


@dg.asset(
    deps=_DEPENDS,
    partitions_def=MONTHS,
    group_name="exports",
    kinds={"parquet"},
    owners=_OWNERS,
    tags={"layer": "export", "personal_ids": "yes"},
    metadata=_metadata(EVENT_COLUMNS),
)
def usage_events_export(
    context: dg.AssetExecutionContext, runtime: dg.ResourceParam[RuntimeResource]
) -> dg.MaterializeResult[Any]:
    """Every stored usage event of a month, counted or not, with what counts by it and its part of the cost.

    **A row** is one event, or a part of what counts that no event tells. **A partition** is one UTC month.

    **Runs** by hand: *Materialize* (`usage-pipeline export parquet --rows events` writes the same). Again as often as
    you like: the file is replaced at once.

    **If it fails**, the file of an earlier run stands. `export_does_not_add_up` is a defect: keep the run's id.
    """
    return _exported(context, runtime, Kind.EVENTS, parquet=True)


@dg.asset(
    deps=_DEPENDS,
    partitions_def=MONTHS,
    group_name="exports",
    kinds={"csv"},
    owners=_OWNERS,
    tags={"layer": "export", "personal_ids": "no"},
    metadata=_metadata(CELL_COLUMNS),
)
def usage_summary_export(
    context: dg.AssetExecutionContext, runtime: dg.ResourceParam[RuntimeResource]
) -> dg.MaterializeResult[Any]:
    """The reconciled table of a month: what each source reports, what counts, and its costs.

    **A row** is one cell: workspace, provider, route, family, model and UTC day. **A partition** is one UTC month.

    **Runs** by hand: *Materialize* (`usage-pipeline export csv` writes the same).

    **If it fails**, the file of an earlier run stands. `export_does_not_add_up` is a defect: keep the run's id.
    """
    return _exported(context, runtime, Kind.SUMMARY, parquet=False)


@dg.asset(
    deps=_DEPENDS,
    partitions_def=MONTHS,
    group_name="exports",
    kinds={"csv"},
    owners=_OWNERS,
    tags={"layer": "export", "personal_ids": "yes"},
    metadata=_metadata(FOCUS_COLUMNS[FOCUS_VERSIONS[-1]]),
)
def focus_export(
    context: dg.AssetExecutionContext, runtime: dg.ResourceParam[RuntimeResource]
) -> dg.MaterializeResult[Any]:
    """A month's charges in FOCUS, one file for each version: what FinOps tools read.

    **A row** is one charge: a measure of a cell and its dimensions on one UTC day, or a correction of one in a closed
    billing period. **A partition** is one UTC month of use.

    **Runs** by hand: *Materialize* (`usage-pipeline export focus` writes the same). Once a month is closed, a later run
    adds corrections and leaves what was said before.

    **If it fails**, the files of an earlier run stand. `export_does_not_add_up` is a defect: keep the run's id.
    """
    return _exported(context, runtime, Kind.FOCUS, parquet=False)


EXPORTS: Final = (usage_events_export, usage_summary_export, focus_export)


def _exported(
    context: dg.AssetExecutionContext, runtime: RuntimeResource, kind: Kind, *, parquet: bool
) -> dg.MaterializeResult[Any]:
    from usage_pipeline.exports.exported_file import export_folder, write_export

    with readable_failures():
        opened = runtime.runtime
        folder = export_folder(opened.settings.export_dir, opened.environ) / context.asset_key.to_user_string()
        window = context.partition_time_window
        queries = _queries(kind, window.start.date(), window.end.date())
        files = [write_export(opened.engine, query, folder, parquet=parquet) for query in queries]
    return dg.MaterializeResult(metadata=_told(files))


def _queries(kind: Kind, first: date, end: date) -> list[ExportQuery]:
    """FOCUS is written in each of its versions."""
    versions = FOCUS_VERSIONS if kind is Kind.FOCUS else FOCUS_VERSIONS[-1:]
    return [ExportQuery(kind, first, end, focus_version=version) for version in versions]


def _told(files: "list[ExportedFile]") -> dict[str, Any]:
    """Where the files are, and what they sum to: the same in all of them."""
    control = files[-1].control
    sums = sorted(control.totals.items())
    table = [(str(one.path), one.control.rows, one.size) for one in files]
    totals = [(name, "–" if total is None else f"{Decimal(total).normalize():,f}") for name, total in sums]
    days = control.provisional_days
    return {
        "summary": dg.MetadataValue.md(
            f"{markdown_table(('file', 'rows', 'bytes'), table)}\n\n{markdown_table(('total', 'value'), totals)}"
        ),
        "path": dg.MetadataValue.path(files[-1].path),
        "bytes": sum(one.size for one in files),
        "dagster/partition_row_count": control.rows,
        "counted_usd": plain(Decimal(control.totals["counted_usd"] or 0)),
        "provisional_days": len(days),
        "provisional": ", ".join(day.isoformat() for day in days) or "none",
    }
