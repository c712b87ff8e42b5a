from __future__ import annotations

from decimal import Decimal
from typing import Any

import dagster as dg
import psycopg
import pytest
import sqlalchemy as sa

from usage_pipeline import stages
from usage_pipeline.errors import InvariantError, PermanentError, TransientError
from usage_pipeline.ledger.feed_settings import disable_feed
from usage_pipeline.ledger.provider_keys import get_provider_key
from usage_pipeline.measures import TOKEN_CLASSES
from usage_pipeline.orchestration.failures import readable_failures
from usage_pipeline.orchestration.partitions import DaySpan, day_range_tags
from usage_pipeline.orchestration.run_tags import FROM_COMMAND
from usage_pipeline.sandbox import Fault, FaultKind, SandboxServer
from usage_pipeline.stages import Runtime
from usage_pipeline_tests.orchestration.conftest import DAYS, NOW, OPENAI, Pipeline, day

_CANARY = "sk-admin-CANARY-0123456789"


def _metadata(result: dg.ExecuteInProcessResult, asset: str) -> dict[str, dict[str, Any]]:
    """The metadata of each partition's materialisation."""
    return {
        str(event.partition): {
            name: value.value for name, value in event.step_materialization_data.materialization.metadata.items()
        }
        for event in result.get_asset_materialization_events()
        if event.asset_key == dg.AssetKey(asset)
    }


def _admin_endpoints(pipeline: Pipeline) -> dict[str, str]:
    """The path of every endpoint that an admin key of OpenAI asks, by its name."""
    return {e.name: e.path for e in pipeline.runtime.providers["openai"].endpoints if "admin" in e.modes}


def test_a_range_is_pulled_with_one_request_a_page_and_materialises_each_of_its_days(
    pipeline: Pipeline, sandbox: SandboxServer
) -> None:
    result = pipeline.pull()
    assert result.success
    found = _metadata(result, "raw_provider_pulls")
    assert sorted(found) == [f"{one}|{OPENAI}" for one in DAYS.days]
    endpoints = _admin_endpoints(pipeline)
    reports = [asked for asked in sandbox.requests if asked.path.removeprefix("/v1") in endpoints.values()]
    assert len(reports) == len(endpoints)
    assert found[f"{day(0)}|{OPENAI}"]["endpoints_changed"] == ", ".join(endpoints)
    assert found[f"{day(0)}|{OPENAI}"]["answers_changed"] == len(endpoints)


def test_a_pull_tells_what_it_asked_and_what_changed(pipeline: Pipeline) -> None:
    pipeline.pull()
    again = _metadata(pipeline.pull(), "raw_provider_pulls")[f"{day(1)}|{OPENAI}"]
    assert "| completions |" in again["summary"]
    assert "none: every answer is what stood before" in again["summary"]
    assert (again["endpoints_changed"], again["answers_changed"]) == ("none", 0)


def test_one_day_is_pulled_and_processed_as_a_single_partition(pipeline: Pipeline) -> None:
    assert pipeline.run(["raw_provider_pulls"], partition=f"{day(0)}|{OPENAI}").success
    result = pipeline.run(["hermes_rollups", "usage_events", "billed_costs", "reconciled_usage"], partition=str(day(0)))
    assert result.success
    events = pipeline.scalar("SELECT count(*) FROM usage_events")
    assert _metadata(result, "usage_events")[str(day(0))]["dagster/partition_row_count"] == events > 0


def test_each_day_of_a_range_tells_its_own_rows(pipeline: Pipeline) -> None:
    pipeline.whole()
    found = _metadata(pipeline.process(), "usage_events")
    by_day = {one: metadata["dagster/partition_row_count"] for one, metadata in found.items()}
    assert sorted(by_day) == [str(one) for one in DAYS.days]
    assert sum(by_day.values()) == pipeline.scalar("SELECT count(*) FROM usage_events")
    assert {metadata["dagster/row_count"] for metadata in found.values()} == {sum(by_day.values())}


def test_the_reconciled_summary_shows_the_totals_that_are_stored(pipeline: Pipeline) -> None:
    pipeline.whole()
    result = pipeline.process()
    summary = _metadata(result, "reconciled_usage")[str(day(0))]["summary"]
    counted = pipeline.scalar(
        "SELECT sum(coalesce(counted_uncached_input, 0) + coalesce(counted_cache_read, 0)"
        " + coalesce(counted_cache_write_5m, 0) + coalesce(counted_cache_write_30m, 0)"
        " + coalesce(counted_cache_write_1h, 0) + coalesce(counted_cache_write_12h, 0)"
        " + coalesce(counted_cache_write_unsplit, 0) + coalesce(counted_output, 0))"
        " FROM reconciled_usage WHERE provider = 'openai' AND route = 'account' AND model = 'gpt-5'"
    )
    assert "| openai | account | gpt-5 |" in summary
    assert f"| {int(counted):,} |" in summary


def test_processing_again_changes_nothing_and_says_so(pipeline: Pipeline) -> None:
    pipeline.whole()
    found = _metadata(pipeline.process(), "reconciled_usage")[str(day(0))]
    assert (found["rows_stored"], found["rows_updated"], found["rows_removed"]) == (0, 0, 0)
    assert found["rows_unchanged"] > 0


def test_each_day_of_a_range_tells_its_own_tokens_and_money_as_figures_that_can_be_plotted(pipeline: Pipeline) -> None:
    pipeline.whole()
    found = _metadata(pipeline.process(), "reconciled_usage")
    for one in map(str, DAYS.days):
        tokens, cost = (
            pipeline.scalar(f"SELECT {what} FROM reconciliations JOIN reconciled_usage USING (reconciliation_id)"
                            " WHERE day = :day", day=one)
            for what in ("sum(" + " + ".join(f"coalesce(counted_{name}, 0)" for name in TOKEN_CLASSES) + ")",
                         "sum(cost_counted_usd)")
        )  # fmt: skip
        told = found[one]
        assert told["tokens_counted"] == tokens > 0
        assert tokens == told["tokens_explained"] + told["tokens_unattributed"] + told["tokens_stand_in"]
        assert Decimal(told["cost_counted_usd"]) == cost > 0
        assert told["cost_counted_nano_usd"] == round(cost * 10**9)
        assert not [name for name, value in told.items() if isinstance(value, float)]
    assert len({told["tokens_counted"] for told in found.values()}) == len(found)


def test_a_disabled_key_is_materialised_and_says_that_it_was_skipped(
    pipeline: Pipeline, sandbox: SandboxServer
) -> None:
    with pipeline.runtime.engine.begin() as connection:
        key = get_provider_key(connection, OPENAI)
        disable_feed(connection, key.feed_id, key.slug, NOW.replace(day=1))
    result = pipeline.pull()
    assert result.success
    assert "skipped, the key is disabled" in _metadata(result, "raw_provider_pulls")[f"{day(0)}|{OPENAI}"]["summary"]
    assert not sandbox.requests


def test_a_refused_key_fails_in_one_line_without_a_retry_or_a_secret(pipeline: Pipeline, environ: Any) -> None:
    environ["OPENAI_SECRET"] = _CANARY
    object.__setattr__(pipeline.runtime, "environ", environ)
    result = pipeline.run(["raw_provider_pulls"], {**_single(day(0))})
    [failure] = result.get_step_failure_events()
    line = failure.step_failure_data.user_failure_data.description
    assert line.startswith("[")
    assert "\n" not in line
    assert not result.retry_attempts_for_node("raw_provider_pulls")
    events = "\n".join(str(event) for event in pipeline.instance.all_logs(result.run_id))
    assert "refused" in events or "401" in events
    assert _CANARY not in events


def _single(one: Any) -> dict[str, str]:
    return {"dagster/partition": f"{one}|{OPENAI}"}


def test_a_failed_range_publishes_nothing_of_it(pipeline: Pipeline, sandbox: SandboxServer) -> None:
    sandbox.switch(faults=[{"kind": "status", "path": "*", "status": 500, "times": None}])
    assert not pipeline.pull().success
    assert pipeline.scalar("SELECT count(*) FROM pull_days") == 0
    assert pipeline.scalar("SELECT count(*) FROM pulls WHERE NOT complete") == len(_admin_endpoints(pipeline))


@pytest.mark.parametrize(("status", "retried"), [(500, True), (401, False)])
def test_only_what_may_pass_by_itself_is_tried_again(
    pipeline: Pipeline, sandbox: SandboxServer, status: int, *, retried: bool
) -> None:
    fault = Fault(kind=FaultKind.STATUS, path="*", status=status, times=None)
    sandbox.switch(faults=[{"kind": "status", "path": fault.path, "status": status, "times": None}])
    from usage_pipeline.stages import pull_days

    with pytest.raises(dg.Failure) as failed, readable_failures():
        pull_days(pipeline.runtime, OPENAI, day(0), day(1))
    assert failed.value.allow_retries is retried
    assert failed.value.__cause__ is None


_STAGES = {
    "hermes_rollups": "settle_hermes_days",
    "usage_events": "normalise_usage",
    "billed_costs": "normalise_bills",
    "reconciled_usage": "reconcile_days",
}


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries follow at once."""
    monkeypatch.setattr(dg.RetryPolicy, "calculate_delay", lambda _policy, _attempt: 0)


@pytest.mark.usefixtures("no_waiting")
def test_what_comes_after_the_pulls_is_tried_again_when_its_connection_was_lost(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost_once(stage: Any) -> Any:
        losses = [True]

        def run(runtime: Runtime, days: Any) -> Any:
            if losses:
                losses.clear()
                with runtime.engine.begin() as connection:
                    connection.execute(sa.text("SELECT pg_terminate_backend(pg_backend_pid())"))
            return stage(runtime, days)

        return run

    for stage in _STAGES.values():
        monkeypatch.setattr(stages, stage, lost_once(getattr(stages, stage)))
    result = pipeline.process(DaySpan(day(0), day(1)))
    assert result.success
    assert {asset: result.retry_attempts_for_node(asset) for asset in _STAGES} == dict.fromkeys(_STAGES, 1)


@pytest.mark.usefixtures("no_waiting")
@pytest.mark.parametrize(
    ("error", "tries"),
    [
        (PermanentError("schema_outdated", "made up"), 1),
        (InvariantError("made_up", "made up"), 1),
        (psycopg.errors.SerializationFailure("made up"), 3),
        (TransientError("made_up", "made up"), 3),
    ],
    ids=lambda one: type(one).__name__,
)
def test_a_permanent_failure_is_not_tried_again_and_another_not_for_ever(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, error: Exception, tries: int
) -> None:
    calls = []

    def fail(*_: Any) -> Any:
        calls.append(1)
        raise error

    monkeypatch.setattr(stages, "settle_hermes_days", fail)
    assert not pipeline.process(DaySpan(day(0), day(1)), ["hermes_rollups"]).success
    assert len(calls) == tries
    calls.clear()
    from_command = {**day_range_tags(DaySpan(day(0), day(1))), FROM_COMMAND: "true"}
    assert not pipeline.run(["hermes_rollups"], from_command).success
    assert len(calls) == 1


def test_an_unexpected_error_is_one_line_without_its_text() -> None:
    with pytest.raises(dg.Failure) as failed, readable_failures():
        raise RuntimeError(_CANARY)
    line = failed.value.description or ""
    assert "an unexpected RuntimeError, at test_assets.py:" in line
    assert _CANARY not in line
    assert failed.value.__suppress_context__


def test_runs_are_known_to_telemetry_by_their_id(pipeline: Pipeline) -> None:
    result = pipeline.pull(span=DaySpan(day(0), day(1)))
    assert pipeline.scalar("SELECT DISTINCT orchestrator_run_id FROM ingestion_runs") == result.run_id
