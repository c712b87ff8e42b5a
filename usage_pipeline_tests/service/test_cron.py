"""``POST /api/cron/ingest`` over HTTP: who may, what starts, what a second call does, and a run that really pulls."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import httpx
import pytest
import sqlalchemy as sa
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.remote_origin import InProcessCodeLocationOrigin, RemoteRepositoryOrigin
from dagster._core.scheduler.instigation import InstigatorState, InstigatorStatus, SensorInstigatorData
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._daemon.types import DaemonHeartbeat

from usage_pipeline.ledger.feed_settings import disable_feed
from usage_pipeline.ledger.provider_keys import NewProviderKey, ProviderKey, add_provider_key
from usage_pipeline.ledger.workspaces import add_workspace
from usage_pipeline.orchestration.instance import open_instance
from usage_pipeline.sandbox import DEFAULT_OPENAI_KEY, SandboxServer, World
from usage_pipeline_tests.service.conftest import Service, Start

CRON = "/api/cron/ingest"
SECRET = "a-secret-that-cron-has"
NOW = datetime(2025, 3, 12, 12, tzinfo=UTC)
KEY = "acme.openai.main"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxServer]:
    with SandboxServer(World(7, NOW)) as server:
        yield server


@pytest.fixture
def key(engine: sa.Engine, sandbox: SandboxServer) -> ProviderKey:
    """A key whose provider is the sandbox."""
    with engine.begin() as connection:
        acme = add_workspace(connection, "acme", name=None, now=NOW)
        new = NewProviderKey(
            acme, "openai", "main", "admin", None, (), "1d", sandbox.openai_base_url, None, "env:OPENAI_SECRET"
        )
        return add_provider_key(connection, new, NOW)


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {
        "CRON_SECRET": SECRET,
        "OPENAI_SECRET": DEFAULT_OPENAI_KEY,
        "USAGE_HOME": str(tmp_path / "home"),
        "USAGE_NOW": NOW.isoformat(),
        "USAGE_HTTP_ATTEMPTS": "1",
        "DAGSTER_HOME": "",
    }


@pytest.fixture
def cron(start: Start, environ: Mapping[str, str]) -> Service:
    """A service that cron may call."""
    return start(**environ)


def _call(service: Service, token: str | None = SECRET, *, query: str = "", **request: Any) -> httpx.Response:
    if token is not None:
        request["headers"] = {"Authorization": f"Bearer {token}"}
    return httpx.post(f"{service.url}{CRON}{query}", timeout=30, **request)


def _instance(environ: Mapping[str, str]) -> AbstractContextManager[dg.DagsterInstance]:
    return open_instance(environ)


def _let_a_daemon_live(instance: dg.DagsterInstance, at: float) -> None:
    """What a daemon that serves this project's code writes into the instance."""
    location = InProcessCodeLocationOrigin(
        LoadableTargetOrigin(module_name="usage_pipeline.definitions"), location_name="elsewhere"
    )
    origin = RemoteRepositoryOrigin(location, "__repository__").get_instigator_origin("carry_down")
    if not instance.all_instigator_state():
        instance.add_instigator_state(
            InstigatorState(origin, InstigatorType.SENSOR, InstigatorStatus.DECLARED_IN_CODE, SensorInstigatorData())
        )
    instance.add_daemon_heartbeat(DaemonHeartbeat(at, "QUEUED_RUN_COORDINATOR", None, []))


def test_without_a_secret_nobody_may(service: Service) -> None:
    answer = _call(service)
    assert (answer.status_code, answer.json()["code"]) == (503, "cron_closed")


@pytest.mark.usefixtures("key")
def test_only_who_has_the_secret_may_and_says_days_that_are_some(cron: Service) -> None:
    for token in (None, "x", SECRET[:-1], f"{SECRET}x"):
        refused = _call(cron, token)
        assert (refused.status_code, refused.json()["code"]) == (401, "token_refused")
    assert _call(cron, None, headers={"Authorization": b"Bearer \xfc"}).status_code == 401
    for wrong in ('{"days": -1}', '{"days": "3"}', '{"days": 3.5}', '{"day": 3}', "[]", "{", '{"days": 367}'):
        assert _call(cron, content=wrong).json()["code"] == "days_malformed"
    for query in ("?days=x", "?days=1&days=2", "?days=-1"):
        assert _call(cron, query=query).status_code == 400
    assert _call(cron, query="?days=1", json={"days": 1}).status_code == 400
    assert _call(cron, content=b"x" * 2000).status_code == 413
    assert SECRET not in "".join(cron.log)


def test_where_no_key_may_be_asked_nothing_starts_and_the_reason_is_told(
    cron: Service, key: ProviderKey, engine: sa.Engine
) -> None:
    with engine.begin() as connection:
        disable_feed(connection, key.feed_id, key.slug, datetime(2025, 3, 10, tzinfo=UTC))
    answer = _call(cron)
    assert answer.status_code == 200
    assert answer.json() == {
        "started": False,
        "runs": [],
        "skipped": [{"key": KEY, "reason": "the key is disabled"}],
    }


def test_without_a_daemon_a_process_pulls_and_reconciles_and_a_second_call_starts_no_second(
    cron: Service, key: ProviderKey, engine: sa.Engine, environ: Mapping[str, str]
) -> None:
    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(lambda _: _call(cron, json={"days": 1}), range(2))
    assert {one.status_code, other.status_code} == {200, 202}
    assert one.json()["runs"] == other.json()["runs"]
    [run] = one.json()["runs"]
    assert (run["key"], run["firstDay"], run["lastDay"]) == (key.slug, "2025-03-11", "2025-03-12")
    with _instance(environ) as instance:
        assert _finished(instance, run["runId"]).status is dg.DagsterRunStatus.SUCCESS
        reconciled = dg.AssetKey("reconciled_usage")
        _until(lambda: instance.get_materialized_partitions(reconciled) == {"2025-03-11", "2025-03-12"})
    with engine.connect() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM pulls WHERE complete")).scalar_one() > 0
        assert connection.execute(sa.text("SELECT count(*) FROM reconciled_usage")).scalar_one() > 0


def test_where_a_daemon_lives_its_queue_takes_the_runs_and_without_it_they_are_ended(
    cron: Service, key: ProviderKey, engine: sa.Engine, environ: Mapping[str, str]
) -> None:
    with _instance(environ) as instance:
        _let_a_daemon_live(instance, time.time())
        answer = _call(cron)
        assert answer.status_code == 202
        [run] = answer.json()["runs"]
        assert (run["firstDay"], run["lastDay"]) == ("2025-03-08", "2025-03-12")  # the look-back and the open day
        queued = instance.get_run_by_id(run["runId"])
        assert queued is not None
        assert queued.status is dg.DagsterRunStatus.QUEUED
        assert queued.job_name == "pull_providers"
        assert queued.remote_job_origin is not None
        assert queued.remote_job_origin.location_name == "elsewhere"  # as the daemon knows it
        assert _call(cron).json()["runs"] == [run]
        # The daemon is gone, and no key is left that a process of our own would pull.
        _let_a_daemon_live(instance, time.time() - 3600)
        with engine.begin() as connection:
            disable_feed(connection, key.feed_id, key.slug, datetime(2025, 3, 10, tzinfo=UTC))
        assert _call(cron).json()["runs"] == []
        ended = instance.get_run_by_id(run["runId"])
        assert ended is not None
        assert ended.status is dg.DagsterRunStatus.FAILURE


def _finished(instance: dg.DagsterInstance, run_id: str) -> dg.DagsterRun:
    def over() -> bool:
        run = instance.get_run_by_id(run_id)
        return run is not None and run.is_finished

    _until(over)
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run


def _until(true: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.1)
