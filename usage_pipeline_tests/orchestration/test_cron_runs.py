"""Which runs of the cron endpoint are under way, and which of them nobody will finish."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg
import pytest
from dagster._core.definitions.reconstruct import ReconstructableRepository
from dagster._core.remote_origin import InProcessCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin

from usage_pipeline.definitions import defs
from usage_pipeline.orchestration import cron_runs
from usage_pipeline.orchestration.cron_runs import EXECUTED_BY, PROCESS, QUEUE, _under_way
from usage_pipeline.orchestration.partitions import PROVIDER_KEYS, DaySpan, key_range_tags
from usage_pipeline_tests.orchestration.conftest import FIRST_DAY, OPENAI, day


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(PROVIDER_KEYS.name or "", [OPENAI])
        yield instance


def _run(instance: dg.DagsterInstance, executor: str, status: dg.DagsterRunStatus) -> str:
    tags = {**key_range_tags(OPENAI, DaySpan(FIRST_DAY, day(1))), EXECUTED_BY: executor}
    job = defs.resolve_job_def("pull_providers")
    target = LoadableTargetOrigin(module_name="usage_pipeline.definitions")
    origin = RemoteRepositoryOrigin(InProcessCodeLocationOrigin(target, location_name="here"), "__repository__")
    code = ReconstructableRepository.for_module("usage_pipeline.definitions", "defs").get_reconstructable_job(job.name)
    return instance.create_run_for_job(
        job,
        tags=tags,
        status=status,
        remote_job_origin=RemoteJobOrigin(origin, job.name),
        job_code_origin=code.get_python_origin(),
    ).run_id


@pytest.mark.parametrize(
    ("executor", "status", "executed", "has_daemon", "late", "lost"),
    [
        (PROCESS, "NOT_STARTED", False, False, False, False),  # its process is just starting
        (PROCESS, "NOT_STARTED", False, True, True, True),
        (PROCESS, "STARTED", True, False, True, False),
        (PROCESS, "STARTED", False, False, True, True),  # its process was killed
        (QUEUE, "QUEUED", False, True, True, False),
        (QUEUE, "QUEUED", False, False, False, True),  # no daemon will take it
        (QUEUE, "NOT_STARTED", False, True, True, True),  # the call broke off before it reached the queue
        (QUEUE, "STARTED", False, False, True, False),
    ],
)
def test_a_run_is_under_way_as_long_as_somebody_will_finish_it(
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
    executor: str,
    status: str,
    executed: bool,
    has_daemon: bool,
    late: bool,
    lost: bool,
) -> None:
    if late:
        monkeypatch.setattr(cron_runs, "START_SECONDS_MAX", -60)
    run_id = _run(instance, executor, dg.DagsterRunStatus[status])
    alive = _under_way(instance, executed, has_daemon=has_daemon)
    assert [run.run_id for run in alive] == ([] if lost else [run_id])
    run = instance.get_run_by_id(run_id)
    assert run is not None
    assert run.is_finished is lost


def test_other_runs_of_the_job_are_no_call_s(instance: dg.DagsterInstance) -> None:
    instance.create_run_for_job(
        defs.resolve_job_def("pull_providers"), tags=key_range_tags(OPENAI, DaySpan(FIRST_DAY, day(1)))
    )
    assert _under_way(instance, False, has_daemon=False) == []
