"""A backfill in this process: the same assets and checks that the daemon would run, no daemon needed.

In: a range of UTC days and keys. Out: a :class:`BackfillOutcome`. For each chunk of days every key is pulled in a run
of its own, then one run takes the days through to reconciled usage. The runs are kept in the project's Dagster
instance, where the UI shows them. A key that fails holds up neither the others nor what comes after. What is over is
noted in the store run by run, so that a backfill that was stopped can go on where it was.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date
from typing import TYPE_CHECKING, Final

import dagster as dg

from usage_pipeline.errors import InvalidInputError, TransientError
from usage_pipeline.ledger.backfills import (
    RECONCILING,
    Backfill,
    BackfillStep,
    StepState,
    done_steps,
    finish_backfill,
    held,
    record_step,
    start_backfill,
    unfinished_backfills,
)
from usage_pipeline.orchestration.assets import (
    BILLED_COSTS_KEY,
    HERMES_ROLLUPS,
    RAW_PROVIDER_PULLS,
    RECONCILED_USAGE_KEY,
    USAGE_EVENTS_KEY,
)
from usage_pipeline.orchestration.backfill_outcome import (
    BackfillOutcome,
    CheckOutcome,
    Severity,
    StageOutcome,
    State,
)
from usage_pipeline.orchestration.backfill_pace import Pace, PlannedRun
from usage_pipeline.orchestration.checks import CHECKS
from usage_pipeline.orchestration.instance import open_instance
from usage_pipeline.orchestration.partitions import (
    PROVIDER_KEYS,
    PULL_DAYS_MAX,
    DaySpan,
    check_key_slug,
    check_span,
    day_range_tags,
    key_range_tags,
)
from usage_pipeline.orchestration.resources import given
from usage_pipeline.orchestration.run_tags import FROM_COMMAND
from usage_pipeline.orchestration.summaries import NOT_SKIPPED, OFFENDING, SKIPPED
from usage_pipeline.stages import open_runtime

if TYPE_CHECKING:
    from dagster._core.execution.stats import RunStepKeyStatsSnapshot  # not exported; only named here

    from usage_pipeline.settings import Settings
    from usage_pipeline.stages import Runtime

_DAY_STAGES: Final = (HERMES_ROLLUPS, USAGE_EVENTS_KEY, BILLED_COSTS_KEY, RECONCILED_USAGE_KEY)
_QUIET: Final = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
_CHECK_KEYS: Final = tuple(key for check in CHECKS for key in check.check_keys)
_OF_BACKFILL: Final = "usage_pipeline/backfill"
_RUNNING: Final = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED]
_RESUME: Final = "usage-pipeline backfill --resume"


def run_backfill(
    settings: Settings,
    environ: Mapping[str, str],
    first_day: date,
    end_day: date,
    key_slugs: Sequence[str],
    progress: Callable[[str], None],
) -> BackfillOutcome:
    """Pull the half-open range of UTC days of the named keys (none named: every enabled one), and reconcile it.

    It always begins anew, with a note where an unfinished one of the same days and keys is. ``progress`` gets a line
    before and after each run. Raises :class:`InvalidInputError`: ``day_without_partition``, ``key_unknown``,
    ``slug_malformed``; and what opening the store or Dagster's instance raises. A run that fails is in the outcome and
    raises nothing.
    """
    span = check_span(DaySpan(first_day, end_day))
    with _opened(settings, environ) as (runtime, instance):
        keys = _keys(runtime, key_slugs)
        with ExitStack() as hold:
            with runtime.engine.begin() as connection:
                earlier = unfinished_backfills(connection)
                record = start_backfill(connection, span.first_day, span.end_day, keys, runtime.clock())
                # Before anybody can see it, and go on with it.
                hold.enter_context(held(runtime.engine, record.backfill_id))
            _tell_of_unfinished(runtime, record, earlier, progress)
            return _BackfillRuns(runtime, instance, progress, record).run()


def resume_backfill(settings: Settings, environ: Mapping[str, str], progress: Callable[[str], None]) -> BackfillOutcome:
    """Go on with the newest unfinished backfill: what was pulled whole is not asked for again.

    Pulls that failed, were interrupted or never began are made; the days on which any was made, or that were not
    reconciled, are reconciled. Raises :class:`InvalidInputError` ``nothing_to_resume``, :class:`TransientError`
    ``backfill_running``, and as :func:`run_backfill` does.
    """
    with _opened(settings, environ) as (runtime, instance), _taken_up(runtime) as record:
        check_span(DaySpan(record.first_day, record.end_day))
        _keys(runtime, record.key_slugs)
        last = f"{record.first_day} to {DaySpan(record.first_day, record.end_day).last_day}"
        progress(f"going on with the backfill of {last} that was begun at {record.started_at:%Y-%m-%d %H:%M} UTC …")
        _end_lost_runs(instance, record)
        with runtime.engine.begin() as connection:
            done = done_steps(connection, record.backfill_id)
        return _BackfillRuns(runtime, instance, progress, record, done).run()


@contextmanager
def _opened(settings: Settings, environ: Mapping[str, str]) -> Iterator[tuple[Runtime, dg.DagsterInstance]]:
    with open_runtime(environ) as runtime, open_instance(environ) as instance, _quiet():
        yield replace(runtime, settings=settings), instance


@contextmanager
def _taken_up(runtime: Runtime) -> Iterator[Backfill]:
    """The newest unfinished backfill that no process is at, held."""
    with runtime.engine.begin() as connection:
        unfinished = unfinished_backfills(connection)
    for record in unfinished:
        with held(runtime.engine, record.backfill_id) as free:
            with runtime.engine.begin() as connection:
                unchanged = free and record in unfinished_backfills(connection)
            if unchanged:
                yield record
                return
    if unfinished:
        raise TransientError(
            "backfill_running",
            "every unfinished backfill is being worked on by another process",
            where=_RESUME,
            remedy="Wait for its end, or stop it first.",
        )
    raise InvalidInputError(
        "nothing_to_resume",
        "there is no unfinished backfill",
        where=_RESUME,
        remedy="Begin one with --from and --to.",
    )


def _tell_of_unfinished(
    runtime: Runtime, record: Backfill, earlier: Sequence[Backfill], progress: Callable[[str], None]
) -> None:
    for one in earlier:
        if one.same_work(record) and one.steps_done:
            with held(runtime.engine, one.backfill_id) as free:
                if free:
                    progress(
                        "note: an unfinished backfill of the same days and keys was begun at"
                        f" {one.started_at:%Y-%m-%d %H:%M} UTC; this one asks for everything anew. To go on with that"
                        f" one instead, stop this one before its first pull is done, then run: {_RESUME}"
                    )
                    return


def _end_lost_runs(instance: dg.DagsterInstance, record: Backfill) -> None:
    """Runs of a process that was killed would be shown as going on for ever."""
    tags = {_OF_BACKFILL: str(record.backfill_id)}
    for run in instance.get_runs(dg.RunsFilter(tags=tags, statuses=_RUNNING)):
        instance.report_run_failed(run, "The process that ran it was stopped.")


def _keys(runtime: Runtime, named: Sequence[str]) -> tuple[str, ...]:
    from usage_pipeline.ledger.enabled_keys import enabled_keys
    from usage_pipeline.ledger.provider_keys import get_provider_key

    with runtime.engine.connect() as connection:
        if named:
            return tuple(get_provider_key(connection, check_key_slug(slug)).slug for slug in dict.fromkeys(named))
        today = runtime.clock().astimezone(UTC).date()
        return tuple(check_key_slug(key.slug) for key in enabled_keys(connection, today))


@dataclass(slots=True)
class _Tally:
    """One check's evaluations so far."""

    blocking: bool
    passed: int = 0
    warnings: int = 0
    errors: int = 0
    first: str | None = None


@dataclass(slots=True)
class _BackfillRuns:
    """The runs of a backfill, without those that are ``done`` already."""

    runtime: Runtime
    instance: dg.DagsterInstance
    progress: Callable[[str], None]
    record: Backfill
    done: frozenset[BackfillStep] | None = None
    stages: list[StageOutcome] = field(default_factory=list)
    tallies: dict[dg.AssetCheckKey, _Tally] = field(default_factory=dict)
    job: dg.JobDefinition = field(init=False)

    def run(self) -> BackfillOutcome:
        """Chunk after chunk: every key's pull, then the days; at the end, whether anything is left to do."""
        from usage_pipeline.definitions import build_defs

        started = time.monotonic()
        keys = self.record.key_slugs
        self._know_keys(keys)
        self.job = build_defs(given(self.runtime)).resolve_implicit_global_asset_job_def()
        chunks = list(DaySpan(self.record.first_day, self.record.end_day).chunks(PULL_DAYS_MAX))
        done = self.done or frozenset()
        plan = _plan(chunks, keys, done)
        pace = Pace(plan, len(chunks))
        for number, planned in enumerate(plan):
            self._run(planned, pace.begin(number))
            pace.end(number)
        pulls = [_step(chunk, key) for chunk in chunks for key in keys]
        outcome = BackfillOutcome(
            self.record.first_day,
            self.record.end_day,
            keys,
            tuple(self.stages),
            tuple(_check_outcome(key, tally) for key, tally in self.tallies.items()),
            time.monotonic() - started,
            pulls=len(pulls),
            pulls_done_before=None if self.done is None else len(done.intersection(pulls)),
        )
        if outcome.ok and not any(stage.note for stage in self.stages):  # what is turned off is still to do
            with self.runtime.engine.begin() as connection:
                finish_backfill(connection, self.record, self.runtime.clock())
        return outcome

    def _know_keys(self, keys: Sequence[str]) -> None:
        known = set(self.instance.get_dynamic_partitions(PROVIDER_KEYS.name or ""))
        if fresh := [key for key in keys if key not in known]:
            self.instance.add_dynamic_partitions(PROVIDER_KEYS.name or "", fresh)

    def _run(self, planned: PlannedRun, how_far: str) -> None:
        span, key = planned.span, planned.key
        assets = [RAW_PROVIDER_PULLS] if key else _DAY_STAGES
        tags = key_range_tags(key, span) if key else day_range_tags(span)
        what = f"pulling {key}" if key else "reconciling"
        self.progress(f"{what}, {span.first_day} to {span.last_day} … {how_far}")
        result = self.job.execute_in_process(
            run_config=_QUIET,
            instance=self.instance,
            raise_on_error=False,
            asset_selection=list(assets),
            tags={**tags, FROM_COMMAND: "true", _OF_BACKFILL: str(self.record.backfill_id)},
        )
        stats = {one.step_key: one for one in self.instance.get_run_step_stats(result.run_id)}
        stages = [_stage_outcome(result, stats, asset, key, span) for asset in assets]
        self._note_end(_step(span, key), stages, result.run_id)
        for stage in stages:
            self.stages.append(stage)
            self.progress(stage.line())
        self._count_checks(result)
        if any(_interrupted(event) for event in result.get_step_failure_events()):
            raise KeyboardInterrupt  # Dagster takes Ctrl-C for the end of one step; a person means all of it

    def _note_end(self, step: BackfillStep, stages: Sequence[StageOutcome], run_id: str) -> None:
        if any(stage.note for stage in stages):
            return  # turned off: neither done nor failed, and asked for when it is on again
        state: StepState = "done" if all(stage.state == "ok" for stage in stages) else "failed"
        with self.runtime.engine.begin() as connection:
            record_step(connection, self.record.backfill_id, step, state, run_id, self.runtime.clock())

    def _count_checks(self, result: dg.ExecuteInProcessResult) -> None:
        evaluations = result.get_asset_check_evaluations()
        by_partition = {one.asset_check_key for one in evaluations if one.partition is not None}
        for one in evaluations:
            if one.partition is None and one.asset_check_key in by_partition:
                continue  # the verdict on the whole, beside those on its partitions
            tally = self.tallies.setdefault(one.asset_check_key, _Tally(bool(one.blocking)))
            if one.passed:
                tally.passed += 1
                continue
            if one.severity is dg.AssetCheckSeverity.WARN:
                tally.warnings += 1
            else:
                tally.errors += 1
            tally.first = tally.first or _first_offence(one)


def _plan(chunks: Sequence[DaySpan], keys: Sequence[str], done: Set[BackfillStep]) -> list[PlannedRun]:
    """Of each chunk the pulls that are not done, then its days where any is made or they are not done themselves."""
    plan: list[PlannedRun] = []
    for number, chunk in enumerate(chunks, start=1):
        todo = [key for key in keys if _step(chunk, key) not in done]
        plan += [PlannedRun(chunk, key, number) for key in todo]
        if todo or _step(chunk, None) not in done:
            plan.append(PlannedRun(chunk, None, number))
    return plan


def _step(span: DaySpan, key: str | None) -> BackfillStep:
    return BackfillStep(key or RECONCILING, span.first_day, span.end_day)


def _stage_outcome(
    result: dg.ExecuteInProcessResult,
    stats: Mapping[str, RunStepKeyStatsSnapshot],
    asset: dg.AssetKey,
    key: str | None,
    span: DaySpan,
) -> StageOutcome:
    """What became of an asset in a run: its own step and those of its checks."""
    name = asset.to_user_string()
    steps = {name, *(f"{name}_{check.name}" for check in _CHECK_KEYS if check.asset_key == asset)}
    timed = [(one.start_time, one.end_time) for step, one in stats.items() if step in steps and one.start_time]
    seconds = sum((end or start) - start for start, end in timed)
    errors = [_error_line(event) for event in result.get_step_failure_events() if event.step_key in steps]
    blocked = [
        f"[check_failed] {name} {one.check_name}: {one.description or 'it did not pass'}."
        for one in result.get_asset_check_evaluations()
        if one.asset_key == asset and one.partition is None and _blocks(one)
    ]
    error = next(iter([*blocked, *errors]), None)
    note = _why_skipped(result, asset)
    state: State = "failed" if error else "ok" if timed and not note else "skipped"
    return StageOutcome(name, key, span.first_day, span.end_day, state, seconds, result.run_id, error, note)


def _why_skipped(result: dg.ExecuteInProcessResult, asset: dg.AssetKey) -> str | None:
    """Why a pull asked nothing: its key, its provider or all ingestion is turned off."""
    for event in result.get_asset_materialization_events():
        told = event.materialization.metadata.get(SKIPPED)
        if event.asset_key == asset and told is not None and told.value != NOT_SKIPPED:
            return str(told.value)
    return None


def _blocks(one: dg.AssetCheckEvaluation) -> bool:
    return bool(one.blocking) and not one.passed and one.severity is dg.AssetCheckSeverity.ERROR


def _error_line(event: dg.DagsterEvent) -> str:
    """What a stage said of its failure; of a failure of Dagster's own, its kind."""
    data = event.step_failure_data
    if data.user_failure_data is not None and data.user_failure_data.description:
        return data.user_failure_data.description
    kind = data.error.cls_name if data.error else None
    return f"[step_failed] {event.step_key}: it broke off ({kind or 'no reason given'})."


def _interrupted(event: dg.DagsterEvent) -> bool:
    error = event.step_failure_data.error
    return error is not None and error.cls_name == "DagsterExecutionInterruptedError"


def _first_offence(one: dg.AssetCheckEvaluation) -> str | None:
    table = one.metadata.get(OFFENDING)
    if one.description or not isinstance(table, dg.TableMetadataValue) or not table.records:
        return one.description
    record = table.records[0].data
    return f"{record['day']} {record['where']}: {record['what']}"


def _check_outcome(key: dg.AssetCheckKey, tally: _Tally) -> CheckOutcome:
    severity: Severity | None = "error" if tally.errors else "warning" if tally.warnings else None
    return CheckOutcome(
        name=key.name,
        asset=key.asset_key.to_user_string(),
        passed=severity is None,
        severity=severity,
        blocking=tally.blocking,
        partitions_passed=tally.passed,
        partitions_failed=tally.errors + tally.warnings,
        first=tally.first,
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Dagster's own lines off the terminal; they are in its event log."""
    logger = logging.getLogger("dagster")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
