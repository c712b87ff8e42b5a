"""Every stage leaves a record and an event, whatever became of it, and the sums over all records never fall."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from usage_pipeline import stages
from usage_pipeline.errors import PermanentError, TransientError
from usage_pipeline.ledger.ingestion_runs import IngestionRun, newest_runs, record_run
from usage_pipeline.telemetry.stage_runs import recorded_stage
from usage_pipeline_tests.scripted.payloads import Call, v3_payload
from usage_pipeline_tests.scripted.scenario import Json, Scenario, scenario_on

D = date(2026, 11, 10)
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture
def scenario(migrated_database: str, tmp_path: Path) -> Iterator[Scenario]:
    with scenario_on(migrated_database, tmp_path, NOW) as made:
        yield made


def runs(scenario: Scenario, stage: str) -> list[Json]:
    return scenario.select("SELECT * FROM ingestion_runs WHERE stage = :stage ORDER BY ingestion_run_id", stage=stage)


def test_each_stage_records_what_it_did_with_its_rows(scenario: Scenario) -> None:
    key = scenario.register()
    key.account.spend(datetime(2026, 11, 10, 9, tzinfo=UTC), 1000)
    calls = [Call(datetime(2026, 11, 10, 9, tzinfo=UTC), "gpt-5", output=500, requests=1)]
    scenario.send(scenario.hermes(), v3_payload(NOW, calls, D, D + timedelta(days=1)))
    scenario.pull(key, D)
    scenario.settle(D)
    (pull,) = runs(scenario, "raw_provider_pulls")
    assert pull["figures"]["windows"] == pull["figures"]["requests"] == len(scenario.select("SELECT 1 FROM pulls"))
    (settled,) = runs(scenario, "hermes_rollups")
    assert settled["figures"] == {"days": 1, "windows": 1, "keys_processed": 1}
    (usage,) = runs(scenario, "usage_events")
    assert usage["figures"]["events"]["stored"] == scenario.count("usage_events")
    assert usage["figures"]["keys_processed"] == 2
    (bills,) = runs(scenario, "billed_costs")
    assert bills["figures"]["events"]["stored"] == scenario.count("billed_costs")
    (reconciled,) = runs(scenario, "reconciled_usage")
    assert reconciled["figures"]["events"]["stored"] == scenario.count("reconciled_usage")
    assert {run["outcome"] for run in (pull, settled, usage, bills, reconciled)} == {"processed"}


def test_what_went_wrong_is_counted_by_its_code_and_provider(scenario: Scenario) -> None:
    key = scenario.register()
    key.account.refuse("costs", 500)
    key.account.refuse("completions", 401)
    with pytest.raises(PermanentError):
        scenario.pull(key, D)
    (pull,) = runs(scenario, "raw_provider_pulls")
    assert pull["outcome"] == "failed"
    issues = {row["code"]: row["count"] for row in scenario.select("SELECT * FROM ingestion_issues")}
    assert issues == pull["figures"]["issues"] == {"credential_refused": 1, "provider_unavailable": 1}


def test_a_stage_that_fails_is_recorded_and_its_error_passes_on(scenario: Scenario) -> None:
    with pytest.raises(TransientError, match="broke"):
        _break_off(scenario, TransientError("it_broke", "it broke"))
    with pytest.raises(KeyboardInterrupt):
        _break_off(scenario, KeyboardInterrupt())
    found = [(run["outcome"], run["error_code"], run["figures"]["windows"]) for run in runs(scenario, "usage_events")]
    assert found == [("failed", "it_broke", 3), ("failed", "internal_error", 3)]


def _break_off(scenario: Scenario, error: BaseException) -> None:
    runtime = scenario.runtime
    with recorded_stage(runtime.engine, runtime.clock, "run-1", "usage_events", [D]) as figures:
        figures["windows"] = 3
        raise error


def test_each_pull_is_an_event_for_each_endpoint_and_one_for_the_run(
    scenario: Scenario, caplog: pytest.LogCaptureFixture
) -> None:
    key = scenario.register()
    with caplog.at_level(logging.INFO, "usage_pipeline"):
        scenario.pull(key, D)
    events = [record.msg for record in caplog.records if isinstance(record.msg, dict)]
    pulls = [event for event in events if event["event"] == "pull"]
    recorded = {row["endpoint"] for row in scenario.select("SELECT endpoint FROM pulls")}
    assert {event["endpoint"] for event in pulls} == recorded
    told = {"key", "days", "rows", "pages", "requests", "seconds_waited", "outcome"}
    assert all(told <= event.keys() for event in pulls)
    assert [event["stage"] for event in events if event["event"] == "stage"] == ["raw_provider_pulls"]


def test_the_sums_stay_when_old_runs_are_deleted(scenario: Scenario) -> None:
    key = scenario.register()
    for seconds in (0, 1, 61, 7200):
        run = IngestionRun(
            orchestrator_run_id=None,
            feed_id=key.key.feed_id,
            stage="raw_provider_pulls",
            first_day=D,
            end_day=D + timedelta(days=1),
            started_at=NOW,
            finished_at=NOW + timedelta(seconds=seconds),
            outcome="processed",
            figures={"requests": 3, "pages": 2, "rows": 10, "seconds_waited": 0.5},
        )
        with scenario.runtime.engine.begin() as connection:
            record_run(connection, run)
            assert newest_runs(connection, 1)[0].key == key.slug
    before = scenario.select("SELECT * FROM ingestion_totals")
    assert before == [
        {
            "stage": "raw_provider_pulls",
            "provider": "openai",
            "outcome": "processed",
            "runs": 4,
            "seconds": 7262.0,
            "durations": [2, 0, 0, 0, 1, 0, 0, 1],
            "requests": 12,
            "pages": 8,
            "rows_read": 40,
            "seconds_waited": 2.0,
            "events_stored": 0,
            "events_updated": 0,
            "events_removed": 0,
            "events_unchanged": 0,
        }
    ]
    with scenario.runtime.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM ingestion_runs")
    assert scenario.select("SELECT * FROM ingestion_totals") == before


def test_no_days_are_no_run(scenario: Scenario) -> None:
    stages.normalise_usage(scenario.runtime, [])
    assert scenario.count("ingestion_runs") == 0
