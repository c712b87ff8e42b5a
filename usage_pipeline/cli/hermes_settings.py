"""What ``usage-pipeline hermes set`` was asked to change of a feed, and what it tells about it.

In: the options as a person wrote them. Out: the settings written, and the sentences and days to print.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import Connection

from usage_pipeline.cli.days import DayRange, read_range
from usage_pipeline.cli.hermes_view import counts_in_words, routes_in_words
from usage_pipeline.errors import InvalidInputError
from usage_pipeline.hermes.bills_to import is_known_vendor, read_bills_to
from usage_pipeline.ledger.feed_settings import change_bills_to, get_settings, utc_day
from usage_pipeline.ledger.hermes_batches import days_told
from usage_pipeline.ledger.hermes_feeds import (
    HermesFeed,
    check_days_back,
    get_hermes_feed,
    lock_hermes_feed,
    set_counts,
    set_days_back,
)

_COMMAND = "usage-pipeline hermes set"


@dataclass(frozen=True, slots=True)
class FeedChange:
    """What is to be changed; None, or no route, for what stays. ``from_day`` (UTC) is about ``routes`` alone."""

    counts: bool | None
    days_back: int | None
    days_back_by_batch: bool
    routes: Mapping[str, str]
    from_day: date | None


@dataclass(frozen=True, slots=True)
class FeedChanged:
    """The feed after a change: one line per setting, and the reconciled days that the change is about, if any."""

    feed: HermesFeed
    changed: tuple[str, ...]
    lines: tuple[str, ...]
    notes: tuple[str, ...]
    reconciled: DayRange | None


def read_change(
    counts: bool | None,
    days_back: int | None,
    days_back_by_batch: bool,
    bills_to: Sequence[str],
    from_day: str | None,
) -> FeedChange:
    """The options, checked before anything is written.

    Raises :class:`InvalidInputError`: ``nothing_to_change``, ``days_back_unclear``, ``days_back_malformed``,
    ``bills_to_malformed``, ``from_unclear``, ``date_malformed``.
    """
    if from_day is not None and not bills_to:
        raise _unclear("from_unclear", "--from is about --bills-to alone; the other settings have no day", "--from")
    if counts is None and days_back is None and not days_back_by_batch and not bills_to:
        raise _unclear("nothing_to_change", "it was not told what to change", _COMMAND)
    if days_back is not None and days_back_by_batch:
        raise _unclear("days_back_unclear", "it takes --days-back or --days-back-by-batch, not both", _COMMAND)
    return FeedChange(
        counts,
        check_days_back(days_back),
        days_back_by_batch,
        read_bills_to(bills_to, where="--bills-to"),
        None if from_day is None else read_range(from_day, from_day).first_day,
    )


def change_feed(connection: Connection, slug: str, change: FeedChange, now: datetime) -> FeedChanged:
    """Write the change, all of it or nothing. Raises :class:`InvalidInputError` ``feed_unknown``."""
    feed = lock_hermes_feed(connection, get_hermes_feed(connection, slug))
    changed: list[str] = []
    lines: list[str] = []
    since: list[date] = []  # the first day that each change is about
    if change.counts is not None:
        already = feed.counts == change.counts
        feed = set_counts(connection, feed, change.counts, now)
        lines.append(f"counts: {counts_in_words(feed)}{', as before' if already else ', for every day'}")
        if not already:
            changed.append("counts")
            since.append(date.min)
    if change.days_back is not None or change.days_back_by_batch:
        already = feed.days_back == change.days_back
        feed = set_days_back(connection, feed, change.days_back, now)
        held = (
            "as before" if already else "for batches from now on; those taken in before keep the days that they cover"
        )
        lines.append(f"days back: {feed.days_back or 'by batch'}, {held}")
        if not already:
            changed.append("days_back")
    if change.routes:
        from_day = change.from_day or utc_day(now)
        wrote = change_bills_to(connection, feed.feed_id, slug, change.routes, from_day, now)
        first_day = get_settings(connection, feed.feed_id).bills_to.values[0][0]
        # Before its first date a setting has its first value.
        begins = date.min if first_day >= from_day else from_day
        held = f"from {from_day} (UTC) on" if begins > date.min else "for every day"
        lines.append(f"bills to: {routes_in_words(change.routes)}, {held if wrote else 'as before'}")
        if wrote:
            changed.append("bills_to")
            since.append(begins)
    notes = tuple(
        f"no model's name leads to the vendor {provider}: its route holds only where a payload names it"
        for provider in change.routes
        if not is_known_vendor(provider)
    )
    reconciled = _reconciled(connection, feed, min(since), utc_day(now)) if since else None
    return FeedChanged(feed, tuple(changed), tuple(lines), notes, reconciled)


def _reconciled(connection: Connection, feed: HermesFeed, since: date, today: date) -> DayRange | None:
    """The days from ``since`` up to today for which the feed has spoken."""
    told = days_told(connection, feed.feed_id)
    if told is None:
        return None
    first, last = max(told[0], since), min(told[1], today)
    return read_range(first.isoformat(), last.isoformat()) if first <= last else None


def _unclear(code: str, what: str, where: str) -> InvalidInputError:
    return InvalidInputError(code, what, where=where, remedy=f"See: {_COMMAND} --help.")
