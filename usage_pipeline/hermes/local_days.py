"""Whether the days of a Hermes payload are days of a local time zone and not UTC days.

Builds before June 2026 cut days at local midnight, and say nothing of it. A payload's own hours tell: they are UTC in
every build, so where its daily figures are the sums of its hours from one local midnight to the next, and not from one
UTC midnight to the next, the days are local. In: the rows of a payload. Out: findings; no figure is moved.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta

from usage_pipeline.hermes.batch import HermesRow, PayloadFinding

_OFFSETS = sorted((n for n in range(-12, 15) if n), key=abs)
"""Whole hours from UTC; hours cannot tell the zones in between."""


def local_day_findings(
    rows: Iterable[HermesRow], hours_since: datetime, generated_at: datetime
) -> tuple[PayloadFinding, ...]:
    """A ``day_boundary`` for each day whose figure fits the hours of a local day alone.

    ``hours_since`` is the first hour (UTC) of which the payload would tell. One offset must fit every day that can be
    compared; figures are tokens of all models together, requests beside them.
    """
    days, hours = Counter[date](), Counter[datetime]()
    for row in rows:
        used = row.uncached_input + row.cache_read + row.cache_write_unsplit + row.output
        if row.kind == "day":
            days[row.start.date()] += used
        elif row.kind == "hour":
            hours[row.start] += used

    def told(offset: int) -> dict[date, int]:
        """What the hours add up to on each day of the zone that lies within them, as far as it has gone."""
        first = (hours_since + timedelta(hours=offset, microseconds=-1)).date() + timedelta(days=1)
        last = (generated_at + timedelta(hours=offset)).date()
        whole = {first + timedelta(days=n): 0 for n in range((last - first).days + 1)}
        for start, used in hours.items():
            day = (start + timedelta(hours=offset)).date()
            if day in whole:
                whole[day] += used
        return whole

    in_utc = told(0)
    differing = [day for day, used in in_utc.items() if days[day] != used and days[day]]
    if not differing:
        return ()
    for offset in _OFFSETS:
        local = told(offset)
        if any(local.values()) and all(days[day] == used for day, used in local.items()):
            return tuple(_finding(day, offset, days[day], in_utc[day]) for day in differing)
    return ()


def first_hour_told(generated_at: datetime, coverage: tuple[date, date] | None) -> datetime:
    """The first hour of which a payload tells: the start of v3's coverage; before v3, 23 hours before the open one."""
    if coverage is not None:
        return datetime.combine(coverage[0], time(), UTC)
    return generated_at.replace(minute=0, second=0, microsecond=0) - timedelta(hours=23)


def _finding(day: date, offset: int, stated: int, found: int) -> PayloadFinding:
    return PayloadFinding(
        code="day_boundary",
        where=day.isoformat(),
        words=f"The day states {stated} tokens, its hours add up to {found}. All days fit the hours if a day begins at"
        f" midnight of UTC{offset:+d}: the sender cuts days by local time.",
        day=day,
        measure="tokens",
        stated=stated,
        found=found,
    )
