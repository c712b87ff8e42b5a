"""When providers are asked: the settling days once a day, the open day every hour, one run per key and range.

Both are off until somebody turns them on, in the UI or with ``dagster schedule start``: they spend the provider's rate
limit, and a fresh checkout or a finished demo has no key that could answer.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import dagster as dg

from usage_pipeline.orchestration.assets import RAW_PROVIDER_PULLS
from usage_pipeline.orchestration.partitions import PROVIDER_KEYS, PULL_DAYS_MAX, DaySpan, key_range_tags
from usage_pipeline.orchestration.resources import RuntimeResource

LOOK_BACK_CRON: Final = "15 3 * * *"
"""Daily, UTC: by then the providers have closed the day before."""

OPEN_DAY_CRON: Final = "20 * * * *"
"""Hourly, UTC: the last closed hour is there by then."""

PULL_JOB: Final = dg.define_asset_job(
    "pull_providers",
    selection=dg.AssetSelection.assets(RAW_PROVIDER_PULLS),
    description="Pull provider keys over a range of days. What comes after is carried down by the automation.",
)


@dg.schedule(job=PULL_JOB, cron_schedule=LOOK_BACK_CRON, execution_timezone="UTC")
def look_back_daily(context: dg.ScheduleEvaluationContext, runtime: dg.ResourceParam[RuntimeResource]) -> Any:
    """Pull the settling days of every enabled key anew, since providers restate them in place."""
    today = _today(context)
    days = runtime.runtime.settings.look_back_days
    yield from _requests(context, runtime, DaySpan(today - timedelta(days=days), today), priority="0")


@dg.schedule(job=PULL_JOB, cron_schedule=OPEN_DAY_CRON, execution_timezone="UTC")
def open_day_hourly(context: dg.ScheduleEvaluationContext, runtime: dg.ResourceParam[RuntimeResource]) -> Any:
    """Pull the open day of every enabled key."""
    today = _today(context)
    yield from _requests(context, runtime, DaySpan(today, today + timedelta(days=1)), priority="1")


SCHEDULES: Final = (look_back_daily, open_day_hourly)


def _requests(
    context: dg.ScheduleEvaluationContext, runtime: RuntimeResource, span: DaySpan, *, priority: str
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    from usage_pipeline.ledger.enabled_keys import enabled_keys

    known = set(context.instance.get_dynamic_partitions(PROVIDER_KEYS.name or ""))
    with runtime.runtime.engine.connect() as connection:
        keys = enabled_keys(connection, runtime.runtime.clock().date())
    pulled = [key for key in keys if key.slug in known]
    if not pulled:
        yield dg.SkipReason("no provider key is registered, enabled and known as a partition")
    for key in pulled:
        for chunk in span.chunks(PULL_DAYS_MAX):
            yield dg.RunRequest(
                run_key=f"{context.scheduled_execution_time.isoformat()}:{key.slug}:{chunk.first_day}",
                tags={**key_range_tags(key.slug, chunk), "dagster/priority": priority, "provider": key.provider},
            )


def _today(context: dg.ScheduleEvaluationContext) -> date:
    at: datetime = context.scheduled_execution_time
    return at.astimezone(UTC).date()
