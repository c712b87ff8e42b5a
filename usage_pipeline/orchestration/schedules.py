"""When providers are asked: the settling days once a day, the open day every hour, one run per key and range.

Both times are settings, read when the definitions load. Both schedules are off until somebody turns them on, in the UI,
with ``dagster schedule start`` or by ``USAGE_SCHEDULES``: they spend the provider's rate limit, and a fresh checkout or
a finished demo has no key that could answer. A key that is turned off is a skip with its reason.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import dagster as dg
from dagster._utils.schedules import is_valid_cron_schedule

from usage_pipeline.orchestration.partitions import PROVIDER_KEYS, PULL_DAYS_MAX, DaySpan
from usage_pipeline.orchestration.pull_runs import (
    PULL_JOB,
    UnfinishedPulls,
    asked_keys,
    due_now,
    in_words,
    pull_tags,
    unknown_keys,
)
from usage_pipeline.orchestration.resources import RuntimeResource
from usage_pipeline.settings import Settings, malformed_setting

if TYPE_CHECKING:
    from usage_pipeline.ledger.provider_keys import ProviderKey

OPEN_DAY_PRIORITY: Final = 1
LOOK_BACK_PRIORITY: Final = 0
RETRY_PRIORITY: Final = -1


@dataclass(frozen=True, slots=True)
class _Wanted:
    key: "ProviderKey"
    span: DaySpan
    priority: int


def build_schedules(settings: Settings) -> tuple[dg.ScheduleDefinition, ...]:
    """The schedules at the times that the settings name.

    Raises :class:`InvalidInputError` ``setting_malformed`` for a time that is none.
    """
    status = dg.DefaultScheduleStatus.RUNNING if settings.schedules else dg.DefaultScheduleStatus.STOPPED

    @dg.schedule(
        job=PULL_JOB,
        cron_schedule=checked_cron(settings.look_back_cron, "USAGE_LOOK_BACK_CRON"),
        execution_timezone="UTC",
        default_status=status,
        description="Pull the settling days of every enabled key anew, one run per key, since providers restate them in"
        " place; with them what a key still owes. Off until it is turned on. A skipped key is named in the tick's log.",
    )
    def look_back_daily(context: dg.ScheduleEvaluationContext, runtime: dg.ResourceParam[RuntimeResource]) -> Any:
        """Pull the settling days of every enabled key anew, since providers restate them in place.

        Days that a key still owes are asked for again with them, as long as the key answers at all.
        """
        today = _today(context)
        of_run = runtime.runtime
        keys = asked_keys(of_run)
        first = {k.slug: today - timedelta(days=of_run.settings.look_back_of(k.provider)) for k in keys.asked}
        wanted = [_Wanted(key, DaySpan(first[key.slug], today), LOOK_BACK_PRIORITY) for key in keys.asked]
        for due in due_now(of_run, keys.asked):
            end = min(due.end_day, first[due.key.slug])
            if due.worth_retrying and due.first_day < end:
                wanted.append(_Wanted(due.key, DaySpan(due.first_day, end), RETRY_PRIORITY))
        yield from _requests(context, wanted, keys.skipped)

    @dg.schedule(
        job=PULL_JOB,
        cron_schedule=checked_cron(settings.open_day_cron, "USAGE_OPEN_DAY_CRON"),
        execution_timezone="UTC",
        default_status=status,
        description="Pull the open day of every enabled key, one run per key. Off until it is turned on.",
    )
    def open_day_hourly(context: dg.ScheduleEvaluationContext, runtime: dg.ResourceParam[RuntimeResource]) -> Any:
        """Pull the open day of every enabled key."""
        today = _today(context)
        keys = asked_keys(runtime.runtime)
        wanted = [_Wanted(key, DaySpan(today, today + timedelta(days=1)), OPEN_DAY_PRIORITY) for key in keys.asked]
        yield from _requests(context, wanted, keys.skipped)

    return look_back_daily, open_day_hourly


def _requests(
    context: dg.ScheduleEvaluationContext, wanted: Sequence[_Wanted], skipped: Mapping[str, str]
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """The runs of a tick. What is skipped is logged with its reason; where nothing is left, that is the tick's own."""
    reasons = dict(skipped)
    if fresh := unknown_keys(context.instance, (one.key for one in wanted)):
        context.instance.add_dynamic_partitions(PROVIDER_KEYS.name or "", list(dict.fromkeys(fresh)))
    under_way = UnfinishedPulls(context.instance)
    requests: list[dg.RunRequest] = []
    for one in wanted:
        slug = one.key.slug
        for chunk in one.span.chunks(PULL_DAYS_MAX):
            if (run_id := under_way.run_with(slug, chunk)) is not None:
                reasons[slug] = f"the run {run_id} asks for {chunk.first_day} to {chunk.last_day} already"
                continue
            requests.append(
                dg.RunRequest(
                    run_key=f"{context.scheduled_execution_time.isoformat()}:{slug}:{chunk.first_day}",
                    tags=pull_tags(one.key, chunk, one.priority),
                )
            )
    if reasons:
        context.log.info(f"skipped: {in_words(reasons)}")
    if requests:
        yield from requests
    else:
        yield dg.SkipReason(in_words(reasons) or "no provider key is registered")


def checked_cron(cron: str, variable: str) -> str:
    """The time as Dagster takes it. Raises :class:`InvalidInputError` ``setting_malformed`` naming the variable."""
    if not is_valid_cron_schedule(cron):
        raise malformed_setting(variable, "a cron string of five fields, such as 20 * * * *")
    return cron


def _today(context: dg.ScheduleEvaluationContext) -> date:
    at: datetime = context.scheduled_execution_time
    return at.astimezone(UTC).date()
