"""Every endpoint of OpenAI that is asked: its path, what it can be asked by, and the measures that it reports.

Nothing comes in. Out go :data:`ENDPOINTS` and its members by name. Source: OpenAI's OpenAPI description
(openai/openai-openapi, August 2026) and the newest SDK's types; the legacy endpoints are documented nowhere.

Only completions report ``requests`` of the models that answered: the ``num_model_requests`` of a web search call is the
request that completions count already, and is never stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Final

from usage_pipeline.providers.contract import Endpoint

_USAGE_PAGES: Final = {"1h": 168, "1d": 31}
_CALLER: Final = {"project_id": "project_id", "user_id": "user_id", "api_key_id": "api_key_id"}
_CALLER_AND_MODEL: Final = {**_CALLER, "model": "model"}
_PROJECT: Final = {"project_id": "project_id"}

# Known to the newest SDK only, not to the published description: put beyond dimensions_max, so that it is asked for
# only by someone who names it.
_API_SOURCE: Final = {"api_source": "api_source"}

COST_KEYS_SINCE: Final = date(2025, 12, 6)
"""The first UTC day whose costs can be asked by API key; a range that begins before it is refused with 400."""


def _usage(
    name: str,
    family: str,
    dimensions: Mapping[str, str],
    reports: set[str],
    *,
    only_if_named: Mapping[str, str] | None = None,
    may_report: frozenset[str] = frozenset(),
) -> Endpoint:
    return Endpoint(
        name=name,
        path=f"/organization/usage/{name}",
        kind="usage",
        family=family,
        dimensions={**dimensions, **(only_if_named or {})},
        dimensions_max=len(dimensions),
        page_limits=_USAGE_PAGES,
        always_reports=frozenset(reports),
        may_report=may_report,
    )


COMPLETIONS: Final = _usage(
    "completions",
    "text",
    {**_CALLER_AND_MODEL, "batch": "batch", "service_tier": "service_tier"},
    {"uncached_input", "cache_read", "cache_write_unsplit", "output", "requests"},
    only_if_named=_API_SOURCE,
    may_report=frozenset(
        {
            "cache_write_30m",
            "cache_write_12h",
            "input_text",
            "input_audio",
            "input_image",
            "cache_read_text",
            "cache_read_audio",
            "cache_read_image",
            "output_text",
            "output_audio",
            "output_image",
        }
    ),
)
EMBEDDINGS: Final = _usage("embeddings", "embeddings", _CALLER_AND_MODEL, {"uncached_input", "requests"})
MODERATIONS: Final = _usage("moderations", "moderations", _CALLER_AND_MODEL, {"uncached_input", "requests"})
IMAGES: Final = _usage(
    "images", "images", {**_CALLER_AND_MODEL, "size": "size", "source": "source"}, {"images", "requests"}
)
AUDIO_SPEECHES: Final = _usage("audio_speeches", "audio_speeches", _CALLER_AND_MODEL, {"characters", "requests"})
AUDIO_TRANSCRIPTIONS: Final = _usage(
    "audio_transcriptions", "audio_transcriptions", _CALLER_AND_MODEL, {"seconds", "requests"}
)
VECTOR_STORES: Final = _usage("vector_stores", "vector_stores", _PROJECT, {"usage_bytes"})
CODE_INTERPRETER_SESSIONS: Final = _usage("code_interpreter_sessions", "code_interpreter", _PROJECT, {"sessions"})
WEB_SEARCH_CALLS: Final = _usage(
    "web_search_calls",
    "web_search",
    {**_CALLER_AND_MODEL, "context_level": "context_level"},
    {"searches"},
    only_if_named=_API_SOURCE,
)
FILE_SEARCH_CALLS: Final = _usage(
    "file_search_calls", "file_search", {**_CALLER, "vector_store_id": "vector_store_id"}, {"searches"}
)


def _legacy(name: str, family: str, reports: set[str], may_report: set[str]) -> Endpoint:
    """One family of the rows of the legacy ``/usage?date=``. It can be asked by nothing and tells every dimension;
    those that are not wanted are left out when it is read."""
    return Endpoint(
        name=name,
        path="/usage",
        kind="usage",
        family=family,
        dimensions={
            **_CALLER,
            "model": "snapshot_id",
            "operation": "operation",
            "request_type": "request_type",
        },
        dimensions_max=6,
        page_limits={"1h": 24, "1d": 1},
        always_reports=frozenset(reports),
        may_report=frozenset(may_report),
        narrows_to_projects=False,
        modes=frozenset({"standard"}),
        one_day_per_request=True,
    )


LEGACY_COMPLETIONS: Final = _legacy(
    "legacy_completions",
    "text",
    {"uncached_input", "output", "requests"},
    {"cache_read", "input_audio", "output_audio"},
)
LEGACY_EMBEDDINGS: Final = _legacy("legacy_embeddings", "embeddings", {"uncached_input", "requests"}, set())

# The key is groupable on paper, and refused with 400 for some organisations and for days before COST_KEYS_SINCE. The
# user may be refused beside the project, so it is asked for only by someone who names it.
COSTS: Final = Endpoint(
    name="costs",
    path="/organization/costs",
    kind="costs",
    family="costs",
    dimensions={"project_id": "project_id", "label": "line_item", "api_key_id": "api_key_id", "user_id": "user_id"},
    dimensions_max=3,
    page_limits={"1d": 180},
    dimension_since={"api_key_id": COST_KEYS_SINCE},
)

ENDPOINTS: Final = (
    COMPLETIONS,
    EMBEDDINGS,
    MODERATIONS,
    IMAGES,
    AUDIO_SPEECHES,
    AUDIO_TRANSCRIPTIONS,
    VECTOR_STORES,
    CODE_INTERPRETER_SESSIONS,
    WEB_SEARCH_CALLS,
    FILE_SEARCH_CALLS,
    LEGACY_COMPLETIONS,
    LEGACY_EMBEDDINGS,
    COSTS,
)
"""Every endpoint, usage before costs."""
