"""Asset checks that fail now, as conditions of alerts.

A check fails of a partition where its newest evaluation that is done says so; it is over when a later one passes.
Candidates are what failed in runs that ended lately and what an open alert names; each is asked about by itself, so
that nothing depends on having seen every run.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Final

import dagster as dg
from dagster._core.event_api import PartitionKeyFilter
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus

from usage_pipeline.alerts.causes import CHECK_FAILED, CHECK_WARNED, TOLD_BY_THEIR_OWN_CAUSE, Cause
from usage_pipeline.alerts.conditions import Condition, days_in_words, occurrences_of
from usage_pipeline.orchestration.partitions import key_day
from usage_pipeline.orchestration.summaries import OFFENDING

CANDIDATES_MAX: Final = 1_000
"""So many partitions of checks are asked about in one tick, the newest."""

_DONE: Final = {AssetCheckExecutionRecordStatus.SUCCEEDED, AssetCheckExecutionRecordStatus.FAILED}
_WHOLE: Final = "-"


@dataclass(frozen=True, slots=True)
class CheckOfPartition:
    """A check of a partition; None for a check that has no partitions."""

    check: dg.AssetCheckKey
    partition: str | None


@dataclass(frozen=True, slots=True)
class _Failure:
    """The newest evaluation of a check of a partition, which failed."""

    of: CheckOfPartition
    run_id: str
    at: datetime
    evaluation: dg.AssetCheckEvaluation


def failed_in(instance: dg.DagsterInstance, run_id: str) -> set[CheckOfPartition]:
    """What failed in a run. Of a check that judged partitions, its verdict on the whole is left out."""
    records = instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION).records
    evaluations = [
        record.event_log_entry.dagster_event.event_specific_data
        for record in records
        if record.event_log_entry.dagster_event is not None
    ]
    judged = [one for one in evaluations if isinstance(one, dg.AssetCheckEvaluation)]
    by_partition = {one.asset_check_key for one in judged if one.partition is not None}
    return {
        CheckOfPartition(one.asset_check_key, one.partition)
        for one in judged
        if not one.passed and (one.partition is not None or one.asset_check_key not in by_partition)
    }


def named_by(place: str, occurrences: Iterable[str]) -> Iterator[CheckOfPartition]:
    """What an open alert about a check stands on."""
    asset, _, name = place.partition(" / ")
    check = dg.AssetCheckKey(dg.AssetKey(asset.split("/")), name)
    for occurrence in occurrences:
        partition, _, _run_id = occurrence.rpartition("@")
        yield CheckOfPartition(check, None if partition == _WHOLE else partition)


def check_conditions(
    instance: dg.DagsterInstance, known: Iterable[dg.AssetCheckKey], candidates: Iterable[CheckOfPartition]
) -> Iterator[Condition]:
    """The conditions of the candidates that fail now. A check that is not ``known`` any more fails no more."""
    checks = set(known)
    asked = sorted({one for one in candidates if one.check in checks}, key=lambda one: one.partition or "")
    found: dict[tuple[dg.AssetCheckKey, Cause], list[_Failure]] = defaultdict(list)
    for one in asked[-CANDIDATES_MAX:]:
        failure = _newest_if_failed(instance, one)
        if failure is not None and (cause := _cause(failure)) is not None:
            found[one.check, cause].append(failure)
    for (check, cause), failures in found.items():
        yield _condition(check, cause, failures)


def _newest_if_failed(instance: dg.DagsterInstance, one: CheckOfPartition) -> _Failure | None:
    records = instance.event_log_storage.get_asset_check_execution_history(
        one.check, limit=1, status=_DONE, partition_filter=PartitionKeyFilter(key=one.partition)
    )
    if not records or records[0].status is not AssetCheckExecutionRecordStatus.FAILED:
        return None
    record = records[0]
    if record.evaluation is None or record.event is None:
        return None
    return _Failure(one, record.run_id, datetime.fromtimestamp(record.event.timestamp, UTC), record.evaluation)


def _cause(failure: _Failure) -> Cause | None:
    if failure.evaluation.severity is dg.AssetCheckSeverity.ERROR:
        return CHECK_FAILED
    return None if failure.of.check.name in TOLD_BY_THEIR_OWN_CAUSE else CHECK_WARNED


def _condition(check: dg.AssetCheckKey, cause: Cause, failures: Sequence[_Failure]) -> Condition:
    newest = max(failures, key=lambda one: (one.at, one.of.partition or ""))
    where = _partitions_in_words([one.of.partition for one in failures])
    stops = " What comes after waits for it." if newest.evaluation.blocking else ""
    asset = "/".join(check.asset_key.path)
    return Condition(
        cause,
        place=f"{asset} / {check.name}",
        since=min(one.at for one in failures),
        what=f"{where}{_offence(newest, of_many=len(failures) > 1)}{stops}",
        remedy="look at the rows that the check shows, mend what is behind them, and materialise the partition again.",
        occurrences=occurrences_of(f"{one.of.partition or _WHOLE}@{one.run_id}" for one in failures),
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


def _offence(failure: _Failure, *, of_many: bool) -> str:
    """The first row that breaks the rule, and how many more there are."""
    offending = failure.evaluation.metadata.get(OFFENDING)
    if not isinstance(offending, dg.TableMetadataValue) or not offending.records:
        return failure.evaluation.description or "it failed."
    first = offending.records[0].data
    more = len(offending.records) - 1
    day = f"{first['day']} " if of_many or failure.of.partition is None else ""
    return f"{day}{first['where']}: {first['what']}{f', and {more} more' if more else ''}."
