"""The two dagster.yaml: what Dagster makes of them, and what both must say alike."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._config import Shape, process_config
from dagster._core.instance.config import dagster_instance_config_schema

from usage_pipeline.orchestration.assets import PULL_POOL, raw_provider_pulls
from usage_pipeline.orchestration.instance import open_instance
from usage_pipeline.orchestration.partitions import KEY_TAG

_CHECKOUT = Path(__file__).resolve().parents[2]
_HERE = "dagster.yaml"
_DEPLOYED = "deploy/dagster.yaml"


def _settings(path: str) -> dict[str, Any]:
    read = yaml.safe_load((_CHECKOUT / path).read_text(encoding="utf-8"))
    assert isinstance(read, dict)
    return read


@pytest.mark.parametrize("path", [_HERE, _DEPLOYED])
def test_dagster_accepts_every_setting(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", "postgresql+psycopg2://dagster@db/dagster")
    found = process_config(Shape(dagster_instance_config_schema()), _settings(path))
    assert found.success, [error.message for error in found.errors or []]


@pytest.mark.parametrize("path", [_HERE, _DEPLOYED])
def test_only_crashed_runs_are_started_again_and_what_they_held_is_freed(path: str) -> None:
    settings = _settings(path)
    assert settings["run_retries"] == {"enabled": True, "max_retries": 2, "retry_on_asset_or_op_failure": False}
    assert settings["run_monitoring"]["enabled"] is True
    assert settings["run_monitoring"]["free_slots_after_run_end_seconds"] > 0
    assert settings["telemetry"] == {"enabled": False}


def test_the_page_tells_how_long_a_run_that_died_is_taken_for_one_under_way() -> None:
    told = " ".join((_CHECKOUT / "docs" / "operations.md").read_text(encoding="utf-8").split())
    here, deployed = (_settings(path)["run_monitoring"] for path in (_HERE, _DEPLOYED))
    starting = [one["start_timeout_seconds"] // 60 for one in (here, deployed)]
    assert f"fails after {starting[0]} minutes ({starting[1]} with `deploy/dagster.yaml`)" in told
    for settings in (here, deployed):
        assert f"after {settings['max_runtime_seconds'] // 3600} hours (`max_runtime_seconds`)" in told
        assert f"free {settings['free_slots_after_run_end_seconds'] // 60} minutes after its end" in told


@pytest.mark.parametrize("path", [_HERE, _DEPLOYED])
def test_pulls_leave_room_for_what_processes_them(path: str) -> None:
    concurrency = _settings(path)["concurrency"]
    assert concurrency["pools"]["granularity"] == "run"
    assert 0 < concurrency["pools"]["default_limit"] < concurrency["runs"]["max_concurrent_runs"]
    assert raw_provider_pulls.op.pool == PULL_POOL
    keys = {limit["key"]: limit["limit"] for limit in concurrency["runs"]["tag_concurrency_limits"]}
    assert keys[KEY_TAG] <= keys["provider"] <= concurrency["pools"]["default_limit"]


def test_both_say_the_same_but_for_the_storage_and_the_sizes() -> None:
    here, deployed = _settings(_HERE), _settings(_DEPLOYED)
    own = {"storage", "local_artifact_storage", "compute_logs"}
    assert set(here) - own == set(deployed) - own
    for settings in (here, deployed):
        for section in own:
            settings.pop(section, None)
        del settings["concurrency"]["runs"]["max_concurrent_runs"]
        del settings["concurrency"]["pools"]["default_limit"]
        del settings["run_monitoring"]["start_timeout_seconds"]
    assert here == deployed


def test_dagster_s_database_is_named_by_the_environment_alone() -> None:
    assert _settings(_DEPLOYED)["storage"] == {"postgres": {"postgres_url": {"env": "DAGSTER_POSTGRES_URL"}}}


def test_an_instance_opened_here_has_the_settings_of_the_file(tmp_path: Path) -> None:
    with open_instance({"USAGE_HOME": str(tmp_path)}) as instance:
        assert isinstance(instance, dg.DagsterInstance)
        assert instance.run_retries_enabled
        assert instance.get_settings("run_retries")["retry_on_asset_or_op_failure"] is False
        assert instance.run_monitoring_enabled
        assert instance.run_monitoring_settings["free_slots_after_run_end_seconds"] == 300
        assert instance.event_log_storage.get_pool_config().pool_granularity.value == "run"
