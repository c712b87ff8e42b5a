"""What ``POST /api/cron/ingest`` starts: runs of the job that the schedules start, made here and executed elsewhere.

In: the store and how many days. Out: the runs, by key, that now wait or run. Where a daemon serves this project's code
its queue takes them, with its limits, its monitoring and the automation behind; where none does, a process of our own
executes them (``cron_process``) and takes the days down to reconciled usage. One call's runs are over before the next
call starts any: the next is told of those that are under way.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import dagster as dg
from dagster._core.definitions.reconstruct import ReconstructableRepository
from dagster._core.remote_origin import RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.run_coordinator import QueuedRunCoordinator

from usage_pipeline.definitions import defs
from usage_pipeline.errors import TransientError
from usage_pipeline.ledger.cron_calls import is_executing, lock_calls
from usage_pipeline.orchestration.instance import open_instance
from usage_pipeline.orchestration.partitions import (
    KEY_TAG,
    PROVIDER_KEYS,
    PULL_DAYS_MAX,
    START_DAY,
    DaySpan,
    span_of_tags,
)
from usage_pipeline.orchestration.pull_runs import (
    PULL_JOB,
    UNFINISHED,
    AskedKeys,
    asked_keys,
    pull_tags,
    unknown_keys,
)
from usage_pipeline.orchestration.schedules import OPEN_DAY_PRIORITY
from usage_pipeline.orchestration.sensors import carry_down

if TYPE_CHECKING:
    from usage_pipeline.stages import Runtime

EXECUTED_BY: Final = "usage_pipeline/cron_executed_by"
QUEUE: Final = "queue"
PROCESS: Final = "process"

HEARTBEAT_SECONDS_MAX: Final = 120
"""A daemon tells every 30 seconds that it lives. (Dagster itself takes one for alive for half an hour.)"""

START_SECONDS_MAX: Final = 120
"""Within this time a process that was started holds the lock, or it never came to life."""

RUN_SECONDS_MAX: Final = 4 * 3600
"""As ``run_monitoring`` of dagster.yaml: a run that takes longer hangs."""

_MODULE: Final = "usage_pipeline.definitions"
_CHECKOUT: Final = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class CronRun:
    """A run that pulls a key's days, both ends included."""

    key: str
    run_id: str
    first_day: str
    last_day: str


@dataclass(frozen=True, slots=True)
class CronAnswer:
    """The runs that wait or run now. ``started`` is False where they are an earlier call's, or there are none.

    ``skipped`` says of each key that is not asked why, by slug.
    """

    started: bool
    runs: tuple[CronRun, ...]
    skipped: Mapping[str, str]


def start_pulls(runtime: Runtime, environ: Mapping[str, str], days: int | None) -> CronAnswer:
    """Start pulls of the open day and the ``days`` closed ones before it of every key; None: as the look-back does.

    While runs of an earlier call are under way, none is started and they are the answer. Raises
    :class:`TransientError` ``dagster_instance_unavailable``, ``process_not_started``.
    """
    keys = asked_keys(runtime)
    with runtime.engine.begin() as connection:
        lock_calls(connection)
        with open_instance(environ) as instance:
            origin = _origin_of_daemon(instance)
            executing = is_executing(connection)
            under_way = _under_way(instance, executing, has_daemon=origin is not None)
            # A process may be past its pulls and at what comes after: it would not take further runs.
            if under_way or not keys.asked or (executing and origin is None):
                return CronAnswer(False, tuple(_told(run) for run in under_way), keys.skipped)
            runs = _make_runs(runtime, instance, keys, days, origin)
            if origin is None:
                _execute_elsewhere(instance, environ, runs)
            else:
                for run in runs:
                    # The queue asks nothing of the workspace: it is the daemon that loads the code.
                    instance.submit_run(run.run_id, workspace=None)  # type: ignore[arg-type]
    return CronAnswer(True, tuple(_told(run) for run in runs), keys.skipped)


def _origin_of_daemon(instance: dg.DagsterInstance) -> RemoteRepositoryOrigin | None:
    """This project's code as the daemon that takes runs from the queue knows it; None where no such daemon lives."""
    if not isinstance(instance.run_coordinator, QueuedRunCoordinator):
        return None
    beat = instance.get_daemon_heartbeats().get("QUEUED_RUN_COORDINATOR")
    if beat is None or time.time() - beat.timestamp > HEARTBEAT_SECONDS_MAX:
        return None
    # A daemon notes the sensors that it runs, with the code location that they came from.
    states = [state for state in instance.all_instigator_state() if state.instigator_name == carry_down.name]
    return states[-1].origin.repository_origin if states else None


def _under_way(instance: dg.DagsterInstance, executed: bool, *, has_daemon: bool) -> list[dg.DagsterRun]:
    """The unfinished runs of earlier calls; those that nobody will finish are ended first."""
    alive: list[dg.DagsterRun] = []
    for executor in (QUEUE, PROCESS):
        wanted = dg.RunsFilter(job_name=PULL_JOB.name, tags={EXECUTED_BY: executor}, statuses=list(UNFINISHED))
        for record in instance.get_run_records(wanted):
            run, made = record.dagster_run, record.create_timestamp.timestamp()
            late = time.time() - made > START_SECONDS_MAX
            if executor == PROCESS:
                lost = late and not executed
            elif run.status is dg.DagsterRunStatus.QUEUED:
                lost = not has_daemon
            elif run.status is dg.DagsterRunStatus.NOT_STARTED:  # the call broke off before it reached the queue
                lost = late
            else:
                lost = time.time() - (record.start_time or made) > RUN_SECONDS_MAX
            if lost:
                instance.report_run_failed(run, "Nobody executes it any longer: its process or its daemon is gone.")
            else:
                alive.append(run)
    return sorted(alive, key=lambda run: (run.tags.get(KEY_TAG, ""), run.run_id))


def _make_runs(
    runtime: Runtime,
    instance: dg.DagsterInstance,
    keys: AskedKeys,
    days: int | None,
    origin: RemoteRepositoryOrigin | None,
) -> list[dg.DagsterRun]:
    if fresh := unknown_keys(instance, keys.asked):
        instance.add_dynamic_partitions(PROVIDER_KEYS.name or "", fresh)
    today = runtime.clock().astimezone(UTC).date()
    job = defs.resolve_job_def(PULL_JOB.name)
    code = ReconstructableRepository.for_module(_MODULE, "defs", str(_CHECKOUT)).get_reconstructable_job(job.name)
    runs: list[dg.DagsterRun] = []
    for key in keys.asked:
        back = runtime.settings.look_back_of(key.provider) if days is None else days
        span = DaySpan(max(START_DAY, today - timedelta(days=back)), today + timedelta(days=1))
        runs += [
            instance.create_run_for_job(
                job,
                tags={
                    **pull_tags(key, chunk, OPEN_DAY_PRIORITY),
                    EXECUTED_BY: PROCESS if origin is None else QUEUE,
                },
                remote_job_origin=None if origin is None else RemoteJobOrigin(origin, job.name),
                job_code_origin=code.get_python_origin(),
            )
            for chunk in span.chunks(PULL_DAYS_MAX)
        ]
    return runs


def _execute_elsewhere(instance: dg.DagsterInstance, environ: Mapping[str, str], runs: Sequence[dg.DagsterRun]) -> None:
    """Hand the runs to a process that outlives this one."""
    words = [sys.executable, "-m", "usage_pipeline.orchestration.cron_process", *(run.run_id for run in runs)]
    try:
        process = subprocess.Popen(  # noqa: S603 - our own module, with run ids
            words, env=dict(environ), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True
        )
    except OSError as error:
        for run in runs:
            instance.report_run_failed(run, "The process that should execute it could not be started.")
        raise TransientError(
            "process_not_started",
            f"no process could be started that pulls ({error.strerror or type(error).__name__})",
            where="POST /api/cron/ingest",
            remedy="Look at the memory and the number of processes of this machine.",
        ) from None
    threading.Thread(target=process.wait, daemon=True).start()  # takes note of its end


def _told(run: dg.DagsterRun) -> CronRun:
    asked = span_of_tags(run.tags)
    assert asked is not None, "a run of the cron endpoint pulls days of one key"
    key, span = asked
    return CronRun(key, run.run_id, span.first_day.isoformat(), span.last_day.isoformat())
