"""An installation with a canary in every secret, registered and ready to be used. At the end nothing may show one."""

from __future__ import annotations

import base64
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import pytest
from sqlalchemy.engine import make_url

from usage_pipeline.sandbox import SandboxServer, World
from usage_pipeline.sandbox.faces import face_named
from usage_pipeline.telemetry import logs, redaction
from usage_pipeline_tests.alerts.loopback import receiving
from usage_pipeline_tests.end_to_end.canaries import Canaries
from usage_pipeline_tests.end_to_end.echoing import echoing
from usage_pipeline_tests.end_to_end.installation import NOW, PULLED, Installation

ENCRYPTION_KEY = b"zqkeyring-quiet-canary-of-a-ring"
OTHER_ENCRYPTION_KEY = b"zqnewring-quiet-canary-of-a-ring"


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
