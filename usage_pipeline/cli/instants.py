"""Instants as a person writes them: RFC 3339 with an offset, for a question about the past."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from usage_pipeline.errors import InvalidInputError

AsOf = Annotated[
    str | None,
    typer.Option("--as-of", metavar="INSTANT", help="As it was believed then, such as 2026-10-31T12:00:00Z."),
]


def read_as_of(written: str | None, now: datetime) -> datetime | None:
    """The instant of ``--as-of``, in UTC; None where it is left out.

    Raises :class:`InvalidInputError`: ``instant_malformed``, ``instant_without_offset``, ``instant_in_future``.
    """
    if written is None:
        return None
    try:
        instant = datetime.fromisoformat(written)
        in_zone = instant.astimezone(UTC) if instant.tzinfo is not None else None
    except (ValueError, OverflowError):
        shown = repr(written) if len(written) <= 40 else "the value"
        raise InvalidInputError(
            "instant_malformed",
            f"{shown} is no instant",
            where="--as-of",
            remedy="Write it like 2026-10-31T12:00:00Z.",
        ) from None
    if in_zone is None:
        in_utc = instant.isoformat(timespec="seconds")
        raise InvalidInputError(
            "instant_without_offset",
            f"{written!r} does not say in which time zone it is",
            where="--as-of",
            remedy=f"If it is UTC, write {in_utc}Z.",
        )
    instant = in_zone
    if instant > now:
        raise InvalidInputError(
            "instant_in_future",
            f"{instant:%Y-%m-%dT%H:%M:%SZ} lies in the future; it is {now:%Y-%m-%dT%H:%M:%SZ} (UTC)",
            where="--as-of",
            remedy="Give an instant that has passed, or leave the option out.",
        )
    return instant
