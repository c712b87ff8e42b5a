"""Dagster's part: a year of twenty keys from the sandbox, which answers at once. On request only: it takes minutes.

All keys are of one workspace and of two accounts, since the sandbox plays one organisation of each provider: of each
account one key leads, and the others are pulled and shadowed. The sandbox runs in this process beside the backfill, so
its answers are part of the pulls' time. A stage's time is that of its steps; what is beside the steps is Dagster's:
planning, events, its instance.
"""

from __future__ import annotations

import os
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from bench.figures import Figure
from usage_pipeline.ledger import embedded_postgres
from usage_pipeline.ledger.provider_keys import NewProviderKey, add_provider_key
from usage_pipeline.ledger.workspaces import add_workspace
from usage_pipeline.orchestration.backfill import run_backfill
from usage_pipeline.orchestration.partitions import PULL_DAYS_MAX
from usage_pipeline.sandbox import DEFAULT_ANTHROPIC_KEY, DEFAULT_OPENAI_KEY, SandboxServer, World
from usage_pipeline.settings import Settings
from usage_pipeline.stages import open_runtime

END = date(2026, 4, 1)
NOW = datetime(2026, 4, 1, 12, tzinfo=UTC)
_SECRETS = {"openai": DEFAULT_OPENAI_KEY, "anthropic": DEFAULT_ANTHROPIC_KEY}


def measure_dagster(days: int, keys: int) -> Iterator[Figure]:
    """Runs, seconds by stage, and what Dagster adds, for ``days`` days of ``keys`` keys."""
    with tempfile.TemporaryDirectory(prefix="usage-bench-dagster-") as home, SandboxServer(World(7, NOW)) as sandbox:
        environ = {
            "PATH": os.environ["PATH"],
            "USAGE_HOME": home,
            "USAGE_NOW": NOW.isoformat(),
            **{f"{provider.upper()}_SECRET": secret for provider, secret in _SECRETS.items()},
        }
        try:
            yield from _measured(environ, sandbox, days, keys)
        finally:
            embedded_postgres.erase(Path(home).resolve())


def _measured(environ: dict[str, str], sandbox: SandboxServer, days: int, keys: int) -> Iterator[Figure]:
    with open_runtime(environ) as runtime:
        urls = {"openai": sandbox.openai_base_url, "anthropic": sandbox.anthropic_base_url}
        with runtime.engine.begin() as connection:
            workspace = add_workspace(connection, "bench", name=None, now=NOW)
            for number in range(keys):
                provider = list(urls)[number % 2]
                add_provider_key(
                    connection,
                    NewProviderKey(
                        workspace=workspace,
                        provider=provider,
                        name=f"key-{number}",
                        mode="admin",
                        organization=None,
                        projects=(),
                        grain="1d",
                        base_url=urls[provider],
                        secret_sealed=None,
                        secret_reference=f"env:{provider.upper()}_SECRET",
                    ),
                    NOW - timedelta(days=days + 1),
                )
        outcome = run_backfill(Settings(), environ, END - timedelta(days=days), END, [], lambda _line: None)
        outcome.raise_if_failed()
    runs = {stage.run_id: stage.stage for stage in outcome.stages}
    name = f"{days} days of {keys} keys"
    chunks = -(-days // PULL_DAYS_MAX)
    pulls = sum(stage == "raw_provider_pulls" for stage in runs.values())
    yield Figure(f"{name}: runs that pull", 0, 0, "runs", [pulls], (), keys * chunks)
    yield Figure(f"{name}: runs downstream", 0, 0, "runs", [len(runs) - pulls], (), chunks)
    by_stage: dict[str, float] = defaultdict(float)
    for stage in outcome.stages:
        by_stage[stage.stage] += stage.seconds
    for stage, seconds in by_stage.items():
        yield Figure(f"{name}: {stage}", 0, 0, "s", [seconds])
    yield Figure(f"{name}: the whole backfill", 0, 0, "s", [outcome.seconds])
    yield Figure(f"{name}: beside the steps (Dagster)", 0, 0, "s", [outcome.seconds - sum(by_stage.values())])
