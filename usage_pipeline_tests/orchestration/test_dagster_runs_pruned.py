"""Pruning Dagster's own runs: old ones that ended go with their events; what Dagster or a person still needs stays.

(No postponed annotations: Dagster reads those of an asset's parameters when it is defined.)
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager
from dagster._core.test_utils import freeze_time

from usage_pipeline.orchestration.retention import prune_dagster_runs
from usage_pipeline.settings import Settings

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
OLD = NOW - timedelta(days=40)
KEPT_DAYS = Settings(retention_dagster_days=30)
_DAYS = dg.DailyPartitionsDefinition("2026-01-01")


@dg.asset(partitions_def=_DAYS)
def made(context: dg.AssetExecutionContext) -> None:
    if context.partition_key == "2026-01-03":
        raise dg.Failure("made up", allow_retries=False)


def _run(instance: dg.DagsterInstance, at: datetime, day: str) -> str:
    with freeze_time(at):
        return dg.materialize([made], instance=instance, partition_key=day, raise_on_error=False).run_id


@pytest.fixture(scope="module")
def runs() -> Iterator[tuple[dg.DagsterInstance, dict[str, str]]]:
    """An instance with old and new runs, by what becomes of them."""
    job = dg.Definitions(assets=[made]).resolve_implicit_global_asset_job_def()
    with dg.DagsterInstance.ephemeral() as instance:
        told = {
            "superseded": _run(instance, OLD, "2026-01-01"),
            "newest of its day": _run(instance, OLD, "2026-01-02"),
            "failed": _run(instance, OLD, "2026-01-03"),
            "superseding": _run(instance, OLD, "2026-01-01"),
            "failed lately": _run(instance, NOW - timedelta(days=29), "2026-01-03"),
        }
        for name, status in (("started", dg.DagsterRunStatus.STARTED), ("waits", dg.DagsterRunStatus.NOT_STARTED)):
            with freeze_time(OLD):
                told[name] = instance.create_run_for_job(job, status=status).run_id
        yield instance, told


def _left(instance: dg.DagsterInstance, told: dict[str, str]) -> set[str]:
    there = {run.run_id for run in instance.get_runs()}
    return {name for name, run_id in told.items() if run_id in there}


def test_only_old_runs_that_ended_go_and_their_events_with_them(
    runs: tuple[dg.DagsterInstance, dict[str, str]],
) -> None:
    instance, told = runs
    assert prune_dagster_runs(instance, Settings(), NOW, dry_run=False).rows == 0
    would = prune_dagster_runs(instance, KEPT_DAYS, NOW, dry_run=True)
    assert _left(instance, told) == set(told)
    events = {name: len(instance.all_logs(run_id)) for name, run_id in told.items()}
    done = prune_dagster_runs(instance, KEPT_DAYS, NOW, dry_run=False)
    assert (done.rows, done.held_back) == (would.rows, would.held_back)
    assert (done.rows, sum(done.held_back.values())) == (2, 2)
    gone = {"superseded", "failed"}
    assert _left(instance, told) == set(told) - gone
    assert min(events[name] for name in gone) > 0
    left = {name: len(instance.all_logs(run_id)) for name, run_id in told.items()}
    assert left == {name: 0 if name in gone else number for name, number in events.items()}
    # What is made is still known to be made, so nothing is asked for anew.
    assert instance.get_materialized_partitions(made.key) == {"2026-01-01", "2026-01-02"}
    assert prune_dagster_runs(instance, KEPT_DAYS, NOW, dry_run=False).rows == 0


def test_the_logs_of_a_run_go_with_it(tmp_path: Path) -> None:
    job = dg.Definitions(assets=[made]).resolve_implicit_global_asset_job_def()
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        manager = instance.compute_log_manager
        assert isinstance(manager, LocalComputeLogManager)
        kept, gone = [], []
        for at, folders in ((OLD, gone), (NOW, kept)):
            with freeze_time(at):
                run = instance.create_run_for_job(job)
                instance.report_run_failed(run)
            path = Path(manager.get_captured_local_path([run.run_id, "compute_logs", "made"], "err"))
            path.parent.mkdir(parents=True)
            path.write_text("what a run said")
            folders.append(path)
        assert prune_dagster_runs(instance, KEPT_DAYS, NOW, dry_run=False).rows == 1
        assert [one.exists() for one in (*gone, *kept)] == [False, True]
