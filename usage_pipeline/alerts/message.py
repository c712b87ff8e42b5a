"""What receivers read: one message of what a tick found, bounded, without secrets.

In: alerts as stored, the most that one message lists. Out: a title and a text, plain, with a line each for what, since
when, what to do and where to look.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from usage_pipeline.alerts.causes import CAUSES
from usage_pipeline.alerts.conditions import instant_in_words
from usage_pipeline.ledger.alerts import AlertState
from usage_pipeline.telemetry.redaction import Redactor

ALERTS_MAX: Final = 10
"""So many alerts one message tells in full; the rest is counted."""


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent. ``grave`` is whether an error is open among what it tells, ``good`` whether all of it is over."""

    title: str
    text: str
    grave: bool
    good: bool


def message_of(alerts: Sequence[AlertState], dagster_url: str, redactor: Redactor) -> Message:
    """The message that tells these alerts: open errors first, then warnings, then what is over."""
    ordered = sorted(alerts, key=_rank)
    is_open = [alert for alert in ordered if alert.recovered_at is None]
    parts = [_told(alert, dagster_url) for alert in ordered[:ALERTS_MAX]]
    if len(ordered) > ALERTS_MAX:
        parts.append(f"… and {len(ordered) - ALERTS_MAX} more: usage-pipeline alerts list --all")
    return Message(
        title=redactor.text(_title(ordered, len(is_open))),
        text=redactor.text("\n\n".join(parts)),
        grave=any(alert.severity == "error" for alert in is_open),
        good=not is_open,
    )


def _rank(alert: AlertState) -> tuple[bool, bool, str, str]:
    return alert.recovered_at is not None, alert.severity != "error", alert.cause, alert.place


def _title(ordered: Sequence[AlertState], open_count: int) -> str:
    if len(ordered) == 1:
        (alert,) = ordered
        state = "recovered" if alert.recovered_at else alert.severity
        return f"[{state}] {alert.cause}: {alert.place}"
    counts = [(open_count, "open"), (len(ordered) - open_count, "recovered")]
    return f"Usage pipeline: {', '.join(f'{count} {word}' for count, word in counts if count)}"


def _told(alert: AlertState, dagster_url: str) -> str:
    title = CAUSES[alert.cause].title if alert.cause in CAUSES else alert.cause
    if alert.recovered_at is not None:
        return (
            f"[recovered] {alert.cause}: {alert.place}\n"
            f"{title}, from {instant_in_words(alert.since)} to {instant_in_words(alert.recovered_at)}{_more(alert)}.\n"
            f"It was: {alert.what}"
        )
    lines = [
        f"[{alert.severity}] {alert.cause}: {alert.place}",
        f"{title}, since {instant_in_words(alert.since)}{_more(alert)}.",
        alert.what,
        f"To do: {alert.remedy}",
    ]
    if dagster_url and alert.link:
        lines.append(f"See: {dagster_url.rstrip('/')}{alert.link}")
    return "\n".join(lines)


def _more(alert: AlertState) -> str:
    """What came since the notice before: it was not told one by one."""
    if alert.more_count <= 0 or alert.more_since is None:
        return ""
    same_day = alert.more_since.date() == alert.noticed_at.date()
    since = f"{alert.more_since:%H:%M}" if same_day else instant_in_words(alert.more_since)
    return f", and {alert.more_count} more since {since}"
