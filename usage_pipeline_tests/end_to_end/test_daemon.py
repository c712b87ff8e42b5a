"""The whole under ``deploy/dagster.yaml`` with its real daemon: PostgreSQL, webserver, daemon and service as processes.

One story, since the processes cost more than what they do: a key is registered and everything else follows by itself.
A worker is killed on the way, another key is refused, and a bill is wrong until it is mended.
"""

from __future__ import annotations

import os
import shutil
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import dagster as dg
import httpx
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import make_url

from usage_pipeline.ledger.server import connect_engine
from usage_pipeline_tests.alerts.loopback import LoopbackReceiver, receiving
from usage_pipeline_tests.end_to_end.canaries import Canaries
from usage_pipeline_tests.end_to_end.processes import CHECKOUT, Processes, free_port, processes
from usage_pipeline_tests.scripted.account import ScriptedAccount
from usage_pipeline_tests.scripted.request import Query
from usage_pipeline_tests.scripted.server import serving

KEY, DEAD_KEY = "acme.openai.main", "acme.anthropic.dead"
SECRET = "zqsealed-quiet-canary-of-openai"
DEAD_SECRET = "zqdeadkk-quiet-canary-of-anthropic"
CRON_SECRET = "zqcronnn-quiet-canary-of-a-clock"
OVERCHARGED = Decimal("1.3")


@dataclass
class HeldAccount(ScriptedAccount):
    """An account that gives no answer until it is let go."""

    asked_first: threading.Event = field(default_factory=threading.Event)
    let_go: threading.Event = field(default_factory=threading.Event)

    def answer(self, path: str, query: Query) -> tuple[int, bytes]:
        self.asked_first.set()
        self.let_go.wait(120)
        return super().answer(path, query)


@dataclass
class Deployment:
    """What runs, and where to look: Dagster's instance, the ledger, the receiver of alerts, the webserver."""

    running: Processes
    instance: dg.DagsterInstance
    ledger: sa.Engine
    told: LoopbackReceiver
    account: HeldAccount
    webserver: str
    service: str

    def runs(self, key: str, status: dg.DagsterRunStatus | None = None) -> list[dg.DagsterRun]:
        """The pulls of a key, oldest first."""
        filters = dg.RunsFilter(tags={"usage_pipeline/provider_key": key}, statuses=[status] if status else None)
        return list(reversed(self.instance.get_runs(filters)))

    def select(self, statement: str, **parameters: object) -> list[Any]:
        with self.ledger.connect() as connection:
            return list(connection.execute(sa.text(statement), parameters))

    def ask(self, query: str, **variables: object) -> Any:
        """What the webserver's GraphQL answers."""
        answer = httpx.post(f"{self.webserver}/graphql", json={"query": query, "variables": variables}, timeout=60)
        told = answer.json()
        assert "errors" not in told, told
        return told["data"]

    def noticed(self, *words: str) -> str | None:
        """The first notice that has all of these words."""
        return next((text for text in list(self.told.texts) if all(word in text for word in words)), None)


@pytest.fixture
def environ(migrated_database: str, empty_database: str, tmp_path: Path) -> dict[str, str]:
    """The environment of every process, as an operator would set it."""
    home = tmp_path / "dagster"
    home.mkdir()
    shutil.copy(CHECKOUT / "deploy" / "dagster.yaml", home)
    of_dagster = make_url(empty_database).set(drivername="postgresql+psycopg2")
    return {
        "PATH": os.environ["PATH"],
        "DAGSTER_HOME": str(home),
        "DAGSTER_POSTGRES_URL": of_dagster.render_as_string(hide_password=False),
        "USAGE_DATABASE_URL": migrated_database,
        "USAGE_HOME": str(tmp_path / "home"),
        "USAGE_SCHEDULES": "on",
        "USAGE_OPEN_DAY_CRON": "0 0 29 2 *",
        "USAGE_LOOK_BACK_CRON": "0 0 29 2 *",
        "USAGE_BACKFILL_DAYS_FIRST": "3",
        "USAGE_HTTP_ATTEMPTS": "1",
        "OPENAI_SETTLING_HOURS": "0",
        "OPENAI_ADMIN_REQUESTS_PER_MINUTE": "0",
        "CRON_SECRET": CRON_SECRET,
        "ANTHROPIC_ADMIN_KEY": DEAD_SECRET,
    }


@pytest.fixture
def deployment(
    environ: dict[str, str], migrated_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Deployment]:
    """Everything running, and a provider whose account is known by its secret."""
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", environ["DAGSTER_POSTGRES_URL"])
    ledger = connect_engine(migrated_database)
    web, service = free_port(), free_port()
    with serving() as provider, receiving() as told:
        environ["USAGE_ALERT_URLS"] = told.url
        environ["USAGE_DAGSTER_URL"] = f"http://127.0.0.1:{web}"
        account = HeldAccount("openai", SECRET)
        provider.accounts[SECRET] = account
        with (
            processes(environ, tmp_path / "logs") as running,
            dg.DagsterInstance.from_config(environ["DAGSTER_HOME"]) as instance,
        ):
            running.start("webserver", "dagster-webserver", "-w", "workspace.yaml", "-p", str(web))
            _register(running, provider.url)  # before the daemon's first tick, since the next one is a minute later
            running.start("daemon", "dagster-daemon", "run", "-w", "workspace.yaml")
            running.start("service", "usage-pipeline", "serve", "--port", str(service))
            yield Deployment(
                running,
                instance,
                ledger,
                told,
                account,
                f"http://127.0.0.1:{web}",
                f"http://127.0.0.1:{service}",
            )
            account.let_go.set()
    ledger.dispose()


def _register(running: Processes, provider_url: str) -> None:
    running.command("workspace", "add", "acme")
    for provider, name, secret in (("openai", "main", "-"), ("anthropic", "dead", "env:ANTHROPIC_ADMIN_KEY")):
        words = ["--workspace", "acme", "--provider", provider, "--name", name, "--mode", "admin"]
        running.command("keys", "add", *words, "--secret", secret, "--base-url", provider_url, given=SECRET)


def test_a_key_a_crash_a_broken_bill_and_its_recovery_under_the_real_daemon(deployment: Deployment) -> None:
    today = datetime.now(UTC).date()
    days = [today - timedelta(days=back) for back in (2, 1)]
    for day in days:
        deployment.account.spend(datetime.combine(day, time(12), UTC), output=5_000_000)
    right_bill, broken = list(deployment.account.bills), days[-1]
    deployment.account.bills[-1] = replace(right_bill[-1], usd=right_bill[-1].usd * OVERCHARGED)

    _the_sensor_adds_the_key_and_asks_for_its_first_days(deployment)
    _a_killed_worker_is_noticed_and_tried_again(deployment)
    _its_days_are_carried_down(deployment, days)
    _the_webserver_shows_them(deployment, days)
    _the_broken_bill_trips_its_check_and_is_told(deployment, broken)

    deployment.account.bills[:] = right_bill
    _the_day_is_pulled_again_and_the_recovery_is_told(deployment, broken)
    _the_refused_key_was_told_and_not_tried_again(deployment)
    _no_secret_is_in_what_the_processes_wrote(deployment)


def _the_sensor_adds_the_key_and_asks_for_its_first_days(deployment: Deployment) -> None:
    eventually = deployment.running.eventually
    eventually("the provider is asked", deployment.account.asked_first.is_set)
    assert set(deployment.instance.get_dynamic_partitions("provider_keys")) == {KEY, DEAD_KEY}
    (run,) = deployment.runs(KEY)
    assert run.tags["dagster/sensor_name"] == "new_provider_keys"


def _a_killed_worker_is_noticed_and_tried_again(deployment: Deployment) -> None:
    eventually = deployment.running.eventually
    (killed,) = deployment.runs(KEY)
    os.kill(_worker_of(deployment.instance, killed.run_id), signal.SIGKILL)
    eventually(
        "the killed run is noticed",
        lambda: [run.run_id for run in deployment.runs(KEY, dg.DagsterRunStatus.FAILURE)] == [killed.run_id],
    )
    deployment.account.let_go.set()
    (again,) = eventually(
        "the killed run is tried again, and has a slot", lambda: deployment.runs(KEY, dg.DagsterRunStatus.SUCCESS)
    )
    assert again.parent_run_id == killed.run_id
    assert again.tags["dagster/retry_number"] == "1"


def _worker_of(instance: dg.DagsterInstance, run_id: str) -> int:
    """The process of a run, as it says itself."""
    for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.ENGINE_EVENT):
        event = entry.dagster_event
        if event is not None and (event.message or "").startswith("Started process for run"):
            return int(str(event.engine_event_data.metadata["pid"].value))
    raise AssertionError("the run's process has not said which it is")


def _its_days_are_carried_down(deployment: Deployment, days: list[date]) -> None:
    counted = "SELECT DISTINCT day FROM reconciled_usage JOIN reconciliations USING (reconciliation_id)"
    deployment.running.eventually(
        "its days are reconciled", lambda: {row.day for row in deployment.select(counted)} >= set(days)
    )


def _the_webserver_shows_them(deployment: Deployment, days: list[date]) -> None:
    made = """query($asset: AssetKeyInput!) { assetNodeOrError(assetKey: $asset) {
        ... on AssetNode { assetMaterializations(limit: 50) { partition } } } }"""

    def partitions(asset: str) -> set[str]:
        found = deployment.ask(made, asset={"path": [asset]})["assetNodeOrError"]
        return {one["partition"] for one in found["assetMaterializations"]}

    def listening() -> bool:
        try:
            return httpx.get(f"{deployment.webserver}/server_info", timeout=5).is_success
        except httpx.TransportError:
            return False

    deployment.running.eventually("the webserver answers", listening)
    assert partitions("raw_provider_pulls") >= {f"{day}|{KEY}" for day in days}
    deployment.running.eventually(
        "the reconciled days are materialised", lambda: partitions("reconciled_usage") >= {str(day) for day in days}
    )


def _the_broken_bill_trips_its_check_and_is_told(deployment: Deployment, broken: date) -> None:
    evaluation = deployment.running.eventually(
        "the check of the bill fails", lambda: _newest_verdict(deployment, broken, success=False)
    )
    assert evaluation["severity"] == "WARN"
    notice = deployment.running.eventually(
        "the alert arrives", lambda: deployment.noticed("[warning] parity_exceeded", "bill_differs_from_usage")
    )
    for told in (f"{broken}", "65", "50", "To do: usage-pipeline report", f"See: {deployment.webserver}/assets/"):
        assert told in notice


def _newest_verdict(deployment: Deployment, day: date, *, success: bool) -> dict[str, Any] | None:
    """What the webserver shows as the check's newest verdict on the day, if that is ``success``."""
    query = """query($asset: AssetKeyInput!) { assetCheckExecutions(assetKey: $asset,
        checkName: "bill_matches_usage", limit: 50) { evaluation { success severity partition timestamp } } }"""
    executions = deployment.ask(query, asset={"path": ["reconciled_usage"]})["assetCheckExecutions"]
    verdicts = [one["evaluation"] for one in executions if one["evaluation"]]
    of_day = [verdict for verdict in verdicts if verdict["partition"] == str(day)]
    newest = max(of_day, key=lambda verdict: verdict["timestamp"], default=None)
    return newest if newest and newest["success"] is success else None


def _the_day_is_pulled_again_and_the_recovery_is_told(deployment: Deployment, broken: date) -> None:
    deployment.running.command("backfill", "--from", f"{broken}", "--to", f"{broken}", "--key", KEY)
    assert _newest_verdict(deployment, broken, success=True)
    started = _cron_starts_runs_in_the_daemons_queue(deployment)
    notice = deployment.running.eventually(
        "the recovery arrives", lambda: deployment.noticed("[recovered] parity_exceeded", "bill_differs_from_usage")
    )
    assert f"{broken}" in notice
    assert not deployment.select(
        "SELECT 1 FROM findings WHERE code = 'bill_differs_from_usage' AND closed_at IS NULL AND day = :day", day=broken
    )
    ended = deployment.running.eventually("the runs of cron end", lambda: _ended(deployment.instance, started))
    assert ended == {KEY: dg.DagsterRunStatus.SUCCESS, DEAD_KEY: dg.DagsterRunStatus.FAILURE}


def _cron_starts_runs_in_the_daemons_queue(deployment: Deployment) -> dict[str, str]:
    """The runs' ids by key."""
    answer = httpx.post(
        f"{deployment.service}/api/cron/ingest?days=1", headers={"Authorization": f"Bearer {CRON_SECRET}"}, timeout=60
    )
    assert answer.status_code == 202, answer.text
    return {run["key"]: run["runId"] for run in answer.json()["runs"]}


def _ended(instance: dg.DagsterInstance, started: dict[str, str]) -> dict[str, dg.DagsterRunStatus] | None:
    """How the runs ended, by key, if all of them have."""
    runs = {key: instance.get_run_by_id(run_id) for key, run_id in started.items()}
    ended = {key: run.status for key, run in runs.items() if run is not None and run.is_finished}
    return ended if ended.keys() == started.keys() else None


def _the_refused_key_was_told_and_not_tried_again(deployment: Deployment) -> None:
    assert deployment.noticed("[error] key_refused", DEAD_KEY, f"usage-pipeline keys rotate {DEAD_KEY}")
    runs = deployment.runs(DEAD_KEY)
    assert {run.status for run in runs} == {dg.DagsterRunStatus.FAILURE}
    assert [run.parent_run_id for run in runs] == [None, None]  # the sensor's and the cron's, no retry of either


def _no_secret_is_in_what_the_processes_wrote(deployment: Deployment) -> None:
    canaries = Canaries({"provider key": SECRET, "referenced key": DEAD_SECRET, "cron": CRON_SECRET})
    of_dagster = sa.create_engine(deployment.running.environ["DAGSTER_POSTGRES_URL"])
    for database in (deployment.ledger, of_dagster):
        canaries.look_at_database(database)
    of_dagster.dispose()
    canaries.look_at_instance(deployment.instance)
    for name in ("daemon", "webserver", "service"):
        canaries.look(f"log: {name}", deployment.running.output(name))
    for path in Path(deployment.running.environ["DAGSTER_HOME"]).rglob("*.err"):
        canaries.look(f"log: {path.name}", path.read_bytes())
    canaries.look("alert", deployment.told.got)
    assert canaries.looked_at["event"]
    assert canaries.looked_at["log"]
    assert not canaries.found, "\n".join(canaries.found)
