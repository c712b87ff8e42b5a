"""How long a provider asks its callers to wait, in whichever of the usual headers it says so.

Comes in: response headers and the time now (UTC). Goes out: seconds, or None where nothing is said.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

# Reset headers tell when the limit's window is full again. Token limits are about inference, not about these reports.
_RESET_HEADERS: Final = (
    "x-ratelimit-reset-requests",
    "anthropic-ratelimit-requests-reset",
    "x-ratelimit-reset",
    "ratelimit-reset",
)

_DURATION: Final = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?")
_DURATION_UNITS_S: Final = (86400.0, 3600.0, 60.0, 1.0, 0.001)
_NUMBER: Final = re.compile(r"\d+(?:\.\d+)?")

# A bare number above this is a moment in Unix seconds, below it a number of seconds: it is the year 2001.
_EPOCH_FROM: Final = 1_000_000_000.0
_EPOCH_MS_FROM: Final = 100_000_000_000.0


def seconds_to_wait(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds from ``now`` (UTC) until the provider wants to be asked again; never negative.

    ``Retry-After`` decides where it can be read (seconds or an HTTP date); else the reset header that is furthest away.
    """
    told = _seconds(headers.get("retry-after", ""), now)
    if told is not None:
        return told
    resets = [seconds for name in _RESET_HEADERS if (seconds := _seconds(headers.get(name, ""), now)) is not None]
    return max(resets, default=None)


def _seconds(value: str, now: datetime) -> float | None:
    """The value as seconds from now: a number, a duration (``6m0s``, ``20ms``), an HTTP date, or RFC 3339."""
    text = value.strip()
    if not text:
        return None
    if _NUMBER.fullmatch(text):
        number = float(text)
        if number >= _EPOCH_MS_FROM:
            number /= 1000
        return max(0.0, number - now.timestamp()) if number >= _EPOCH_FROM else number
    duration = _DURATION.fullmatch(text)
    if duration:
        return sum(float(part or 0) * unit for part, unit in zip(duration.groups(), _DURATION_UNITS_S, strict=True))
    moment = _moment(text)
    return None if moment is None else max(0.0, (moment - now).total_seconds())


def _moment(text: str) -> datetime | None:
    for read in (parsedate_to_datetime, datetime.fromisoformat):
        try:
            moment = read(text)
        except ValueError:
            continue
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return None
