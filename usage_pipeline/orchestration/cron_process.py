"""The process that executes runs of the cron endpoint where no daemon does: the pulls, then the days behind them.

Started by ``cron_runs`` with the ids of runs that are in the instance already. Whoever else executes such runs goes
first: then nothing is done here, and the next call ends the runs as lost.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from datetime import date

import dagster as dg
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run

from usage_pipeline.definitions import build_defs
from usage_pipeline.ledger.cron_calls import executing
from usage_pipeline.orchestration.assets import (
    BILLED_COSTS_KEY,
    HERMES_ROLLUPS,
    RECONCILED_USAGE_KEY,
    USAGE_EVENTS_KEY,
)
from usage_pipeline.orchestration.instance import open_instance
from usage_pipeline.orchestration.partitions import day_range_tags, span_of_tags, spans
from usage_pipeline.orchestration.pull_runs import PULL_JOB
from usage_pipeline.orchestration.resources import given
from usage_pipeline.stages import open_runtime
from usage_pipeline.telemetry.logs import configure_logging


def execute_pulls(run_ids: Sequence[str]) -> None:
    """Execute the runs one after the other; then, in one run for each gapless range, what comes after the pulls.

    A pull that fails holds up neither the others nor what comes after, as in a backfill.
    """
    with open_runtime(os.environ) as runtime, executing(runtime.engine) as mine:
        if not mine:
            return
        configure_logging(os.environ, runtime.settings)
        logging.getLogger("dagster").setLevel(logging.CRITICAL)  # its own lines are in its event log
        defs = build_defs(given(runtime), runtime.settings)
        with open_instance(os.environ) as instance:
            days: set[date] = set()
            for run_id in run_ids:
                run = instance.get_run_by_id(run_id)
                if run is not None and run.status is dg.DagsterRunStatus.NOT_STARTED:
                    execute_run(InMemoryJob(defs.resolve_job_def(PULL_JOB.name)), run, instance)
                    asked = span_of_tags(run.tags)
                    days.update(asked[1].days if asked else ())
            for span in spans(days):
                defs.resolve_implicit_global_asset_job_def().execute_in_process(
                    instance=instance,
                    raise_on_error=False,
                    asset_selection=[HERMES_ROLLUPS, USAGE_EVENTS_KEY, BILLED_COSTS_KEY, RECONCILED_USAGE_KEY],
                    tags=day_range_tags(span),
                )


if __name__ == "__main__":
    execute_pulls(sys.argv[1:])
