"""Billing periods: calendar months in UTC, when one is closed, and what was believed when it was.

Here a period closes some days after its end, since usage and bills settle first. What is recorded of its days later is
a correction of a closed period, and belongs to the first period that was still open then.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Final, NamedTuple

from usage_pipeline.utc_days import day_start

CLOSES_AFTER: Final = timedelta(days=5)
"""So long after the end of its month a billing period closes: both sources settle within three days (the default), and
the look-back pulls the last days of the month once more after that."""


class BillingPeriod(NamedTuple):
    """A calendar month: ``start`` is its first instant, ``end`` the first one after it, UTC."""

    start: datetime
    end: datetime

    @property
    def closes(self) -> datetime:
        """The first instant at which the period is closed."""
        return self.end + CLOSES_AFTER


class Statement(NamedTuple):
    """What a period says of a day's charges: as believed at ``as_of``, None as they stand."""

    period: BillingPeriod
    as_of: datetime | None


def period_of(day: date) -> BillingPeriod:
    """The billing period of a day's charges."""
    first = day.replace(day=1)
    return BillingPeriod(day_start(first), day_start(_next_month(first)))


def statements(day: date, recorded: Sequence[datetime]) -> tuple[Statement, ...]:
    """The statements of a day whose rows were recorded at these instants, oldest first.

    The first one is of the day's own period: as of its close, or where nothing was recorded yet, as of the close of the
    period in which the first was. Each further one corrects those before it. The last one tells the day as it stands.
    """
    own = period_of(day)
    periods = sorted({_open_period(own, at) for at in recorded}) or [own]
    told_by = [own, *periods[1:]]
    ends = [period.closes - timedelta(microseconds=1) for period in periods[:-1]]
    return tuple(map(Statement, told_by, [*ends, None]))


def _open_period(own: BillingPeriod, at: datetime) -> BillingPeriod:
    """The first period, from the day's own on, that was still open at an instant."""
    period = own
    while period.closes <= at:
        period = period_of(period.end.date())
    return period


def _next_month(first: date) -> date:
    return (first + timedelta(days=31)).replace(day=1)
