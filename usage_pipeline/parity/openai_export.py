"""OpenAI's dashboard exports: ``<report>_usage_<from>_<to>.csv`` and ``cost_<from>_<to>.csv``.

Which columns are known from where: docs/parity.md. What is read here and nowhere else:

* Every window of the range is a row; one without usage has only its times, and a file without any usage has only the
  columns of time, whatever its report: then the file's name tells what it is.
* Counts are written as floats (``3.0``), amounts as decimals in the currency of ``amount_currency``.
* ``input_tokens`` contains cached and cache-write tokens.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from usage_pipeline.parity.export_format import (
    AMOUNT,
    AmountColumn,
    Derive,
    DimensionColumn,
    ExportFormat,
    as_written,
)

PROVIDER: Final = "openai"

_NAMES: Final = {
    **dict.fromkeys(
        ("organization_name", "project_name", "user_email", "user_name", "api_key_name"), "a name of what an id tells"
    ),
    "organization_id": "tells the account",
    "object": "says what the row is",
}
_REQUESTS: Final = {"num_model_requests": "requests"}
_IN_DETAILS: Final = "the store keeps it in the row's details"
_PROJECT: Final = {"project_id": DimensionColumn("project_id")}
_CALLER: Final = {
    **_PROJECT,
    "user_id": DimensionColumn("user_id"),
    "api_key_id": DimensionColumn("api_key_id"),
    "api_source": DimensionColumn("api_source"),
}
_CALLER_AND_MODEL: Final = {**_CALLER, "model": DimensionColumn("model")}
_TIMES: Final[dict[str, Any]] = {
    "provider": PROVIDER,
    "form": "interval",
    "start": ("start_time", "start_time_iso"),
    "end": ("end_time", "end_time_iso"),
    "empty_header": True,
    "lists_empty_windows": True,
    "account": "organization_id",
}


def _flag(cell: str) -> str | None:
    return as_written(cell.lower())


def _usage(
    report: str,
    family: str,
    signature: set[str],
    counts: Mapping[str, str],
    dimensions: Mapping[str, DimensionColumn],
    *,
    measures: tuple[str, ...],
    ignored: Mapping[str, str] | None = None,
    derive: Derive | None = None,
    adds_up: tuple[str, tuple[str, ...]] | None = None,
) -> ExportFormat:
    return ExportFormat(
        kind="usage",
        family=family,
        file_name=re.compile(rf"{report}_usage([_ .(-].*)?", re.IGNORECASE),
        signature=frozenset(signature),
        dimensions=dimensions,
        counts=counts,
        derive=derive,
        adds_up=adds_up,
        ignored={**_NAMES, **(ignored or {})},
        never_blank=frozenset({"project_id", "model"} & dimensions.keys()),
        measures_if_empty=measures,
        **_TIMES,
    )


def split_input(told: Mapping[str, int]) -> Mapping[str, int]:
    """Disjoint classes of the sums that a completions file tells, as far as its columns tell them apart.

    The total is what is trusted, as for the API: what it leaves beside cached and written tokens is uncached.
    """
    figures = {name: value for name, value in told.items() if name not in _INPUT}
    if "input_tokens" not in told:
        named = {"input_uncached_tokens": "uncached_input", "input_cached_tokens": "cache_read"}
        named["input_cache_write_tokens"] = "cache_write"
        return {**figures, **{ours: told[theirs] for theirs, ours in named.items() if theirs in told}}
    total = told["input_tokens"]
    if "input_cached_tokens" not in told:
        return {**figures, "input": total}
    cached = told["input_cached_tokens"]
    figures["cache_read"] = cached
    if "input_cache_write_tokens" in told:
        written = told["input_cache_write_tokens"]
        return {**figures, "uncached_input": total - cached - written, "cache_write": written}
    if "input_uncached_tokens" in told:
        uncached = told["input_uncached_tokens"]
        return {**figures, "uncached_input": uncached, "cache_write": total - cached - uncached}
    return {**figures, "input_not_read_from_cache": total - cached}


_INPUT: Final = {
    "input_tokens": "input_tokens",
    "input_cached_tokens": "input_cached_tokens",
    "input_uncached_tokens": "input_uncached_tokens",
    "input_cache_write_tokens": "input_cache_write_tokens",
}
_COMPLETIONS: Final = _usage(
    "completions",
    "text",
    {"input_tokens", "output_tokens"},
    {
        **_INPUT,
        **_REQUESTS,
        "output_tokens": "output",
        "input_text_tokens": "input_text",
        "input_audio_tokens": "input_audio",
        "input_image_tokens": "input_image",
        "input_cached_text_tokens": "cache_read_text",
        "input_cached_audio_tokens": "cache_read_audio",
        "input_cached_image_tokens": "cache_read_image",
        "output_text_tokens": "output_text",
        "output_audio_tokens": "output_audio",
        "output_image_tokens": "output_image",
    },
    {**_CALLER_AND_MODEL, "batch": DimensionColumn("batch", _flag), "service_tier": DimensionColumn("service_tier")},
    measures=("uncached_input", "cache_read", "cache_write", "output", "requests"),
    ignored={
        "input_cache_write_30m_tokens": "compared in the sum of all cache writes",
        "input_cache_write_12h_tokens": "compared in the sum of all cache writes",
    },
    derive=split_input,
    adds_up=("input_tokens", ("input_uncached_tokens", "input_cached_tokens", "input_cache_write_tokens")),
)
_INPUT_ONLY: Final = {"input_tokens": "uncached_input", **_REQUESTS}
_COST: Final = ExportFormat(
    kind="cost",
    family="costs",
    file_name=re.compile(r"costs?([_ .(-].*)?", re.IGNORECASE),
    signature=frozenset({"amount_value"}),
    dimensions={
        "project_id": DimensionColumn("project_id"),
        "line_item": DimensionColumn("label"),
        "api_key_id": DimensionColumn("api_key_id"),
        "user_id": DimensionColumn("user_id"),
    },
    amounts={"amount_value": AmountColumn(currency="amount_currency")},
    ignored={
        **_NAMES,
        "amount_currency": "the unit of amount_value",
        "quantity": "what the line charges for; tokens are compared by usage exports",
        "quantity_unit": "the unit of quantity",
        "api_source": "no dimension of a billed line",
    },
    never_blank=frozenset({"label"}),
    measures_if_empty=(AMOUNT,),
    **_TIMES,
)

FORMATS: Final = (
    _COMPLETIONS,
    _usage(
        "embeddings",
        "embeddings",
        {"input_tokens"},
        _INPUT_ONLY,
        _CALLER_AND_MODEL,
        measures=("uncached_input", "requests"),
    ),
    _usage(
        "moderations",
        "moderations",
        {"input_tokens"},
        _INPUT_ONLY,
        _CALLER_AND_MODEL,
        measures=("uncached_input", "requests"),
    ),
    _usage(
        "images",
        "images",
        {"images"},
        {"images": "images", **_REQUESTS},
        _CALLER_AND_MODEL,
        measures=("images", "requests"),
        ignored={"size": _IN_DETAILS, "source": _IN_DETAILS},
    ),
    _usage(
        "audio_speeches",
        "audio_speeches",
        {"characters"},
        {"characters": "characters", **_REQUESTS},
        _CALLER_AND_MODEL,
        measures=("characters", "requests"),
    ),
    _usage(
        "audio_transcriptions",
        "audio_transcriptions",
        {"seconds"},
        {"seconds": "seconds", **_REQUESTS},
        _CALLER_AND_MODEL,
        measures=("seconds", "requests"),
    ),
    _usage(
        "code_interpreter(_sessions)?",
        "code_interpreter",
        {"num_sessions"},
        {"num_sessions": "sessions"},
        _PROJECT,
        measures=("sessions",),
    ),
    _usage(
        "web_search(_call|_calls|es)",
        "web_search",
        {"num_requests"},
        {"num_requests": "searches"},
        _CALLER_AND_MODEL,
        measures=("searches",),
        ignored={
            "context_level": _IN_DETAILS,
            "num_model_requests": "the completions export counts these requests",
        },
    ),
    _usage(
        "file_search(_call|_calls|es)",
        "file_search",
        {"num_requests"},
        {"num_requests": "searches"},
        _CALLER,
        measures=("searches",),
        ignored={"vector_store_id": _IN_DETAILS},
    ),
    _COST,
)
"""Not here: ``vector_stores``, whose ``usage_bytes`` is a level."""
