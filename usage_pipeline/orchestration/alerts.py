"""The sensor that looks for what a person should know of, and tells it.

Each tick asks the store and Dagster what holds now and compares it with the alerts that are kept. How far the ended
runs were looked at is kept in the store, in one transaction with the alerts that came of it, so that a receiver that
refuses holds nothing back. It only saves looking at a run twice: without it, the runs of the last days are looked at
again, with the same result. (No postponed annotations here: Dagster reads those of a sensor's parameters when it is
defined.)
"""

from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Final

import dagster as dg
from dagster._core.storage.runs import SqlRunStorage

from usage_pipeline.alerts.causes import CAUSES, CHECK_FAILED, CHECK_WARNED, KEY_REFUSED, RUN_FAILED
from usage_pipeline.alerts.conditions import Condition
from usage_pipeline.errors import TransientError
from usage_pipeline.orchestration.check_conditions import Candidates, check_conditions, failed_in
from usage_pipeline.orchestration.failures import readable_failures
from usage_pipeline.orchestration.resources import RuntimeResource
from usage_pipeline.orchestration.run_conditions import failed_runs, overdue_runs, updated

if TYPE_CHECKING:
    from usage_pipeline.ledger.alerts import AlertState
    from usage_pipeline.stages import Runtime

LOOKED_BACK: Final = timedelta(days=3)
"""So far back runs are looked at where it is not known how far was looked. What an open alert names is asked about at
any age."""

RUNS_PER_TICK: Final = 2_000
"""About so many ended runs are looked at in one tick, the oldest first; the others at the next."""

_PAGE: Final = 500

_OVERLAP: Final = timedelta(seconds=60)
"""A run's end may be written a moment after its time."""

_ENDED: Final = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]


# On from the start: it asks no provider for anything.
@dg.sensor(
    name="alerts",
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Tell what failed, is missing, late or differs, and when it is over. See docs/operations.md.",
)
def alerts(context: dg.SensorEvaluationContext, runtime: dg.ResourceParam[RuntimeResource]) -> dg.SensorResult:
    """Bring the alerts up to what holds now, and tell what is new. Fails where a receiver did not accept."""
    from usage_pipeline.alerts.facts import store_conditions
    from usage_pipeline.alerts.tick import run_tick
    from usage_pipeline.ledger.alerts import Look, living_alerts, looked_until, one_tick
    from usage_pipeline.ledger.snapshot import snapshot

    opened = runtime.runtime
    repository = context.repository_def
    assert repository is not None, "a sensor that Dagster evaluates knows its repository"
    with readable_failures(), one_tick(opened.engine) as held:
        if not held:
            return dg.SensorResult(skip_reason=dg.SkipReason("another process is looking at the alerts"))
        now = opened.clock()
        runs = _run_storage(context.instance)
        with snapshot(opened.engine) as connection:  # a cut of what a budget is of reads several tables
            conditions = store_conditions(connection, opened.settings, now)
            standing = [alert.state for alert in living_alerts(connection, now, timedelta())]
            until = looked_until(connection, runs)
        ended = ended_since(context.instance, until)
        conditions += _of_dagster(context.instance, repository, ended, standing, conditions, opened)
        look = Look(runs, max(map(updated, ended))) if ended else None
        done = run_tick(opened.engine, conditions, opened.settings, opened.environ, now, look)
        if done.refused:
            raise TransientError(
                "alerts_not_accepted",
                f"not every receiver took what there is to tell ({done.refusals()})",
                where="USAGE_ALERT_URLS",
                remedy="It is told again by itself. See: usage-pipeline alerts list.",
            )
    words = f"{done.opened} opened, {done.recovered} recovered, {done.told} told, {len(conditions)} hold"
    return dg.SensorResult(skip_reason=dg.SkipReason(words))


def _run_storage(instance: dg.DagsterInstance) -> str:
    """Which runs these are: two instances on one store look at different ones."""
    storage = instance.run_storage
    return storage.get_run_storage_id() if isinstance(storage, SqlRunStorage) else type(storage).__name__


def ended_since(instance: dg.DagsterInstance, looked_until: datetime | None) -> list[dg.RunRecord]:
    """The runs that ended since the last look, a moment before it included, oldest first, about
    :data:`RUNS_PER_TICK` of them beyond that moment."""
    since = datetime.now(UTC) - LOOKED_BACK if looked_until is None else looked_until - _OVERLAP
    found: dict[str, dg.RunRecord] = {}
    beyond, page_size = 0, _PAGE
    while True:
        filters = dg.RunsFilter(statuses=_ENDED, updated_after=since)
        page = instance.get_run_records(filters, limit=page_size, order_by="update_timestamp", ascending=True)
        for record in page:
            if record.dagster_run.run_id not in found:
                found[record.dagster_run.run_id] = record
                beyond += looked_until is None or updated(record) > looked_until
        if len(page) < page_size or beyond >= RUNS_PER_TICK:
            return list(found.values())
        # From the last one's instant on, itself included: others may have ended at the same one.
        from_last = updated(page[-1]) - timedelta(microseconds=1)
        page_size = page_size * 2 if from_last <= since else _PAGE
        since = max(since, from_last)


def _of_dagster(
    instance: dg.DagsterInstance,
    repository: dg.RepositoryDefinition,
    ended: Sequence[dg.RunRecord],
    standing: "Sequence[AlertState]",
    of_store: Sequence[Condition],
    opened: "Runtime",
) -> Iterator[Condition]:
    from usage_pipeline.alerts.facts import REFUSED_CODES

    checks = Candidates()
    failed = [run_id for alert in standing if alert.cause == RUN_FAILED.code for run_id in alert.occurrences]
    for alert in standing:
        if alert.cause in {CHECK_FAILED.code, CHECK_WARNED.code}:
            checks.name(CAUSES[alert.cause], alert.place, alert.occurrences)
    for record in ended:
        checks.seen.update(failed_in(instance, record.dagster_run.run_id))
        if record.dagster_run.status is dg.DagsterRunStatus.FAILURE:
            failed.append(record.dagster_run.run_id)
    yield from check_conditions(instance, repository.asset_graph.asset_check_keys, checks)
    refused = {condition.place for condition in of_store if condition.cause is KEY_REFUSED}
    yield from failed_runs(instance, repository, failed, refused, REFUSED_CODES, partial(_owed_by_nobody, opened))
    if opened.settings.alert_run_minutes:
        longest = timedelta(minutes=opened.settings.alert_run_minutes)
        yield from overdue_runs(instance, repository, longest, datetime.now(UTC))


def _owed_by_nobody(opened: "Runtime", slug: str, days: Sequence[date]) -> Collection[date]:
    from usage_pipeline.ledger.provider_keys import find_provider_key
    from usage_pipeline.pulls.due import days_owed_by_nobody

    with opened.engine.begin() as connection:
        key = find_provider_key(connection, slug)
        if key is None:
            return ()
        span = min(days), max(days) + timedelta(days=1)
        return days_owed_by_nobody(connection, key, opened.settings, opened.providers, span)
