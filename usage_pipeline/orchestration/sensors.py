"""What is started by something new: a key that was registered or changed, a Hermes batch, a newer word before an asset.

The sensors compare the database with Dagster's own state each time and keep no list of their own, so that a lost
cursor, a reset instance or a missed tick heals itself.
"""

from datetime import UTC, timedelta
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
"""How far back the inbox is looked through for batches that no run has settled."""


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
def new_hermes_batches(runtime: dg.ResourceParam[RuntimeResource]) -> dg.SensorResult:
    """Request exactly the days of which a Hermes batch says something else than the one that was settled."""
    from usage_pipeline.ledger.hermes_unsettled import unsettled_hermes_days

    of_run = runtime.runtime
    since = of_run.clock() - timedelta(days=BATCH_AGE_DAYS_MAX)
    with of_run.engine.connect() as connection:
        days, newest_batch = unsettled_hermes_days(connection, since, of_run.settings.settling_hermes)
    today = of_run.clock().astimezone(UTC).date()
    within = [day for day in days if START_DAY <= day <= today]
    if not within:
        return dg.SensorResult(skip_reason=dg.SkipReason("no Hermes feed says anything new"))
    return dg.SensorResult(
        run_requests=[
            dg.RunRequest(run_key=f"hermes:{newest_batch}:{span.first_day}:{span.end_day}", tags=day_range_tags(span))
            for span in spans(within)
        ]
    )


# The one that Dagster makes by itself starts stopped. This one opens no database and asks no provider.
carry_down: Final = dg.AutomationConditionSensorDefinition(
    "carry_down",
    target=dg.AssetSelection.assets(USAGE_EVENTS_KEY, BILLED_COSTS_KEY, RECONCILED_USAGE_KEY),
    default_status=dg.DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=10,
    description="Process the days anew on which something before an asset has a newer word and passed its checks.",
)

SENSORS: Final = (new_hermes_batches, carry_down, alerts)
