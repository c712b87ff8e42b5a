"""The words for what is measured: token classes, their parts, and the other units.

Everything that names a measure (tables, providers, Hermes rows, reconciliation, exports) takes the name from here, so
that a class that joins when a provider adds a cache lifetime is added in one place (and in a migration).
"""

from __future__ import annotations

from typing import Final

TOKEN_CLASSES: Final = (
    "uncached_input",
    "cache_read",
    "cache_write_5m",
    "cache_write_30m",
    "cache_write_1h",
    "cache_write_12h",
    "cache_write_unsplit",
    "output",
)
"""Disjoint piles of tokens: their sum is every token of a row, each once."""

CACHE_WRITES: Final = (
    "cache_write_5m",
    "cache_write_30m",
    "cache_write_1h",
    "cache_write_12h",
    "cache_write_unsplit",
)
"""Cache writes by lifetime, in the order in which an explained sum fills them; compared as one group."""

OTHER_MEASURES: Final = ("images", "characters", "seconds", "sessions", "searches", "usage_bytes")
"""Measures in units of their own. ``usage_bytes`` is a level, outside conservation."""

LEVELS: Final = frozenset({"usage_bytes"})
"""Measures that are states at an instant: never summed over time."""

RECONCILED_MEASURES: Final = (*TOKEN_CLASSES, "reasoning", "requests", *OTHER_MEASURES)
"""Every measure that a reconciled row carries. ``reasoning`` is a part of ``output``, never added to it."""

MODALITY_PARTS: Final = (
    "input_text",
    "input_audio",
    "input_image",
    "cache_read_text",
    "cache_read_audio",
    "cache_read_image",
    "output_text",
    "output_audio",
    "output_image",
)
"""Parts of ``uncached_input``, ``cache_read`` and ``output`` by modality: kept beside, never added."""

EVENT_MEASURES: Final = (*RECONCILED_MEASURES, *MODALITY_PARTS)
"""The bigint columns of a usage event, in the order of the table."""

EVENT_DIMENSIONS: Final = (
    "project_id",
    "user_id",
    "service_account_id",
    "api_key_id",
    "model",
    "service_tier",
    "batch",
    "context_window",
    "inference_geo",
    "speed",
    "api_source",
    "line_detail",
    "upstream_provider",
)
"""The text columns of a usage event, in the order of the table.

``project_id`` is OpenAI's project and Anthropic's workspace; ``user_id`` is OpenAI's user and Anthropic's account of an
OAuth user; ``batch`` is ``true``, ``false`` or null; ``line_detail`` is canonical JSON of what only one endpoint or
source has (an image's size, Hermes' repository, route and task), or null; ``upstream_provider`` is the vendor whose
model a reseller or a proxy passed the call on to.
"""
