"""Which days of which keys are to be asked for beside what the schedules ask for anyway, and why that is due now.

In come the registered keys and what was pulled of them; out come pieces of days, each with the cause that it is
requested for. Everything is derived from the store each time: nothing is remembered that could be lost.

Due are, of a key that is pulled today,

- the days from ``backfill_days_first`` before its registration to today that it has not answered (or not for good,
  though they have settled), the days without the key's being enabled left out; of a pause that is over, the days that
  lie ``backfill_days_first`` before its end at most are due too;
- the days that were pulled under another scope than the one that holds for them now;
- the days that were reconciled while the key was taken for another account's.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from sqlalchemy import Connection

from usage_pipeline.ledger.due_pulls import (
    NewestAttempts,
    OwedDay,
    WantedDays,
    days_under_former_account,
    final_days,
    newest_attempts,
    owed_days,
    settings_changed_at,
)
from usage_pipeline.ledger.feed_settings import FeedSettings, list_settings
from usage_pipeline.ledger.provider_keys import ProviderKey
from usage_pipeline.providers.contract import Provider
from usage_pipeline.settings import Settings
from usage_pipeline.utc_days import days_between


@dataclass(frozen=True, slots=True)
class DuePull:
    """Days of a key that one run should ask for: from ``first_day`` to before ``end_day``.

    ``cause`` names the key, the state that it was brought into (its secret's version, its settings, its account) and
    the piece of its history: it is the same each time until one of them changes. ``worth_retrying`` is False where the
    newest attempt at a day failed and the key has not answered since, and where the key was never asked at all.
    """

    key: ProviderKey
    first_day: date
    end_day: date
    cause: str
    worth_retrying: bool


def due_pulls(
    connection: Connection,
    keys: Sequence[ProviderKey],
    settings: Settings,
    providers: Mapping[str, Provider],
    now: datetime,
    *,
    earliest: date,
    days_max: int,
) -> list[DuePull]:
    """What is due of the keys, which are pulled today, in pieces of ``days_max`` days at most, none before
    ``earliest``; by key, oldest first."""
    today = now.astimezone(UTC).date()
    grace = timedelta(hours=settings.window_missing_hours)
    depth = max(1, settings.backfill_days_first)
    by_id = {key.feed_id: key for key in keys}
    dated = list_settings(connection, list(by_id))
    changed_at = settings_changed_at(connection, list(by_id))
    endpoints = {key.feed_id: _endpoints(key, providers) for key in keys}
    first = {key.feed_id: _first_day(key, depth, earliest) for key in keys}
    wanted = [
        WantedDays(
            key.feed_id,
            first_day,
            end_day,
            projects,
            endpoints[key.feed_id],
            settings.settling_of(key.provider),
        )
        for key in keys
        for first_day, end_day, projects in wanted_days(dated[key.feed_id], first[key.feed_id], today, depth)
    ]
    attempts = newest_attempts(connection, endpoints)
    owed: dict[int, dict[date, OwedDay]] = defaultdict(dict)
    for one in owed_days(connection, wanted, now, grace):
        # While a key is pulled by schedule, today and yesterday are on their way.
        if not one.recent or not _pulled_since(attempts.get(one.feed_id), now - grace):
            owed[one.feed_id][one.day] = one
    for feed_id, day in days_under_former_account(connection, list(by_id)):
        if day >= earliest:
            owed[feed_id].setdefault(day, OwedDay(feed_id, day, recent=False, failed_at=None))
    return [
        due
        for feed_id, key in by_id.items()
        for due in _pieces(
            key, _state(key, changed_at[feed_id]), owed[feed_id], first[feed_id], days_max, attempts.get(feed_id)
        )
    ]


def days_owed_by_nobody(
    connection: Connection,
    key: ProviderKey,
    settings: Settings,
    providers: Mapping[str, Provider],
    days: tuple[date, date],
) -> set[date]:
    """Of a half-open range of days those that are final, where the key answered all that it was asked last; none where
    it did not."""
    endpoints = _endpoints(key, providers)
    attempts = newest_attempts(connection, {key.feed_id: endpoints}).get(key.feed_id)
    if attempts is None or not attempts.all_complete:
        return set()
    settling = settings.settling_of(key.provider)
    return final_days(connection, WantedDays(key.feed_id, *days, (), endpoints, settling))


def wanted_days(
    dated: FeedSettings, first_day: date, today: date, depth_days: int
) -> Iterator[tuple[date, date, tuple[str, ...]]]:
    """The half-open ranges of days that a key should have by ``today``, each with its scope, oldest first."""
    days: set[date] = set()
    enabled_next: date | None = None
    for day in reversed(days_between(first_day, today + timedelta(days=1))):
        if dated.enabled_on(day):
            enabled_next = day
        # What a pause missed is fetched after it, so far back.
        if enabled_next is not None and enabled_next - day <= timedelta(days=depth_days):
            days.add(day)
    start: date | None = None
    for day in sorted(days):
        start = start or day
        after = day + timedelta(days=1)
        if after not in days or dated.projects_on(after) != dated.projects_on(day):
            yield start, after, dated.projects_on(day)
            start = None


def _endpoints(key: ProviderKey, providers: Mapping[str, Provider]) -> tuple[str, ...]:
    """The endpoints without which a day of the key is not whole."""
    offered = providers[key.provider].endpoints
    return tuple(e.name for e in offered if key.mode in e.modes and not e.informational)


def _first_day(key: ProviderKey, depth_days: int, earliest: date) -> date:
    registered = key.created_at.astimezone(UTC).date()
    return max(earliest, registered - timedelta(days=depth_days - 1))


def _pulled_since(attempts: NewestAttempts | None, instant: datetime) -> bool:
    return attempts is not None and attempts.complete_at is not None and attempts.complete_at >= instant


def _state(key: ProviderKey, changed_at: datetime) -> str:
    changed = max(changed_at, key.account_since or changed_at)
    return f"{key.slug}:{key.secret_version}:{changed.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}"


def _pieces(
    key: ProviderKey,
    state: str,
    owed: Mapping[date, OwedDay],
    first_day: date,
    days_max: int,
    attempts: NewestAttempts | None,
) -> Iterator[DuePull]:
    """The owed days cut at fixed places of the key's history, so that a piece is the same one while it shrinks."""
    pieces: dict[int, list[OwedDay]] = defaultdict(list)
    for day in sorted(owed):
        pieces[(day - first_day).days // days_max].append(owed[day])
    for number, days in pieces.items():
        failed = [one.failed_at for one in days if one.failed_at is not None]
        answers_again = attempts is not None and attempts.all_complete and all(at < attempts.since for at in failed)
        begin = first_day + timedelta(days=number * days_max)
        yield DuePull(
            key,
            days[0].day,
            days[-1].day + timedelta(days=1),
            f"{state}:{begin}",
            worth_retrying=attempts is not None and (not failed or answers_again),
        )
