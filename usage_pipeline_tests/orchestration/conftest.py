"""The pipeline as Dagster runs it: a real database, a sandbox provider over HTTP, and an instance in memory.

The sandbox's present is a day of the past, so that each of its days is a partition whenever the tests run.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from sqlalchemy import Connection, text

from usage_pipeline.definitions import build_defs
from usage_pipeline.hermes.inbox import receive
from usage_pipeline.ledger.hermes_feeds import add_hermes_feed
from usage_pipeline.ledger.provider_keys import NewProviderKey, add_provider_key
from usage_pipeline.ledger.workspaces import Workspace, add_workspace
from usage_pipeline.orchestration.assets import RAW_PROVIDER_PULLS
from usage_pipeline.orchestration.instance import open_instance
from usage_pipeline.orchestration.partitions import PROVIDER_KEYS, DaySpan, day_range_tags, key_range_tags
from usage_pipeline.orchestration.resources import given
from usage_pipeline.sandbox import (
    DEFAULT_ANTHROPIC_KEY,
    DEFAULT_OPENAI_KEY,
    SandboxServer,
    World,
    hermes_payload,
)
from usage_pipeline.stages import Runtime, open_runtime

NOW = datetime(2025, 3, 12, 12, tzinfo=UTC)
FIRST_DAY = date(2025, 3, 1)
DAYS = DaySpan(FIRST_DAY, date(2025, 3, 4))
OPENAI = "acme.openai.main"
ANTHROPIC = "acme.anthropic.main"
DAY_ASSETS = ("hermes_rollups", "usage_events", "billed_costs", "reconciled_usage")


@pytest.fixture(scope="session")
def world() -> World:
    """Three weeks of two organisations."""
    return World(7, NOW)


@pytest.fixture(scope="session")
def posted(world: World) -> bytes:
    """What Hermes posts of fifteen days."""
    return json.dumps(hermes_payload(world, NOW, 15)).encode()


@pytest.fixture
def sandbox(world: World) -> Iterator[SandboxServer]:
    """Both providers' APIs on loopback."""
    with SandboxServer(world) as server:
        yield server


@pytest.fixture
def environ(migrated_database: str, tmp_path: Path) -> dict[str, str]:
    """The environment of the runs: where the store is, and the secrets that the keys refer to."""
    return {
        "USAGE_DATABASE_URL": migrated_database,
        "USAGE_HOME": str(tmp_path / "home"),
        "USAGE_HTTP_ATTEMPTS": "1",
        "OPENAI_SECRET": DEFAULT_OPENAI_KEY,
        "ANTHROPIC_SECRET": DEFAULT_ANTHROPIC_KEY,
    }


@pytest.fixture
def runtime(environ: dict[str, str], sandbox: SandboxServer, posted: bytes) -> Iterator[Runtime]:
    """A workspace with a key of each provider and a Hermes feed that has posted once."""
    with open_runtime(environ, clock=lambda: NOW) as opened:
        with opened.engine.begin() as connection:
            acme = add_workspace(connection, "acme", name=None, now=NOW)
            _add_key(connection, acme, "openai", sandbox.openai_base_url)
            _add_key(connection, acme, "anthropic", sandbox.anthropic_base_url)
            feed = add_hermes_feed(connection, acme, "laptop", "production", days_back=None, now=NOW)
            receive(connection, feed, posted, NOW)
        yield opened


def _add_key(connection: Connection, workspace: Workspace, provider: str, base_url: str) -> None:
    new = NewProviderKey(
        workspace=workspace,
        provider=provider,
        name="main",
        mode="admin",
        organization=None,
        projects=(),
        grain="1h",
        base_url=base_url,
        secret_sealed=None,
        secret_reference=f"env:{provider.upper()}_SECRET",
    )
    add_provider_key(connection, new, NOW)


@dataclass(frozen=True, slots=True)
class Pipeline:
    """The assets and checks, and the instance that remembers their runs."""

    runtime: Runtime
    defs: dg.Definitions
    instance: dg.DagsterInstance

    def run(
        self, assets: Sequence[str], tags: dict[str, str] | None = None, partition: str | None = None
    ) -> dg.ExecuteInProcessResult:
        """Run assets and their checks, over a range (``tags``) or one partition."""
        return self.defs.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=self.instance,
            asset_selection=[dg.AssetKey(name) for name in assets],
            tags=tags,
            partition_key=partition,
            raise_on_error=False,
        )

    def pull(self, key: str = OPENAI, span: DaySpan = DAYS) -> dg.ExecuteInProcessResult:
        """Pull a key's days in one run."""
        # A person waits here too: nothing is tried again after a pause.
        tags = {**key_range_tags(key, span), "usage_pipeline/from_command": "true"}
        return self.run([RAW_PROVIDER_PULLS.to_user_string()], tags)

    def process(self, span: DaySpan = DAYS, assets: Sequence[str] = DAY_ASSETS) -> dg.ExecuteInProcessResult:
        """Take days from the newest words to reconciled usage in one run."""
        return self.run(assets, day_range_tags(span))

    def whole(self, span: DaySpan = DAYS) -> None:
        """Pull both keys and process the days; everything must succeed."""
        assert self.pull(OPENAI, span).success
        assert self.pull(ANTHROPIC, span).success
        assert self.process(span).success

    def execute(self, statement: str, **parameters: Any) -> int:
        """Change stored rows behind the pipeline's back; how many were."""
        with self.runtime.engine.begin() as connection:
            return connection.execute(text(statement), parameters).rowcount

    def scalar(self, statement: str, **parameters: Any) -> Any:
        """One value of the store."""
        with self.runtime.engine.connect() as connection:
            return connection.execute(text(statement), parameters).scalar_one()


@pytest.fixture(scope="session")
def set_up_instance(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a new instance: setting one up costs more than a backfill of a day."""
    home = tmp_path_factory.mktemp("dagster-template")
    with open_instance({"USAGE_HOME": str(home)}) as instance:
        instance.get_runs()
        instance.get_dynamic_partitions("provider_keys")
    return home / "dagster"


@pytest.fixture
def instance_in_memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One instance in memory for all backfills of a test, at a third of the time: what they go by is in the store."""
    with dg.DagsterInstance.ephemeral() as instance:
        monkeypatch.setattr(
            "usage_pipeline.orchestration.backfill.open_instance", lambda _environ: nullcontext(instance)
        )
        yield


@pytest.fixture
def pipeline(runtime: Runtime) -> Iterator[Pipeline]:
    """The pipeline with both keys known as partitions."""
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(PROVIDER_KEYS.name or "", [OPENAI, ANTHROPIC])
        yield Pipeline(runtime, build_defs(given(runtime)), instance)


def day(number: int) -> date:
    """The day of that number, from 0, of the days that the tests pull."""
    return FIRST_DAY + timedelta(days=number)
