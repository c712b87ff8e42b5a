"""Runs that failed or take too long, as conditions of alerts.

A failed run is over when everything that it was to make has been made since it began, by whatever run; one that makes
no assets, when a later run of its job went through. A run that Dagster does not keep any more is over too.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

import dagster as dg

from usage_pipeline.alerts.causes import RUN_FAILED, RUN_OVERDUE
from usage_pipeline.alerts.conditions import Condition, days_in_words, occurrences_of
from usage_pipeline.orchestration.partitions import DaySpan, KeyDay, key_day, partition_key

RUNS_MAX: Final = 500
MATERIALISATIONS_MAX: Final = 5_000

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


def failed_runs(
    instance: dg.DagsterInstance,
    repository: dg.RepositoryDefinition,
    run_ids: Iterable[str],
    refused_keys: Collection[str],
    refused_codes: Collection[str],
) -> Iterator[Condition]:
    """The conditions of those of the runs that failed and were not made good since.

    Left out is what another alert tells: runs that failed by their blocking checks alone, and pulls of
    ``refused_keys`` that failed with one of ``refused_codes``.
    """
    listed = list(dict.fromkeys(run_ids))[-RUNS_MAX:]
    if not listed:
        return
    found: dict[str, list[tuple[dg.RunRecord, _Work, str]]] = defaultdict(list)
    filters = dg.RunsFilter(run_ids=listed, statuses=[dg.DagsterRunStatus.FAILURE])
    for record in instance.get_run_records(filters):
        work = _work(record.dagster_run, repository)
        error = _error(instance, record.dagster_run.run_id)
        code = _CODE.match(error or "")
        if error is None or (work.key in refused_keys and code is not None and code[1] in refused_codes):
            continue
        if not _made_good(instance, record, work):
            found[work.place].append((record, work, error))
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
    for record in instance.get_run_records(filters, limit=RUNS_MAX):
        since = _started(record) if record.start_time is not None else _aware(record.update_timestamp)
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


def _made_good(instance: dg.DagsterInstance, record: dg.RunRecord, work: _Work) -> bool:
    if not work.assets:
        later = dg.RunsFilter(
            job_name=work.name, statuses=[dg.DagsterRunStatus.SUCCESS], created_after=record.create_timestamp
        )
        return bool(instance.get_runs(later, limit=1))
    wanted = set(work.partitions)
    for asset in work.assets:
        made = instance.fetch_materializations(
            dg.AssetRecordsFilter(
                asset_key=asset,
                asset_partitions=sorted(wanted) or None,
                after_timestamp=_started(record).timestamp(),
            ),
            limit=MATERIALISATIONS_MAX,
        ).records
        # What the failed run itself made does not count: a check behind it may be what failed.
        by_others = [one for one in made if one.run_id != record.dagster_run.run_id]
        if not by_others or wanted - {one.partition_key for one in by_others}:
            return False
    return True


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


def newest_update(records: Sequence[dg.RunRecord]) -> datetime | None:
    """When the newest of the runs last changed, UTC."""
    return max((_aware(record.update_timestamp) for record in records), default=None)
