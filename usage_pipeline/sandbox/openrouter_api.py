"""OpenRouter's management API: activity by endpoint and day, the calling key, and the list of keys.

In: a request with a bearer key, and the scene. Out: a body in OpenRouter's shape; money is a JSON float in US dollars.
Fields, parameters, the thirty completed days and the grouping by workspace are from the official client's types and
the published reference, as is the error body ``{"error": {"code", "message"}}`` and that only a management key may ask
for activity. The exact words of the other refusals, and that an unknown parameter is refused, are the sandbox's own.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from itertools import islice

from usage_pipeline.sandbox.exchange import (
    NEGATIVE_TOKENS,
    SURPRISE_FIELD,
    Answer,
    ApiRequest,
    Document,
    Refusal,
    Scene,
)
from usage_pipeline.sandbox.openrouter_traffic import (
    ACTIVITY_DAYS,
    KEYS,
    WORKSPACE_DEFAULT,
    WORKSPACE_PRODUCT,
    Endpoint,
    OpenRouterCounts,
    OpenRouterKey,
    OpenRouterRow,
    openrouter_rows,
)
from usage_pipeline.sandbox.switches import FaultKind

MANAGEMENT = "management"
"""The grant of a key that may ask for activity and keys; any other key may only ask who it is."""
ORGANISATION_ID = "org_sandbox_openrouter"
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_KEYS_PER_PAGE = 100
_FLAGS = ("true", "false")
_CREATED_AT = "2025-06-02T08:00:00.000Z"

Group = tuple[date, Endpoint, str | None]


@dataclass(frozen=True, slots=True)
class _Sum:
    counts: OpenRouterCounts
    usage_usd: Decimal
    byok_usage_usd: Decimal


def refuse(status: int, message: str) -> Refusal:
    """A refusal in OpenRouter's shape."""
    return Refusal(status, {"error": {"code": status, "message": message}})


def fault_body(status: int) -> Document:
    """The body of a status that a fault forces."""
    return refuse(status, "Rate limit exceeded" if status == 429 else "Internal Server Error").body


def authenticate(request: ApiRequest, grants: Mapping[str, Collection[str]]) -> str:
    """Returns ``management`` or ``inference``. Raises a 401 for no key or an unknown one."""
    kind, _, key = request.headers.get("authorization", "").partition(" ")
    if kind.lower() != "bearer" or not key:
        raise refuse(401, "Missing Authentication header")
    if key not in grants:
        raise refuse(401, "User not found.")
    return MANAGEMENT if MANAGEMENT in grants[key] else "inference"


def activity(request: ApiRequest, scene: Scene) -> Answer:
    """GET /api/v1/activity. Raises Refusal."""
    _only_management(scene)
    _check_names(request, {"date", "api_key_hash", "user_id", "group_by", "workspace_id"})
    first, last = _days(request, scene)
    by_workspace = _by_workspace(request)
    wanted = _row_filters(request)
    sums: dict[Group, _Sum] = {}
    for row in openrouter_rows(scene.world, first, last, scene.switches.alterations()):
        if wanted.admits(row.key):
            group = (row.day, row.endpoint, row.key.workspace_id if by_workspace else None)
            sums[group] = _added(sums.get(group), row)
    # The newest day comes first; within a day the order is not documented.
    ordered = sorted(sums, key=lambda group: (-group[0].toordinal(), group[1].id, group[2] or ""))
    return Answer(200, {"data": _spoiled([_item(group, sums[group]) for group in ordered], scene)})


def current_key(request: ApiRequest, scene: Scene) -> Answer:
    """GET /api/v1/key. Raises Refusal."""
    _check_names(request, ())
    manages = scene.caller == MANAGEMENT
    key = KEYS[0]
    used = _NO_USE if manages else _use_of(key, scene)
    return Answer(
        200,
        {
            "data": {
                "label": "sk-or-v1-man...age" if manages else _label(key),
                "is_management_key": manages,
                "is_provisioning_key": manages,
                "is_free_tier": False,
                "creator_user_id": key.creator_user_id,
                "organization_id": ORGANISATION_ID,
                "workspace_id": WORKSPACE_DEFAULT if manages else key.workspace_id,
                "rate_limit": {
                    "requests": -1,
                    "interval": "10s",
                    "note": "This field is deprecated and safe to ignore.",
                },
                "allowed_data_regions": ["global"],
                "budgets": [],
                "effective_budget": None,
                "free_model_daily_requests": {"limit": 1000, "used": 0, "remaining": 1000},
                **_limits(),
                **used,
            }
        },
    )


def list_keys(request: ApiRequest, scene: Scene) -> Answer:
    """GET /api/v1/keys, paged by offset. Raises Refusal."""
    _only_management(scene)
    _check_names(request, {"include_disabled", "offset", "workspace_id"})
    if (request.value("include_disabled") or "false") not in _FLAGS:
        raise refuse(400, "include_disabled must be true or false")
    offset = request.value("offset") or "0"
    if not (offset.isascii() and offset.isdigit() and len(offset) <= 9):
        raise refuse(400, "offset must be a non-negative integer")
    workspace_id = _workspace_id(request)
    held = [key for key in KEYS if workspace_id in (None, key.workspace_id)]
    page = islice(held, int(offset), int(offset) + _KEYS_PER_PAGE)
    return Answer(200, {"data": [_key_item(key, scene) for key in page]})


GETS = {
    "/openrouter/api/v1/activity": activity,
    "/openrouter/api/v1/key": current_key,
    "/openrouter/api/v1/keys": list_keys,
}


@dataclass(frozen=True, slots=True)
class _RowFilters:
    key_hash: str | None
    user_id: str | None
    workspace_id: str | None

    def admits(self, key: OpenRouterKey) -> bool:
        return (
            self.key_hash in (None, key.hash)
            and self.user_id in (None, key.creator_user_id)
            and self.workspace_id in (None, key.workspace_id)
        )


def _only_management(scene: Scene) -> None:
    if scene.caller != MANAGEMENT:
        raise refuse(403, "Only management keys can perform this operation")


def _check_names(request: ApiRequest, known: Collection[str]) -> None:
    for name in sorted(request.names()):
        if name not in known:
            raise refuse(400, f"Unrecognized query parameter: {name}")
        if len(request.values(name)) > 1:
            raise refuse(400, f"Query parameter {name} was given more than once")


def _days(request: ApiRequest, scene: Scene) -> tuple[date, date]:
    """The first and the last day that are asked for."""
    yesterday = scene.world.now().date() - timedelta(days=1)
    oldest = yesterday - timedelta(days=ACTIVITY_DAYS - 1)
    text = request.value("date")
    if text is None:
        return oldest, yesterday
    try:
        if not _DAY.fullmatch(text):
            raise ValueError
        day = date.fromisoformat(text)
    except ValueError:
        raise refuse(400, "Invalid date format. Expected YYYY-MM-DD") from None
    if not oldest <= day <= yesterday:
        raise refuse(400, f"Date must be within the last {ACTIVITY_DAYS} (completed) UTC days")
    return day, day


def _by_workspace(request: ApiRequest) -> bool:
    group_by = request.value("group_by")
    if group_by not in (None, "workspace"):
        raise refuse(400, "group_by must be 'workspace'")
    return group_by is not None


def _row_filters(request: ApiRequest) -> _RowFilters:
    key_hash = request.value("api_key_hash")
    if key_hash is not None and not _SHA256.fullmatch(key_hash):
        raise refuse(400, "api_key_hash must be a SHA-256 hex string")
    return _RowFilters(key_hash, request.value("user_id"), _workspace_id(request))


def _workspace_id(request: ApiRequest) -> str | None:
    workspace_id = request.value("workspace_id")
    if workspace_id is not None and not _UUID.fullmatch(workspace_id):
        raise refuse(400, "workspace_id must be a UUID")
    if workspace_id not in (None, WORKSPACE_DEFAULT, WORKSPACE_PRODUCT):
        raise refuse(404, "Workspace not found")
    return workspace_id


def _added(old: _Sum | None, row: OpenRouterRow) -> _Sum:
    if old is None:
        return _Sum(row.counts, row.usage_usd, row.byok_usage_usd)
    counts = OpenRouterCounts(*map(int.__add__, old.counts, row.counts))
    return _Sum(counts, old.usage_usd + row.usage_usd, old.byok_usage_usd + row.byok_usage_usd)


def _item(group: Group, held: _Sum) -> Document:
    day, endpoint, workspace_id = group
    item: Document = {
        "date": day.isoformat(),
        "model": endpoint.model,
        "model_permaslug": endpoint.permaslug,
        "endpoint_id": endpoint.id,
        "provider_name": endpoint.provider_name,
        "requests": held.counts.requests,
        "prompt_tokens": held.counts.prompt,
        "completion_tokens": held.counts.completion,
        "reasoning_tokens": held.counts.reasoning,
        "cached_tokens": held.counts.cached,
        "usage": float(held.usage_usd),
        "byok_usage_inference": float(held.byok_usage_usd),
    }
    return item if workspace_id is None else item | {"workspace_id": workspace_id}


def _spoiled(items: list[Document], scene: Scene) -> list[Document]:
    """The items after the content faults that a listing without pages can have."""
    for fault in scene.faults:
        match fault.kind:
            case FaultKind.EMPTY_PAGE:
                return []
            case FaultKind.UNKNOWN_FIELD:
                for item in items:
                    item[SURPRISE_FIELD] = 7
            case FaultKind.NEGATIVE_COUNT:
                for item in items[:1]:
                    item["completion_tokens"] = NEGATIVE_TOKENS
            case FaultKind.DIMENSION_UNANSWERED:
                for item in items:
                    item.pop("workspace_id", None)
            case _:
                pass
    return items


def _label(key: OpenRouterKey) -> str:
    return f"sk-or-v1-{key.hash[:3]}...{key.hash[-3:]}"


def _limits() -> Document:
    return {
        "limit": None,
        "limit_remaining": None,
        "limit_reset": None,
        "include_byok_in_limit": False,
        "expires_at": None,
    }


def _use_of(key: OpenRouterKey, scene: Scene) -> Document:
    """What a key used: of the account's last thirty completed days, the week's, the month's."""
    today = scene.world.now().date()
    rows = [
        row
        for row in openrouter_rows(scene.world, today - timedelta(days=ACTIVITY_DAYS), today)
        if row.key.hash == key.hash
    ]
    monday = today - timedelta(days=today.weekday())
    return _use(
        rows,
        [row for row in rows if row.day >= monday],
        [row for row in rows if row.day >= today.replace(day=1)],
    )


def _use(total: Iterable[OpenRouterRow], weekly: Iterable[OpenRouterRow], monthly: Iterable[OpenRouterRow]) -> Document:
    use: Document = {"usage_daily": 0.0, "byok_usage_daily": 0.0}
    for suffix, rows in (("", list(total)), ("_weekly", list(weekly)), ("_monthly", list(monthly))):
        use[f"usage{suffix}"] = float(sum((row.usage_usd for row in rows), Decimal(0)))
        use[f"byok_usage{suffix}"] = float(sum((row.byok_usage_usd for row in rows), Decimal(0)))
    return use


_NO_USE = _use((), (), ())


def _key_item(key: OpenRouterKey, scene: Scene) -> Document:
    return {
        "hash": key.hash,
        "name": key.name,
        "label": _label(key),
        "disabled": False,
        "created_at": _CREATED_AT,
        "updated_at": None,
        "last_used_at": None,
        "creator_user_id": key.creator_user_id,
        "external_user": None,
        "workspace_id": key.workspace_id,
        **_limits(),
        **_use_of(key, scene),
    }
