"""The trap of range runs, pinned: each partition has a verdict of its own, and what waits for it goes on."""

from __future__ import annotations

import dagster as dg
import pytest
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus

from usage_pipeline.orchestration.assets import (
    BILLED_COSTS_KEY,
    RAW_PROVIDER_PULLS,
    RECONCILED_USAGE_KEY,
    USAGE_EVENTS_KEY,
)
from usage_pipeline.orchestration.partitions import PROVIDER_KEYS, DaySpan, day_range_tags
from usage_pipeline.sandbox import SandboxServer
from usage_pipeline_tests.orchestration.conftest import ANTHROPIC, DAYS, FIRST_DAY, OPENAI, Pipeline, day

_CLASSES = dg.AssetCheckKey(USAGE_EVENTS_KEY, "token_classes_add_up")


def _status_by_partition(pipeline: Pipeline, check: dg.AssetCheckKey) -> dict[str, AssetCheckExecutionRecordStatus]:
    history = pipeline.instance.event_log_storage.get_asset_check_execution_history(check, limit=100)
    found: dict[str, AssetCheckExecutionRecordStatus] = {}
    for record in history:
        if record.partition is not None:
            found.setdefault(record.partition, record.status)
    return found


def test_a_range_run_gives_every_partition_a_verdict(pipeline: Pipeline) -> None:
    assert pipeline.pull().success
    found = _status_by_partition(pipeline, dg.AssetCheckKey(RAW_PROVIDER_PULLS, "pull_is_complete"))
    assert found == {f"{one}|{OPENAI}": AssetCheckExecutionRecordStatus.SUCCEEDED for one in DAYS.days}


def test_a_verdict_is_aimed_at_the_materialisation_that_it_judges(pipeline: Pipeline) -> None:
    result = pipeline.pull()
    judged = {
        one.partition: one.target_materialization_data
        for one in result.get_asset_check_evaluations()
        if one.check_name == "pull_is_complete" and one.partition
    }
    stored = pipeline.instance.fetch_materializations(RAW_PROVIDER_PULLS, limit=100).records
    assert {record.partition_key: record.storage_id for record in stored} == {
        partition: data.storage_id for partition, data in judged.items() if data
    }


def test_only_the_day_that_breaks_the_rule_fails_and_the_run_stops(pipeline: Pipeline) -> None:
    pipeline.whole()
    broken = (
        "UPDATE usage_events SET output_text = coalesce(output, 0) + 1 WHERE (slice_id, event_id) IN (SELECT slice_id,"
        " event_id FROM usage_events JOIN slices USING (slice_id) WHERE day = :day LIMIT 1)"
    )
    assert pipeline.execute(broken, day=day(1)) == 1
    result = pipeline.process()
    assert not result.success
    statuses = _status_by_partition(pipeline, _CLASSES)
    assert statuses[str(day(1))] is AssetCheckExecutionRecordStatus.FAILED
    assert statuses[str(day(0))] is statuses[str(day(2))] is AssetCheckExecutionRecordStatus.SUCCEEDED
    made = {event.asset_key for event in result.get_asset_materialization_events()}
    assert USAGE_EVENTS_KEY in made
    assert dg.AssetKey("reconciled_usage") not in made


@pytest.mark.filterwarnings("ignore::dagster.BetaWarning", "ignore::dagster.PreviewWarning")
def test_without_our_verdicts_dagster_still_leaves_the_partitions_of_a_range_unjudged() -> None:
    """The trap itself. When this fails, Dagster judges ranges by partition, and ``by_partition`` can go."""
    days = dg.DailyPartitionsDefinition(start_date=str(FIRST_DAY))

    @dg.asset(partitions_def=days, backfill_policy=dg.BackfillPolicy.single_run())
    def counted() -> None: ...

    @dg.asset_check(asset=counted, partitions_def=days, blocking=True)
    def fine() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=True)

    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize([counted, fine], instance=instance, tags=day_range_tags(DAYS))
        assert result.success
        assert [one.partition for one in result.get_asset_check_evaluations()] == [None]
        history = instance.event_log_storage.get_asset_check_execution_history(
            dg.AssetCheckKey(counted.key, "fine"), limit=100
        )
    by_partition = {one.partition: one.status for one in history if one.partition is not None}
    assert by_partition == {str(one): AssetCheckExecutionRecordStatus.PLANNED for one in DAYS.days}


def test_the_verdicts_of_a_range_come_by_day_so_that_who_looks_meanwhile_sees_whole_stretches(
    pipeline: Pipeline,
) -> None:
    found: dict[str, list[str]] = {}
    for one in pipeline.pull(span=DaySpan(day(0), day(9))).get_asset_check_evaluations():
        if one.partition:
            found.setdefault(one.check_name, []).append(one.partition)
    assert set(found) == {"pull_is_complete", "dimensions_were_answered"}
    for partitions in found.values():
        assert partitions == [f"{day(number)}|{OPENAI}" for number in range(9)]


def test_a_single_partition_needs_no_more_than_one_verdict(pipeline: Pipeline) -> None:
    result = pipeline.run(["raw_provider_pulls"], partition=f"{day(0)}|{OPENAI}")
    [verdict] = [one for one in result.get_asset_check_evaluations() if one.check_name == "pull_is_complete"]
    assert verdict.passed
    assert verdict.partition == f"{day(0)}|{OPENAI}"


@pytest.mark.filterwarnings("ignore::dagster.BetaWarning")
def test_what_waits_for_blocking_checks_goes_on_after_a_range_run(pipeline: Pipeline) -> None:
    first = dg.evaluate_automation_conditions(pipeline.defs, pipeline.instance)
    assert pipeline.pull(ANTHROPIC).success
    second = dg.evaluate_automation_conditions(pipeline.defs, pipeline.instance, cursor=first.cursor)
    assert second.get_requested_partitions(USAGE_EVENTS_KEY) == {str(one) for one in DAYS.days}
    third = dg.evaluate_automation_conditions(pipeline.defs, pipeline.instance, cursor=second.cursor)
    assert third.total_requested == 0


@pytest.mark.filterwarnings("ignore::dagster.BetaWarning")
def test_nothing_is_requested_for_days_of_which_nothing_is_known(pipeline: Pipeline) -> None:
    first = dg.evaluate_automation_conditions(pipeline.defs, pipeline.instance)
    second = dg.evaluate_automation_conditions(pipeline.defs, pipeline.instance, cursor=first.cursor)
    assert first.total_requested == second.total_requested == 0


@pytest.mark.filterwarnings("ignore::dagster.BetaWarning")
def test_days_that_only_hermes_knows_are_carried_down_to_the_end(pipeline: Pipeline) -> None:
    first = dg.evaluate_automation_conditions(pipeline.defs, pipeline.instance)
    assert pipeline.process(assets=["hermes_rollups"]).success
    second = dg.evaluate_automation_conditions(pipeline.defs, pipeline.instance, cursor=first.cursor)
    assert second.get_requested_partitions(USAGE_EVENTS_KEY) == {str(one) for one in DAYS.days}
    assert pipeline.process(assets=["usage_events"]).success
    third = dg.evaluate_automation_conditions(pipeline.defs, pipeline.instance, cursor=second.cursor)
    requested = second.get_requested_partitions(RECONCILED_USAGE_KEY) | third.get_requested_partitions(
        RECONCILED_USAGE_KEY
    )
    assert requested == {str(one) for one in DAYS.days}


@pytest.mark.filterwarnings("ignore::dagster.BetaWarning")
def test_a_key_that_failed_a_blocking_check_holds_its_days_back_though_another_key_passed(
    pipeline: Pipeline, sandbox: SandboxServer
) -> None:
    first = dg.evaluate_automation_conditions(pipeline.defs, pipeline.instance)
    sandbox.switch(
        faults=[{"kind": "dimension_unanswered", "path": "*/completions", "dimension": "model", "times": None}]
    )
    assert not pipeline.pull(OPENAI).success
    assert pipeline.pull(ANTHROPIC).success
    second = dg.evaluate_automation_conditions(pipeline.defs, pipeline.instance, cursor=first.cursor)
    assert second.get_requested_partitions(USAGE_EVENTS_KEY) == set()
    sandbox.switch(faults=[])
    assert pipeline.pull(OPENAI).success
    third = dg.evaluate_automation_conditions(pipeline.defs, pipeline.instance, cursor=second.cursor)
    assert third.get_requested_partitions(USAGE_EVENTS_KEY) == {str(one) for one in DAYS.days}


@pytest.mark.filterwarnings("ignore::dagster.BetaWarning")
def test_a_failed_blocking_check_stops_its_day_and_no_other_until_it_passes(pipeline: Pipeline) -> None:
    assert pipeline.pull().success
    assert pipeline.process(assets=["hermes_rollups", "billed_costs"]).success
    first = dg.evaluate_automation_conditions(pipeline.defs, pipeline.instance)
    assert pipeline.process(assets=["usage_events"]).success
    broken = (
        "UPDATE usage_events SET output_text = coalesce(output, 0) + :more WHERE (slice_id, event_id) IN (SELECT"
        " slice_id, event_id FROM usage_events JOIN slices USING (slice_id) WHERE day = :day AND output IS NOT NULL"
        " ORDER BY event_id LIMIT 1)"  # the same row when it is mended
    )
    pipeline.execute(broken, day=day(1), more=1)
    assert not pipeline.process(assets=["usage_events"]).success
    second = dg.evaluate_automation_conditions(pipeline.defs, pipeline.instance, cursor=first.cursor)
    assert second.get_requested_partitions(RECONCILED_USAGE_KEY) == {str(day(0)), str(day(2))}
    assert pipeline.process(DaySpan(day(0), day(1)), ["reconciled_usage"]).success
    assert pipeline.process(DaySpan(day(2), day(3)), ["reconciled_usage"]).success
    pipeline.execute(broken, day=day(1), more=0)
    assert pipeline.process(DaySpan(day(1), day(2)), ["usage_events"]).success
    third = dg.evaluate_automation_conditions(pipeline.defs, pipeline.instance, cursor=second.cursor)
    assert third.get_requested_partitions(RECONCILED_USAGE_KEY) == {str(day(1))}


@pytest.mark.filterwarnings("ignore::dagster.BetaWarning")
def test_a_day_of_the_past_that_is_pulled_again_is_carried_down_alone(pipeline: Pipeline) -> None:
    pipeline.whole()
    first = dg.evaluate_automation_conditions(pipeline.defs, pipeline.instance)
    # One key's cell alone; the other key's stays as it was, and a third one's was never there.
    pipeline.instance.add_dynamic_partitions(PROVIDER_KEYS.name or "", ["acme.openai.new"])
    assert pipeline.pull(OPENAI, DaySpan(day(1), day(2))).success
    second = dg.evaluate_automation_conditions(pipeline.defs, pipeline.instance, cursor=first.cursor)
    for asset in (USAGE_EVENTS_KEY, BILLED_COSTS_KEY):
        assert second.get_requested_partitions(asset) == {str(day(1))}
