"""The conditions that the store tells of: refused keys, differences above the threshold, missing days, stale keys.

In: the store and now. Out: conditions, each of one key or one pair of figures, whatever the number of days behind it.
What is about money is in ``budget_facts``. What Dagster alone knows (runs, checks) is added by ``orchestration``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Final

from sqlalchemy import Connection

from usage_pipeline.alerts.budget_facts import money_conditions
from usage_pipeline.alerts.causes import DATA_STALE, KEY_REFUSED, PARITY_EXCEEDED, WINDOW_MISSING
from usage_pipeline.alerts.conditions import Condition, days_in_words, occurrences_of
from usage_pipeline.ledger.alert_facts import (
    OpenDifference,
    days_without_answer,
    open_differences,
    refused_keys,
    uncovered_slices,
)
from usage_pipeline.ledger.enabled_keys import enabled_keys
from usage_pipeline.ledger.feed_settings import list_settings, utc_day
from usage_pipeline.ledger.freshness import newest_day_expected, stale_keys
from usage_pipeline.ledger.provider_keys import ProviderKey
from usage_pipeline.ledger.workspaces import list_workspaces
from usage_pipeline.settings import Settings
from usage_pipeline.utc_days import day_end

REFUSED_CODES: Final = (
    "credential_refused",
    "credential_forbidden",
    "scope_missing",
    "account_contradicted",
    "encryption_key_missing",
    "sealed_secret_tampered",
    "sealed_secret_moved",
    "sealed_secret_wrong_key",
    "sealed_secret_cut",
    "secret_env_missing",
    "secret_file_unreadable",
    "secret_empty",
    "secret_malformed",
    "secret_reference_failed",
    "secret_reference_scheme_missing",
)
"""Errors of a pull that a person must answer by giving the key another secret, scope or account."""

DIFFERENCES: Final = ("hermes_exceeds_provider", "bill_differs_from_usage")
UNCOVERED: Final = ("window_missing", "provider_missing", "provider_stale")

LOOKED_BACK_DAYS: Final = 35
"""So far back days without any pull are looked for; of older ones only findings tell."""


def store_conditions(connection: Connection, settings: Settings, now: datetime) -> list[Condition]:
    """Every condition that holds in the store at ``now``."""
    keys = {key.feed_id: key for key in watched_keys(connection, now)}
    return [
        *_refused(connection, keys.keys()),
        *_differing(open_differences(connection, DIFFERENCES, settings.alert_parity_fraction)),
        *_missing(connection, keys, settings, now),
        *_stale(connection, keys, settings, now),
        *money_conditions(connection, settings, now),
    ]


def watched_keys(connection: Connection, now: datetime) -> list[ProviderKey]:
    """The keys that are enabled at ``now`` and no demo's: what is expected of these is told where it is missing."""
    demos = {workspace.slug for workspace in list_workspaces(connection) if workspace.demo}
    return [key for key in enabled_keys(connection, utc_day(now)) if key.workspace not in demos]


def missing_days(
    connection: Connection, keys: Iterable[ProviderKey], settings: Settings, now: datetime
) -> dict[int, set[date]]:
    """The days by feed that a key should have covered by now and did not: as findings tell, and those before which
    nothing was reconciled at all.

    The newest day that is expected is left out: whether it is there is freshness.
    """
    by_feed = {key.feed_id: key for key in keys}
    newest = newest_day_expected(now, timedelta(hours=settings.freshness_hours))
    found: dict[int, set[date]] = defaultdict(set)
    for one in uncovered_slices(connection, UNCOVERED):
        if one.feed_id in by_feed and one.day < newest:
            found[one.feed_id].add(one.day)
    earliest = newest - timedelta(days=LOOKED_BACK_DAYS)
    first_days = {feed_id: max(utc_day(key.created_at), earliest) for feed_id, key in by_feed.items()}
    dated = list_settings(connection, list(by_feed))
    for feed_id, day in days_without_answer(connection, {f: d for f, d in first_days.items() if d < newest}, newest):
        if dated[feed_id].enabled_on(day):
            found[feed_id].add(day)
    return dict(found)


def _refused(connection: Connection, enabled: Iterable[int]) -> Iterator[Condition]:
    known = set(enabled)
    for one in refused_keys(connection, REFUSED_CODES):
        if one.feed_id in known:
            yield Condition(
                KEY_REFUSED,
                place=one.slug,
                since=one.since,
                what=one.error,
                remedy=f"usage-pipeline keys test {one.slug}; then usage-pipeline keys rotate {one.slug}",
                occurrences=occurrences_of(f"{number:020d}" for number in one.runs),
                link="/assets/raw_provider_pulls",
            )


def _differing(differences: Sequence[OpenDifference]) -> Iterator[Condition]:
    by_place: dict[str, list[OpenDifference]] = defaultdict(list)
    for one in differences:
        named = [one.workspace, one.provider, one.account, one.model]
        by_place[f"{' '.join(name for name in named if name)} ({one.code})"].append(one)
    for place, listed in by_place.items():
        worst = max(listed, key=lambda one: (_part(one), one.day))
        days = {one.day for one in listed}
        part = _part(worst)
        size = f"{part:.1%} off" if part.is_finite() else "the provider reports none"
        yield Condition(
            PARITY_EXCEEDED,
            place=place,
            since=min(one.first_seen for one in listed),
            what=f"{days_in_words(days)}. The largest is of {worst.day}, {size}: {worst.explanation}",
            remedy=f"usage-pipeline report --from {min(days)} --to {max(days)} --workspace {worst.workspace}",
            occurrences=occurrences_of(f"{one.day} {one.measure or ''}" for one in listed),
            link="/assets/reconciled_usage?view=checks",
        )


def _part(one: OpenDifference) -> Decimal:
    """The difference as a part of the provider's figure; infinite where the provider has none."""
    return abs(one.difference) / abs(one.figure) if one.figure else Decimal("Infinity")


def _missing(
    connection: Connection, keys: dict[int, ProviderKey], settings: Settings, now: datetime
) -> Iterator[Condition]:
    for feed_id, days in missing_days(connection, keys.values(), settings, now).items():
        slug = keys[feed_id].slug
        yield Condition(
            WINDOW_MISSING,
            place=slug,
            since=day_end(min(days)) + timedelta(hours=settings.window_missing_hours),
            what=f"No complete pull in time: {days_in_words(days)}.",
            remedy=_backfill(slug, days),
            occurrences=occurrences_of(str(day) for day in days),
            link="/assets/raw_provider_pulls",
        )


def _stale(
    connection: Connection, keys: dict[int, ProviderKey], settings: Settings, now: datetime
) -> Iterator[Condition]:
    grace = timedelta(hours=settings.freshness_hours)
    by_slug = {key.slug: key for key in keys.values()}
    for offence in stale_keys(connection, now, grace):
        key = by_slug.get(offence.key or "")
        if key is None or key.created_at + grace > now:  # a new key is given the time of a day
            continue
        yield Condition(
            DATA_STALE,
            place=key.slug,
            since=day_end(offence.day) + grace,
            what=f"{offence.day}: {offence.what}. Look whether the schedule runs and what the key's newest pull said.",
            remedy=_backfill(key.slug, {offence.day}),
            occurrences=occurrences_of([str(offence.day)]),
            link="/assets/raw_provider_pulls",
        )


def _backfill(slug: str, days: Iterable[date]) -> str:
    listed = sorted(days)
    return f"usage-pipeline backfill --from {listed[0]} --to {listed[-1]} --key {slug}"
