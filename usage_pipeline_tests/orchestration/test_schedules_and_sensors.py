from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest

from usage_pipeline.ledger.feed_settings import disable_feed
from usage_pipeline.ledger.provider_keys import get_provider_key
from usage_pipeline.orchestration.partitions import PROVIDER_KEYS
from usage_pipeline.orchestration.resources import RuntimeResource
from usage_pipeline.orchestration.schedules import look_back_daily, open_day_hourly
from usage_pipeline.orchestration.sensors import SENSORS, new_hermes_batches, new_provider_keys
from usage_pipeline.stages import Runtime
from usage_pipeline_tests.orchestration.conftest import ANTHROPIC, NOW, OPENAI, Pipeline

_START, _END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """An instance that schedules can refer to."""
    with dg.instance_for_test() as instance:
        yield instance


def _tick(schedule: Any, instance: dg.DagsterInstance, runtime: Runtime) -> Any:
    context = dg.build_schedule_context(
        instance, scheduled_execution_time=NOW, resources={"runtime": RuntimeResource(runtime)}
    )
    return schedule.evaluate_tick(context)


def _sense(sensor: Any, pipeline: Pipeline, instance: dg.DagsterInstance) -> Any:
    context = dg.build_sensor_context(
        instance, definitions=pipeline.defs, resources={"runtime": RuntimeResource(pipeline.runtime)}
    )
    return sensor.evaluate_tick(context)


def _ranges(requests: Any) -> list[tuple[str, str]]:
    return [(request.tags[_START], request.tags[_END]) for request in requests]


def test_the_daily_look_back_pulls_the_settling_days_of_each_key_in_one_run(
    instance: dg.DagsterInstance, runtime: Runtime
) -> None:
    instance.add_dynamic_partitions(PROVIDER_KEYS.name or "", [OPENAI, ANTHROPIC])
    assert _ranges(_tick(look_back_daily, instance, runtime).run_requests) == [
        (f"2025-03-08|{OPENAI}", f"2025-03-11|{OPENAI}"),
        (f"2025-03-08|{ANTHROPIC}", f"2025-03-11|{ANTHROPIC}"),
    ]


def test_the_hourly_schedule_pulls_the_open_day(instance: dg.DagsterInstance, runtime: Runtime) -> None:
    instance.add_dynamic_partitions(PROVIDER_KEYS.name or "", [OPENAI])
    assert _ranges(_tick(open_day_hourly, instance, runtime).run_requests) == [
        (f"2025-03-12|{OPENAI}", f"2025-03-12|{OPENAI}")
    ]


def test_a_disabled_key_is_not_requested(instance: dg.DagsterInstance, runtime: Runtime) -> None:
    instance.add_dynamic_partitions(PROVIDER_KEYS.name or "", [OPENAI])
    with runtime.engine.begin() as connection:
        key = get_provider_key(connection, OPENAI)
        disable_feed(connection, key.feed_id, key.slug, NOW - timedelta(days=2))
    tick = _tick(look_back_daily, instance, runtime)
    assert not tick.run_requests
    assert "no provider key" in tick.skip_message


def test_a_new_key_gets_its_partition_and_its_first_backfill_once(
    pipeline: Pipeline, instance: dg.DagsterInstance
) -> None:
    tick = _sense(new_provider_keys, pipeline, instance)
    [added] = tick.dynamic_partitions_requests
    assert added.partition_keys == [OPENAI, ANTHROPIC]
    assert _ranges(tick.run_requests) == [
        (f"2025-02-11|{OPENAI}", f"2025-03-12|{OPENAI}"),
        (f"2025-02-11|{ANTHROPIC}", f"2025-03-12|{ANTHROPIC}"),
    ]
    instance.add_dynamic_partitions(PROVIDER_KEYS.name or "", added.partition_keys)
    assert not _sense(new_provider_keys, pipeline, instance).run_requests


def test_a_hermes_batch_requests_its_days_until_they_are_settled(
    pipeline: Pipeline, instance: dg.DagsterInstance
) -> None:
    assert _ranges(_sense(new_hermes_batches, pipeline, instance).run_requests) == [("2025-02-26", "2025-03-12")]
    from usage_pipeline.stages import settle_hermes_days

    settle_hermes_days(pipeline.runtime, [datetime(2025, 3, n, tzinfo=UTC).date() for n in range(1, 13)])
    assert _ranges(_sense(new_hermes_batches, pipeline, instance).run_requests) == [("2025-02-26", "2025-02-28")]


def test_what_asks_no_provider_runs_without_being_turned_on_and_nothing_else_does() -> None:
    running = {sensor.name for sensor in SENSORS if sensor.default_status is dg.DefaultSensorStatus.RUNNING}
    assert running == {"new_hermes_batches", "carry_down"}
    assert {look_back_daily.default_status, open_day_hourly.default_status} == {dg.DefaultScheduleStatus.STOPPED}
