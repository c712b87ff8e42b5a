"""The stable key of a billed line: BLAKE2b over canonical JSON of its slice, its dimensions and the asked-for set."""

from __future__ import annotations

import hashlib
import json
from datetime import date
from typing import Protocol

from usage_pipeline.ledger.event_copy import SliceIdentity

LINE_DIMENSIONS = (
    "label",
    "model",
    "cost_type",
    "token_type",
    "project_id",
    "user_id",
    "api_key_id",
    "service_tier",
    "context_window",
    "inference_geo",
    "quantity_unit",
)
"""What tells two billed lines of one day apart, amounts and quantities aside."""


class Line(Protocol):
    """Anything with the attributes of ``LINE_DIMENSIONS``."""


def line_key(identity: SliceIdentity, day: date, line: Line) -> bytes:
    """The 16 bytes of a line's key."""
    text = json.dumps(
        {
            "asked": sorted(identity.dimensions_asked),
            "day": day.isoformat(),
            "dimensions": {n: v for n in LINE_DIMENSIONS if (v := getattr(line, n)) is not None},
            "endpoint": identity.endpoint,
            "feed": identity.feed,
        },
        ensure_ascii=False,
        separators=(",", ":"),
        sort_keys=True,
    )
    return hashlib.blake2b(text.encode(), digest_size=16).digest()
