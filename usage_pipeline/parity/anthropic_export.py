"""Anthropic's Console exports: ``claude_api_tokens_<month or day>.csv`` and ``claude_api_cost_<…>.csv``.

Which columns are known from where: docs/parity.md. What is read here and nowhere else:

* ``usage_date_utc`` is a day, or the beginning of an hour; only windows with usage are rows.
* Token classes are disjoint. Workspaces and API keys come by name; the default workspace is called ``Default``.
* The tokens file names models by their id, the cost file by their title (``Claude Haiku 4.5``), and rounds each line
  to cents: compare it with a tolerance.
"""

from __future__ import annotations

import re
from typing import Any, Final

from usage_pipeline.parity.export_format import AMOUNT, AmountColumn, DimensionColumn, ExportFormat, as_written
from usage_pipeline.reconcile.aliases import canonical_model

PROVIDER: Final = "anthropic"

_DEFAULT_WORKSPACE: Final = "Default"
_ABOVE: Final = re.compile(r"(>|above|over)\s*200k", re.IGNORECASE)
_UP_TO: Final = re.compile(r"(≤|<=|up to|0-)\s*200k", re.IGNORECASE)
_TITLE_MARKS: Final = re.compile(r"[\s.]+")
_TOKEN_TYPES: Final = {
    "input_no_cache": "uncached_input",
    "input_cache_read": "cache_read",
    "input_cache_write_5m": "cache_write_5m",
    "input_cache_write_1h": "cache_write_1h",
    "output": "output",
}


def _window(cell: str) -> str | None:
    """The context window as the API names it; any other text as it is."""
    if _UP_TO.fullmatch(cell):
        return "0-200k"
    return "200k-1M" if _ABOVE.fullmatch(cell) else as_written(cell)


def _model_of_title(cell: str) -> str | None:
    """The canonical name that a title spells out: ``Claude Haiku 4.5`` is ``claude-haiku-4-5``."""
    return canonical_model(_TITLE_MARKS.sub("-", cell.strip().lower())) or None


def _canonical(model: str | None) -> str | None:
    return canonical_model(model) if model else None


def _default_workspace(name: str | None) -> str | None:
    return _DEFAULT_WORKSPACE if name is None else name


def _token_type(cell: str) -> str | None:
    return _TOKEN_TYPES.get(cell, as_written(cell))


_COMMON: Final[dict[str, Any]] = {
    "provider": PROVIDER,
    "form": "named",
    "start": ("usage_date_utc", "usage_date"),
    "in_utc": frozenset({"usage_date_utc"}),
}
_WORKSPACE_AND_KEY: Final = {
    "workspace_id": DimensionColumn("project_id"),
    "workspace": DimensionColumn("project_id", stored=_default_workspace, by_name=True),
    "api_key_id": DimensionColumn("api_key_id"),
    "api_key": DimensionColumn("api_key_id", by_name=True),
}
_PLACE: Final = {
    "context_window": DimensionColumn("context_window", _window),
    "inference_geo": DimensionColumn("inference_geo"),
    "speed": DimensionColumn("speed"),
}
_WRITES: Final = {
    "usage_input_tokens_cache_write_5m": "cache_write_5m",
    "usage_input_tokens_cache_write_1h": "cache_write_1h",
    "usage_input_tokens_cache_write": "cache_write",
}

FORMATS: Final = (
    ExportFormat(
        kind="usage",
        family="text",
        file_name=re.compile(r"claude_api_tokens?([_ .(-].*)?", re.IGNORECASE),
        signature=frozenset({"usage_input_tokens_no_cache", "usage_output_tokens"}),
        dimensions={
            "model_version": DimensionColumn("model"),
            "model": DimensionColumn("model"),
            **_WORKSPACE_AND_KEY,
            "usage_type": DimensionColumn("service_tier"),
            **_PLACE,
        },
        counts={
            "usage_input_tokens_no_cache": "uncached_input",
            "usage_input_tokens_cache_read": "cache_read",
            **_WRITES,
            "usage_output_tokens": "output",
            "web_search_count": "searches",
        },
        ignored={"api_key_status": "says nothing of usage"},
        never_blank=frozenset({"model"}),
        measures_if_empty=("uncached_input", "cache_read", "cache_write_5m", "cache_write_1h", "output", "searches"),
        **_COMMON,
    ),
    ExportFormat(
        kind="cost",
        family="costs",
        file_name=re.compile(r"claude_api_costs?([_ .(-].*)?", re.IGNORECASE),
        signature=frozenset({"cost_usd"}),
        dimensions={
            "model": DimensionColumn("model", _model_of_title, _canonical),
            **_WORKSPACE_AND_KEY,
            **_PLACE,
            "token_type": DimensionColumn("token_type", _token_type),
        },
        amounts={"cost_usd": AmountColumn("usd")},
        ignored={
            "usage_type": "no dimension of a billed line",
            "cost_type": "its words are not the API's",
            "list_price_usd": "the price before discounts, not what is billed",
            "api_key_status": "says nothing of costs",
        },
        never_blank=frozenset({"model"}),
        measures_if_empty=(AMOUNT,),
        **_COMMON,
    ),
)
