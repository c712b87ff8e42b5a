"""A canonical usage row from names: for reports with few rows, where names read better than positions.

Comes in: dimensions, measures and details by name. Goes out: a :class:`~usage_pipeline.providers.contract.UsageRow`.
The two largest reports build their rows by position instead, which is several times faster.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

import msgspec

from usage_pipeline.measures import EVENT_DIMENSIONS, EVENT_MEASURES
from usage_pipeline.providers.contract import UsageRow

_DIMENSIONS: Final = frozenset(EVENT_DIMENSIONS)
_MEASURES: Final = frozenset(EVENT_MEASURES)


def usage_row(dimensions: Mapping[str, str | None], measures: Mapping[str, int | None]) -> UsageRow:
    """The row with these dimensions (an empty text is null) and measures; all others are null."""
    assert dimensions.keys() <= _DIMENSIONS, "names of EVENT_DIMENSIONS only"
    assert measures.keys() <= _MEASURES, "names of EVENT_MEASURES only"
    return UsageRow(
        tuple(dimensions.get(name) or None for name in EVENT_DIMENSIONS),
        tuple(measures.get(name) for name in EVENT_MEASURES),
    )


def line_detail(**told: str | None) -> str | None:
    """Canonical JSON of what is told (sorted keys, no spaces, neither nulls nor empty texts); None for nothing."""
    present = {name: value for name, value in told.items() if value}
    return json.dumps(present, ensure_ascii=False, sort_keys=True, separators=(",", ":")) if present else None


def results_of(rows: list[msgspec.Raw]) -> msgspec.Raw:
    """The rows as the list of results that a bucket holds, byte for byte as they were answered."""
    return msgspec.Raw(b"[%b]" % b",".join(map(bytes, rows)))
