"""A LiteLLM proxy's reports: the paged spend log, the daily activity, who a key is, and its health.

In: a request with a key, and the scene. Out: a body in the proxy's shape. All of it is from the source of version
1.109.1 (spend_tracking/spend_management_endpoints.py, management_endpoints/common_daily_activity.py and
internal_user_endpoints.py, spend_tracking/spend_tracking_utils.py). What surprises is kept: both ends of the log's
range are included and its newest row comes first; its ``total`` stops at 10,000 while later pages go on; a page of the
daily activity cuts rows, so that a date may stand on two pages, and ``total_*`` are the page's; the cuts of a breakdown
overlap, and calls without an endpoint are missing from one of them. How the raw query spells a time is not in the
source: milliseconds and ``+00:00`` are the sandbox's choice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from usage_pipeline.sandbox.exchange import NEGATIVE_TOKENS, SURPRISE_FIELD, Answer, ApiRequest, Document, Scene
from usage_pipeline.sandbox.litellm_daily import one_day, page_totals
from usage_pipeline.sandbox.litellm_request import (
    PROXY_ADMIN,
    LogQuery,
    read_daily_query,
    read_log_query,
    refuse,
)
from usage_pipeline.sandbox.litellm_traffic import (
    TEAM_ALIASES,
    USER_EMAILS,
    VIRTUAL_KEYS,
    ProxyLog,
    VirtualKey,
    daily_rows,
    proxy_logs,
)
from usage_pipeline.sandbox.switches import FaultKind

COUNT_MAX = 10_000
"""The spend log counts no further than this."""
_ADMIN_USER_ID = "default_user_id"
_API_BASES = {
    "openai": "https://api.openai.com/v1",
    "anthropic": "https://api.anthropic.com",
    "mistral": "https://api.mistral.ai/v1",
}


def liveliness(_request: ApiRequest, _scene: Scene) -> Answer:
    """GET /health/liveliness, open to everybody."""
    return Answer(200, "I'm alive!")


def spend_logs(request: ApiRequest, scene: Scene) -> Answer:
    """GET /spend/logs/v2. Raises Refusal."""
    query = read_log_query(request, scene)
    _check_team(query, scene)
    held = [
        log
        for log in proxy_logs(scene.world, query.first_ms // 1000, query.last_ms // 1000 + 1)
        if query.first_ms <= log.start_ms <= query.last_ms and _admits(query, log)
    ]
    held.sort(key=_sort_key(query.sort_by), reverse=query.descending)
    skip = (query.page - 1) * query.page_size
    total = min(len(held), COUNT_MAX)
    data = [_log_row(log) for log in held[skip : skip + query.page_size]]
    return Answer(
        200,
        {
            "data": _spoiled(data, scene),
            "total": total,
            "page": query.page,
            "page_size": query.page_size,
            "total_pages": -(-total // query.page_size),
            "total_is_capped": len(held) > COUNT_MAX,
        },
    )


def daily_activity(request: ApiRequest, scene: Scene) -> Answer:
    """GET /user/daily/activity. Raises Refusal."""
    query = read_daily_query(request, scene)
    held = [
        row
        for row in daily_rows(scene.world, query.first, query.last)
        if query.model in (None, row.model)
        and query.api_key in (None, row.key.hash)
        and query.user_id in (None, row.key.user_id)
    ]
    skip = (query.page - 1) * query.page_size
    page = held[skip : skip + query.page_size]
    days = dict.fromkeys(row.day for row in page)
    results = [one_day([row for row in page if row.day == day]) for day in days]
    return Answer(
        200,
        {
            "results": _spoiled(results, scene),
            "metadata": {
                **page_totals(page),
                "page": query.page,
                "total_pages": -(-len(held) // query.page_size),
                "has_more": query.page * query.page_size < len(held),
                "api_key_limit": None,
                "total_api_keys": None,
                "entity_total_api_keys": None,
            },
        },
    )


def user_info(request: ApiRequest, scene: Scene) -> Answer:
    """GET /user/info: the whole directory for the master key, else the user's own. Raises Refusal."""
    user_id = request.value("user_id")
    if scene.caller == PROXY_ADMIN and user_id is None:
        return Answer(200, _user(_ADMIN_USER_ID, VIRTUAL_KEYS))
    if scene.caller not in (PROXY_ADMIN, user_id) and user_id is not None:
        raise refuse(403, f"user={scene.caller} is not allowed to view user={user_id}", "auth_error")
    wanted = user_id or scene.caller or ""
    if wanted not in USER_EMAILS:
        raise refuse(404, f"User {wanted} not found", "not_found_error")
    return Answer(200, _user(wanted, [key for key in VIRTUAL_KEYS if key.user_id == wanted]))


def key_info(request: ApiRequest, scene: Scene) -> Answer:
    """GET /key/info. The master key is in no table, so it is not found. Raises Refusal."""
    asked = request.value("key")
    for key in VIRTUAL_KEYS:
        if asked in (key.hash, key.secret) or (asked is None and key.user_id == scene.caller):
            if scene.caller not in (PROXY_ADMIN, key.user_id):
                raise refuse(403, "You are not allowed to access this key's info.", "auth_error")
            info = _key(key)
            del info["token"]
            return Answer(200, {"key": asked or key.hash, "info": info | {"status": "active"}})
    raise refuse(404, "Key not found in database", "not_found_error", "key")


GETS = {
    "/litellm/health/liveliness": liveliness,
    "/litellm/health/liveness": liveliness,
    "/litellm/spend/logs/v2": spend_logs,
    "/litellm/user/daily/activity": daily_activity,
    "/litellm/user/info": user_info,
    "/litellm/key/info": key_info,
}


def _check_team(query: LogQuery, scene: Scene) -> None:
    team_id = query.filters.get("team_id")
    teams = {key.team_id for key in VIRTUAL_KEYS if scene.caller in (PROXY_ADMIN, key.user_id)}
    if scene.caller != PROXY_ADMIN and team_id is not None and team_id not in teams:
        raise refuse(403, f"Not authorized to view team spend for team_id={team_id}", "auth_error")


def _admits(query: LogQuery, log: ProxyLog) -> bool:
    shown = {
        "api_key": log.key.hash,
        "end_user": "",
        "model": log.model,
        "model_group": log.model_group,
        "model_id": _model_id(log),
        "request_id": log.request_id,
        "status_filter": _status(log),
        "team_id": log.key.team_id,
    }
    for name, wanted in query.filters.items():
        if (wanted not in log.key.alias) if name == "key_alias" else shown[name] != wanted:
            return False
    spend = float(log.spend_usd)
    return (
        (query.min_spend is None or spend >= query.min_spend)
        and (query.max_spend is None or spend <= query.max_spend)
        and query.user_id in (None, log.key.user_id)
    )


def _sort_key(name: str) -> Callable[[ProxyLog], Any]:
    return {
        "startTime": lambda log: log.start_ms,
        "endTime": lambda log: log.end_ms,
        "spend": lambda log: log.spend_usd,
        "total_tokens": lambda log: log.tokens.total,
        "request_duration_ms": lambda log: log.end_ms - log.start_ms,
        "model": lambda log: log.model,
        "ttft_ms": lambda _log: 0,
    }[name]


def _status(log: ProxyLog) -> str:
    return "failure" if log.failed else "success"


def _model_id(log: ProxyLog) -> str:
    return f"deployment-{log.model_group}"


def _log_row(log: ProxyLog) -> Document:
    ended = _instant(log.end_ms)
    return {
        "request_id": log.request_id,
        "call_type": log.call_type,
        "api_key": log.key.hash,
        "spend": float(log.spend_usd),
        "total_tokens": log.tokens.total,
        "prompt_tokens": log.tokens.prompt,
        "completion_tokens": log.tokens.completion,
        "startTime": _instant(log.start_ms),
        "endTime": ended,
        "completionStartTime": ended,
        "model": log.model,
        "model_id": _model_id(log),
        "model_group": log.model_group,
        "custom_llm_provider": log.upstream,
        "api_base": _API_BASES[log.upstream],
        "user": log.key.user_id,
        "metadata": _metadata(log),
        "cache_hit": "None" if log.failed else "False",
        "cache_key": "Cache OFF",
        "request_tags": [],
        "team_id": log.key.team_id,
        "organization_id": "",
        "end_user": "",
        "requester_ip_address": None,
        "session_id": log.request_id,
        "status": _status(log),
        "mcp_namespaced_tool_name": None,
        "agent_id": None,
        "litellm_call_id": log.request_id,
        "request_duration_ms": log.end_ms - log.start_ms,
    }


def _metadata(log: ProxyLog) -> Document:
    usage = None if log.failed else _usage(log)
    counted = {"prompt_tokens", "completion_tokens", "total_tokens"}
    additional = {name: value for name, value in (usage or {}).items() if name not in counted}
    for name, tokens in (
        ("cache_read_input_tokens", log.tokens.cache_read),
        ("cache_creation_input_tokens", log.tokens.cache_write),
    ):
        if tokens and name not in additional:
            additional[name] = tokens
    error = {"error_code": "429", "error_class": "RateLimitError", "llm_provider": log.upstream, "error_message": ""}
    return {
        "user_api_key": log.key.hash,
        "user_api_key_alias": log.key.alias,
        "user_api_key_team_id": log.key.team_id,
        "user_api_key_team_alias": TEAM_ALIASES[log.key.team_id],
        "user_api_key_user_id": log.key.user_id,
        "user_api_key_user_email": USER_EMAILS[log.key.user_id],
        "user_api_key_org_id": None,
        "status": _status(log),
        "error_information": error if log.failed else None,
        "usage_object": usage,
        "additional_usage_values": additional,
    }


def _usage(log: ProxyLog) -> Document:
    """The upstream's usage in the proxy's words: cached tokens stand within the prompt for every upstream."""
    t = log.tokens
    usage: Document = {
        "prompt_tokens": t.prompt,
        "completion_tokens": t.completion,
        "total_tokens": t.total,
    }
    if log.upstream == "anthropic":
        return usage | {
            "prompt_tokens_details": {
                "cached_tokens": t.cache_read,
                "cache_creation_tokens": t.cache_write,
                "cache_creation_token_details": {
                    "ephemeral_5m_input_tokens": t.cache_write - t.cache_write_1h,
                    "ephemeral_1h_input_tokens": t.cache_write_1h,
                },
                "text_tokens": t.prompt - t.cache_read - t.cache_write,
            },
            "cache_creation_input_tokens": t.cache_write,
            "cache_read_input_tokens": t.cache_read,
            "server_tool_use": {"web_search_requests": t.web_searches},
        }
    prompt: Document = {"cached_tokens": t.cache_read, "audio_tokens": t.audio_in}
    if t.cache_write:
        prompt["cache_write_tokens"] = t.cache_write
    return usage | {
        "prompt_tokens_details": prompt,
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": t.audio_out},
    }


def _user(user_id: str, keys: Iterable[VirtualKey]) -> Document:
    held = list(keys)
    email = USER_EMAILS.get(user_id)
    role = "internal_user" if email else "proxy_admin"
    return {
        "user_id": user_id,
        "user_info": {"user_id": user_id, "user_email": email, "user_role": role},
        "keys": [_key(key) for key in held],
        "teams": [
            {"team_id": team_id, "team_alias": TEAM_ALIASES[team_id]}
            for team_id in dict.fromkeys(key.team_id for key in held)
        ],
        "admin_mcp_permissions": None,
    }


def _key(key: VirtualKey) -> Document:
    return {
        "token": key.hash,
        "key_name": f"sk-...{key.secret[-4:]}",
        "key_alias": key.alias,
        "user_id": key.user_id,
        "team_id": key.team_id,
        "team_alias": TEAM_ALIASES[key.team_id],
        "models": [],
        "blocked": None,
        "expires": None,
        "metadata": {},
    }


def _instant(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds")


def _spoiled(items: list[Document], scene: Scene) -> list[Document]:
    """The page's items after the content faults that a numbered page can have."""
    for fault in scene.faults:
        match fault.kind:
            case FaultKind.EMPTY_PAGE:
                return []
            case FaultKind.UNKNOWN_FIELD:
                for item in items:
                    item[SURPRISE_FIELD] = 7
            case FaultKind.NEGATIVE_COUNT:
                for item in items[:1]:
                    item.get("metrics", item)["completion_tokens"] = NEGATIVE_TOKENS
            case _:
                pass
    return items
