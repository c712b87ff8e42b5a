"""The partitions: UTC days, today's open one included, and for raw pulls each day of each provider key.

Here: the definitions, the way from days and slugs to partition keys and back, and runs over a range of days.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

import dagster as dg

from usage_pipeline.errors import InvalidInputError
from usage_pipeline.ledger.slugs import split_slug

START_DAY: Final = date(2024, 1, 1)
"""The first day that can be pulled. The partitions of an asset are days times keys, and Dagster is comfortable up to
100,000 of them."""

PULL_DAYS_MAX: Final = 31
"""Days that one run pulls at most: a page of daily buckets of the narrowest API."""

KEY_TAG: Final = "usage_pipeline/provider_key"
"""The tag of a run that names the key which it pulls."""

_DAY: Final = "day"
_KEY: Final = "provider_key"
_RANGE_START: Final = "dagster/asset_partition_range_start"
_RANGE_END: Final = "dagster/asset_partition_range_end"
_PARTITION: Final = "dagster/partition"

# The open day is a partition of its own while it lasts, hence one more than the closed ones.
DAYS: Final = dg.DailyPartitionsDefinition(start_date=START_DAY.isoformat(), timezone="UTC", end_offset=1)
PROVIDER_KEYS: Final = dg.DynamicPartitionsDefinition(name="provider_keys")
PROVIDER_DAYS: Final = dg.MultiPartitionsDefinition({_DAY: DAYS, _KEY: PROVIDER_KEYS})


@dataclass(frozen=True, slots=True)
class KeyDay:
    """One cell of the raw pulls: a UTC day of a provider key's slug."""

    day: date
    key: str


@dataclass(frozen=True, slots=True)
class DaySpan:
    """The UTC days from ``first_day`` up to ``end_day``, which is the day after the last; never empty."""

    first_day: date
    end_day: date

    @property
    def last_day(self) -> date:
        """The last day of the span."""
        return self.end_day - timedelta(days=1)

    @property
    def days(self) -> list[date]:
        """The days, oldest first."""
        return [self.first_day + timedelta(days=n) for n in range((self.end_day - self.first_day).days)]

    def chunks(self, days_max: int) -> Iterator[DaySpan]:
        """The span cut into pieces of at most ``days_max`` days, oldest first."""
        start = self.first_day
        while start < self.end_day:
            end = min(start + timedelta(days=days_max), self.end_day)
            yield DaySpan(start, end)
            start = end


def check_key_slug(slug: str) -> str:
    """``slug`` if it may be a partition: ``workspace.provider.name``.

    Dagster takes any text for a dynamic partition, also one that can never be addressed again. Raises
    :class:`InvalidInputError` ``slug_malformed``.
    """
    split_slug(slug, parts=3, where="provider_keys")
    return slug


def check_span(span: DaySpan) -> DaySpan:
    """``span`` if each of its days is a partition now. Raises :class:`InvalidInputError` ``day_without_partition``."""
    newest = date.fromisoformat(DAYS.get_last_partition_key() or START_DAY.isoformat())
    if span.first_day < START_DAY or span.last_day > newest:
        raise InvalidInputError(
            "day_without_partition",
            f"{span.first_day} to {span.last_day} is not within {START_DAY} to {newest}",
            where="days",
            remedy="Choose days in between.",
        )
    return span


def partition_key(cell: KeyDay) -> str:
    """The partition key of a day of a provider key."""
    return dg.MultiPartitionKey({_DAY: cell.day.isoformat(), _KEY: cell.key})


def key_day(key: str) -> KeyDay:
    """The day and the provider key of a partition key."""
    dimensions: Mapping[str, str] = PROVIDER_DAYS.get_partition_key_from_str(key).keys_by_dimension
    return KeyDay(date.fromisoformat(dimensions[_DAY]), dimensions[_KEY])


def spans(days: Iterable[date]) -> list[DaySpan]:
    """The days as spans without gaps, oldest first."""
    found: list[DaySpan] = []
    for day in sorted(set(days)):
        if found and found[-1].end_day == day:
            found[-1] = DaySpan(found[-1].first_day, day + timedelta(days=1))
        else:
            found.append(DaySpan(day, day + timedelta(days=1)))
    return found


def spans_by_key(cells: Sequence[KeyDay]) -> dict[str, list[DaySpan]]:
    """The cells as spans of each provider key."""
    keys = dict.fromkeys(cell.key for cell in cells)
    return {key: spans(cell.day for cell in cells if cell.key == key) for key in keys}


def key_range_tags(key: str, span: DaySpan) -> dict[str, str]:
    """The tags of a run that pulls a key's days in one go."""
    return {
        _RANGE_START: partition_key(KeyDay(span.first_day, key)),
        _RANGE_END: partition_key(KeyDay(span.last_day, key)),
        KEY_TAG: key,
    }


def span_of_tags(tags: Mapping[str, str]) -> tuple[str, DaySpan] | None:
    """The provider key and the days that a run with these tags pulls; None where they name no days of one key."""
    first = tags.get(_RANGE_START, tags.get(_PARTITION))
    last = tags.get(_RANGE_END, tags.get(_PARTITION))
    if first is None or last is None:
        return None
    first_cell, last_cell = key_day(first), key_day(last)
    if first_cell.key != last_cell.key:
        return None
    return first_cell.key, DaySpan(first_cell.day, last_cell.day + timedelta(days=1))


def day_range_tags(span: DaySpan) -> dict[str, str]:
    """The tags of a run over days in one go."""
    return {_RANGE_START: span.first_day.isoformat(), _RANGE_END: span.last_day.isoformat()}
