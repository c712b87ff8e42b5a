"""The dimensions by which what counts can be cut, and which source tells each."""

from __future__ import annotations

from typing import Final

from usage_pipeline.errors import InvalidInputError

OF_CELL: Final = ("day", "workspace", "provider", "route", "family", "model")
"""Dimensions that every line has, from its cell; ``model`` is the canonical one."""

OF_SOURCE: Final = ("reported_model", "account", "feed", "source")

EVENT_COLUMNS: Final = {
    "project": "project_id",
    "api_key": "api_key_id",
    "user": "user_id",
    "service_account": "service_account_id",
    "service_tier": "service_tier",
    "batch": "batch",
    "context_window": "context_window",
    "inference_geo": "inference_geo",
    "speed": "speed",
    "upstream": "upstream_provider",
}
"""Dimensions that only a provider's row tells, and the columns of its event."""

OF_HERMES: Final = ("hermes_feed", "profile", "repository", "task")
"""Dimensions that only a Hermes row tells. A cut by one of them is made of Hermes' shares."""

OF_SHOWBACK: Final = ("cost_center", "team")
"""Dimensions that no source tells: the rules of showback give them to every line, ``unassigned`` at least."""

DIMENSIONS: Final = (*OF_CELL, *OF_SOURCE, *EVENT_COLUMNS, *OF_HERMES, *OF_SHOWBACK)


def read_dimensions(written: str) -> tuple[str, ...]:
    """The dimensions of ``--by``, separated by commas.

    Raises :class:`InvalidInputError`: ``dimension_unknown``, ``dimension_twice``.
    """
    names = tuple(name.strip().replace("-", "_") for name in written.split(","))
    for name in names:
        if name not in DIMENSIONS:
            raise InvalidInputError(
                "dimension_unknown",
                f"{name[:40]!r} is no dimension",
                where="--by",
                remedy=f"Choose of {', '.join(DIMENSIONS)}.",
            )
    if len(set(names)) < len(names):
        raise InvalidInputError(
            "dimension_twice", "a dimension is named twice", where="--by", remedy="Name each dimension once."
        )
    return names
