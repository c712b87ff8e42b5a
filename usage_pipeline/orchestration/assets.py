"""The assets, in the data's order: raw pulls, Hermes' newest words, usage events, billed costs, reconciled usage.

Each calls one function of ``usage_pipeline.stages`` for its partitions, whether one or a range, and tells what it did.
Stages are safe to run again: what did not change is not written. (No postponed annotations here: Dagster reads those of
an asset's parameters when it is defined.)
"""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any, Final

import dagster as dg

from usage_pipeline.normalise.frames import BILLED_COSTS, RECONCILED_USAGE, USAGE_EVENTS
from usage_pipeline.orchestration.column_schemas import table_schema
from usage_pipeline.orchestration.failures import readable_failures
from usage_pipeline.orchestration.partitions import (
    DAYS,
    PROVIDER_DAYS,
    PULL_DAYS_MAX,
    KeyDay,
    key_day,
    spans_by_key,
)
from usage_pipeline.orchestration.resources import RuntimeResource
from usage_pipeline.orchestration.run_tags import FROM_COMMAND
from usage_pipeline.orchestration.summaries import NOT_SKIPPED, SKIPPED, changes_summary, pull_summary, totals_summary

if TYPE_CHECKING:
    from usage_pipeline.ledger.stored_rows import StoredTable
    from usage_pipeline.stages import PullSummary, Runtime

RAW_PROVIDER_PULLS: Final = dg.AssetKey("raw_provider_pulls")
HERMES_ROLLUPS: Final = dg.AssetKey("hermes_rollups")
USAGE_EVENTS_KEY: Final = dg.AssetKey("usage_events")
BILLED_COSTS_KEY: Final = dg.AssetKey("billed_costs")
RECONCILED_USAGE_KEY: Final = dg.AssetKey("reconciled_usage")

_OWNERS: Final = ["team:usage-pipeline"]

# Not ``all_deps_blocking_checks_passed``: of many keys of a day it is satisfied with one that passed, and it takes a
# source that has nothing for the day (no key, or Hermes alone) for one that did not pass.
_MADE_AND_NOT_PASSED: Final = ~dg.AutomationCondition.missing() & ~dg.AutomationCondition.all_checks_match(
    dg.AutomationCondition.check_passed(), blocking_only=True
)

CARRIED_DOWN: Final = (
    dg.AutomationCondition.eager()
    .without(dg.AutomationCondition.in_latest_time_window())
    .without(~dg.AutomationCondition.any_deps_missing())
    & ~dg.AutomationCondition.any_deps_match(_MADE_AND_NOT_PASSED)
).with_label("a source has a newer word on the day, and the blocking checks of every source passed")
"""Any day, not only the newest, is processed anew when something before it was; a day on which one of many keys was
never pulled, or none, goes on all the same; a day on which one of them did not pass its checks waits."""


@dg.asset(
    key=RAW_PROVIDER_PULLS,
    partitions_def=PROVIDER_DAYS,
    backfill_policy=dg.BackfillPolicy.multi_run(max_partitions_per_run=PULL_DAYS_MAX),
    retry_policy=dg.RetryPolicy(max_retries=2, delay=30, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS),
    group_name="sources",
    kinds={"api", "postgres"},
    owners=_OWNERS,
    metadata={"dagster/table_name": "raw_pages"},
)
def raw_provider_pulls(
    context: dg.AssetExecutionContext, runtime: dg.ResourceParam[RuntimeResource]
) -> dg.MaterializeResult[Any]:
    """Every page of a provider key's usage and cost APIs, verbatim, complete or nothing.

    One run asks for a range of days at once. An unchanged answer keeps only the note that it was asked for. A key that
    is turned off is materialised with a summary that says so.
    """
    retry = FROM_COMMAND not in context.run.tags
    with readable_failures(retry=retry):
        cells = {key: key_day(key) for key in context.partition_keys}
        done = _pull(runtime.of_run(context.run.run_id), list(cells.values()), retry=retry)
        changed = {(one.key, day): _changed_endpoints(one, day) for one in done for day in one.changed_days}
        if len(cells) > 1:
            for partition, cell in cells.items():
                endpoints = changed.get((cell.key, cell.day), "none")
                context.add_asset_metadata({"endpoints_changed": endpoints}, partition_key=partition)
        results = [result for one in done for result in one.endpoints]
        return dg.MaterializeResult(
            metadata={
                "summary": dg.MetadataValue.md(pull_summary(done)),
                "rows_read": sum(result.rows for result in results),
                "requests": sum(result.requests for result in results),
                "pages": sum(result.pages for result in results),
                "bytes_read": sum(result.bytes_read for result in results),
                "seconds_waited": float(sum(result.seconds_waited for result in results)),
                SKIPPED: "; ".join(f"{one.key}: {one.skipped}" for one in done if one.skipped) or NOT_SKIPPED,
            }
        )


@dg.asset(
    key=HERMES_ROLLUPS,
    partitions_def=DAYS,
    backfill_policy=dg.BackfillPolicy.single_run(),
    group_name="sources",
    kinds={"postgres"},
    owners=_OWNERS,
    metadata={"dagster/table_name": "hermes_days"},
)
def hermes_rollups(
    context: dg.AssetExecutionContext, runtime: dg.ResourceParam[RuntimeResource]
) -> dg.MaterializeResult[Any]:
    """Which batch of the inbox is the newest word of each Hermes feed on each day."""
    from usage_pipeline.stages import settle_hermes_days

    with readable_failures():
        days = _days(context)
        done = settle_hermes_days(runtime.of_run(context.run.run_id), days)
        summary = (
            f"{done.changes.stored} feed-days have a newer batch than before. "
            f"{done.rows} feed-days have a word, on {len(done.days_moved)} of {len(days)} days."
        )
        return _result(context, runtime.runtime, "hermes_days", days, summary, {"feed_days_moved": done.changes.stored})


@dg.asset(
    key=USAGE_EVENTS_KEY,
    deps=[RAW_PROVIDER_PULLS, HERMES_ROLLUPS],
    partitions_def=DAYS,
    backfill_policy=dg.BackfillPolicy.single_run(),
    automation_condition=CARRIED_DOWN,
    group_name="canonical",
    kinds={"postgres"},
    owners=_OWNERS,
    metadata={"dagster/table_name": "usage_events", "dagster/column_schema": table_schema(USAGE_EVENTS)},
)
def usage_events(
    context: dg.AssetExecutionContext, runtime: dg.ResourceParam[RuntimeResource]
) -> dg.MaterializeResult[Any]:
    """Canonical usage of both sources: one row per window and dimensions, disjoint token classes, history kept.

    Each slice (feed, endpoint, day) equals its source's newest complete word: what vanished there vanishes here.
    """
    from usage_pipeline.stages import normalise_usage

    with readable_failures():
        days = _days(context)
        done = normalise_usage(runtime.of_run(context.run.run_id), days)
        summary = changes_summary("usage events", done.changes, done.days_moved)
        return _result(context, runtime.runtime, "usage_events", days, summary, _counts(done.changes))


@dg.asset(
    key=BILLED_COSTS_KEY,
    deps=[RAW_PROVIDER_PULLS],
    partitions_def=DAYS,
    backfill_policy=dg.BackfillPolicy.single_run(),
    automation_condition=CARRIED_DOWN,
    group_name="canonical",
    kinds={"postgres"},
    owners=_OWNERS,
    metadata={"dagster/table_name": "billed_costs", "dagster/column_schema": table_schema(BILLED_COSTS)},
)
def billed_costs(
    context: dg.AssetExecutionContext, runtime: dg.ResourceParam[RuntimeResource]
) -> dg.MaterializeResult[Any]:
    """The lines of the providers' own bills, exact, in US dollars."""
    from usage_pipeline.stages import normalise_bills

    with readable_failures():
        days = _days(context)
        done = normalise_bills(runtime.of_run(context.run.run_id), days)
        summary = changes_summary("billed lines", done.changes, done.days_moved)
        return _result(context, runtime.runtime, "billed_costs", days, summary, _counts(done.changes))


@dg.asset(
    key=RECONCILED_USAGE_KEY,
    deps=[USAGE_EVENTS_KEY, BILLED_COSTS_KEY],
    partitions_def=DAYS,
    backfill_policy=dg.BackfillPolicy.single_run(),
    automation_condition=CARRIED_DOWN,
    group_name="reconciled",
    kinds={"postgres"},
    owners=_OWNERS,
    metadata={"dagster/table_name": "reconciled_usage", "dagster/column_schema": table_schema(RECONCILED_USAGE)},
)
def reconciled_usage(
    context: dg.AssetExecutionContext, runtime: dg.ResourceParam[RuntimeResource]
) -> dg.MaterializeResult[Any]:
    """What counts, why, and every difference: per workspace, provider, route, family, model and day.

    Days around whose findings hang on the changed ones are decided anew with them.
    """
    from usage_pipeline.ledger.replacement import Changes
    from usage_pipeline.ledger.stored_rows import token_totals
    from usage_pipeline.stages import reconcile_days

    with readable_failures():
        days = _days(context)
        outcomes = reconcile_days(runtime.of_run(context.run.run_id), days)
        changes = sum((outcome.changes for outcome in outcomes), Changes())
        moved = sorted({outcome.day for outcome in outcomes if outcome.changes.any or outcome.findings_moved})
        with runtime.runtime.engine.connect() as connection:
            totals = token_totals(connection, days)
        summary = f"{totals_summary(totals)}\n\n{changes_summary('reconciled rows', changes, moved)}"
        figures = {
            **_counts(changes),
            "findings_open": sum(outcome.findings for outcome in outcomes if outcome.day in set(days)),
            "findings_opened_or_closed": sum(outcome.findings_moved for outcome in outcomes),
        }
        return _result(context, runtime.runtime, "reconciled_usage", days, summary, figures)


ASSETS: Final = (raw_provider_pulls, hermes_rollups, usage_events, billed_costs, reconciled_usage)


def _pull(runtime: "Runtime", cells: Sequence[KeyDay], *, retry: bool) -> "list[PullSummary]":
    """Pull the cells, key by key. What was read whole is kept; then the failure that no retry will heal is raised."""
    from usage_pipeline.stages import pull_days

    done: list[PullSummary] = []
    failures: list[dg.Failure] = []
    for slug, spans in spans_by_key(cells).items():
        for span in spans:
            try:
                with readable_failures(retry=retry):
                    done.append(pull_days(runtime, slug, span.first_day, span.end_day))
            except dg.Failure as failure:
                failures.append(failure)
    if failures:
        raise min(failures, key=lambda failure: failure.allow_retries) from None
    return done


def _days(context: dg.AssetExecutionContext) -> list[date]:
    return sorted(date.fromisoformat(key) for key in context.partition_keys)


def _counts(changes: Any) -> dict[str, int]:
    return {
        "rows_stored": changes.stored,
        "rows_updated": changes.updated,
        "rows_removed": changes.removed,
        "rows_unchanged": changes.unchanged,
    }


def _result(
    context: dg.AssetExecutionContext,
    runtime: "Runtime",
    table: "StoredTable",
    days: Sequence[date],
    summary: str,
    figures: Mapping[str, int],
) -> dg.MaterializeResult[Any]:
    """The materialisation of days: the summary and figures of the run, and the rows that now stand for each day."""
    from usage_pipeline.ledger.stored_rows import rows_in_all, rows_of_days

    with runtime.engine.connect() as connection:
        in_all = rows_in_all(connection, table)
        by_day = rows_of_days(connection, table, days)
    metadata: dict[str, Any] = {"summary": dg.MetadataValue.md(summary), "dagster/row_count": in_all, **figures}
    if len(days) == 1:
        metadata["dagster/partition_row_count"] = by_day[days[0]]
    else:
        for day, count in by_day.items():
            context.add_asset_metadata({"dagster/partition_row_count": count}, partition_key=day.isoformat())
    return dg.MaterializeResult(metadata=metadata)


def _changed_endpoints(summary: "PullSummary", day: date) -> str:
    return ", ".join(result.endpoint for result in summary.endpoints if day in result.changed_days)
