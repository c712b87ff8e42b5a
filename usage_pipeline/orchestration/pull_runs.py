"""What runs of :data:`PULL_JOB` are for: which keys may be asked now, which runs are under way, how one is requested.

The schedules, the sensor of new keys and the cron endpoint all start the same job through what is here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING, Final

import dagster as dg

from usage_pipeline.orchestration.assets import RAW_PROVIDER_PULLS
from usage_pipeline.orchestration.partitions import (
    PROVIDER_KEYS,
    PULL_DAYS_MAX,
    START_DAY,
    DaySpan,
    check_key_slug,
    key_range_tags,
    span_of_tags,
)

if TYPE_CHECKING:
    from usage_pipeline.ledger.provider_keys import ProviderKey
    from usage_pipeline.pulls.due import DuePull
    from usage_pipeline.stages import Runtime

PULL_JOB: Final = dg.define_asset_job(
    "pull_providers",
    selection=dg.AssetSelection.assets(RAW_PROVIDER_PULLS),
    description="Pull provider keys over a range of days. What comes after is carried down by the automation.",
)
UNFINISHED: Final = (
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)


@dataclass(frozen=True, slots=True)
class AskedKeys:
    """The registered keys that may be asked now, and of the others why they may not, by slug."""

    asked: tuple[ProviderKey, ...]
    skipped: Mapping[str, str]


def asked_keys(runtime: Runtime) -> AskedKeys:
    """Sort the registered keys by whether they may be asked: by their own switch, their provider's and that of all."""
    from usage_pipeline.ledger.feed_settings import list_settings
    from usage_pipeline.ledger.provider_keys import list_provider_keys
    from usage_pipeline.stages import why_skipped

    today = runtime.clock().astimezone(UTC).date()
    with runtime.engine.connect() as connection:
        keys = list_provider_keys(connection)
        settings = list_settings(connection, [key.feed_id for key in keys])
    reasons = {
        key.slug: f"the provider {key.provider} is not installed"
        if key.provider not in runtime.providers
        else why_skipped(runtime, key, settings[key.feed_id].enabled_on(today))
        for key in keys
    }
    return AskedKeys(
        tuple(key for key in keys if reasons[key.slug] is None),
        {slug: reason for slug, reason in reasons.items() if reason is not None},
    )


def due_now(runtime: Runtime, keys: Sequence[ProviderKey]) -> list[DuePull]:
    """What is due of the keys beside the schedules' own days, in pieces that one run can take."""
    from usage_pipeline.pulls.due import due_pulls

    with runtime.engine.connect() as connection:
        return due_pulls(
            connection,
            keys,
            runtime.settings,
            runtime.providers,
            runtime.clock(),
            earliest=START_DAY,
            days_max=PULL_DAYS_MAX,
        )


def unknown_keys(instance: dg.DagsterInstance, keys: Iterable[ProviderKey]) -> list[str]:
    """The slugs, checked, of the keys that are no partition yet."""
    known = set(instance.get_dynamic_partitions(PROVIDER_KEYS.name or ""))
    return [check_key_slug(key.slug) for key in keys if key.slug not in known]


class UnfinishedPulls:
    """The pulls that wait or run in an instance."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self._spans: dict[str, list[tuple[DaySpan, str]]] = defaultdict(list)
        for run in instance.get_runs(dg.RunsFilter(job_name=PULL_JOB.name, statuses=list(UNFINISHED))):
            cell = span_of_tags(run.tags)
            if cell is not None:
                self._spans[cell[0]].append((cell[1], run.run_id))

    def run_with(self, slug: str, span: DaySpan) -> str | None:
        """The id of a run that asks a key for all of these days already."""
        for under_way, run_id in self._spans[slug]:
            if under_way.first_day <= span.first_day and span.end_day <= under_way.end_day:
                return run_id
        return None


def pull_tags(key: ProviderKey, span: DaySpan, priority: int) -> dict[str, str]:
    """The tags of a run that pulls a key's days: what is asked for, and how the queue treats it."""
    return {**key_range_tags(key.slug, span), "dagster/priority": str(priority), "provider": key.provider}


def in_words(skipped: Mapping[str, str]) -> str:
    """Which keys are skipped, and why, on one line."""
    return "; ".join(f"{slug}: {reason}" for slug, reason in skipped.items())
