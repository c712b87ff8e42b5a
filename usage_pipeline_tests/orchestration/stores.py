"""A store as backfills find it: migrated, with a key of each provider whose API the sandbox plays."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

from sqlalchemy import Connection

import usage_pipeline
from usage_pipeline.ledger.backfills import unfinished_backfills
from usage_pipeline.ledger.provider_keys import NewProviderKey, add_provider_key
from usage_pipeline.ledger.workspaces import Workspace, add_workspace
from usage_pipeline.orchestration.backfill import resume_backfill, run_backfill
from usage_pipeline.orchestration.backfill_outcome import BackfillOutcome
from usage_pipeline.orchestration.partitions import PULL_DAYS_MAX
from usage_pipeline.sandbox import SandboxServer
from usage_pipeline.settings import Settings
from usage_pipeline.stages import Runtime, open_runtime
from usage_pipeline_tests.orchestration.conftest import NOW

CHECKOUT = Path(usage_pipeline.__file__).parents[1]


@contextmanager
def store_on(environ: dict[str, str], instance: Path, sandbox: SandboxServer, grain: str = "1d") -> Iterator[Store]:
    """A migrated store with a key of each provider, on a copy of Dagster's instance, as of the sandbox's present."""
    shutil.copytree(instance, Path(environ["USAGE_HOME"]) / "dagster")
    environ["USAGE_NOW"] = f"{NOW:%Y-%m-%dT%H:%M:%SZ}"
    with open_runtime(environ) as runtime:
        with runtime.engine.begin() as connection:
            acme = add_workspace(connection, "acme", name=None, now=NOW)
            for provider, url in (("openai", sandbox.openai_base_url), ("anthropic", sandbox.anthropic_base_url)):
                _add_key(connection, acme, provider, url, grain)
        yield Store(environ, runtime)


class Store:
    """A store's backfills, in this process or as the real command."""

    def __init__(self, environ: dict[str, str], runtime: Runtime) -> None:
        self.environ, self.runtime = environ, runtime
        self.progress: list[str] = []
        self.stop_before: str | None = None

    def run(self, first: date, end: date, *keys: str) -> BackfillOutcome:
        return run_backfill(self._settings(), self.environ, first, end, keys, self._told)

    def resume(self) -> BackfillOutcome:
        return resume_backfill(self._settings(), self.environ, self._told)

    def _settings(self) -> Settings:
        return Settings.from_environment(self.environ)

    def _told(self, line: str) -> None:
        if self.stop_before is not None and line.startswith(self.stop_before):
            raise KeyboardInterrupt
        self.progress.append(line)

    def command(self, *words: str, run_days: int = PULL_DAYS_MAX) -> subprocess.Popen[str]:
        """Start ``usage-pipeline backfill`` as a process of its own; its runs take ``run_days`` days at most."""
        program = (
            f"from usage_pipeline.orchestration import backfill; backfill.PULL_DAYS_MAX = {run_days}; "
            "from usage_pipeline.cli import main; main()"
        )
        return subprocess.Popen(
            [sys.executable, "-c", program, "backfill", *words],
            cwd=CHECKOUT,
            env={**self.environ, "PATH": os.environ["PATH"]},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def figures(self) -> dict[str, list[str]]:
        """Everything that the days came to, without the numbers that a store gives its rows."""
        ids = "'{slice_id,event_id,line_id,source_id,reconciliation_id,cell_id,share_id,recorded_at}'::text[]"
        found: dict[str, list[str]] = {}
        with self.runtime.engine.connect() as connection:
            for table, of in (
                ("usage_events", "slices USING (slice_id)"),
                ("billed_costs", "slices USING (slice_id)"),
                ("reconciled_usage", "reconciliations USING (reconciliation_id)"),
            ):
                rows = connection.exec_driver_sql(
                    f"SELECT day || ' ' || (to_jsonb(t) - {ids}) FROM {table} t JOIN {of}"
                )
                found[table] = sorted(rows.scalars())
            rows = connection.exec_driver_sql(
                "SELECT concat_ws(' ', day, code, endpoint, model, measure) FROM findings"
            )
            found["findings"] = sorted(rows.scalars())
        return found

    def unfinished(self) -> int:
        with self.runtime.engine.connect() as connection:
            return len(unfinished_backfills(connection))


def _add_key(connection: Connection, workspace: Workspace, provider: str, base_url: str, grain: str) -> None:
    new = NewProviderKey(
        workspace=workspace,
        provider=provider,
        name="main",
        mode="admin",
        organization=None,
        projects=(),
        grain=grain,
        base_url=base_url,
        secret_sealed=None,
        secret_reference=f"env:{provider.upper()}_SECRET",
    )
    add_provider_key(connection, new, NOW)
