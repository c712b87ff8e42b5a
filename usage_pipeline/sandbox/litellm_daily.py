"""The bodies of LiteLLM's daily activity: one date of a page with its overlapping cuts, and the sums of a page.

In: the daily rows of one page. Out: JSON objects. Fields, the nesting by key, and what each cut is keyed by are from
the source of version 1.109.1 (types/proxy/management_endpoints/common_daily_activity.py and the module of that name
under proxy/management_endpoints). A date's sum stands once in ``metrics`` and once more in each cut.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from usage_pipeline.sandbox.exchange import Document
from usage_pipeline.sandbox.litellm_traffic import USER_EMAILS, DailyRow

_SUMMED = (
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
    "successful_requests",
    "failed_requests",
    "api_requests",
    "total_response_time_ms",
    "timed_requests",
)
_ALWAYS_ZERO = (
    "flat_cost",
    "ptu_hours",
    "compression_saved_tokens",
    "compression_savings_spend",
    "prompt_caching_savings_spend",
    "gateway_injected_caching_savings_spend",
    "autorouter_savings_spend",
)
_NAMED_TOTAL = frozenset({"total_tokens", "total_response_time_ms"})


def page_totals(rows: Iterable[DailyRow]) -> Document:
    """The sums of one page's rows under the names of the answer's metadata."""
    return {name if name in _NAMED_TOTAL else f"total_{name}": value for name, value in _metrics(rows).items()}


def one_day(rows: list[DailyRow]) -> Document:
    """One date of a page: its sum, and the same sum cut in several overlapping ways."""
    return {
        "date": rows[0].day.isoformat(),
        "metrics": _metrics(rows),
        "breakdown": {
            "mcp_servers": {},
            "models": _cut(rows, lambda row: row.model),
            "model_groups": _cut(rows, lambda row: row.model_group),
            "providers": _cut(rows, lambda row: row.upstream),
            "endpoints": _cut([row for row in rows if row.endpoint], lambda row: row.endpoint or ""),
            "api_keys": _by_key(rows),
            "entities": _cut(rows, lambda row: row.key.user_id),
            "guardrails": {},
        },
    }


def _cut(rows: list[DailyRow], name_of: Callable[[DailyRow], str]) -> Document:
    cut: Document = {}
    for name in dict.fromkeys(map(name_of, rows)):
        held = [row for row in rows if name_of(row) == name]
        metadata = {"user_email": USER_EMAILS[name], "user_alias": None} if name in USER_EMAILS else {}
        cut[name] = {"metrics": _metrics(held), "metadata": metadata, "api_key_breakdown": _by_key(held)}
    return cut


def _by_key(rows: list[DailyRow]) -> Document:
    return {
        key.hash: {
            "metrics": _metrics([row for row in rows if row.key == key]),
            "metadata": {
                "key_alias": key.alias,
                "team_id": key.team_id,
                "user_id": key.user_id,
                "user_email": USER_EMAILS[key.user_id],
                "key_exists": True,
            },
        }
        for key in dict.fromkeys(row.key for row in rows)
    }


def _metrics(rows: Iterable[DailyRow]) -> Document:
    """The sums; the spend is added up as floats, as the proxy does."""
    sums: Document = {"spend": 0.0} | dict.fromkeys(_SUMMED, 0) | dict.fromkeys(_ALWAYS_ZERO, 0)
    for log in (log for row in rows for log in row.logs):
        sums["spend"] += float(log.spend_usd)
        sums["prompt_tokens"] += log.tokens.prompt
        sums["completion_tokens"] += log.tokens.completion
        sums["total_tokens"] += log.tokens.total
        sums["cache_read_input_tokens"] += log.tokens.cache_read
        sums["cache_creation_input_tokens"] += log.tokens.cache_write
        sums["failed_requests" if log.failed else "successful_requests"] += 1
        sums["api_requests"] += 1
        sums["total_response_time_ms"] += 0 if log.failed else log.end_ms - log.start_ms
        sums["timed_requests"] += 0 if log.failed else 1
    return sums
