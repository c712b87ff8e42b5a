"""Settings of a feed that decide history, each dated by the UTC day from which it holds.

``enabled`` (whether the feed is expected to cover a day), ``projects`` (its scope), ``bills_to`` (the route of Hermes
calls whose payload does not say). In: a feed, a value, a day. Out: :class:`DatedSetting`, which answers for any day.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

from sqlalchemy import Connection, text

from usage_pipeline.errors import InvariantError
from usage_pipeline.ledger.audit_log import record_change

ENABLED: Final = "enabled"
PROJECTS: Final = "projects"
BILLS_TO: Final = "bills_to"


@dataclass(frozen=True, slots=True)
class DatedSetting:
    """The values of one setting of one feed, by the UTC day from which each holds, oldest first; never empty."""

    values: tuple[tuple[date, object], ...]

    def __post_init__(self) -> None:
        days = [day for day, _ in self.values]
        if not days or days != sorted(set(days)):
            raise InvariantError("setting_undated", "a dated setting has no first value or repeats a day")

    def on(self, day: date) -> object:
        """The value on a UTC day: the newest that holds from that day or earlier, before all of them the first."""
        newest = bisect_right(self.values, day, key=lambda value: value[0])
        return self.values[max(newest - 1, 0)][1]


@dataclass(frozen=True, slots=True)
class FeedSettings:
    """Every dated setting of one feed."""

    enabled: DatedSetting
    projects: DatedSetting
    bills_to: DatedSetting

    def enabled_on(self, day: date) -> bool:
        """Whether the feed is expected to cover the UTC day."""
        return self.enabled.on(day) is True

    def projects_on(self, day: date) -> tuple[str, ...]:
        """The scope on the UTC day, in order; empty for the whole account."""
        return _texts(self.projects.on(day))

    def bills_to_on(self, day: date) -> Mapping[str, str]:
        """The route by provider on the UTC day; a provider that it lacks is on ``account``."""
        value = self.bills_to.on(day)
        if not isinstance(value, dict):
            raise InvariantError("setting_malformed", "bills_to is no map of provider to route")
        return {str(provider): str(route) for provider, route in value.items()}

    def projects_ever(self) -> tuple[tuple[str, ...], ...]:
        """Every scope that the feed ever had: each decides some day of the history."""
        return tuple(_texts(value) for _, value in self.projects.values)


def write_first_settings(
    connection: Connection,
    feed_id: int,
    now: datetime,
    *,
    projects: Sequence[str] = (),
    bills_to: Mapping[str, str] | None = None,
) -> None:
    """The first values of a feed that is being registered, from the UTC day of ``now``; they hold before it too."""
    first: Mapping[str, object] = {ENABLED: True, PROJECTS: sorted(set(projects)), BILLS_TO: dict(bills_to or {})}
    for setting, value in first.items():
        _write(connection, feed_id, setting, utc_day(now), value, now)


def get_settings(connection: Connection, feed_id: int) -> FeedSettings:
    """The dated settings of a registered feed."""
    return list_settings(connection, (feed_id,))[feed_id]


def list_settings(connection: Connection, feed_ids: Sequence[int] | None = None) -> Mapping[int, FeedSettings]:
    """The dated settings by feed id: of every feed, or of those given, in one statement."""
    rows = connection.execute(
        text(
            "SELECT feed_id, setting, effective_from, value FROM feed_settings"
            " WHERE CAST(:feed_ids AS integer[]) IS NULL OR feed_id = ANY(:feed_ids)"
            " ORDER BY feed_id, setting, effective_from"
        ),
        {"feed_ids": None if feed_ids is None else list(feed_ids)},
    )
    found: dict[int, dict[str, list[tuple[date, object]]]] = defaultdict(lambda: defaultdict(list))
    for feed_id, setting, effective_from, value in rows:
        found[feed_id][setting].append((effective_from, value))
    return {
        feed_id: FeedSettings(*(DatedSetting(tuple(values[name])) for name in (ENABLED, PROJECTS, BILLS_TO)))
        for feed_id, values in found.items()
    }


def disable_feed(connection: Connection, feed_id: int, slug: str, now: datetime) -> date | None:
    """Disable a feed from the next UTC day on. The day, or None where it is (or will be) disabled already."""
    return _set_from(connection, feed_id, slug, ENABLED, utc_day(now) + timedelta(days=1), False, now)


def enable_feed(connection: Connection, feed_id: int, slug: str, now: datetime) -> date | None:
    """Enable a feed from this UTC day on, a planned end taken back. The day, or None where nothing changed."""
    return _set_from(connection, feed_id, slug, ENABLED, utc_day(now), True, now)


def set_projects(
    connection: Connection, feed_id: int, slug: str, projects: Sequence[str], from_day: date, now: datetime
) -> date | None:
    """Set the scope of a provider key from a UTC day on. The day, or None where nothing changed."""
    return _set_from(connection, feed_id, slug, PROJECTS, from_day, sorted(set(projects)), now)


def set_bills_to(
    connection: Connection, feed_id: int, slug: str, bills_to: Mapping[str, str], from_day: date, now: datetime
) -> date | None:
    """Set the routes of a Hermes feed from a UTC day on. The day, or None where nothing changed."""
    return _set_from(connection, feed_id, slug, BILLS_TO, from_day, dict(bills_to), now)


def change_bills_to(
    connection: Connection, feed_id: int, slug: str, routes: Mapping[str, str], from_day: date, now: datetime
) -> date | None:
    """Set the routes of some providers from a UTC day on, without end. The day, or None where nothing changed.

    The other providers keep theirs, on later days too, where :func:`set_bills_to` would take those back.
    """
    _lock(connection, feed_id)
    settings = get_settings(connection, feed_id)
    later = [day for day, _ in settings.bills_to.values if day > from_day]
    former = {day: settings.bills_to_on(day) for day in (from_day, *later)}
    wanted = {day: {**value, **routes} for day, value in former.items()}
    if wanted == former:
        return None
    connection.execute(
        text("DELETE FROM feed_settings WHERE feed_id = :feed_id AND setting = :setting AND effective_from >= :day"),
        {"feed_id": feed_id, "setting": BILLS_TO, "day": from_day},
    )
    written: Mapping[str, str] | None = None
    for day, value in wanted.items():
        if value != written:
            _write(connection, feed_id, BILLS_TO, day, value, now)
        written = value
    detail = {"value": wanted[from_day], "changed": dict(routes), "effective_from": from_day.isoformat()}
    record_change(connection, now, "bills_to_set", slug, detail)
    return from_day


def utc_day(instant: datetime) -> date:
    """The UTC day that an instant with an offset falls into."""
    return instant.astimezone(UTC).date()


def _set_from(
    connection: Connection, feed_id: int, slug: str, setting: str, day: date, value: object, now: datetime
) -> date | None:
    """The value holds from ``day`` on without end: what was planned for later days is taken back."""
    _lock(connection, feed_id)
    dated: DatedSetting = getattr(get_settings(connection, feed_id), setting)
    days = [known_day for known_day, _ in dated.values]
    if dated.on(day) == value and days[-1] <= day:
        return None
    connection.execute(
        text("DELETE FROM feed_settings WHERE feed_id = :feed_id AND setting = :setting AND effective_from > :day"),
        {"feed_id": feed_id, "setting": setting, "day": day},
    )
    if dated.on(day) != value or days[0] > day:
        _write(connection, feed_id, setting, day, value, now)
    record_change(connection, now, f"{setting}_set", slug, {"value": value, "effective_from": day.isoformat()})
    return day


def _lock(connection: Connection, feed_id: int) -> None:
    connection.execute(text("SELECT feed_id FROM feeds WHERE feed_id = :feed_id FOR UPDATE"), {"feed_id": feed_id})


def _write(connection: Connection, feed_id: int, setting: str, day: date, value: object, now: datetime) -> None:
    connection.execute(
        text(
            "INSERT INTO feed_settings (feed_id, setting, effective_from, value, changed_at)"
            " VALUES (:feed_id, :setting, :day, CAST(:value AS jsonb), :now)"
            " ON CONFLICT (feed_id, setting, effective_from)"
            " DO UPDATE SET value = excluded.value, changed_at = excluded.changed_at"
        ),
        {
            "feed_id": feed_id,
            "setting": setting,
            "day": day,
            "value": json.dumps(value, sort_keys=True),
            "now": now,
        },
    )


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise InvariantError("setting_malformed", "projects is no list")
    return tuple(str(item) for item in value)
