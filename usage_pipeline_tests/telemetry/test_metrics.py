"""The metrics equal the store, whichever process did the work."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from usage_pipeline.errors import UsagePipelineError
from usage_pipeline.telemetry.metrics import METRICS, StoreMetrics
from usage_pipeline_tests.scripted.scenario import RegisteredAccount, Scenario, scenario_on

D = date(2026, 11, 10)
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture
def scenario(migrated_database: str, tmp_path: Path) -> Iterator[Scenario]:
    with scenario_on(migrated_database, tmp_path, datetime(2026, 11, 9, 8, tzinfo=UTC)) as made:
        yield made


@pytest.fixture
def key(scenario: Scenario) -> RegisteredAccount:
    registered = scenario.register()
    scenario.at(NOW)
    return registered


def metrics_of(scenario: Scenario) -> StoreMetrics:
    return StoreMetrics(scenario.runtime.engine, scenario.runtime.settings, scenario.clock)


def scraped(scenario: Scenario) -> dict[tuple[str, ...], float]:
    """Every sample: its name and its labels' values, in the order of the labels' names."""
    text = metrics_of(scenario).exposition().decode()
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_every_metric_is_exposed_under_its_name_and_kind(scenario: Scenario) -> None:
    text = metrics_of(scenario).exposition().decode()
    told = {
        (family.name + ("_total" if family.type == "counter" else ""), family.type)
        for family in text_string_to_metric_families(text)
    }
    assert told == {(metric.name, metric.kind) for metric in METRICS}


def test_an_empty_store_has_figures(scenario: Scenario) -> None:
    assert scraped(scenario) == {
        ("usage_pipeline_hermes_batches_total", "accepted"): 0,
        ("usage_pipeline_hermes_batches_total", "refused"): 0,
    }


def test_runs_requests_events_and_durations_are_counted(scenario: Scenario, key: RegisteredAccount) -> None:
    key.account.spend(datetime(2026, 11, 10, 9, tzinfo=UTC), 1000)
    scenario.pull(key, D)
    scenario.settle(D)
    key.account.refuse("costs", 500)
    with pytest.raises(UsagePipelineError):
        scenario.pull(key, D)
    found = scraped(scenario)
    assert found["ingestion_runs_total", "processed", "openai"] == 1  # labels are sorted: outcome, provider
    assert found["ingestion_runs_total", "failed", "openai"] == 1
    assert found["ingestion_requests_total", "openai"] == sum(
        row["requests"] for row in scenario.select("SELECT requests FROM pulls")
    )
    assert found["ingestion_events_total", "stored", "usage_events"] == scenario.count("usage_events")
    assert found["ingestion_issues_total", "provider_unavailable", "openai"] == 1
    assert found["ingestion_duration_seconds_count", "raw_provider_pulls"] == 2
    assert found["ingestion_duration_seconds_bucket", "+Inf", "raw_provider_pulls"] == 2
    assert found["usage_pipeline_stage_runs_total", "processed", "reconciled_usage"] == 1


def test_missing_days_lag_and_keys_are_measured(scenario: Scenario, key: RegisteredAccount) -> None:
    before = scraped(scenario)
    assert before["ingestion_windows_missing", "openai"] == 9  # the 9th to the 17th; the 18th is the newest expected
    assert before["usage_pipeline_keys_enabled", "openai"] == 1
    assert not any(name[0] == "newest_window_lag_seconds" for name in before)
    scenario.pull(key, D)
    scenario.settle(D)
    after = scraped(scenario)
    assert after["ingestion_windows_missing", "openai"] == 8
    # Labels are sorted: key, provider, workspace.
    assert after["newest_window_lag_seconds", key.slug, "openai", "acme"] == timedelta(days=9, hours=12).total_seconds()


def test_the_variance_is_computed_minus_billed_of_final_days(scenario: Scenario, key: RegisteredAccount) -> None:
    key.account.spend(datetime(2026, 11, 10, 9, tzinfo=UTC), 1_000_000)
    scenario.pull(key, D)
    scenario.settle(D)
    ((_, account, provider, workspace),) = [name for name in scraped(scenario) if name[0] == "cost_variance_ratio"]
    assert (provider, workspace) == ("openai", "acme")
    assert scraped(scenario)["cost_variance_ratio", account, provider, workspace] == pytest.approx(0, abs=1e-9)
    with scenario.runtime.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE account_bills SET compared_billed_usd = compared_billed_usd * 2")
    assert scraped(scenario)["cost_variance_ratio", account, provider, workspace] == pytest.approx(-0.5)


def test_a_look_is_kept_for_a_moment(scenario: Scenario) -> None:
    metrics = metrics_of(scenario)
    first = metrics.exposition()
    scenario.hermes()
    with scenario.runtime.engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO ingestion_issues (provider, code, count) VALUES ('openai', 'credential_refused', 1)"
        )
    assert metrics.exposition() == first
    assert metrics_of(scenario).exposition() != first
