"""The assets, in the data's order: raw pulls, Hermes' newest words, usage events, billed costs, reconciled usage.

Each calls one function of ``usage_pipeline.stages`` for its partitions, whether one or a range, and tells what it did.
What may pass by itself is tried again, twice; a permanent failure is not.
Stages are safe to run again: what did not change is not written. (No postponed annotations here: Dagster reads those of
an asset's parameters when it is defined.)
"""

from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING, Any, Final

import dagster as dg

from usage_pipeline.normalise.frames import BILLED_COSTS, RECONCILED_USAGE, USAGE_EVENTS
from usage_pipeline.orchestration.column_schemas import HERMES_DAYS_SCHEMA, RAW_PAGES_SCHEMA, table_schema
from usage_pipeline.orchestration.failures import readable_failures
from usage_pipeline.orchestration.lineage import (
    BILLED_COSTS_LINEAGE,
    RECONCILED_USAGE_LINEAGE,
    USAGE_EVENTS_LINEAGE,
    column_lineage,
)
from usage_pipeline.orchestration.materialisations import newer_words, result_of, result_of_days, row_counts
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
from usage_pipeline.orchestration.summaries import (
    NOT_SKIPPED,
    SKIPPED,
    changes_summary,
    figures_metadata,
    pull_summary,
    totals_summary,
)

if TYPE_CHECKING:
    from usage_pipeline.stages import PullSummary, Runtime

RAW_PROVIDER_PULLS: Final = dg.AssetKey("raw_provider_pulls")
HERMES_ROLLUPS: Final = dg.AssetKey("hermes_rollups")
USAGE_EVENTS_KEY: Final = dg.AssetKey("usage_events")
BILLED_COSTS_KEY: Final = dg.AssetKey("billed_costs")
RECONCILED_USAGE_KEY: Final = dg.AssetKey("reconciled_usage")

PULL_POOL: Final = "provider_pulls"
"""The pool of the runs that ask a provider: its limit leaves room for those that process what came."""

_DAY_RETRIES: Final = dg.RetryPolicy(
    max_retries=2, delay=10, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS
)
"""What comes after the pulls asks the store alone: a lost connection or two writers at once pass in seconds."""

_OWNERS: Final = ["team:usage-pipeline"]
_RAW: Final = {"layer": "raw", "personal_ids": "yes"}
_CANONICAL: Final = {"layer": "canonical", "personal_ids": "yes"}
_RECONCILED: Final = {"layer": "reconciled", "personal_ids": "no"}


def _documents(*paths: str) -> dict[str, dg.MetadataValue[Any]]:
    """Where to read on, as paths of the checkout."""
    return {f"read_{path.rsplit('/', 1)[-1].removesuffix('.md')}": dg.MetadataValue.path(path) for path in paths}


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
    pool=PULL_POOL,
    group_name="sources",
    kinds={"api", "postgres"},
    owners=_OWNERS,
    tags=_RAW,
    metadata={
        "dagster/table_name": "raw_pages",
        "dagster/column_schema": RAW_PAGES_SCHEMA,
        **_documents("docs/providers.md"),
    },
)
def raw_provider_pulls(
    context: dg.AssetExecutionContext, runtime: dg.ResourceParam[RuntimeResource]
) -> dg.MaterializeResult[Any]:
    """Every page of a provider key's usage and cost APIs, verbatim, complete or nothing.

    **A row** is one page of an answer. **A partition** is one UTC day of one provider key.

    **Runs** when the schedules `open_day_hourly` and `look_back_daily` or the sensor `new_provider_keys` ask for it, or
    by hand: *Materialize*, or `usage-pipeline backfill`. A run asks one key for up to 31 days at once. An unchanged
    answer keeps only the note that it was asked for. A key that is turned off is materialised with a summary that says
    so.

    **If it fails**, nothing of the endpoint's answer was published and what stood before still stands. A refused key
    (401, 403) is not asked again: `usage-pipeline keys test KEY`, then `keys rotate`. What may pass by itself (429,
    5xx) was tried again twice; materialise the days again later.
    """
    retry = _may_retry(context)
    with readable_failures(retry=retry):
        cells = {key: key_day(key) for key in context.partition_keys}
        done = _pull(runtime.of_run(context.run.run_id), list(cells.values()), retry=retry)
        changed = {(one.key, day): _changed_endpoints(one, day) for one in done for day in one.changed_days}
        by_partition: dict[str, dict[str, Any]] = {}
        for partition, cell in cells.items():
            endpoints = changed.get((cell.key, cell.day), [])
            by_partition[partition] = {
                "answers_changed": len(endpoints),
                "endpoints_changed": ", ".join(endpoints) or "none",
            }
        of_run = {
            "summary": dg.MetadataValue.md(pull_summary(done)),
            SKIPPED: "; ".join(f"{one.key}: {one.skipped}" for one in done if one.skipped) or NOT_SKIPPED,
        }
        return result_of(context, of_run, by_partition)


@dg.asset(
    key=HERMES_ROLLUPS,
    partitions_def=DAYS,
    backfill_policy=dg.BackfillPolicy.single_run(),
    retry_policy=_DAY_RETRIES,
    group_name="sources",
    kinds={"postgres"},
    owners=_OWNERS,
    tags=_RAW,
    metadata={
        "dagster/table_name": "hermes_days",
        "dagster/column_schema": HERMES_DAYS_SCHEMA,
        **_documents("docs/hermes.md"),
    },
)
def hermes_rollups(
    context: dg.AssetExecutionContext, runtime: dg.ResourceParam[RuntimeResource]
) -> dg.MaterializeResult[Any]:
    """Which batch of the inbox is the newest word of each Hermes feed on each day.

    **A row** is one feed's UTC day and the batch that speaks for it. **A partition** is one UTC day.

    **Runs** within seconds of a batch that says something new (sensor `new_hermes_batches`), and before each
    `usage-pipeline backfill`'s days. It asks nobody: Hermes posts by itself.

    **If it fails**, the batches are in the inbox all the same and nothing is lost; the error says what is wrong with
    the store. Materialise the day again.
    """
    from usage_pipeline.stages import settle_hermes_days

    with readable_failures(retry=_may_retry(context)):
        days = _days(context)
        done = settle_hermes_days(runtime.of_run(context.run.run_id), days)
        summary = (
            f"{done.changes.stored} feed-days have a newer batch than before. "
            f"{done.rows} feed-days have a word, on {len(done.days_moved)} of {len(days)} days."
        )
        return result_of_days(context, runtime.runtime, "hermes_days", days, summary)


@dg.asset(
    key=USAGE_EVENTS_KEY,
    deps=[RAW_PROVIDER_PULLS, HERMES_ROLLUPS],
    partitions_def=DAYS,
    backfill_policy=dg.BackfillPolicy.single_run(),
    retry_policy=_DAY_RETRIES,
    automation_condition=CARRIED_DOWN,
    group_name="canonical",
    kinds={"postgres"},
    owners=_OWNERS,
    tags=_CANONICAL,
    metadata={
        "dagster/table_name": "usage_events",
        "dagster/column_schema": table_schema(USAGE_EVENTS, USAGE_EVENTS_LINEAGE),
        "dagster/column_lineage": column_lineage(USAGE_EVENTS_LINEAGE),
        **_documents("docs/architecture.md", "docs/models.md"),
    },
)
def usage_events(
    context: dg.AssetExecutionContext, runtime: dg.ResourceParam[RuntimeResource]
) -> dg.MaterializeResult[Any]:
    """Canonical usage of both sources, in disjoint classes of tokens, with the history of every change.

    **A row** is what one source says of one window (an hour, or a day) and one set of dimensions: project, user, API
    key, model, tier. **A partition** is one UTC day of every key and feed. Each slice (feed, endpoint, day) equals its
    source's newest complete word: what vanished there vanishes here.

    **Runs** by itself (`carry_down`) for the days on which a source has a newer word and passed its checks.

    **If it fails**, the day's rows are as they were. A failed check means that the day is not reconciled anew: its
    rows are in the check's table. Mend what is behind them and materialise the day again; other days go on.
    """
    from usage_pipeline.stages import normalise_usage

    with readable_failures(retry=_may_retry(context)):
        days = _days(context)
        done = normalise_usage(runtime.of_run(context.run.run_id), days)
        summary = changes_summary("usage events", done.changes, done.days_moved)
        return result_of_days(context, runtime.runtime, "usage_events", days, summary, newer_words(days, done))


@dg.asset(
    key=BILLED_COSTS_KEY,
    deps=[RAW_PROVIDER_PULLS],
    partitions_def=DAYS,
    backfill_policy=dg.BackfillPolicy.single_run(),
    retry_policy=_DAY_RETRIES,
    automation_condition=CARRIED_DOWN,
    group_name="canonical",
    kinds={"postgres"},
    owners=_OWNERS,
    tags=_CANONICAL,
    metadata={
        "dagster/table_name": "billed_costs",
        "dagster/column_schema": table_schema(BILLED_COSTS, BILLED_COSTS_LINEAGE),
        "dagster/column_lineage": column_lineage(BILLED_COSTS_LINEAGE),
        **_documents("docs/reconciliation.md"),
    },
)
def billed_costs(
    context: dg.AssetExecutionContext, runtime: dg.ResourceParam[RuntimeResource]
) -> dg.MaterializeResult[Any]:
    """The lines of the providers' own bills, exact, in US dollars.

    **A row** is one line of a bill's day. **A partition** is one UTC day of every key. Bills settle late: until then a
    day's cost is an estimate from its tokens.

    **Runs** by itself (`carry_down`) for the days on which a pull has a newer answer and passed its checks.

    **If it fails**, the day's lines are as they were; see the failed check's table, then materialise the day again.
    """
    from usage_pipeline.stages import normalise_bills

    with readable_failures(retry=_may_retry(context)):
        days = _days(context)
        done = normalise_bills(runtime.of_run(context.run.run_id), days)
        summary = changes_summary("billed lines", done.changes, done.days_moved)
        return result_of_days(context, runtime.runtime, "billed_costs", days, summary, newer_words(days, done))


@dg.asset(
    key=RECONCILED_USAGE_KEY,
    deps=[USAGE_EVENTS_KEY, BILLED_COSTS_KEY],
    partitions_def=DAYS,
    backfill_policy=dg.BackfillPolicy.single_run(),
    retry_policy=_DAY_RETRIES,
    automation_condition=CARRIED_DOWN,
    group_name="reconciled",
    kinds={"postgres"},
    owners=_OWNERS,
    tags=_RECONCILED,
    metadata={
        "dagster/table_name": "reconciled_usage",
        "dagster/column_schema": table_schema(RECONCILED_USAGE, RECONCILED_USAGE_LINEAGE),
        "dagster/column_lineage": column_lineage(RECONCILED_USAGE_LINEAGE),
        **_documents("docs/reconciliation.md", "docs/operations.md"),
    },
)
def reconciled_usage(
    context: dg.AssetExecutionContext, runtime: dg.ResourceParam[RuntimeResource]
) -> dg.MaterializeResult[Any]:
    """What counts, why, and every difference.

    **A row** is one cell: workspace, provider, route, family, model and UTC day, with what the provider reports, what
    Hermes reports, which of them counts, and its cost. Counted = explained + unattributed + stand-in. **A partition**
    is one UTC day of every workspace. Days around whose findings hang on the changed ones are decided anew with them.

    **Runs** by itself (`carry_down`) for the days on which usage or bills changed and passed their checks.

    **If it fails**, the last good figures stand, and `usage-pipeline report` shows them. Checks that stop the day
    (totals, double counting, sources) mean a defect: keep the run's id and the check's table. Checks that warn show
    differences between the sources: docs/reconciliation.md says what each finding means and what to do.

    **Plots**: tokens of every class, and money in nano-USD (billionths of a US dollar) beside the exact amount as text.
    """
    from usage_pipeline.ledger.day_figures import day_figures
    from usage_pipeline.ledger.replacement import Changes
    from usage_pipeline.ledger.stored_rows import token_totals
    from usage_pipeline.stages import reconcile_days

    with readable_failures(retry=_may_retry(context)):
        days = _days(context)
        outcomes = reconcile_days(runtime.of_run(context.run.run_id), days)
        changes = sum((outcome.changes for outcome in outcomes), Changes())
        moved = sorted({outcome.day for outcome in outcomes if outcome.changes.any or outcome.findings_moved})
        with runtime.runtime.engine.connect() as connection:
            totals = token_totals(connection, days)
            figures = day_figures(connection, days)
        summary = f"{totals_summary(totals)}\n\n{changes_summary('reconciled rows', changes, moved)}"
        by_day: dict[date, dict[str, Any]] = {}
        for day in days:
            of_day = [outcome for outcome in outcomes if outcome.day == day]
            by_day[day] = {
                **(figures_metadata(figures[day]) if day in figures else {}),
                **row_counts(sum((outcome.changes for outcome in of_day), Changes())),
                "findings_open": sum(outcome.findings for outcome in of_day),
                "findings_opened_or_closed": sum(outcome.findings_moved for outcome in of_day),
            }
        return result_of_days(context, runtime.runtime, "reconciled_usage", days, summary, by_day)


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


def _may_retry(context: dg.AssetExecutionContext) -> bool:
    """Not where a person waits at a command: the error is told at once."""
    return FROM_COMMAND not in context.run.tags


def _days(context: dg.AssetExecutionContext) -> list[date]:
    return sorted(date.fromisoformat(key) for key in context.partition_keys)


def _changed_endpoints(summary: "PullSummary", day: date) -> list[str]:
    return [result.endpoint for result in summary.endpoints if day in result.changed_days]
