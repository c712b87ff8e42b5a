"""UTC days and the instants between which they lie. Ranges are half-open everywhere."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta


def day_start(day: date) -> datetime:
    """Midnight UTC at which ``day`` begins."""
    return datetime.combine(day, time.min, UTC)


def day_end(day: date) -> datetime:
    """Midnight UTC at which ``day`` ends."""
    return day_start(day) + timedelta(days=1)


def days_between(first_day: date, end_day: date) -> list[date]:
    """The days from ``first_day`` to before ``end_day``."""
    return [first_day + timedelta(days=n) for n in range((end_day - first_day).days)]
