"""How an alert lives: opened, repeated, over, open again. Pure: what stood before and what holds now give what stands.

A notice is made when it opens, when more came since the last notice and the window of deduplication has passed, and
when it is over after the last notice said that it is open. One that comes back within the window is the same alert, and
says nothing until the window has passed.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from usage_pipeline.alerts.conditions import Condition
from usage_pipeline.ledger.alerts import AlertState


def opened(condition: Condition, now: datetime) -> AlertState:
    """The first state of an alert that was not there."""
    count = len(condition.occurrences)
    return AlertState(
        fingerprint=condition.fingerprint,
        cause=condition.cause.code,
        severity=condition.cause.severity,
        place=condition.place,
        what=condition.what,
        remedy=condition.remedy,
        link=condition.link,
        since=min(condition.since, now),
        occurrences=condition.occurrences,
        occurrence_count=count,
        first_seen=now,
        last_seen=now,
        notice=1,
        noticed_at=now,
        noticed_count=count,
        noticed_open=True,
    )


def still_there(before: AlertState, condition: Condition, now: datetime, window: timedelta) -> AlertState:
    """The state of an alert whose condition holds (again) now."""
    came = len(set(condition.occurrences) - set(before.occurrences))
    if before.recovered_at is not None:
        came = max(came, 1)  # the same occurrence came back
    state = replace(
        before,
        what=condition.what,
        remedy=condition.remedy,
        link=condition.link,
        since=min(before.since, condition.since),
        occurrences=condition.occurrences,
        occurrence_count=before.occurrence_count + came,
        last_seen=now,
        recovered_at=None,
        recovery_notified_at=None,
    )
    is_news = not state.noticed_open or state.occurrence_count > state.noticed_count
    return _noticed(state, now, is_open=True) if is_news and now - state.noticed_at >= window else state


def over(before: AlertState, now: datetime) -> AlertState:
    """The state of an open alert whose condition is gone."""
    state = replace(before, recovered_at=now, last_seen=now)
    return _noticed(state, now, is_open=False) if state.noticed_open else state


def _noticed(state: AlertState, now: datetime, *, is_open: bool) -> AlertState:
    return replace(
        state,
        notice=state.notice + 1,
        noticed_at=now,
        noticed_count=state.occurrence_count,
        noticed_open=is_open,
        more_count=state.occurrence_count - state.noticed_count,
        more_since=state.noticed_at,
    )
