"""What is started by something new: a key that was registered or changed, a Hermes batch, a newer word before an asset.

The sensors compare the database with Dagster's own state each time and keep no list of their own, so that a lost
cursor, a reset instance or a missed tick heals itself.
"""

import time
from datetime import UTC, datetime, timedelta
from typing import Final

import dagster as dg

from usage_pipeline.orchestration.alerts import alerts
from usage_pipeline.orchestration.assets import (
    BILLED_COSTS_KEY,
    HERMES_ROLLUPS,
    RECONCILED_USAGE_KEY,
    USAGE_EVENTS_KEY,
)
from usage_pipeline.orchestration.partitions import PROVIDER_KEYS, START_DAY, DaySpan, day_range_tags, spans
from usage_pipeline.orchestration.pull_runs import (
    PULL_JOB,
    UNFINISHED,
    AskedKeys,
    UnfinishedPulls,
    asked_keys,
    due_now,
    in_words,
    pull_tags,
    unknown_keys,
)
from usage_pipeline.orchestration.resources import RuntimeResource
from usage_pipeline.settings import Settings

HERMES_JOB: Final = dg.define_asset_job(
    "settle_hermes",
    selection=dg.AssetSelection.assets(HERMES_ROLLUPS),
    description="Settle the newest word of the Hermes feeds on some days. The automation carries the rest down.",
)
FIRST_PULL_PRIORITY: Final = 5
BATCH_AGE_DAYS_MAX: Final = 7
"""How far back each tick looks through the inbox for batches that no run has settled."""

WHOLE_INBOX_SECONDS: Final = 3600
"""So often a tick looks through all of it."""

RETRY_SECONDS: Final = 30
RETRY_SECONDS_MAX: Final = 3600
"""Days that a run did not settle are asked for again after this time, which doubles each time up to the most."""

_NEWEST_BATCH: Final = "usage_pipeline/newest_hermes_batch"
_ATTEMPTS_COUNTED_MAX: Final = 8
_NO_NEWS: Final = "no Hermes feed says anything new"


def build_key_sensor(settings: Settings) -> dg.SensorDefinition:
    """The sensor of keys that were registered, enabled, re-scoped or given another secret or account."""
    status = dg.DefaultSensorStatus.RUNNING if settings.schedules else dg.DefaultSensorStatus.STOPPED

    @dg.sensor(
        job=PULL_JOB,
        minimum_interval_seconds=60,
        default_status=status,
        description="Pull the days that a key owes: one that is new, enabled again, re-scoped, or has another secret or"
        " account. Asks once for each such change; what fails then is the look-back's. Off until it is turned on.",
    )
    def new_provider_keys(
        context: dg.SensorEvaluationContext, runtime: dg.ResourceParam[RuntimeResource]
    ) -> dg.SensorResult:
        """Give every key that may be asked its partition, and request the days that it owes.

        Each piece of a key's history is requested once for each state that the key was brought into: registered,
        enabled, re-scoped, with a new secret, of another account. What fails then is the look-back's to retry. Off
        until it is turned on, as the schedules are.
        """
        keys = asked_keys(runtime.runtime)
        if keys.skipped:
            context.log.info(f"skipped: {in_words(keys.skipped)}")
        fresh = unknown_keys(context.instance, keys.asked)
        under_way = UnfinishedPulls(context.instance)
        requests = [
            dg.RunRequest(run_key=due.cause, tags=pull_tags(due.key, span, FIRST_PULL_PRIORITY))
            for due in due_now(runtime.runtime, keys.asked)
            if under_way.run_with(due.key.slug, span := DaySpan(due.first_day, due.end_day)) is None
        ]
        if not fresh and not requests:
            return dg.SensorResult(skip_reason=dg.SkipReason(_nothing_due(keys)))
        return dg.SensorResult(
            dynamic_partitions_requests=[PROVIDER_KEYS.build_add_request(fresh)] if fresh else [],
            run_requests=requests,
        )

    return new_provider_keys


def _nothing_due(keys: AskedKeys) -> str:
    if keys.asked:
        others = f"; {in_words(keys.skipped)}" if keys.skipped else ""
        return f"no key that may be asked owes a day{others}"
    return in_words(keys.skipped) or "no provider key is registered"


# On from the start: it asks no provider for anything. With its interval and that of carry_down, a batch that was posted
# is reconciled within a minute.
@dg.sensor(
    job=HERMES_JOB,
    minimum_interval_seconds=5,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Settle the days of which a Hermes batch says something new. Asks nobody; a skip means no news.",
)
def new_hermes_batches(
    context: dg.SensorEvaluationContext, runtime: dg.ResourceParam[RuntimeResource]
) -> dg.SensorResult:
    """Request exactly the days of which a Hermes batch says something else than the one that was settled.

    What a run did not settle is requested again, later each time. The cursor only says when the whole inbox was
    looked through last: without it that is done now.
    """
    from usage_pipeline.ledger.hermes_unsettled import unsettled_hermes_days

    of_run = runtime.runtime
    now = time.time()
    whole = not 0 <= now - _seconds(context.cursor) < WHOLE_INBOX_SECONDS
    since = datetime.min.replace(tzinfo=UTC) if whole else of_run.clock() - timedelta(days=BATCH_AGE_DAYS_MAX)
    with of_run.engine.connect() as connection:
        days, newest_batch = unsettled_hermes_days(connection, since, of_run.settings.settling_hermes)
    today = of_run.clock().astimezone(UTC).date()
    asked = [
        _settling(context.instance, span, newest_batch, now)
        for span in spans(day for day in days if START_DAY <= day <= today)
    ]
    requests = [one for one in asked if one is not None]
    cursor = str(now) if whole else context.cursor
    if requests:
        return dg.SensorResult(run_requests=requests, cursor=cursor)
    reason = "a run settles the days already, or did not and waits for its next attempt" if asked else _NO_NEWS
    return dg.SensorResult(skip_reason=dg.SkipReason(reason), cursor=cursor)


def _settling(instance: dg.DagsterInstance, span: DaySpan, newest_batch: int, now: float) -> dg.RunRequest | None:
    """The request of a run that settles days; None while one is under way or waits to be tried again."""
    tags = {**day_range_tags(span), _NEWEST_BATCH: str(newest_batch)}
    wanted = dg.RunsFilter(job_name=HERMES_JOB.name, tags=tags)
    attempts = instance.get_run_records(wanted, limit=_ATTEMPTS_COUNTED_MAX)
    if attempts:
        newest = attempts[0]
        if newest.dagster_run.status in UNFINISHED:
            return None
        pause = min(RETRY_SECONDS * 2 ** (len(attempts) - 1), RETRY_SECONDS_MAX)
        if now < newest.update_timestamp.timestamp() + pause:
            return None
    after = attempts[0].dagster_run.run_id if attempts else "first"
    return dg.RunRequest(run_key=f"hermes:{newest_batch}:{span.first_day}:{span.end_day}:{after}", tags=tags)


def _seconds(cursor: str | None) -> float:
    try:
        return float(cursor or 0)
    except ValueError:
        return 0.0


# The one that Dagster makes by itself starts stopped. This one opens no database and asks no provider.
carry_down: Final = dg.AutomationConditionSensorDefinition(
    "carry_down",
    target=dg.AssetSelection.assets(USAGE_EVENTS_KEY, BILLED_COSTS_KEY, RECONCILED_USAGE_KEY),
    default_status=dg.DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=10,
    description="Process the days anew on which something before an asset has a newer word and passed its checks.",
)

SENSORS: Final = (new_hermes_batches, carry_down, alerts)
