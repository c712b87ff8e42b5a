"""A canary in every secret is nowhere to be seen after runs that succeed and runs that fail in every way we know.

Everything runs in this process as it does in an operator's, through the commands, Dagster and the service; the real
database, sandbox and receivers are behind them. What a process writes is read at its file descriptors.
"""

from __future__ import annotations

import base64
import gzip
import logging
import os
import tarfile
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import zstandard
from sqlalchemy.engine import make_url
from starlette.testclient import TestClient
from typer.testing import CliRunner

from usage_pipeline.cli.app import app
from usage_pipeline.definitions import defs
from usage_pipeline.errors import UsagePipelineError
from usage_pipeline.ledger.server import connect_engine
from usage_pipeline.orchestration.alerts import alerts
from usage_pipeline.orchestration.partitions import KeyDay, partition_key
from usage_pipeline.orchestration.resources import RuntimeResource
from usage_pipeline.orchestration.run_tags import FROM_COMMAND
from usage_pipeline.sandbox import Fault, FaultKind, SandboxServer, World, hermes_payload
from usage_pipeline.sandbox.faces import face_named
from usage_pipeline.service.app import build_app
from usage_pipeline.service.runtime import open_service_runtime
from usage_pipeline.stages import open_runtime, pull_days
from usage_pipeline.telemetry import logs, redaction
from usage_pipeline_tests.alerts.loopback import LoopbackReceiver, receiving
from usage_pipeline_tests.end_to_end.canaries import Canaries
from usage_pipeline_tests.end_to_end.echoing import ECHOES, TRIED_AGAIN, EchoingProvider, echoing

NOW = datetime(2025, 3, 12, 12, tzinfo=UTC)
DAY = date(2025, 3, 10)
ENCRYPTION_KEY = b"zqkeyring-quiet-canary-of-a-ring"
OTHER_ENCRYPTION_KEY = b"zqnewring-quiet-canary-of-a-ring"
PULLED = ("anthropic", "litellm", "openai", "openrouter")

OF_A_KIND: Mapping[FaultKind, list[dict[str, Any]]] = {
    FaultKind.STATUS: [{"status": status} for status in (401, 403, 500)] + [{"status": 429, "retry_after": "3600"}],
    FaultKind.SLOW: [{"delay_s": 1.5, "times": 1}],
    FaultKind.EMPTY_PAGE: [{"times": 5}],  # for ever, it is ten thousand pages
}
"""What a kind needs beyond its name; a new kind joins by itself."""
FAULTS = [Fault(kind, **{"times": None, **more}) for kind in FaultKind for more in OF_A_KIND.get(kind, [{}])]


@dataclass
class Installation:
    """The product with a canary in every secret: its environment is this process's own."""

    canaries: Canaries
    instance: dg.DagsterInstance
    sandbox: SandboxServer
    echo: EchoingProvider
    receiver: LoopbackReceiver
    folder: Path
    written: pytest.CaptureFixture[str]
    failures: int = 0
    successes: int = 0

    def command(self, *words: str, given: str | bytes | None = None, shows: str | None = None) -> str:
        """Run a command and look at what it said; ``shows`` is the one text that it is there to print."""
        result = CliRunner().invoke(app, words, input=given, prog_name="usage-pipeline")
        said = result.stdout.replace(shows, "") if shows else result.stdout
        self.canaries.look(f"command: {' '.join(words)}", said + result.stderr)
        if result.exception is not None:
            self.canaries.look(f"exception: {' '.join(words)}", "".join(traceback.format_exception(result.exception)))
        return result.stdout

    def run(self, assets: list[str], first: str, last: str) -> bool:
        """Run assets with their checks over a range of partitions, as Dagster's worker does."""
        tags = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}
        result = defs.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=self.instance,
            asset_selection=[dg.AssetKey(name) for name in assets],
            tags={**tags, FROM_COMMAND: "true"},
            raise_on_error=False,
        )
        self.successes, self.failures = self.successes + result.success, self.failures + (not result.success)
        return result.success

    def pull(self, *keys: str, days: int = 1) -> bool:
        """Pull keys, which stand side by side, in one run."""
        last = DAY + timedelta(days=days - 1)
        first_cell, last_cell = KeyDay(DAY, keys[0]), KeyDay(last, keys[-1])
        return self.run(["raw_provider_pulls"], partition_key(first_cell), partition_key(last_cell))

    def tick(self) -> None:
        """Evaluate the sensor of the alerts as the daemon does."""
        with open_runtime(os.environ) as runtime:
            context = dg.build_sensor_context(
                self.instance,
                repository_def=defs.get_repository_def(),
                resources={"runtime": RuntimeResource(runtime)},
            )
            try:
                self.canaries.look("tick", str(alerts.evaluate_tick(context)))
            except dg.Failure as error:
                self.canaries.look("exception: tick", "".join(traceback.format_exception(error)))


@pytest.fixture
def canaries() -> Canaries:
    """One for each secret that an operator has."""
    found = Canaries(
        {
            "openai": "zqsealed-quiet-canary-of-openai",
            "anthropic": "zqbyname-quiet-canary-of-anthropic",
            "openrouter": "zqinfile-quiet-canary-of-openrouter",
            "litellm": "zqproxyy-quiet-canary-of-litellm",
            "echoed": "zqechoed-quiet-canary-of-a-gateway",
            "wrong": "zqwrongg-quiet-canary-of-nobody",
            "cron": "zqcronnn-quiet-canary-of-a-clock",
            "metrics": "zqscrape-quiet-canary-of-prometheus",
            "alerts": "zqalerts-quiet-canary-of-a-receiver",
            "database": "zqdataba-quiet-canary-of-postgresql",
            "dagster": "zqdagste-quiet-canary-of-postgresql",
        }
    )
    for name, key in (("encryption key", ENCRYPTION_KEY), ("new encryption key", OTHER_ENCRYPTION_KEY)):
        found.add(name, base64.b64encode(key).decode(), key)
    return found


@pytest.fixture
def installed(
    canaries: Canaries,
    migrated_database: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> Iterator[Installation]:
    """Four keys against the sandbox, one against a provider that repeats it, and every setting that is a secret."""
    caplog.set_level(logging.INFO)
    grants = {name: face_named(name).default_keys for name in PULLED}
    keys = {name: {canaries[name]: next(iter(granted.values()))} for name, granted in grants.items()}
    with (
        SandboxServer(World(7, NOW), keys=keys) as sandbox,
        echoing() as echo,
        receiving() as receiver,
        dg.DagsterInstance.ephemeral() as instance,
        _logging_as_before(),
    ):
        secret_file = tmp_path / "openrouter.secret"
        secret_file.write_text(canaries["openrouter"])
        secret_file.chmod(0o600)
        for name, value in {
            "USAGE_DATABASE_URL": _with_password(migrated_database, canaries["database"]),
            "USAGE_HOME": str(tmp_path / "home"),
            "USAGE_NOW": NOW.isoformat(),
            "USAGE_HTTP_ATTEMPTS": "1",
            "USAGE_LOG_LEVEL": "debug",
            "USAGE_LOG_FORMAT": "json",
            "USAGE_ENCRYPTION_KEYS": f"old:{canaries['encryption key']}",
            "USAGE_ALERT_URLS": f"json://ops:{canaries['alerts']}@127.0.0.1:{receiver.port}/notices",
            "CRON_SECRET": canaries["cron"],
            "USAGE_METRICS_TOKEN": canaries["metrics"],
            "THE_ANTHROPIC_ONE": canaries["anthropic"],
            "THE_LITELLM_ONE": canaries["litellm"],
            **{f"{name.upper()}_ADMIN_REQUESTS_PER_MINUTE": "0" for name in PULLED},
        }.items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("DAGSTER_HOME", raising=False)
        made = Installation(canaries, instance, sandbox, echo, receiver, tmp_path, capfd)
        _register(made, secret_file)
        yield made
    written = capfd.readouterr()
    canaries.look("log: standard output", written.out)
    canaries.look("log: standard error", written.err)
    canaries.look("log: every logger", caplog.text)
    assert not canaries.found, "\n".join(canaries.found)


def _with_password(url: str, password: str) -> str:
    """The URL with the canary as its password, which the embedded server does not ask for."""
    parts = make_url(url)
    return (parts if parts.password else parts.set(password=password)).render_as_string(hide_password=False)


@contextmanager
def _logging_as_before() -> Iterator[None]:
    """Leave the process's loggers and what it remembers of secrets as they were."""
    named = [logging.getLogger(name) for name in (logs.ROOT, "uvicorn")]
    before = [(list(logger.handlers), logger.level, logger.propagate) for logger in named]
    remembered = dict(redaction._remembered)
    yield
    redaction._remembered.clear()
    redaction._remembered.update(remembered)
    for logger, (handlers, level, propagate) in zip(named, before, strict=True):
        logger.handlers[:], logger.propagate = handlers, propagate
        logger.setLevel(level)


def _register(made: Installation, secret_file: Path) -> None:
    made.command("workspace", "add", "acme")
    secrets = {"openai": "-", "anthropic": "env:THE_ANTHROPIC_ONE", "litellm": "env:THE_LITELLM_ONE"}
    for provider in PULLED:
        source = secrets.get(provider, f"file:{secret_file}")
        _add_key(made, provider, "main", source, made.sandbox.base_url(provider), made.canaries["openai"])
    for provider in ("anthropic", "openai"):
        _add_key(made, provider, "echo", "-", made.echo.url, made.canaries["echoed"])
    slugs = [*(f"acme.{provider}.main" for provider in PULLED), "acme.anthropic.echo", "acme.openai.echo"]
    made.instance.add_dynamic_partitions("provider_keys", slugs)


def _add_key(made: Installation, provider: str, name: str, source: str, base_url: str, secret: str) -> None:
    words = ["--workspace", "acme", "--provider", provider, "--name", name, "--mode", "admin", "--base-url", base_url]
    made.command("keys", "add", *words, "--secret", source, given=secret if source == "-" else None)


def test_no_secret_is_seen_anywhere_after_every_success_and_every_failure(installed: Installation) -> None:
    token = _issue_token(installed)
    _pulls_under_every_fault(installed)
    _pulls_of_a_provider_that_repeats_the_key(installed)
    _pulls_with_secrets_that_do_not_open_or_work(installed)
    _days_that_succeed(installed)
    _every_request_to_the_service(installed, token)
    _alerts_that_are_taken_and_not(installed)
    _every_command_that_tells_something(installed)
    _a_backup(installed)

    engine = connect_engine(os.environ["USAGE_DATABASE_URL"])
    installed.canaries.look_at_database(engine)
    engine.dispose()
    installed.canaries.look_at_instance(installed.instance)
    installed.canaries.look("alert", installed.receiver.got)
    assert installed.receiver.got
    assert installed.failures >= len(FAULTS) // 2 + len(ECHOES)
    assert installed.successes >= 2
    looked = installed.canaries.looked_at
    assert {"table", "run", "event", "snapshot", "exception", "answer", "command", "alert", "backup", "tick"} <= {
        kind for kind, characters in looked.items() if characters > 100
    }, looked


def _issue_token(made: Installation) -> str:
    """A feed's token, a canary from here on; the one command that prints it may."""
    printed = CliRunner().invoke(
        app, ["hermes", "add-feed", "--workspace", "acme", "--label", "laptop", "--environment", "production"]
    )
    (token,) = [word for word in printed.stdout.split() if word.startswith("uph_")]
    made.canaries.add("ingest token", token.rpartition("_")[2])
    return token


def _pulls_under_every_fault(made: Installation) -> None:
    slugs = [f"acme.{provider}.main" for provider in PULLED]
    for number, fault in enumerate(FAULTS):
        made.sandbox.switch(faults=[fault])
        with pytest.MonkeyPatch.context() as impatient:
            if fault.kind is FaultKind.SLOW:
                impatient.setenv("USAGE_HTTP_TIMEOUT_SECONDS", "1")
            made.pull(*slugs)
        if number % 3 == 0:
            made.command("keys", "test", slugs[number // 3 % len(slugs)])
    made.sandbox.switch(faults=[])


def _pulls_of_a_provider_that_repeats_the_key(made: Installation) -> None:
    slugs = ["acme.anthropic.echo", "acme.openai.echo"]
    for made.echo.echo in ECHOES:
        under_dagster, alone = slugs
        assert not made.pull(under_dagster), made.echo.echo
        if made.echo.echo not in TRIED_AGAIN:
            made.command("keys", "test", under_dagster)
        with open_runtime(os.environ) as runtime, pytest.raises(UsagePipelineError) as raised:
            pull_days(runtime, alone, DAY, DAY + timedelta(days=1))
        made.canaries.look(f"exception: {made.echo.echo}", "".join(traceback.format_exception(raised.value)))
        made.canaries.look(f"exception: {made.echo.echo}", repr(raised.value.__dict__))
        slugs.reverse()
    for made.echo.echo in ("HTTP 401", "HTTP 400 escaped", "a key of its own"):
        made.command("names", "refresh")


def _pulls_with_secrets_that_do_not_open_or_work(made: Installation) -> None:
    main = "acme.openai.main"
    made.command("keys", "rotate", main, "--secret", "-", given=made.canaries["wrong"])
    assert not made.pull(main)
    made.command("keys", "rotate", main, "--secret", "-", given=made.canaries["openai"])
    with pytest.MonkeyPatch.context() as other:
        other.setenv("THE_ANTHROPIC_ONE", made.canaries["wrong"])
        assert not made.pull("acme.anthropic.main")
        other.delenv("THE_ANTHROPIC_ONE")
        assert not made.pull("acme.anthropic.main")
        other.setenv("THE_LITELLM_ONE", f"{made.canaries['wrong']}\u2028")
        assert not made.pull("acme.litellm.main")
        for ring in ("another:{}", "old:{}"):
            other.setenv("USAGE_ENCRYPTION_KEYS", ring.format(made.canaries["new encryption key"]))
            assert not made.pull(main)
        for ring in ("old:{}=", "{}", "old:{0},old:{0}", "old={}", "old:{}\u2028"):
            other.setenv("USAGE_ENCRYPTION_KEYS", ring.format(made.canaries["new encryption key"]))
            made.command("keys", "rotate", "--encryption-key")
        ring = f"new:{made.canaries['new encryption key']},old:{made.canaries['encryption key']}"
        other.setenv("USAGE_ENCRYPTION_KEYS", ring)
        made.command("keys", "rotate", "--encryption-key")
        assert made.pull(main)
        other.setenv("USAGE_ENCRYPTION_KEYS", f"{ring.partition(',')[2]},{ring.partition(',')[0]}")
        made.command("keys", "rotate", "--encryption-key")
    add = ("keys", "add", "--workspace", "acme", "--provider", "openai", "--name", "x", "--mode", "admin")
    for words in (add, ("keys", "rotate", main)):
        for pasted in ("{}", "vault:{}", "file:{}"):  # instead of a reference
            made.command(*words, f"--secret={pasted.format(made.canaries['wrong'])}")


def _days_that_succeed(made: Installation) -> None:
    for provider in PULLED:
        assert made.pull(f"acme.{provider}.main", days=2), provider
    days = [(DAY + timedelta(days=n)).isoformat() for n in range(2)]
    assert made.run(["hermes_rollups", "usage_events", "billed_costs", "reconciled_usage"], days[0], days[-1])
    made.command("names", "refresh")


def _every_request_to_the_service(made: Installation, token: str) -> None:
    canaries, environ = made.canaries, {**os.environ, "USAGE_ADMIN_INGESTION_ENABLED": "off"}
    secrets = {**canaries.secrets, "token": token, "half a token": f"{token[:30]}", "other": token[:-1] + "z"}
    credentials = [None, "Bearer", "Bearer  a b", "Basic Og==", "\u00e9".encode("latin-1")]
    credentials += [f"Bearer {secret}" for secret in secrets.values()]
    credentials += [f"Basic {base64.b64encode(f'ops:{secret}'.encode()).decode()}" for secret in secrets.values()]
    bodies: list[tuple[bytes, dict[str, str]]] = [
        (b"", {}),
        (b'{"version": 2', {}),
        (b"\xff\x00", {"Content-Encoding": "gzip"}),
        (gzip.compress(b"[]"), {"Content-Encoding": "gzip"}),
    ]
    service = build_app(lambda: open_service_runtime(environ))
    statuses: set[int] = set()
    with TestClient(service, raise_server_exceptions=False) as client:

        def ask(method: str, path: str, credential: Any, body: bytes, headers: dict[str, str]) -> None:
            given = {} if credential is None else {"Authorization": credential}
            answer = client.request(method, path, content=body, headers={**headers, **given})
            canaries.look(f"answer: {method} {path}", answer.content + str(answer.headers.multi_items()).encode())
            statuses.add(answer.status_code)

        routes = sorted({route.path for route in service.routes if hasattr(route, "path")})
        guarded = {"/metrics", "/api/cron/ingest", "/api/ingest/hermes-usage"}
        assert guarded | {"/openapi.json"} <= set(routes)
        for path in [*routes, f"/{canaries['cron']}", f"/api/cron/ingest?token={canaries['cron']}&days={token}"]:
            for method in ("GET", "POST"):
                for credential in credentials if path in guarded else credentials[:8]:
                    ask(method, path, credential, b"", {"X-Api-Key": canaries["cron"]})
            for right in (token, canaries["cron"], canaries["metrics"]):
                for body, headers in bodies if path in guarded else []:
                    ask("POST", path, f"Bearer {right}", body, headers)
        accepted = hermes_payload(made.sandbox.world, NOW, 3)
        answer = client.post("/api/ingest/hermes-usage", json=accepted, headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 200
        metrics = client.get("/metrics", headers={"Authorization": f"Bearer {canaries['metrics']}"})
        assert "ingestion_runs_total" in metrics.text
    assert {200, 400, 401, 404, 405} <= statuses


def _alerts_that_are_taken_and_not(made: Installation) -> None:
    made.tick()
    made.command("alerts", "test")
    address = f"{made.canaries['alerts']}@127.0.0.1:{made.receiver.port}"
    made.receiver.status = 500
    with pytest.MonkeyPatch.context() as other:
        for urls in (
            f"json://ops:{address}/again",
            f"json://ops:{made.canaries['alerts']}@127.0.0.1:1/nobody",
            f"slack://{made.canaries['alerts']}",
            f"nonsense://{made.canaries['alerts']}",
            f"jsons://ops:{address}/",
        ):
            other.setenv("USAGE_ALERT_URLS", urls)
            made.tick()
            made.command("alerts", "test")
    made.receiver.status = 200


def _every_command_that_tells_something(made: Installation) -> None:
    day, key = DAY.isoformat(), "acme.openai.main"
    for words in (
        ["keys", "list"],
        ["keys", "show", key],
        ["keys", "test", key],
        ["names", "list"],
        ["hermes", "list"],
        ["hermes", "show", "acme.laptop"],
        ["hermes", "refused"],
        ["runs"],
        ["audit"],
        ["alerts", "list", "--all"],
        ["report", "--from", day, "--to", day],
        ["bills", "--from", day, "--to", day],
        ["findings", "list"],
        ["workspace", "list"],
        ["prices", "list"],
        ["retention"],
        ["db", "status"],
        ["db", "current"],
    ):
        made.command(*words)
        made.command(*words, "--json")


def _a_backup(made: Installation) -> None:
    path = made.folder / "ledger.backup"
    made.command("backup", str(path))
    made.command("backup", str(path))
    with tarfile.open(path) as archive:
        for member in archive.getmembers():
            content = archive.extractfile(member)
            assert content is not None
            made.canaries.look(f"backup: {member.name}", content.read())


def test_no_password_is_seen_where_a_database_cannot_be_had(
    installed: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    canaries = installed.canaries
    home = installed.folder / "dagster"
    home.mkdir()
    (home / "dagster.yaml").write_text("storage: {postgres: {postgres_url: {env: DAGSTER_POSTGRES_URL}}}\n")
    backfill = ["backfill", "--from", DAY.isoformat(), "--to", DAY.isoformat()]
    with pytest.MonkeyPatch.context() as other:
        other.setenv("DAGSTER_HOME", str(home))
        for url in ("postgresql+psycopg2://dagster:{}@127.0.0.1:1/dagster", "{}"):  # Dagster tries for ten seconds
            other.setenv("DAGSTER_POSTGRES_URL", url.format(canaries["dagster"]))
            installed.command(*backfill)
    commands = (["keys", "list"], ["db", "upgrade"], ["runs"], ["backup", str(installed.folder / "b")], backfill)
    for number, url in enumerate(
        (
            "postgresql://usage:{}@127.0.0.1:1/usage",
            "postgresql://usage:{}@127.0.0.1:port/usage",
            "postgresql://usage:{}@127.0.0.1/usage?password={}&nonsense={}",
            "postgres:usage:{}@127.0.0.1",
            "{}",
        )
    ):
        monkeypatch.setenv("USAGE_DATABASE_URL", url.format(*[canaries["database"]] * 3))
        installed.command(*commands[number])
        assert not installed.pull("acme.openai.main")
        _a_service_without_a_database(canaries)
    canaries.look_at_instance(installed.instance)
    assert {"command", "exception", "event"} <= canaries.looked_at.keys()


def _a_service_without_a_database(canaries: Canaries) -> None:
    try:
        with TestClient(build_app(lambda: open_service_runtime(os.environ))) as client:
            for path in ("/readyz", "/metrics"):
                answer = client.get(path, headers={"Authorization": f"Bearer {canaries['metrics']}"})
                assert answer.status_code == 503
                canaries.look(f"answer: {path}", answer.content)
    except UsagePipelineError as error:
        canaries.look("exception: serve", "".join(traceback.format_exception(error)))


def test_a_canary_is_found_wherever_it_is_put(installed: Installation, migrated_database: str) -> None:
    secret = "zqplanted-quiet-canary-of-the-test"
    planted = Canaries({"planted": secret})
    packed = zstandard.compress(f'{{"echo": "{secret}"}}'.encode())
    engine = connect_engine(migrated_database)
    with engine.begin() as connection:
        for statement in (
            "CREATE TABLE canary_text (a text)",
            "CREATE TABLE canary_json (a jsonb)",
            "CREATE TABLE canary_bytes (a bytea)",
            "CREATE TABLE canary_packed (a bytea)",
        ):
            connection.exec_driver_sql(statement)
        connection.exec_driver_sql("INSERT INTO canary_text VALUES (%s)", (f"said {secret[:9]}",))
        connection.exec_driver_sql("INSERT INTO canary_json VALUES (jsonb_build_object('a', %s::text))", (secret,))
        connection.exec_driver_sql(
            "INSERT INTO canary_bytes VALUES (%s)", (base64.b64encode(b"x" * 3 + secret.encode()),)
        )
        connection.exec_driver_sql("INSERT INTO canary_packed VALUES (%s)", (packed,))
    planted.look_at_database(engine)
    engine.dispose()
    assert {found.partition(".")[0] for found in planted.found} == {
        f"planted in table: canary_{of}" for of in ("bytes", "json", "packed", "text")
    }

    @dg.op
    def says() -> None:
        raise ValueError(secret)

    @dg.job(tags={"of": secret})
    def telling() -> None:
        says()

    planted.found.clear()
    telling.execute_in_process(instance=installed.instance, raise_on_error=False)
    planted.look_at_instance(installed.instance)
    assert any("in event: " in found for found in planted.found)
    assert any("in run: " in found for found in planted.found)
