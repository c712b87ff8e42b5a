"""The OpenAI reports as a table: path, result object, dimensions, filters and limits of each.

Nothing is answered here. Two search reports name their result object otherwise than their path. ``…_2026`` holds what
only the newest contract has.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from usage_pipeline.sandbox.openai_services import (
    AUDIO_SPEECHES,
    AUDIO_TRANSCRIPTIONS,
    CODE_INTERPRETER_SESSIONS,
    EMBEDDINGS,
    FILE_SEARCH_CALLS,
    IMAGES,
    MODERATIONS,
    VECTOR_STORES,
    WEB_SEARCH_CALLS,
)
from usage_pipeline.sandbox.switches import OPENAI_COSTS_PATH, OPENAI_USAGE_PATH

_USAGE_LIMITS: Final = {"1m": (60, 1440), "1h": (24, 168), "1d": (7, 31)}
_CALLER: Final = ("project_id", "user_id", "api_key_id")
_CALLER_FILTERS: Final = {"project_ids": "project_id", "user_ids": "user_id", "api_key_ids": "api_key_id"}
_MODEL_FILTERS: Final = _CALLER_FILTERS | {"models": "model"}
_PROJECT_FILTERS: Final = {"project_ids": "project_id"}


@dataclass(frozen=True, slots=True)
class OpenAiReport:
    """What one report accepts.

    ``limits`` are (default, maximum) buckets per answer, by bucket width. ``filters`` maps a parameter to the
    dimension that it restricts, ``choices`` a parameter to the only values that it takes.
    """

    result_object: str
    dimensions: tuple[str, ...]
    filters: Mapping[str, str]
    dimensions_2026: tuple[str, ...] = ()
    filters_2026: Mapping[str, str] = field(default_factory=dict)
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    limits: Mapping[str, tuple[int, int]] = field(default_factory=lambda: _USAGE_LIMITS)
    has_batch: bool = False


def service_path(service: str) -> str:
    """The path of a usage report."""
    return f"/v1/organization/usage/{service}"


DECISIONS_PATH: Final = service_path("decisions")


def _usage(result: str, dimensions: tuple[str, ...], filters: Mapping[str, str]) -> OpenAiReport:
    return OpenAiReport(f"organization.usage.{result}.result", dimensions, filters)


def _model_calls(result: str) -> OpenAiReport:
    return OpenAiReport(
        f"organization.usage.{result}.result",
        (*_CALLER, "model", "batch", "service_tier"),
        _MODEL_FILTERS,
        ("api_source",),
        has_batch=True,
    )


OPENAI_REPORTS: Final[Mapping[str, OpenAiReport]] = {
    OPENAI_USAGE_PATH: _model_calls("completions"),
    DECISIONS_PATH: _model_calls("decisions"),
    service_path(EMBEDDINGS): _usage(EMBEDDINGS, (*_CALLER, "model"), _MODEL_FILTERS),
    service_path(MODERATIONS): _usage(MODERATIONS, (*_CALLER, "model"), _MODEL_FILTERS),
    service_path(IMAGES): OpenAiReport(
        "organization.usage.images.result",
        (*_CALLER, "model", "size", "source"),
        _MODEL_FILTERS | {"sizes": "size", "sources": "source"},
        choices={
            "sizes": ("256x256", "512x512", "1024x1024", "1792x1792", "1024x1792"),
            "sources": ("image.generation", "image.edit", "image.variation"),
        },
    ),
    service_path(AUDIO_SPEECHES): _usage(AUDIO_SPEECHES, (*_CALLER, "model"), _MODEL_FILTERS),
    service_path(AUDIO_TRANSCRIPTIONS): _usage(AUDIO_TRANSCRIPTIONS, (*_CALLER, "model"), _MODEL_FILTERS),
    service_path(VECTOR_STORES): _usage(VECTOR_STORES, ("project_id",), _PROJECT_FILTERS),
    service_path(CODE_INTERPRETER_SESSIONS): _usage(CODE_INTERPRETER_SESSIONS, ("project_id",), _PROJECT_FILTERS),
    service_path(WEB_SEARCH_CALLS): OpenAiReport(
        "organization.usage.web_searches.result",
        (*_CALLER, "model", "context_level"),
        _MODEL_FILTERS | {"context_levels": "context_level"},
        ("api_source",),
        choices={"context_levels": ("low", "medium", "high")},
    ),
    service_path(FILE_SEARCH_CALLS): _usage(
        "file_searches", (*_CALLER, "vector_store_id"), _CALLER_FILTERS | {"vector_store_ids": "vector_store_id"}
    ),
    OPENAI_COSTS_PATH: OpenAiReport(
        "organization.costs.result",
        ("project_id", "line_item", "api_key_id"),
        {"project_ids": "project_id", "api_key_ids": "api_key_id"},
        ("user_id", "api_source"),
        {"line_items": "line_item"},
        limits={"1d": (7, 180)},
    ),
}
"""By path."""
