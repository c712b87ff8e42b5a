"""A condition that holds now, and the fingerprint by which it is known again at the next tick."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

from usage_pipeline.alerts.causes import Cause

WHAT_CHARACTERS_MAX: Final = 600


@dataclass(frozen=True, slots=True)
class Condition:
    """Something that holds now and that a person should know of.

    ``place`` says where (a key, a check, a workspace's provider) and with the cause makes the fingerprint: what differs
    by day or run only is one condition. ``occurrences`` name what stands behind it (days, runs), each once. ``since``
    is the instant (UTC) of the oldest of them that is known, ``what`` one line with the figures, ``remedy`` what to do,
    ``link`` the path below Dagster's URL where more is to be seen, empty for none.
    """

    cause: Cause
    place: str
    since: datetime
    what: str
    remedy: str
    occurrences: tuple[str, ...]
    link: str = ""

    @property
    def fingerprint(self) -> bytes:
        """Sixteen bytes that are the same for the same cause at the same place."""
        identity = json.dumps([self.cause.code, self.place], ensure_ascii=False)
        return hashlib.blake2b(identity.encode(), digest_size=16).digest()


def bounded(text: str) -> str:
    """``text`` on one line, shortened to what a message takes."""
    line = " ".join(text.split())
    return line if len(line) <= WHAT_CHARACTERS_MAX else f"{line[: WHAT_CHARACTERS_MAX - 1]}…"


def occurrences_of(names: Iterable[str]) -> tuple[str, ...]:
    """The names, each once, in order, however many: what is forgotten would be taken for mended."""
    return tuple(sorted(set(names)))


def days_in_words(days: Iterable[date]) -> str:
    """``2026-11-08 to 2026-11-10, 2026-11-12``, with the number of days where there is more than one."""
    listed = sorted(set(days))
    spans: list[tuple[date, date]] = []
    for day in listed:
        if spans and spans[-1][1] + timedelta(days=1) == day:
            spans[-1] = (spans[-1][0], day)
        else:
            spans.append((day, day))
    shown = ", ".join(f"{first}" if first == last else f"{first} to {last}" for first, last in spans[-5:])
    if len(spans) > 5:
        shown = f"… {shown}"
    return shown if len(listed) == 1 else f"{shown} ({len(listed)} days)"


def instant_in_words(instant: datetime) -> str:
    """``2026-11-22 02:10 UTC``."""
    return f"{instant.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
