"""``GET /api/coverage``: every key and Hermes feed × every day: what stands, up to when, and what failed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection

from usage_pipeline.ledger.coverage_days import SliceState, slice_states
from usage_pipeline.ledger.feed_settings import FeedSettings, list_settings
from usage_pipeline.ledger.hermes_feeds import list_hermes_feeds
from usage_pipeline.ledger.provider_keys import list_provider_keys
from usage_pipeline.reconcile.coverage import Coverage, State, coverage_of, weakest
from usage_pipeline.reconcile.report import instant
from usage_pipeline.service.parameters import FROM, TO, WORKSPACE, Parameter
from usage_pipeline.service.reading import Asking
from usage_pipeline.settings import Settings
from usage_pipeline.utc_days import day_end, days_between

FINAL: Final = "final"
PROVISIONAL: Final = "provisional"
FAILED: Final = "failed"
MISSING: Final = "missing"
AWAITED: Final = "awaited"
DISABLED: Final = "disabled"
NOT_BEGUN: Final = "not_begun"

STATES: Final = {
    FINAL: "A complete answer was given after the settling time.",
    PROVISIONAL: "A complete answer stands, and may still change.",
    FAILED: "It was asked for, and no complete answer stands.",
    MISSING: "Nothing was asked for or sent, long enough after the day's end.",
    AWAITED: "Nothing was asked for or sent yet, and there is still time.",
    DISABLED: "The key or feed was disabled on that day.",
    NOT_BEGUN: "The day lies in the future.",
}
"""What a day of a feed can be."""

PARAMETERS: Final = (
    FROM,
    TO,
    WORKSPACE,
    Parameter("feed", "Only this key or Hermes feed. Repeatable.", {"type": "string"}, repeatable=True),
)


@dataclass(frozen=True, slots=True)
class _Feed:
    feed_id: int
    slug: str
    provider: str | None
    settling: timedelta


def tell_coverage(connection: Connection, asking: Asking) -> dict[str, Any]:
    """The answer. Raises :class:`InvalidInputError` for what cannot be asked."""
    parameters = asking.parameters
    first_day, end_day = parameters.days()
    wanted = parameters.texts("feed")
    workspace = asking.reader.workspace
    feeds = [one for one in _feeds(connection, workspace, asking.settings) if not wanted or one.slug in wanted]
    settings = list_settings(connection, [one.feed_id for one in feeds])
    slices: dict[tuple[int, date], list[SliceState]] = defaultdict(list)
    for one in slice_states(connection, asking.reader.workspace_id, first_day, end_day):
        slices[one.feed_id, one.day].append(one)
    days = days_between(first_day, end_day)
    return {
        "from": parameters.text("from"),
        "to": parameters.text("to"),
        "workspace": workspace,
        "feeds": [
            {
                "feed": feed.slug,
                "source": "hermes_plugin" if feed.provider is None else "provider_api_key",
                "provider": feed.provider,
                "days": [
                    _day(day, feed, slices.get((feed.feed_id, day), ()), settings[feed.feed_id], asking) for day in days
                ],
            }
            for feed in feeds
        ],
    }


def _feeds(connection: Connection, workspace: str, settings: Settings) -> list[_Feed]:
    keys = [
        _Feed(key.feed_id, key.slug, key.provider, settings.settling_of(key.provider))
        for key in list_provider_keys(connection, workspace)
    ]
    installs = [
        _Feed(feed.feed_id, feed.slug, None, settings.settling_hermes)
        for feed in list_hermes_feeds(connection, workspace)
    ]
    return keys + installs


def _day(
    day: date, feed: _Feed, slices: Sequence[SliceState], settings: FeedSettings, asking: Asking
) -> dict[str, Any]:
    """A day of a feed: the weakest of its endpoints."""
    parts = {one.endpoint: _coverage(one, feed.settling) for one in slices}
    whole = weakest(list(parts.values()))
    errors = sorted({one.error_code for one in slices if one.error_code})
    return {
        "date": day.isoformat(),
        "state": _STATE_OF.get(whole.state) or _of_nothing(day, settings, asking),
        "complete": whole.covers,
        "covered_until": instant(whole.until) if whole.until else None,
        "endpoints": {name: _STATE_OF.get(part.state, MISSING) for name, part in sorted(parts.items())},
        "errors": errors,
    }


def _coverage(one: SliceState, settling: timedelta) -> Coverage:
    return coverage_of(one.day, one.observed_at, settling, attempted=one.last_attempt_at is not None)


_STATE_OF: Final = {State.FINAL: FINAL, State.PROVISIONAL: PROVISIONAL, State.FAILED: FAILED}


def _of_nothing(day: date, settings: FeedSettings, asking: Asking) -> str:
    """What a day is of which nothing is known."""
    now: datetime = asking.now
    if day > now.date():
        return NOT_BEGUN
    if not settings.enabled_on(day):
        return DISABLED
    return MISSING if now >= day_end(day) + timedelta(hours=asking.settings.window_missing_hours) else AWAITED
