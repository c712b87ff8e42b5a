"""What is started by something new: a registered key, a Hermes batch, a newer word before an asset.

The sensors compare the database with Dagster's own state each time and keep no list of their own, so that a lost
cursor, a reset instance or a missed tick heals itself.
"""

from datetime import UTC, timedelta
from typing import Final

import dagster as dg

from usage_pipeline.ledger.provider_keys import ProviderKey
from usage_pipeline.orchestration.assets import (
    BILLED_COSTS_KEY,
    HERMES_ROLLUPS,
    RECONCILED_USAGE_KEY,
    USAGE_EVENTS_KEY,
)
from usage_pipeline.orchestration.partitions import (
    PROVIDER_KEYS,
    PULL_DAYS_MAX,
    START_DAY,
    DaySpan,
    check_key_slug,
    day_range_tags,
    key_range_tags,
    spans,
)
from usage_pipeline.orchestration.resources import RuntimeResource
from usage_pipeline.orchestration.schedules import PULL_JOB

HERMES_JOB: Final = dg.define_asset_job(
    "settle_hermes",
    selection=dg.AssetSelection.assets(HERMES_ROLLUPS),
    description="Settle the newest word of the Hermes feeds on some days. The automation carries the rest down.",
)
BATCH_AGE_DAYS_MAX: Final = 7
"""How far back the inbox is looked through for batches that no run has settled."""


@dg.sensor(job=PULL_JOB, minimum_interval_seconds=60, default_status=dg.DefaultSensorStatus.STOPPED)
def new_provider_keys(
    context: dg.SensorEvaluationContext, runtime: dg.ResourceParam[RuntimeResource]
) -> dg.SensorResult:
    """Give every registered and enabled key its partition, and request its first backfill.

    Off until it is turned on, as the schedules are.
    """
    from usage_pipeline.ledger.enabled_keys import enabled_keys

    of_run = runtime.runtime
    today = of_run.clock().astimezone(UTC).date()
    known = set(context.instance.get_dynamic_partitions(PROVIDER_KEYS.name or ""))
    with of_run.engine.connect() as connection:
        fresh = [key for key in enabled_keys(connection, today) if key.slug not in known]
    if not fresh:
        return dg.SensorResult(skip_reason=dg.SkipReason("every enabled key has its partition"))
    end = today + timedelta(days=1)
    first = max(START_DAY, end - timedelta(days=max(1, of_run.settings.backfill_days_first)))
    return dg.SensorResult(
        dynamic_partitions_requests=[PROVIDER_KEYS.build_add_request([check_key_slug(key.slug) for key in fresh])],
        run_requests=[_first_pull(key, chunk) for key in fresh for chunk in DaySpan(first, end).chunks(PULL_DAYS_MAX)],
    )


def _first_pull(key: ProviderKey, span: DaySpan) -> dg.RunRequest:
    return dg.RunRequest(
        run_key=f"first-pull:{key.slug}:{span.first_day}:{span.end_day}",
        tags={**key_range_tags(key.slug, span), "dagster/priority": "5", "provider": key.provider},
    )


# On from the start: it asks no provider for anything. With its interval and that of carry_down, a batch that was posted
# is reconciled within a minute.
@dg.sensor(job=HERMES_JOB, minimum_interval_seconds=5, default_status=dg.DefaultSensorStatus.RUNNING)
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

SENSORS: Final = (new_provider_keys, new_hermes_batches, carry_down)
