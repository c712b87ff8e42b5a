"""Pruning from Dagster: the job, its schedule, and Dagster's own old runs with their events.

The schedule is off until somebody turns it on; it skips with its reason while every setting keeps everything. (No
postponed annotations here: Dagster reads those of an op's and a schedule's parameters when they are defined.)
"""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import dagster as dg

from usage_pipeline.orchestration.failures import readable_failures
from usage_pipeline.orchestration.resources import RuntimeResource
from usage_pipeline.orchestration.schedules import checked_cron
from usage_pipeline.settings import Settings

if TYPE_CHECKING:
    from usage_pipeline.retention import Pruned

_ENDED: Final = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
_RUNS_AT_ONCE: Final = 100
_NEWEST: Final = "it has the newest materialisation of a partition, which Dagster would then take for missing"


def is_off(settings: Settings) -> bool:
    """Whether every setting keeps everything for ever."""
    return not any(
        (
            settings.retention_raw_pages_days,
            settings.retention_standing_pages_days,
            settings.retention_history_days,
            settings.retention_payloads_days,
            settings.retention_runs_days,
            settings.retention_dagster_days,
        )
    )


def prune_dagster_runs(instance: dg.DagsterInstance, settings: Settings, now: datetime, *, dry_run: bool) -> "Pruned":
    """Delete ended runs, with their events and logs, that were last touched before the setting's days; count them.

    A run with the newest materialisation of any partition stays: without it Dagster would take the partition for
    missing, and make it anew.
    """
    from usage_pipeline.retention import Pruned, cutoff

    before = cutoff(now, settings.retention_dagster_days)
    pruned = Pruned("Dagster's runs", "USAGE_RETENTION_DAGSTER_DAYS", before)
    if before is None:
        return pruned
    newest = _newest_materialisations(instance)
    for record in _old_runs(instance, before):
        run_id = record.dagster_run.run_id
        events = instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION).records
        if any(event.storage_id in newest for event in events):
            pruned.held_back[_NEWEST] += 1
            continue
        pruned.take(1, 0, ())
        if not dry_run:
            instance.compute_log_manager.delete_logs(prefix=[run_id])
            instance.delete_run(run_id)
    return pruned


def _newest_materialisations(instance: dg.DagsterInstance) -> frozenset[int]:
    """The storage ids of each partition's newest materialisation, of every asset."""
    log = instance.event_log_storage
    return frozenset(
        storage_id
        for key in instance.all_asset_keys()
        for storage_id in log.get_latest_storage_id_by_partition(
            key, dg.DagsterEventType.ASSET_MATERIALIZATION
        ).values()
    )


def _old_runs(instance: dg.DagsterInstance, before: datetime) -> Sequence[dg.RunRecord]:
    found: list[dg.RunRecord] = []
    cursor: str | None = None
    filters = dg.RunsFilter(statuses=_ENDED, updated_before=before)
    while page := instance.get_run_records(filters, limit=_RUNS_AT_ONCE, cursor=cursor):
        found += page
        cursor = page[-1].dagster_run.run_id
    return found


@dg.op(out=dg.Out(dg.Nothing), description="Prune what the settings no longer keep; nothing that is not confirmed.")
def prune_old(context: dg.OpExecutionContext, runtime: dg.ResourceParam[RuntimeResource]) -> None:
    """Prune the ledger, then Dagster's own runs; the figures are in the output's metadata."""
    from usage_pipeline.retention import prune

    with readable_failures():
        opened = runtime.runtime
        kinds = [*prune(opened, dry_run=False)]
        kinds.append(prune_dagster_runs(context.instance, opened.settings, opened.clock(), dry_run=False))
    context.add_output_metadata({one.kind: dg.MetadataValue.text(in_words(one)) for one in kinds})


def in_words(pruned: "Pruned") -> str:
    """One kind, for a person."""
    if pruned.older_than is None:
        return f"kept for ever ({pruned.setting} is 0)"
    held = "".join(f"; {rows:,} held back: {why}" for why, rows in sorted(pruned.held_back.items()))
    return f"{pruned.rows:,} rows, {pruned.bytes:,} bytes, of {len(pruned.days)} days{held}"


@dg.job(description="Prune what the settings USAGE_RETENTION_… no longer keep. See docs/operations.md.")
def retention() -> None:
    """Prune by the settings."""
    prune_old()


RETENTION_JOB: Final = retention


def build_retention_schedule(settings: Settings) -> dg.ScheduleDefinition:
    """The schedule at the time that the setting names, off until it is turned on.

    Raises :class:`InvalidInputError` ``setting_malformed``.
    """

    @dg.schedule(
        job=RETENTION_JOB,
        cron_schedule=checked_cron(settings.retention_cron, "USAGE_RETENTION_CRON"),
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.STOPPED,
        description="Prune what the settings USAGE_RETENTION_… no longer keep. Off until it is turned on.",
    )
    def retention_daily(context: dg.ScheduleEvaluationContext) -> Any:
        """Prune what the settings no longer keep."""
        if is_off(settings):
            return dg.SkipReason("everything is kept for ever: each USAGE_RETENTION_…_DAYS is 0")
        return dg.RunRequest(run_key=context.scheduled_execution_time.isoformat())

    return retention_daily
