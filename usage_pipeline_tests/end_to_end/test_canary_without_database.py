"""Where the ledger or Dagster's storage cannot be reached, what is said of it shows no password."""

from __future__ import annotations

import os
import traceback

import pytest
from starlette.testclient import TestClient

from usage_pipeline.errors import UsagePipelineError
from usage_pipeline.service.app import build_app
from usage_pipeline.service.runtime import open_service_runtime
from usage_pipeline_tests.end_to_end.canaries import Canaries
from usage_pipeline_tests.end_to_end.installation import DAY, Installation


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
