"""The sensor that looks for what a person should know of, and tells it.

Each tick asks the store and Dagster what holds now and compares it with the alerts that are kept. The cursor only saves
looking at a run twice: without it, the runs of the last days are looked at again, with the same result. (No postponed
annotations here: Dagster reads those of a sensor's parameters when it is defined.)
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import dagster as dg

from usage_pipeline.alerts.causes import CHECK_FAILED, CHECK_WARNED, KEY_REFUSED, RUN_FAILED
from usage_pipeline.alerts.conditions import Condition
from usage_pipeline.errors import TransientError
from usage_pipeline.orchestration.check_conditions import CheckOfPartition, check_conditions, failed_in, named_by
from usage_pipeline.orchestration.failures import readable_failures
from usage_pipeline.orchestration.resources import RuntimeResource
from usage_pipeline.orchestration.run_conditions import RUNS_MAX, failed_runs, newest_update, overdue_runs

if TYPE_CHECKING:
    from usage_pipeline.ledger.alerts import AlertState
    from usage_pipeline.settings import Settings

LOOKED_BACK: Final = timedelta(days=3)
"""So far back runs are looked at where the cursor was lost. What an open alert names is asked about at any age."""

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
    from usage_pipeline.ledger.alerts import living_alerts, one_tick

    opened = runtime.runtime
    repository = context.repository_def
    assert repository is not None, "a sensor that Dagster evaluates knows its repository"
    with readable_failures(), one_tick(opened.engine) as held:
        if not held:
            return dg.SensorResult(skip_reason=dg.SkipReason("another process is looking at the alerts"))
        now = opened.clock()
        with opened.engine.begin() as connection:
            conditions = store_conditions(connection, opened.settings, now)
            standing = [alert.state for alert in living_alerts(connection, now, timedelta())]
        ended = _ended_since(context.instance, context.cursor)
        conditions += _of_dagster(context.instance, repository, ended, standing, conditions, opened.settings)
        done = run_tick(opened.engine, conditions, opened.settings, opened.environ, now)
        if done.refused:
            names = "; ".join(f"{name}: {why}" for name, why in sorted(done.refused.items()))
            raise TransientError(
                "alerts_not_accepted",
                f"not every receiver took what there is to tell ({names})",
                where="USAGE_ALERT_URLS",
                remedy="It is told again at the next tick. See: usage-pipeline alerts list.",
            )
    newest = newest_update(ended)
    words = f"{done.opened} opened, {done.recovered} recovered, {done.told} told, {len(conditions)} hold"
    return dg.SensorResult(
        skip_reason=dg.SkipReason(words), cursor=newest.isoformat() if newest is not None else context.cursor
    )


def _ended_since(instance: dg.DagsterInstance, cursor: str | None) -> Sequence[dg.RunRecord]:
    """The runs that ended since the cursor, a moment before it included, oldest first."""
    try:
        since = datetime.fromisoformat(cursor) - _OVERLAP if cursor else None
    except ValueError:
        since = None
    earliest = datetime.now(UTC) - LOOKED_BACK
    filters = dg.RunsFilter(statuses=_ENDED, updated_after=max(since, earliest) if since else earliest)
    return instance.get_run_records(filters, limit=RUNS_MAX, order_by="update_timestamp", ascending=True)


def _of_dagster(
    instance: dg.DagsterInstance,
    repository: dg.RepositoryDefinition,
    ended: Sequence[dg.RunRecord],
    standing: "Sequence[AlertState]",
    of_store: Sequence[Condition],
    settings: "Settings",
) -> Iterator[Condition]:
    from usage_pipeline.alerts.facts import REFUSED_CODES

    checks: set[CheckOfPartition] = set()
    failed = [run_id for alert in standing if alert.cause == RUN_FAILED.code for run_id in alert.occurrences]
    for alert in standing:
        if alert.cause in {CHECK_FAILED.code, CHECK_WARNED.code}:
            checks |= set(named_by(alert.place, alert.occurrences))
    for record in ended:
        checks |= failed_in(instance, record.dagster_run.run_id)
        if record.dagster_run.status is dg.DagsterRunStatus.FAILURE:
            failed.append(record.dagster_run.run_id)
    yield from check_conditions(instance, repository.asset_graph.asset_check_keys, checks)
    refused = {condition.place for condition in of_store if condition.cause is KEY_REFUSED}
    yield from failed_runs(instance, repository, failed, refused, REFUSED_CODES)
    if settings.alert_run_minutes:
        longest = timedelta(minutes=settings.alert_run_minutes)
        yield from overdue_runs(instance, repository, longest, datetime.now(UTC))
