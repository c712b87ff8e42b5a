"""Asset checks that fail now, as conditions of alerts.

A check fails of a partition where its newest evaluation that is done says so; it is over when a later one passes.
Candidates are what failed in runs that ended lately and what an open alert names, however many; Dagster is asked about
them by check, so that nothing depends on having seen every run.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Final

import dagster as dg
from dagster._core.event_api import PartitionKeyFilter
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus

from usage_pipeline.alerts.causes import CHECK_FAILED, CHECK_WARNED, TOLD_BY_THEIR_OWN_CAUSE, Cause
from usage_pipeline.alerts.conditions import Condition, days_in_words, occurrences_of
from usage_pipeline.orchestration.partitions import key_day
from usage_pipeline.orchestration.run_conditions import in_parts
from usage_pipeline.orchestration.summaries import OFFENDING

_DONE: Final = {AssetCheckExecutionRecordStatus.SUCCEEDED, AssetCheckExecutionRecordStatus.FAILED}
_WHOLE: Final = "-"


@dataclass(frozen=True, slots=True)
class CheckOfPartition:
    """A check of a partition; None for a check that has no partitions."""

    check: dg.AssetCheckKey
    partition: str | None


@dataclass(frozen=True, slots=True)
class Failure:
    """An evaluation of a check of a partition that failed."""

    of: CheckOfPartition
    run_id: str
    at: datetime
    evaluation: dg.AssetCheckEvaluation

    @property
    def cause(self) -> Cause | None:
        """Why an alert is raised of it; None where another alert tells it."""
        if self.evaluation.severity is dg.AssetCheckSeverity.ERROR:
            return CHECK_FAILED
        return None if self.of.check.name in TOLD_BY_THEIR_OWN_CAUSE else CHECK_WARNED


@dataclass(frozen=True, slots=True)
class Candidates:
    """What may fail: what open alerts name, by check of a partition and run, and what was seen to fail."""

    named: dict[tuple[CheckOfPartition, str], Cause] = field(default_factory=dict)
    seen: dict[CheckOfPartition, Failure] = field(default_factory=dict)

    def name(self, cause: Cause, place: str, occurrences: Iterable[str]) -> None:
        """Take what an open alert about a check stands on."""
        asset, _, name = place.partition(" / ")
        check = dg.AssetCheckKey(dg.AssetKey(asset.split("/")), name)
        for occurrence in occurrences:
            partition, _, run_id = occurrence.rpartition("@")
            self.named[CheckOfPartition(check, None if partition == _WHOLE else partition), run_id] = cause

    def by_check(self) -> dict[dg.AssetCheckKey, set[str | None]]:
        """The partitions of each check."""
        found: dict[dg.AssetCheckKey, set[str | None]] = defaultdict(set)
        for one in (*self.seen, *(of for of, _ in self.named)):
            found[one.check].add(one.partition)
        return found


def failed_in(instance: dg.DagsterInstance, run_id: str) -> dict[CheckOfPartition, Failure]:
    """What failed in a run. Of a check that judged partitions, its verdict on the whole is left out."""
    records = instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION).records
    judged: list[Failure] = []
    for record in records:
        event = record.event_log_entry.dagster_event
        evaluation = event.event_specific_data if event is not None else None
        if isinstance(evaluation, dg.AssetCheckEvaluation):
            of = CheckOfPartition(evaluation.asset_check_key, evaluation.partition)
            judged.append(Failure(of, run_id, datetime.fromtimestamp(record.timestamp, UTC), evaluation))
    by_partition = {one.of.check for one in judged if one.of.partition is not None}
    return {
        one.of: one
        for one in judged
        if not one.evaluation.passed and (one.of.partition is not None or one.of.check not in by_partition)
    }


def check_conditions(
    instance: dg.DagsterInstance, known: Iterable[dg.AssetCheckKey], candidates: Candidates
) -> Iterator[Condition]:
    """The conditions of the candidates that fail now. A check that is not ``known`` any more fails no more."""
    checks = set(known)
    for check, partitions in candidates.by_check().items():
        if check not in checks:
            continue
        found: dict[Cause, list[tuple[CheckOfPartition, str]]] = defaultdict(list)
        for one, run_id in _failing(instance, check, partitions):
            # What is known already is not read again: they may be thousands.
            failure = candidates.seen.get(one)
            cause = candidates.named.get((one, run_id))
            if failure is not None and failure.run_id == run_id:
                cause = failure.cause
            elif cause is None and (failure := _newest_if_failed(instance, one)) is not None:
                cause = failure.cause
                candidates.seen[one] = failure
            if cause is not None:
                found[cause].append((one, run_id))
        for cause, failing in found.items():
            condition = _condition(instance, cause, failing, candidates)
            if condition is not None:
                yield condition


def _failing(
    instance: dg.DagsterInstance, check: dg.AssetCheckKey, partitions: set[str | None]
) -> Iterator[tuple[CheckOfPartition, str]]:
    """Those of which the newest evaluation that is done failed, and in which run."""
    for some in in_parts(one for one in partitions if one is not None):
        for info in instance.event_log_storage.get_asset_check_partition_info([check], partition_keys=some):
            one = CheckOfPartition(check, info.partition_key)
            if info.latest_execution_status is AssetCheckExecutionRecordStatus.FAILED:
                yield one, info.latest_planned_run_id
            elif info.latest_execution_status not in _DONE:  # a run has only begun, or broke off
                yield from _newest_run(instance, one)
    if None in partitions:
        yield from _newest_run(instance, CheckOfPartition(check, None))


def _newest_run(instance: dg.DagsterInstance, one: CheckOfPartition) -> Iterator[tuple[CheckOfPartition, str]]:
    failure = _newest_if_failed(instance, one)
    if failure is not None:
        yield one, failure.run_id


def _newest_if_failed(instance: dg.DagsterInstance, one: CheckOfPartition) -> Failure | None:
    records = instance.event_log_storage.get_asset_check_execution_history(
        one.check, limit=1, status=_DONE, partition_filter=PartitionKeyFilter(key=one.partition)
    )
    if not records or records[0].status is not AssetCheckExecutionRecordStatus.FAILED:
        return None
    record = records[0]
    if record.evaluation is None or record.event is None:
        return None
    return Failure(one, record.run_id, datetime.fromtimestamp(record.event.timestamp, UTC), record.evaluation)


def _condition(
    instance: dg.DagsterInstance,
    cause: Cause,
    failing: Sequence[tuple[CheckOfPartition, str]],
    candidates: Candidates,
) -> Condition | None:
    """The condition of what fails of one check; None where it was mended while we looked."""
    newest_day, run_id = max(failing, key=lambda one: one[0].partition or "")
    shown = candidates.seen.get(newest_day)
    if shown is None or shown.run_id != run_id:
        shown = _newest_if_failed(instance, newest_day)
    if shown is None:
        return None
    where = _partitions_in_words([one.partition for one, _ in failing])
    stops = " What comes after waits for it." if shown.evaluation.blocking else ""
    check = newest_day.check
    asset = "/".join(check.asset_key.path)
    # Of what is not new the alert knows since when it is.
    fresh = (candidates.seen[one] for one, of_run in failing if one in candidates.seen)
    return Condition(
        cause,
        place=f"{asset} / {check.name}",
        since=min(one.at for one in (shown, *fresh)),
        what=f"{where}{_offence(shown, of_many=len(failing) > 1)}{stops}",
        remedy="look at the rows that the check shows, mend what is behind them, and materialise the partition again.",
        occurrences=occurrences_of(f"{one.partition or _WHOLE}@{of_run}" for one, of_run in failing),
        link=f"/assets/{asset}?view=checks&checkDetail={check.name}",
    )


def _partitions_in_words(partitions: Sequence[str | None]) -> str:
    days: dict[str, list[date]] = defaultdict(list)
    for partition in partitions:
        if partition is not None:
            day, key = _day_and_key(partition)
            days[key].append(day)
    return "; ".join(f"{key}{' ' if key else ''}{days_in_words(listed)}" for key, listed in sorted(days.items())) + (
        ": " if days else ""
    )


def _day_and_key(partition: str) -> tuple[date, str]:
    if "|" in partition:
        cell = key_day(partition)
        return cell.day, cell.key
    return date.fromisoformat(partition), ""


def _offence(failure: Failure, *, of_many: bool) -> str:
    """The first row that breaks the rule, and how many more there are."""
    offending = failure.evaluation.metadata.get(OFFENDING)
    if not isinstance(offending, dg.TableMetadataValue) or not offending.records:
        return failure.evaluation.description or "it failed."
    first = offending.records[0].data
    more = len(offending.records) - 1
    day = f"{first['day']} " if of_many or failure.of.partition is None else ""
    return f"{day}{first['where']}: {first['what']}{f', and {more} more' if more else ''}."
