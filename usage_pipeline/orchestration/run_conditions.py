"""Runs that failed or take too long, as conditions of alerts.

A failed run is over when everything that it was to make has been made since it began, by whatever run, or is a pull of
days that are final by now and owed by nobody; one that makes no assets, when a later run of its job went through. A run
that Dagster does not keep any more is over too.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from typing import Final

import dagster as dg

from usage_pipeline.alerts.causes import RUN_FAILED, RUN_OVERDUE
from usage_pipeline.alerts.conditions import Condition, days_in_words, occurrences_of
from usage_pipeline.orchestration.assets import RAW_PROVIDER_PULLS
from usage_pipeline.orchestration.partitions import DaySpan, KeyDay, key_day, partition_key

_ASKED_AT_ONCE: Final = 500
"""So many runs or partitions one query is about."""

# Not the queued ones: a large backfill queues its runs for as long as it takes.
_UNDER_WAY: Final = [
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
_PARTITION: Final = "dagster/partition"
_RANGE_START: Final = "dagster/asset_partition_range_start"
_RANGE_END: Final = "dagster/asset_partition_range_end"
_CHECK_FAILED: Final = "DagsterAssetCheckFailedError"
_CODE: Final = re.compile(r"\[([a-z_]+)\]")


@dataclass(frozen=True, slots=True)
class _Work:
    """What a run is for: its assets (none: a job without assets), and the days of a provider key (or of all)."""

    name: str
    assets: tuple[dg.AssetKey, ...]
    span: DaySpan | None
    key: str | None

    @property
    def place(self) -> str:
        what = ", ".join("/".join(asset.path) for asset in self.assets) or self.name
        return f"{what} of {self.key}" if self.key else what

    @property
    def partitions(self) -> list[str]:
        if self.span is None:
            return []
        if self.key is None:
            return [str(day) for day in self.span.days]
        return [str(partition_key(KeyDay(day, self.key))) for day in self.span.days]

    @property
    def days(self) -> list[date]:
        return self.span.days if self.span else []


OwedByNobody = Callable[[str, Sequence[date]], Collection[date]]
"""Of a key's days those that are final, where it answered all that it was asked last."""

_Made = dict[str | None, tuple[str, float]]
"""The run and the time (seconds since 1970) of the newest materialisation by partition, None for the whole asset."""


@dataclass(frozen=True, slots=True)
class _Failed:
    """A failed run and what it was for."""

    record: dg.RunRecord
    work: _Work

    @property
    def run_id(self) -> str:
        return self.record.dagster_run.run_id

    def is_made_good_by(self, made: _Made, owed_by_nobody: OwedByNobody) -> bool:
        """Whether another run made everything of an asset since this one began. What the failed run itself made does
        not count: a check behind it may be what failed."""
        since = _started(self.record).timestamp()
        left = {
            partition
            for partition in self.work.partitions or (None,)
            if (one := made.get(partition)) is None or one[0] == self.run_id or one[1] < since
        }
        if not left or self.work.key is None or self.work.assets != (RAW_PROVIDER_PULLS,):
            return not left
        # No later look-back covers a day that is final, so no run would make it good.
        done = owed_by_nobody(self.work.key, self.work.days)
        return left <= {str(partition_key(KeyDay(day, self.work.key))) for day in done}


def failed_runs(
    instance: dg.DagsterInstance,
    repository: dg.RepositoryDefinition,
    run_ids: Iterable[str],
    refused_keys: Collection[str],
    refused_codes: Collection[str],
    owed_by_nobody: OwedByNobody = lambda _key, _days: (),
) -> Iterator[Condition]:
    """The conditions of those of the runs that failed and were not made good since.

    Left out is what another alert tells: runs that failed by their blocking checks alone, and pulls of
    ``refused_keys`` that failed with one of ``refused_codes``.
    """
    by_place: dict[tuple[str, bool], list[_Failed]] = defaultdict(list)
    for some in in_parts(dict.fromkeys(run_ids)):
        filters = dg.RunsFilter(run_ids=some, statuses=[dg.DagsterRunStatus.FAILURE])
        for record in instance.get_run_records(filters):
            work = _work(record.dagster_run, repository)
            by_place[work.place, work.span is None].append(_Failed(record, work))
    found: dict[str, list[tuple[dg.RunRecord, _Work, str]]] = defaultdict(list)
    for (place, _), failed in by_place.items():
        for one in _not_made_good(instance, failed, owed_by_nobody):
            error = _error(instance, one.run_id)
            code = _CODE.match(error or "")
            if error is None or (one.work.key in refused_keys and code is not None and code[1] in refused_codes):
                continue
            found[place].append((one.record, one.work, error))
    for place, failures in found.items():
        record, work, error = max(failures, key=lambda one: one[0].storage_id)
        days = {day for _, each, _ in failures for day in each.days}
        yield Condition(
            RUN_FAILED,
            place=place,
            since=min(_ended(one) for one, _, _ in failures),
            what=f"{days_in_words(days)}: {error}" if days else error,
            remedy=_remedy(work, days),
            occurrences=occurrences_of(one.dagster_run.run_id for one, _, _ in failures),
            link=f"/runs/{record.dagster_run.run_id}",
        )


def overdue_runs(
    instance: dg.DagsterInstance, repository: dg.RepositoryDefinition, longest: timedelta, at: datetime
) -> Iterator[Condition]:
    """The conditions of runs that were started more than ``longest`` before ``at``, and are not over."""
    found: dict[str, list[tuple[datetime, dg.DagsterRun]]] = defaultdict(list)
    filters = dg.RunsFilter(statuses=_UNDER_WAY, created_before=at - longest)
    for record in instance.get_run_records(filters):
        since = _started(record) if record.start_time is not None else updated(record)
        if at - since > longest:
            found[_work(record.dagster_run, repository).place].append((since, record.dagster_run))
    for place, runs in found.items():
        since, oldest = min(runs, key=lambda one: one[0])
        minutes = int((at - since).total_seconds() // 60)
        more = f", and {len(runs) - 1} more" if len(runs) > 1 else ""
        state = oldest.status.value.lower()
        yield Condition(
            RUN_OVERDUE,
            place=place,
            since=since,
            what=f"The run is {state} for {minutes} minutes{more}; expected are {longest // timedelta(minutes=1)}.",
            remedy="look at the run's newest events; terminate it there if it hangs. It can be started again.",
            occurrences=occurrences_of(run.run_id for _, run in runs),
            link=f"/runs/{oldest.run_id}",
        )


def _work(run: dg.DagsterRun, repository: dg.RepositoryDefinition) -> _Work:
    assets: Iterable[dg.AssetKey] | None = run.asset_selection
    if assets is None and repository.has_job(run.job_name):
        assets = repository.get_job(run.job_name).asset_layer.executable_asset_keys
    first = run.tags.get(_RANGE_START) or run.tags.get(_PARTITION)
    last = run.tags.get(_RANGE_END) or first
    span, key = None, None
    if first and last:
        (first_day, key), (last_day, _) = _cell(first), _cell(last)
        if first_day and last_day:
            span = DaySpan(first_day, last_day + timedelta(days=1))
    return _Work(run.job_name, tuple(sorted(assets or (), key=lambda one: tuple(one.path))), span, key)


def _cell(partition: str) -> tuple[date | None, str | None]:
    try:
        if "|" in partition:
            cell = key_day(partition)
            return cell.day, cell.key
        return date.fromisoformat(partition), None
    except ValueError:
        return None, None


def _not_made_good(
    instance: dg.DagsterInstance, failed: Sequence[_Failed], owed_by_nobody: OwedByNobody
) -> list[_Failed]:
    """Those of the failed runs of one place, all with days or all without, that were not made good since. What is asked
    grows with their days, not with their number."""
    work = failed[0].work
    if not work.assets:
        through = dg.RunsFilter(job_name=work.name, statuses=[dg.DagsterRunStatus.SUCCESS])
        newest = max((_aware(one.create_timestamp) for one in instance.get_run_records(through, limit=1)), default=None)
        return [one for one in failed if newest is None or newest <= _aware(one.record.create_timestamp)]
    wanted = sorted({partition for one in failed for partition in one.work.partitions})
    made = [_newest_made(instance, asset, wanted) for asset in work.assets]
    return [one for one in failed if not all(one.is_made_good_by(of_asset, owed_by_nobody) for of_asset in made)]


def _newest_made(instance: dg.DagsterInstance, asset: dg.AssetKey, partitions: Sequence[str]) -> _Made:
    """The newest materialisation of each of the partitions; of an asset without partitions the newest one."""
    records = [] if partitions else list(instance.fetch_materializations(asset, limit=1).records)
    for some in in_parts(partitions):
        ids = instance.event_log_storage.get_latest_storage_id_by_partition(
            asset, dg.DagsterEventType.ASSET_MATERIALIZATION, set(some)
        )
        if ids:
            filters = dg.AssetRecordsFilter(asset_key=asset, storage_ids=list(ids.values()))
            records += instance.fetch_materializations(filters, limit=len(ids)).records
    return {record.partition_key if partitions else None: (record.run_id, record.timestamp) for record in records}


def _error(instance: dg.DagsterInstance, run_id: str) -> str | None:
    """Why a run failed, in one line; None where nothing but its checks failed.

    Of an exception only our own words are taken, or its type: the text of another may hold anything.
    """
    failures = instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.STEP_FAILURE).records
    told: list[str] = []
    for record in failures:
        event = record.event_log_entry.dagster_event
        data = event.step_failure_data if event is not None else None
        if event is None or data is None:
            continue
        if data.user_failure_data is not None and data.user_failure_data.description:
            told.append(data.user_failure_data.description)
        elif data.error is None or data.error.cls_name != _CHECK_FAILED:
            told.append(f"{event.step_key} broke off ({data.error.cls_name if data.error else 'unknown'}).")
    if told:
        return f"{told[0]}{f' And {len(told) - 1} steps more.' if len(told) > 1 else ''}"
    if failures:
        return None
    ended = instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.RUN_FAILURE).records
    return ended[-1].event_log_entry.user_message or "the run failed." if ended else "the run failed."


def _remedy(work: _Work, days: Collection[date]) -> str:
    if work.key is not None and days:
        return f"usage-pipeline backfill --from {min(days)} --to {max(days)} --key {work.key}"
    return "mend what the error names, then re-execute the run from failure in Dagster."


def _started(record: dg.RunRecord) -> datetime:
    if record.start_time is not None:
        return datetime.fromtimestamp(record.start_time, UTC)
    return _aware(record.create_timestamp)


def _ended(record: dg.RunRecord) -> datetime:
    return datetime.fromtimestamp(record.end_time, UTC) if record.end_time is not None else _started(record)


def _aware(instant: datetime) -> datetime:
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)


def in_parts(names: Iterable[str]) -> Iterator[list[str]]:
    """The names in lists that one query may be about."""
    rest = iter(names)
    while some := list(islice(rest, _ASKED_AT_ONCE)):
        yield some


def updated(record: dg.RunRecord) -> datetime:
    """When a run last changed, UTC."""
    return _aware(record.update_timestamp)
