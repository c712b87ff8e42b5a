from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest

from usage_pipeline.errors import InvalidInputError, UsagePipelineError
from usage_pipeline.orchestration.backfill import run_backfill
from usage_pipeline.orchestration.backfill_outcome import BackfillOutcome
from usage_pipeline.orchestration.instance import open_instance
from usage_pipeline.sandbox import SandboxServer
from usage_pipeline.settings import Settings
from usage_pipeline.stages import Runtime
from usage_pipeline_tests.orchestration.conftest import ANTHROPIC, FIRST_DAY, OPENAI, day


@pytest.fixture
def backfill(
    runtime: Runtime, environ: dict[str, str], set_up_instance: Path, monkeypatch: pytest.MonkeyPatch
) -> _Backfill:
    """The backfill as the command line calls it, on an instance of its own."""
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    shutil.copytree(set_up_instance, Path(environ["USAGE_HOME"]) / "dagster")
    monkeypatch.setenv("USAGE_NOW", "2025-03-12T12:00:00Z")
    return _Backfill(runtime, environ)


class _Backfill:
    def __init__(self, runtime: Runtime, environ: dict[str, str]) -> None:
        self.runtime, self.environ, self.settings = runtime, environ, runtime.settings
        self.progress: list[str] = []

    def __call__(self, days: int = 1, *keys: str) -> BackfillOutcome:
        end = FIRST_DAY + timedelta(days=days)
        return run_backfill(self.settings, self.environ, FIRST_DAY, end, keys, self.progress.append)


def test_a_backfill_runs_every_stage_and_check_and_keeps_the_runs(backfill: _Backfill) -> None:
    outcome = backfill(2)
    assert outcome.ok, list(outcome.lines())
    assert [(stage.stage, stage.key) for stage in outcome.stages] == [
        ("raw_provider_pulls", OPENAI),
        ("raw_provider_pulls", ANTHROPIC),
        ("hermes_rollups", None),
        ("usage_events", None),
        ("billed_costs", None),
        ("reconciled_usage", None),
    ]
    conserved = next(check for check in outcome.checks if check.name == "totals_are_conserved")
    assert (conserved.passed, conserved.partitions_passed, conserved.partitions_failed) == (True, 2, 0)
    told = outcome.as_json()
    assert (told["from"], told["to"], told["ok"], len(told["stages"])) == ("2025-03-01", "2025-03-02", True, 6)
    assert list(outcome.lines())[-1].startswith("6 of 6 stages done, ")
    assert backfill.progress[0] == f"pulling {OPENAI}, 2025-03-01 to 2025-03-02 … (run 1 of 3)"
    assert backfill.progress[1].startswith(f"raw_provider_pulls {OPENAI}, 2025-03-01 to 2025-03-02: ok in ")
    with open_instance(backfill.environ) as instance:
        runs = instance.get_runs()
        assert {run.job_name for run in runs} == {"__ASSET_JOB"}
        assert {run.status for run in runs} == {dg.DagsterRunStatus.SUCCESS}
        assert str(day(0)) in instance.get_materialized_partitions(dg.AssetKey("reconciled_usage"))


@pytest.mark.usefixtures("instance_in_memory")
def test_a_second_backfill_changes_nothing(backfill: _Backfill) -> None:
    backfill()
    with backfill.runtime.engine.connect() as connection:
        before = connection.exec_driver_sql("SELECT count(*), max(recorded_at) FROM reconciled_usage").one()
    assert backfill().ok
    with backfill.runtime.engine.connect() as connection:
        after = connection.exec_driver_sql("SELECT count(*), max(recorded_at) FROM reconciled_usage").one()
        history = connection.exec_driver_sql("SELECT count(*) FROM usage_event_history").scalar_one()
    assert after == before
    assert history == 0


@pytest.mark.usefixtures("instance_in_memory")
def test_a_key_that_fails_holds_up_neither_the_others_nor_what_comes_after(
    backfill: _Backfill, sandbox: SandboxServer
) -> None:
    sandbox.switch(faults=[{"kind": "status", "path": "/v1/organization/*", "status": 500, "times": None}])
    outcome = backfill()
    [failed] = outcome.failed
    assert (failed.stage, failed.key) == ("raw_provider_pulls", OPENAI)
    assert failed.error is not None
    assert failed.error.startswith("[")
    assert "\n" not in failed.error
    assert [stage.state for stage in outcome.stages if stage.key != OPENAI] == ["ok"] * 5
    with pytest.raises(UsagePipelineError, match="backfill_incomplete") as raised:
        outcome.raise_if_failed()
    assert raised.value.exit_code == 1
    assert f"raw_provider_pulls {OPENAI}, 2025-03-01 to 2025-03-01: {failed.error}" in str(raised.value)


@pytest.mark.usefixtures("instance_in_memory")
def test_a_pull_that_is_turned_off_is_skipped_with_its_reason_and_is_no_failure(
    backfill: _Backfill, monkeypatch: pytest.MonkeyPatch
) -> None:
    backfill.settings = Settings(disabled_providers=("openai",))
    outcome = backfill()
    [skipped] = [stage for stage in outcome.stages if stage.state == "skipped"]
    assert skipped.key == OPENAI
    assert "USAGE_DISABLED_PROVIDERS" in (skipped.note or "")
    assert any("USAGE_DISABLED_PROVIDERS" in line for line in outcome.lines())
    assert outcome.ok


@pytest.mark.usefixtures("instance_in_memory")
def test_only_the_named_keys_are_pulled_and_others_keep_what_they_have(backfill: _Backfill) -> None:
    outcome = backfill(1, ANTHROPIC)
    assert outcome.keys == (ANTHROPIC,)
    assert [stage.key for stage in outcome.stages if stage.key] == [ANTHROPIC]


@pytest.mark.usefixtures("instance_in_memory")
def test_a_long_range_is_pulled_chunk_by_chunk(backfill: _Backfill, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("usage_pipeline.orchestration.backfill.PULL_DAYS_MAX", 1)
    outcome = backfill(2, OPENAI)
    assert [stage.first_day for stage in outcome.stages if stage.key] == [day(0), day(1)]
    assert [stage.first_day for stage in outcome.stages if stage.stage == "reconciled_usage"] == [day(0), day(1)]
    begun = [line for line in backfill.progress if "…" in line]
    assert [line.partition("(")[2].partition(";")[0].rstrip(")") for line in begun] == [
        "chunk 1 of 2, run 1 of 4",
        "chunk 1 of 2, run 2 of 4",
        "chunk 2 of 2, run 3 of 4",
        "chunk 2 of 2, run 4 of 4",
    ]
    assert " left)" in begun[-1]


def test_an_unknown_key_or_day_is_refused_before_anything_runs(backfill: _Backfill) -> None:
    with pytest.raises(InvalidInputError, match="key_unknown"):
        backfill(1, "acme.openai.other")
    with pytest.raises(InvalidInputError, match="day_without_partition"):
        run_backfill(backfill.runtime.settings, backfill.environ, FIRST_DAY - timedelta(days=900), FIRST_DAY, (), print)
    assert not backfill.progress
