from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import dagster as dg
import pytest

from usage_pipeline.errors import InvalidInputError, PermanentError
from usage_pipeline.ledger.feed_settings import disable_feed
from usage_pipeline.ledger.provider_keys import get_provider_key, store_secret
from usage_pipeline.orchestration import sensors
from usage_pipeline.orchestration.partitions import PROVIDER_KEYS
from usage_pipeline.orchestration.resources import RuntimeResource
from usage_pipeline.orchestration.schedules import build_schedules
from usage_pipeline.orchestration.sensors import SENSORS, build_key_sensor, new_hermes_batches
from usage_pipeline.settings import Settings
from usage_pipeline.stages import Runtime, pull_days
from usage_pipeline_tests.orchestration.conftest import ANTHROPIC, NOW, OPENAI, Pipeline

look_back_daily, open_day_hourly = build_schedules(Settings())
new_provider_keys = build_key_sensor(Settings())

MINUTE = timedelta(minutes=1)
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


def _causes(tick: Any) -> set[str]:
    return {request.run_key for request in tick.run_requests}


def _disable(runtime: Runtime, at: datetime, slug: str = OPENAI) -> None:
    with runtime.engine.begin() as connection:
        disable_feed(connection, get_provider_key(connection, slug).feed_id, slug, at)


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
    assert _ranges(_tick(open_day_hourly, instance, runtime).run_requests) == [
        (f"2025-03-12|{OPENAI}", f"2025-03-12|{OPENAI}"),
        (f"2025-03-12|{ANTHROPIC}", f"2025-03-12|{ANTHROPIC}"),
    ]
    # A schedule alone is enough: it makes a partition of a key that no sensor has seen.
    assert set(instance.get_dynamic_partitions(PROVIDER_KEYS.name or "")) == {OPENAI, ANTHROPIC}


def test_the_look_back_covers_the_settling_time_of_each_provider(
    instance: dg.DagsterInstance, runtime: Runtime
) -> None:
    settings = replace(runtime.settings, look_back_days=2, settling_hours_by_provider={"openai": 24, "anthropic": 145})
    tick = _tick(look_back_daily, instance, replace(runtime, settings=settings))
    assert _ranges(tick.run_requests) == [
        (f"2025-03-10|{OPENAI}", f"2025-03-11|{OPENAI}"),
        (f"2025-03-04|{ANTHROPIC}", f"2025-03-11|{ANTHROPIC}"),
    ]


def test_a_disabled_key_is_skipped_with_its_reason_and_holds_up_no_other(
    instance: dg.DagsterInstance, runtime: Runtime, capfd: pytest.CaptureFixture[str]
) -> None:
    _disable(runtime, NOW - timedelta(days=2))
    tick = _tick(look_back_daily, instance, runtime)
    assert {request.tags["provider"] for request in tick.run_requests} == {"anthropic"}
    assert f"{OPENAI}: the key is disabled" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("turned_off", "said"),
    [
        ({"admin_ingestion_enabled": False}, "USAGE_ADMIN_INGESTION_ENABLED"),
        ({"disabled_providers": ("openai", "anthropic")}, "USAGE_DISABLED_PROVIDERS"),
    ],
)
def test_a_tick_without_any_key_left_is_a_skip_that_says_why(
    pipeline: Pipeline, instance: dg.DagsterInstance, turned_off: dict[str, Any], said: str
) -> None:
    settings = replace(pipeline.runtime.settings, **turned_off)
    off = replace(pipeline, runtime=replace(pipeline.runtime, settings=settings))
    for tick in (_tick(open_day_hourly, instance, off.runtime), _sense(new_provider_keys, off, instance)):
        assert not tick.run_requests
        assert f"{OPENAI}: " in tick.skip_message
        assert said in tick.skip_message


def test_days_that_a_run_under_way_asks_for_are_not_asked_for_again(
    pipeline: Pipeline, instance: dg.DagsterInstance
) -> None:
    tick = _sense(new_provider_keys, pipeline, instance)
    instance.add_dynamic_partitions(PROVIDER_KEYS.name or "", [OPENAI, ANTHROPIC])
    [first, _] = tick.run_requests
    run = instance.create_run_for_job(pipeline.defs.resolve_job_def("pull_providers"), tags=first.tags)
    under_way = _tick(look_back_daily, instance, pipeline.runtime)
    assert [request.tags["provider"] for request in under_way.run_requests] == ["anthropic"]
    assert [request.tags["provider"] for request in _sense(new_provider_keys, pipeline, instance).run_requests] == [
        "anthropic"
    ]
    instance.report_run_failed(run)
    assert len(_tick(look_back_daily, instance, pipeline.runtime).run_requests) == 2


def test_a_new_key_gets_its_partition_and_its_first_backfill(pipeline: Pipeline, instance: dg.DagsterInstance) -> None:
    tick = _sense(new_provider_keys, pipeline, instance)
    [added] = tick.dynamic_partitions_requests
    assert added.partition_keys == [OPENAI, ANTHROPIC]
    assert _ranges(tick.run_requests) == [
        (f"2025-02-11|{OPENAI}", f"2025-03-12|{OPENAI}"),
        (f"2025-02-11|{ANTHROPIC}", f"2025-03-12|{ANTHROPIC}"),
    ]


def test_a_first_backfill_is_one_run_until_it_is_made_and_then_none(
    pipeline: Pipeline, instance: dg.DagsterInstance
) -> None:
    settings = replace(pipeline.runtime.settings, backfill_days_first=2)
    pipeline = replace(pipeline, runtime=replace(pipeline.runtime, settings=settings))
    tick = _sense(new_provider_keys, pipeline, instance)
    # Until it is pulled the same run is requested, which Dagster makes once; then none.
    assert _causes(_sense(new_provider_keys, pipeline, instance)) == _causes(tick)
    for request in tick.run_requests:
        assert pipeline.run(["raw_provider_pulls"], request.tags).success
    assert not _sense(new_provider_keys, pipeline, instance).run_requests


def test_a_key_that_is_refused_is_requested_once_for_each_secret_and_retried_when_it_answers_again(
    pipeline: Pipeline, instance: dg.DagsterInstance
) -> None:
    _disable(pipeline.runtime, NOW - timedelta(days=2), ANTHROPIC)
    tick = _sense(new_provider_keys, pipeline, instance)
    refused = replace(pipeline.runtime, environ={**pipeline.runtime.environ, "OPENAI_SECRET": "sk-refused"})
    with pytest.raises(PermanentError, match="credential_refused"):
        pull_days(refused, OPENAI, date(2025, 2, 11), date(2025, 3, 13))
    assert _causes(_sense(new_provider_keys, pipeline, instance)) == _causes(tick)
    # The look-back asks again for its own days only, as long as the key does not answer.
    [(first, _)] = _ranges(_tick(look_back_daily, instance, pipeline.runtime).run_requests)
    assert first == f"2025-03-08|{OPENAI}"
    with pipeline.runtime.engine.begin() as connection:
        key = get_provider_key(connection, OPENAI)
        store_secret(connection, key, secret_sealed=None, secret_reference="env:NEXT", secret_version=2, now=NOW)
    rotated = _sense(new_provider_keys, pipeline, instance)
    assert _ranges(rotated.run_requests) == _ranges(tick.run_requests)
    assert not _causes(rotated) & _causes(tick)


def test_what_failed_is_retried_by_the_look_back_once_the_key_answers_again(
    instance: dg.DagsterInstance, runtime: Runtime
) -> None:
    runtime = replace(runtime, settings=replace(runtime.settings, backfill_days_first=8))
    _disable(runtime, NOW - timedelta(days=2), ANTHROPIC)
    earlier = replace(runtime, environ={**runtime.environ, "OPENAI_SECRET": "sk-refused"}, clock=lambda: NOW - MINUTE)
    with pytest.raises(PermanentError, match="credential_refused"):
        pull_days(earlier, OPENAI, date(2025, 3, 5), date(2025, 3, 13))
    look_back = (f"2025-03-08|{OPENAI}", f"2025-03-11|{OPENAI}")
    assert _ranges(_tick(look_back_daily, instance, runtime).run_requests) == [look_back]
    pull_days(runtime, OPENAI, date(2025, 3, 12), date(2025, 3, 13))
    assert _ranges(_tick(look_back_daily, instance, runtime).run_requests) == [
        look_back,
        (f"2025-03-05|{OPENAI}", f"2025-03-07|{OPENAI}"),
    ]


def test_a_hermes_batch_requests_its_days_until_they_are_settled(
    pipeline: Pipeline, instance: dg.DagsterInstance
) -> None:
    assert _ranges(_sense(new_hermes_batches, pipeline, instance).run_requests) == [("2025-02-26", "2025-03-12")]
    from usage_pipeline.stages import settle_hermes_days

    settle_hermes_days(pipeline.runtime, [datetime(2025, 3, n, tzinfo=UTC).date() for n in range(1, 13)])
    assert _ranges(_sense(new_hermes_batches, pipeline, instance).run_requests) == [("2025-02-26", "2025-02-28")]


def test_days_of_hermes_that_a_run_did_not_settle_are_requested_again_later_each_time(
    pipeline: Pipeline, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    (first,) = _sense(new_hermes_batches, pipeline, instance).run_requests
    attempts = {first.run_key}
    later = time.time()
    for pause in (sensors.RETRY_SECONDS, 2 * sensors.RETRY_SECONDS):
        run = instance.create_run_for_job(pipeline.defs.resolve_job_def("settle_hermes"), tags=dict(first.tags))
        monkeypatch.setattr(sensors.time, "time", lambda: later)  # noqa: B023
        assert _sense(new_hermes_batches, pipeline, instance).run_requests == []
        instance.report_run_failed(run)
        later = _ended(instance, run) + pause - 1
        assert _sense(new_hermes_batches, pipeline, instance).run_requests == []
        later += 2
        (again,) = _sense(new_hermes_batches, pipeline, instance).run_requests
        assert again.tags == first.tags
        attempts.add(again.run_key)
    assert len(attempts) == 3  # Dagster starts no second run for a key that it knows


def _ended(instance: dg.DagsterInstance, run: dg.DagsterRun) -> float:
    (record,) = instance.get_run_records(dg.RunsFilter(run_ids=[run.run_id]))
    return record.update_timestamp.timestamp()


def test_a_hermes_batch_of_any_age_is_found_once_an_hour_and_whenever_the_cursor_is_lost(
    pipeline: Pipeline, instance: dg.DagsterInstance
) -> None:
    pipeline.execute("UPDATE hermes_batches SET received_at = received_at - interval '300 days'")

    def tick(cursor: str | None) -> Any:
        resources = {"runtime": RuntimeResource(pipeline.runtime)}
        context = dg.build_sensor_context(instance, cursor=cursor, definitions=pipeline.defs, resources=resources)
        return new_hermes_batches.evaluate_tick(context)

    found = tick(None)
    assert len(found.run_requests) == 1
    assert float(found.cursor) == pytest.approx(time.time(), abs=60)
    soon = tick(found.cursor)
    assert (soon.run_requests, soon.cursor) == ([], found.cursor)
    for cursor in ("of another release", str(time.time() - sensors.WHOLE_INBOX_SECONDS), str(time.time() + 9999)):
        assert len(tick(cursor).run_requests) == 1


def test_what_asks_no_provider_runs_without_being_turned_on_and_nothing_else_does() -> None:
    running = {sensor.name for sensor in SENSORS if sensor.default_status is dg.DefaultSensorStatus.RUNNING}
    assert running == {"new_hermes_batches", "carry_down", "alerts"}
    assert new_provider_keys.default_status is dg.DefaultSensorStatus.STOPPED
    assert {look_back_daily.default_status, open_day_hourly.default_status} == {dg.DefaultScheduleStatus.STOPPED}


def test_a_setting_turns_on_what_asks_providers() -> None:
    settings = Settings.from_environment({"USAGE_SCHEDULES": "on"})
    assert {one.default_status for one in build_schedules(settings)} == {dg.DefaultScheduleStatus.RUNNING}
    assert build_key_sensor(settings).default_status is dg.DefaultSensorStatus.RUNNING


def test_the_times_are_settings() -> None:
    settings = Settings.from_environment({"USAGE_LOOK_BACK_CRON": "5  4 * * *", "USAGE_OPEN_DAY_CRON": "*/15 * * * *"})
    assert [one.cron_schedule for one in build_schedules(settings)] == ["5 4 * * *", "*/15 * * * *"]


@pytest.mark.parametrize("cron", ["every hour", "@hourly", "61 * * * *", "0 0 30 2 *", "* * * * * *"])
def test_a_time_that_is_none_is_refused_by_the_name_of_its_setting(cron: str) -> None:
    with pytest.raises(InvalidInputError, match="USAGE_OPEN_DAY_CRON") as refused:
        build_schedules(Settings.from_environment({"USAGE_OPEN_DAY_CRON": cron}))
    assert refused.value.code == "setting_malformed"
