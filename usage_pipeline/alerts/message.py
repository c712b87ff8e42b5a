"""What receivers read: one message of what a tick found, bounded, without secrets.

In: alerts as stored, how long a text the receiver takes. Out: a title and a text, plain, with a line each for what,
since when, what to do and where to look.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
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


def message_of(
    alerts: Sequence[AlertState], dagster_url: str, redactor: Redactor, characters_max: int, title_max: int
) -> Message:
    """The message that tells these alerts: open errors first, then warnings, then what is over.

    Its text has at most ``characters_max`` characters: alerts that do not fit are counted. The title has at most
    ``title_max``; where that is 0 the service has none, so that it goes in front of the text and counts there.
    """
    ordered = sorted(alerts, key=_rank)
    is_open = [alert for alert in ordered if alert.recovered_at is None]
    title = _cut(redactor.text(_title(ordered, len(is_open))), title_max or characters_max // 2)
    room = characters_max if title_max else characters_max - len(title)
    return Message(
        title=title,
        text=_fitting(ordered, dagster_url, redactor, room),
        grave=any(alert.severity == "error" for alert in is_open),
        good=not is_open,
    )


def _fitting(ordered: Sequence[AlertState], dagster_url: str, redactor: Redactor, room: int) -> str:
    parts = [redactor.text(_told(alert, dagster_url)) for alert in ordered[:ALERTS_MAX]]
    for shown in range(len(parts), 0, -1):
        text = "\n\n".join([*parts[:shown], *_more_alerts(len(ordered) - shown)])
        if len(text) <= room:
            return text
    # Not even one fits: the figures give way first, then what to do.
    rest = "".join(f"\n\n{line}" for line in _more_alerts(len(ordered) - 1))
    first = ordered[0]
    excess = len(parts[0]) + len(rest) - room
    shorter = replace(first, what=_cut(first.what, max(len(first.what) - excess, 1)))
    return _cut(redactor.text(_told(shorter, dagster_url)), room - len(rest)) + rest


def _more_alerts(count: int) -> list[str]:
    return [f"… and {count} more: usage-pipeline alerts list --all"] if count else []


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: max(most - 1, 0)]}…"


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
