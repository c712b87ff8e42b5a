"""A canary in every secret is nowhere to be seen after runs that succeed and runs that fail in every way we know."""

from __future__ import annotations

import base64
import gzip
import os
import tarfile
import traceback
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from starlette.testclient import TestClient
from typer.testing import CliRunner

from usage_pipeline.cli.app import app
from usage_pipeline.errors import UsagePipelineError
from usage_pipeline.ledger.server import connect_engine
from usage_pipeline.sandbox import Fault, FaultKind, hermes_payload
from usage_pipeline.service.app import build_app
from usage_pipeline.service.runtime import open_service_runtime
from usage_pipeline.stages import open_runtime, pull_days
from usage_pipeline_tests.end_to_end.echoing import ECHOES, TRIED_AGAIN
from usage_pipeline_tests.end_to_end.installation import DAY, NOW, PULLED, Installation

OF_A_KIND: Mapping[FaultKind, list[dict[str, Any]]] = {
    FaultKind.STATUS: [{"status": status} for status in (401, 403, 500)] + [{"status": 429, "retry_after": "3600"}],
    FaultKind.SLOW: [{"delay_s": 1.5, "times": 1}],
    FaultKind.EMPTY_PAGE: [{"times": 5}],  # for ever, it is ten thousand pages
}
"""What a kind needs beyond its name; a new kind joins by itself."""
FAULTS = [Fault(kind, **{"times": None, **more}) for kind in FaultKind for more in OF_A_KIND.get(kind, [{}])]


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
