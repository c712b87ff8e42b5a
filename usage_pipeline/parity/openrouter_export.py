"""OpenRouter's activity exports: by day and model, or one row a generation. Both hold tokens and costs: say which.

Which columns are known from where: docs/parity.md. What is read here and nowhere else:

* Times name no offset; they are taken to be UTC unless it is said otherwise.
* Prompt tokens contain cached tokens. ``Usage`` and ``cost_total`` are credits, which are US dollars; what the user's
  own key at a vendor cost ("byok") is no part of them.
* The file by day does not tell cached tokens: input is compared as a whole.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from usage_pipeline.parity.cells import TimeForm
from usage_pipeline.parity.export_format import AMOUNT, AmountColumn, DimensionColumn, ExportFormat, Kind

PROVIDER: Final = "openrouter"

_FILE_NAME: Final = re.compile(r"openrouter[_ -]activity([_ .(-].*)?", re.IGNORECASE)
_BY_DAY: Final = {"prompt_tokens": "prompt_tokens", "completion_tokens": "output", "reasoning_tokens": "reasoning"}
_BY_GENERATION: Final = {
    "tokens_prompt": "prompt_tokens",
    "tokens_cached": "cached_tokens",
    "tokens_completion": "output",
    "tokens_reasoning": "reasoning",
}
_OTHER: Final = dict.fromkeys(
    (
        "generation_id", "provider_name", "variant", "cancelled", "streamed", "user", "finish_reason_raw",
        "finish_reason_normalized", "generation_time_ms", "time_to_first_token_ms", "api_key_disabled", "api_key_name",
        "app_name",
    ),
    "nothing that the activity report tells",
)  # fmt: skip
_PARTS: Final = dict.fromkeys(("cost_web_search", "cost_cache", "cost_file_processing"), "a part of cost_total")
_BYOK: Final = dict.fromkeys(("byok_usage", "byok_usage_inference"), "billed by the vendor, not by OpenRouter")


def _split_prompt(told: Mapping[str, int]) -> Mapping[str, int]:
    figures = {name: value for name, value in told.items() if name not in {"prompt_tokens", "cached_tokens"}}
    if "prompt_tokens" not in told:
        return figures
    if "cached_tokens" not in told:
        return {**figures, "input": told["prompt_tokens"]}
    cached = told["cached_tokens"]
    return {**figures, "uncached_input": told["prompt_tokens"] - cached, "cache_read": cached}


def _format(kind: Kind, form: TimeForm, start: str, model: str, counts: Mapping[str, str], amount: str) -> ExportFormat:
    is_usage = kind == "usage"
    unread = {amount: "compared with --kind cost"} if is_usage else dict.fromkeys(counts, "compared with --kind usage")
    return ExportFormat(
        provider=PROVIDER,
        kind=kind,
        family="text" if is_usage else "costs",
        file_name=_FILE_NAME,
        form=form,
        start=(start,),
        signature=frozenset({model, *counts, amount}),
        dimensions={model: DimensionColumn("model")},
        counts=counts if is_usage else {},
        amounts={} if is_usage else {amount: AmountColumn("usd")},
        derive=_split_prompt if is_usage else None,
        ignored={**_OTHER, **_PARTS, **_BYOK, **unread},
        never_blank=frozenset({"model"}),
        measures_if_empty=("input", "output", "reasoning") if is_usage else (AMOUNT,),
    )


FORMATS: Final = (
    _format("usage", "day", "date", "slug", {**_BY_DAY, "requests": "requests"}, "usage"),
    _format("cost", "day", "date", "slug", {**_BY_DAY, "requests": "requests"}, "usage"),
    _format("usage", "instant", "created_at", "model_permaslug", _BY_GENERATION, "cost_total"),
    _format("cost", "instant", "created_at", "model_permaslug", _BY_GENERATION, "cost_total"),
)
