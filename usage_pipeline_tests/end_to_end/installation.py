"""The product as an operator has it, with a canary in every secret: what each step writes and says is looked at.

Everything runs in this process as it does in an operator's, through the commands, Dagster and the service; the real
database, sandbox and receivers are behind them.
"""

from __future__ import annotations

import os
import traceback
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from typer.testing import CliRunner

from usage_pipeline.cli.app import app
from usage_pipeline.definitions import defs
from usage_pipeline.orchestration.alerts import alerts
from usage_pipeline.orchestration.partitions import KeyDay, partition_key
from usage_pipeline.orchestration.resources import RuntimeResource
from usage_pipeline.orchestration.run_tags import FROM_COMMAND
from usage_pipeline.sandbox import SandboxServer
from usage_pipeline.stages import open_runtime
from usage_pipeline_tests.alerts.loopback import LoopbackReceiver
from usage_pipeline_tests.end_to_end.canaries import Canaries
from usage_pipeline_tests.end_to_end.echoing import EchoingProvider

NOW = datetime(2025, 3, 12, 12, tzinfo=UTC)
DAY = date(2025, 3, 10)
PULLED = ("anthropic", "litellm", "openai", "openrouter")


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
