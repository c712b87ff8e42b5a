"""The shapes of OpenAI's usage reports as a scripted account answers them: measures, dimensions, legacy rows.

Written from the API's description, not from the code under test. In: nothing, or a use. Out: tables and rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from usage_pipeline_tests.scripted.account import Use


@dataclass(frozen=True)
class Detail:
    """A dimension that only one report has, by the API's name."""

    name: str


@dataclass(frozen=True)
class Report:
    """A report: the name of its results, the attributes of a use that each measure sums, and what it is grouped by."""

    result: str
    measures: Mapping[str, tuple[str, ...]]
    dimensions: Mapping[str, Any]


OPENAI_COST_DIMENSIONS = frozenset({"project_id", "line_item", "api_key_id", "user_id"})
OPENAI_COST_KEYS_SINCE = datetime(2025, 12, 6, tzinfo=UTC)
LEGACY_EMPTY_LISTS = (
    "ft_data",
    "dalle_api_data",
    "whisper_api_data",
    "tts_api_data",
    "assistant_code_interpreter_data",
)

_PROJECT = {"project_id": "project"}
_CALLER = {**_PROJECT, "user_id": "user", "api_key_id": "api_key"}
_CALLER_AND_MODEL = {**_CALLER, "model": "model"}
_REQUESTS = {"num_model_requests": ("requests",)}


def _report(name: str, measures: Mapping[str, tuple[str, ...]], dimensions: Mapping[str, Any], *details: str) -> Report:
    return Report(
        f"organization.usage.{name}.result", measures, {**dimensions, **{name: Detail(name) for name in details}}
    )


OPENAI_REPORTS: Mapping[str, Report] = {
    "completions": _report(
        "completions",
        {
            "input_tokens": ("uncached_input", "cache_read", "cache_write"),
            **_REQUESTS,
            "output_tokens": ("output",),
            "input_uncached_tokens": ("uncached_input",),
            "input_cached_tokens": ("cache_read",),
            "input_cache_write_tokens": ("cache_write",),
        },
        {**_CALLER_AND_MODEL, "batch": False, "service_tier": ("default",)},
    ),
    "embeddings": _report("embeddings", {"input_tokens": ("uncached_input",), **_REQUESTS}, _CALLER_AND_MODEL),
    "moderations": _report("moderations", {"input_tokens": ("uncached_input",), **_REQUESTS}, _CALLER_AND_MODEL),
    "images": _report("images", {"images": ("amount",), **_REQUESTS}, _CALLER_AND_MODEL, "size", "source"),
    "audio_speeches": _report("audio_speeches", {"characters": ("amount",), **_REQUESTS}, _CALLER_AND_MODEL),
    "audio_transcriptions": _report("audio_transcriptions", {"seconds": ("amount",), **_REQUESTS}, _CALLER_AND_MODEL),
    "vector_stores": _report("vector_stores", {"usage_bytes": ("amount",)}, _PROJECT),
    "code_interpreter_sessions": _report("code_interpreter_sessions", {"num_sessions": ("amount",)}, _PROJECT),
    "web_search_calls": _report(
        "web_searches", {"num_requests": ("amount",), **_REQUESTS}, _CALLER_AND_MODEL, "context_level"
    ),
    "file_search_calls": _report("file_searches", {"num_requests": ("amount",)}, _CALLER, "vector_store_id"),
}
"""By the last part of the path."""


ADMIN_ENDPOINTS = (*OPENAI_REPORTS, "costs")
"""What an admin key's pull asks, by the last part of the path."""


def legacy_row(use: Use) -> dict[str, Any]:
    """A use as a row of ``/usage?date=``, on the grid of five minutes."""
    at_s = int(use.at.timestamp())
    return {
        "organization_name": "Acme",
        "aggregation_timestamp": at_s - at_s % 300,
        "n_requests": use.requests,
        "operation": "embeddings" if use.endpoint == "embeddings" else "completion",
        "snapshot_id": use.model,
        "n_context_tokens_total": use.uncached_input + use.cache_read,
        "n_generated_tokens_total": use.output,
        "n_cached_context_tokens_total": use.cache_read,
        "project_id": use.project,
        "user_id": use.user,
        "api_key_id": use.api_key,
        "request_type": "",
    }
