"""What fails in Dagster is found at any number: every ended run, every partition of a check, every failed run."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.partitions.subset import DefaultPartitionsSubset
from dagster._core.events import AssetCheckEvaluationPlanned

from usage_pipeline.alerts.causes import CHECK_FAILED, CHECK_WARNED
from usage_pipeline.alerts.conditions import Condition
from usage_pipeline.orchestration import alerts, run_conditions
from usage_pipeline.orchestration.alerts import ended_since
from usage_pipeline.orchestration.check_conditions import Candidates, check_conditions, failed_in
from usage_pipeline.orchestration.run_conditions import failed_runs, updated

ASSET = dg.AssetKey("usage_events")
CHECK = dg.AssetCheckKey(ASSET, "token_classes_add_up")
FIRST = date(2025, 3, 1)
ENDED = dg.DagsterRunStatus.FAILURE


@pytest.fixture
def instance(monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    """An instance in memory, asked about two runs or partitions at a time."""
    monkeypatch.setattr(run_conditions, "_ASKED_AT_ONCE", 2)
    monkeypatch.setattr(alerts, "_PAGE", 2)
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def day(number: int) -> str:
    return str(FIRST + timedelta(days=number))


# Runs that ended


def end_runs(instance: dg.DagsterInstance, count: int) -> list[str]:
    return [instance.add_run(dg.DagsterRun(job_name="settle", status=ENDED)).run_id for _ in range(count)]


def found(records: list[dg.RunRecord]) -> list[str]:
    return [record.dagster_run.run_id for record in records]


def test_every_run_that_ended_since_the_last_look_is_looked_at(instance: dg.DagsterInstance) -> None:
    runs = end_runs(instance, 7)
    assert set(found(ended_since(instance, None))) == set(runs)
    hour_ago = datetime.now(UTC) - timedelta(hours=1)
    assert set(found(ended_since(instance, hour_ago))) == set(runs)
    assert found(ended_since(instance, datetime.now(UTC) + timedelta(hours=1))) == []


def test_what_one_tick_leaves_the_next_ones_look_at_even_where_all_ended_in_a_moment(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alerts, "RUNS_PER_TICK", 3)
    runs = end_runs(instance, 12)
    end_one_after_another(instance, runs)
    seen: set[str] = set()
    until = datetime.now(UTC) - timedelta(hours=1)
    for _ in range(4):  # all of them lie within the overlap of each look
        ended = ended_since(instance, until)
        seen |= set(found(ended))
        until = max(map(updated, ended))
    assert seen == set(runs)


def test_a_look_that_was_long_ago_is_taken_up_where_it_ended(instance: dg.DagsterInstance) -> None:
    (run,) = end_runs(instance, 1)
    end_one_after_another(instance, [run], datetime.now(UTC) - timedelta(days=10))
    assert found(ended_since(instance, None)) == []
    assert found(ended_since(instance, datetime.now(UTC) - timedelta(days=11))) == [run]


def end_one_after_another(instance: dg.DagsterInstance, runs: list[str], first: datetime | None = None) -> None:
    """Give the runs ends a millisecond apart."""
    start = first or datetime.now(UTC) - timedelta(seconds=10)
    with instance.run_storage.connect() as connection:  # type: ignore[attr-defined]
        for number, run in enumerate(runs):
            at = (start + timedelta(milliseconds=number)).replace(tzinfo=None)
            connection.exec_driver_sql(
                "UPDATE runs SET update_timestamp = ? WHERE run_id = ?", (at.isoformat(" ", "microseconds"), run)
            )


# Checks


def begin(instance: dg.DagsterInstance, *numbers: int) -> str:
    """A run that is to judge these days."""
    run_id = instance.add_run(dg.DagsterRun(job_name="settle")).run_id
    days = DefaultPartitionsSubset({day(number) for number in numbers})
    planned = AssetCheckEvaluationPlanned(asset_key=ASSET, check_name=CHECK.name, partitions_subset=days)
    tell(instance, run_id, dg.DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED, planned)
    return run_id


def judge(instance: dg.DagsterInstance, *numbers: int, **verdict: Any) -> str:
    """A run that judged these days."""
    run_id = begin(instance, *numbers)
    for number in numbers:
        evaluation = dg.AssetCheckEvaluation(
            asset_key=ASSET, check_name=CHECK.name, partition=day(number), **{"passed": False, **verdict}
        )
        tell(instance, run_id, dg.DagsterEventType.ASSET_CHECK_EVALUATION, evaluation)
    return run_id


def tell(instance: dg.DagsterInstance, run_id: str, kind: dg.DagsterEventType, data: Any) -> None:
    event = dg.DagsterEvent(kind.value, "settle", event_specific_data=data)
    instance.report_dagster_event(event, run_id, logging.DEBUG)


def named(count: int, run_id: str) -> Candidates:
    """What an open alert names of so many days and one run."""
    candidates = Candidates()
    candidates.name(CHECK_FAILED, "usage_events / token_classes_add_up", [f"{day(n)}@{run_id}" for n in range(count)])
    return candidates


def failing(instance: dg.DagsterInstance, candidates: Candidates) -> list[Condition]:
    return list(check_conditions(instance, [CHECK], candidates))


def test_a_check_fails_until_its_last_partition_passes(instance: dg.DagsterInstance) -> None:
    run = judge(instance, *range(5))
    (holds,) = failing(instance, named(5, run))
    assert holds.cause is CHECK_FAILED
    assert holds.what == "2025-03-01 to 2025-03-05 (5 days): it failed."
    assert len(holds.occurrences) == 5
    judge(instance, 1, 2, 3, 4, passed=True)  # the oldest is left
    assert [one.occurrences for one in failing(instance, named(5, run))] == [(f"2025-03-01@{run}",)]
    judge(instance, 0, passed=True)
    assert failing(instance, named(5, run)) == []


def test_a_run_that_has_only_begun_or_broke_off_ends_no_failure(instance: dg.DagsterInstance) -> None:
    run = judge(instance, 0)
    begin(instance, 0, 1)
    assert [one.occurrences for one in failing(instance, named(2, run))] == [(f"2025-03-01@{run}",)]


def test_a_failure_that_is_not_the_one_that_is_named_is_judged_anew(instance: dg.DagsterInstance) -> None:
    before = judge(instance, 0)
    judge(instance, 0, severity=dg.AssetCheckSeverity.WARN)
    (holds,) = failing(instance, named(1, before))
    assert holds.cause is CHECK_WARNED


def test_what_failed_in_a_run_is_over_where_it_passed_since(instance: dg.DagsterInstance) -> None:
    run = judge(instance, 0, 1)
    judge(instance, 1, passed=True)
    candidates = Candidates(seen=failed_in(instance, run))
    assert len(candidates.seen) == 2
    assert [one.occurrences for one in failing(instance, candidates)] == [(f"2025-03-01@{run}",)]


# Failed runs


def fail(instance: dg.DagsterInstance, number: int) -> str:
    run = dg.DagsterRun(
        job_name="settle",
        status=ENDED,
        tags={"dagster/partition": day(number)},
        asset_selection=frozenset({ASSET}),
    )
    return instance.add_run(run).run_id


def make(instance: dg.DagsterInstance, number: int) -> None:
    instance.report_runless_asset_event(dg.AssetMaterialization(ASSET, partition=day(number)))


def test_a_place_fails_until_its_last_run_is_made_good(instance: dg.DagsterInstance) -> None:
    repository = dg.Definitions().get_repository_def()
    make(instance, 0)  # before it failed: that is not what mends it
    runs = [fail(instance, number) for number in range(5)]

    def failed() -> list[Condition]:
        return list(failed_runs(instance, repository, runs, (), ()))

    (holds,) = failed()
    assert len(holds.occurrences) == 5
    for number in (4, 3, 2, 1):  # the oldest is left
        make(instance, number)
    assert [one.occurrences for one in failed()] == [(runs[0],)]
    make(instance, 0)
    assert failed() == []


def test_runs_with_and_without_days_at_one_place_are_each_made_good_by_their_own(instance: dg.DagsterInstance) -> None:
    repository = dg.Definitions().get_repository_def()
    whole = dg.DagsterRun(job_name="settle", status=ENDED, asset_selection=frozenset({ASSET}))
    runs = [fail(instance, 0), instance.add_run(whole).run_id]
    (holds,) = failed_runs(instance, repository, runs, (), ())
    assert set(holds.occurrences) == set(runs)
    make(instance, 0)
    assert list(failed_runs(instance, repository, runs, (), ())) == []
