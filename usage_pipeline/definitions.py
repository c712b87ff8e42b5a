"""What Dagster loads: every stage in the data's order, its checks, and what starts it. Opens nothing by itself."""

from __future__ import annotations

import os

import dagster as dg

from usage_pipeline.orchestration.assets import (
    billed_costs,
    hermes_rollups,
    raw_provider_pulls,
    reconciled_usage,
    usage_events,
)
from usage_pipeline.orchestration.checks import build_checks
from usage_pipeline.orchestration.exports import EXPORTS
from usage_pipeline.orchestration.links import linked
from usage_pipeline.orchestration.pull_runs import PULL_JOB
from usage_pipeline.orchestration.resources import RESOURCE_KEY, runtime_from_environment
from usage_pipeline.orchestration.retention import RETENTION_JOB, build_retention_schedule
from usage_pipeline.orchestration.schedules import build_schedules
from usage_pipeline.orchestration.sensors import HERMES_JOB, SENSORS, build_key_sensor
from usage_pipeline.settings import Settings

STAGES = (
    raw_provider_pulls,  # [day × provider key]  every page, verbatim, complete or nothing
    hermes_rollups,  # [day]  the newest word of each Hermes feed
    usage_events,  # [day]  canonical usage of both sources
    billed_costs,  # [day]  canonical lines of the bills
    reconciled_usage,  # [day]  what counts, why, and every difference
)


def build_defs(runtime: dg.ResourceDefinition | None = None, settings: Settings | None = None) -> dg.Definitions:
    """The definitions; ``runtime`` stands in for the one that opens what the environment names, ``settings`` for those
    that the environment has now. Raises :class:`InvalidInputError` ``setting_malformed``."""
    settings = settings or Settings.from_environment(os.environ)
    return dg.Definitions(
        assets=[*linked(STAGES, os.environ), *linked(EXPORTS, {})],  # exports are files, at no database's address
        asset_checks=build_checks(settings),
        jobs=[PULL_JOB, HERMES_JOB, RETENTION_JOB],
        schedules=[*build_schedules(settings), build_retention_schedule(settings)],
        sensors=[build_key_sensor(settings), *SENSORS],
        resources={RESOURCE_KEY: runtime or runtime_from_environment},
        # Runs wait for providers and for the database; a process per step would cost seconds and gain nothing.
        executor=dg.in_process_executor,
    )


defs = build_defs()
