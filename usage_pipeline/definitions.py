"""What Dagster loads: every stage in the data's order, its checks, and what starts it. Opens nothing by itself."""

from __future__ import annotations

import dagster as dg

from usage_pipeline.orchestration.assets import (
    billed_costs,
    hermes_rollups,
    raw_provider_pulls,
    reconciled_usage,
    usage_events,
)
from usage_pipeline.orchestration.checks import CHECKS
from usage_pipeline.orchestration.resources import RESOURCE_KEY, runtime_from_environment
from usage_pipeline.orchestration.schedules import PULL_JOB, SCHEDULES
from usage_pipeline.orchestration.sensors import HERMES_JOB, SENSORS

STAGES = (
    raw_provider_pulls,  # [day × provider key]  every page, verbatim, complete or nothing
    hermes_rollups,  # [day]  the newest word of each Hermes feed
    usage_events,  # [day]  canonical usage of both sources
    billed_costs,  # [day]  canonical lines of the bills
    reconciled_usage,  # [day]  what counts, why, and every difference
)


def build_defs(runtime: dg.ResourceDefinition | None = None) -> dg.Definitions:
    """The definitions; ``runtime`` stands in for the one that opens what the environment names."""
    return dg.Definitions(
        assets=STAGES,
        asset_checks=CHECKS,
        jobs=[PULL_JOB, HERMES_JOB],
        schedules=SCHEDULES,
        sensors=SENSORS,
        resources={RESOURCE_KEY: runtime or runtime_from_environment},
        # Runs wait for providers and for the database; a process per step would cost seconds and gain nothing.
        executor=dg.in_process_executor,
    )


defs = build_defs()
