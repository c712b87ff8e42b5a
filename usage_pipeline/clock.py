"""The one clock: what starts the program reads it, everything below takes "now" as a parameter."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from usage_pipeline.errors import InvalidInputError

NOW_VARIABLE: Final = "USAGE_NOW"


def now(environ: Mapping[str, str]) -> datetime:
    """The instant in UTC: ``USAGE_NOW`` (ISO 8601 with an offset) where it is set, for tests and the demo.

    Raises :class:`InvalidInputError` ``instant_malformed``.
    """
    written = environ.get(NOW_VARIABLE, "").strip()
    if not written:
        return datetime.now(UTC)
    try:
        instant = datetime.fromisoformat(written)
        in_utc = instant.astimezone(UTC) if instant.tzinfo is not None else None
    except (ValueError, OverflowError):
        in_utc = None
    if in_utc is None:
        raise InvalidInputError(
            "instant_malformed",
            "the value is no instant with an offset",
            where=NOW_VARIABLE,
            remedy="Write it like 2026-11-21T12:00:00Z, or unset the variable.",
        )
    return in_utc
