"""The Anthropic administration API's directory: the organisation behind a key, and its workspaces, keys and users.

In: an authenticated request and the scene. Out: the organisation, or one page of a list. Parameters, limits, fields
and the cursor by identifier are from the published reference and the official client's types; that a key's scope holds
the real identifier of the default workspace, which reports write as null, is said there. Not published and chosen
here: an unknown cursor is refused, and so are both cursors at once.
"""

from __future__ import annotations

from collections.abc import Sequence

from usage_pipeline.sandbox.anthropic_directory import (
    API_KEYS,
    ORGANISATION_ID,
    ORGANISATION_NAME,
    USERS,
    WORKSPACE_DEFAULT_REAL_ID,
    WORKSPACES,
    ApiKey,
    User,
    Workspace,
)
from usage_pipeline.sandbox.anthropic_request import bad, check_names, one_of, read_limit
from usage_pipeline.sandbox.exchange import Answer, ApiRequest, Document, Scene

_CURSORS = frozenset({"limit", "after_id", "before_id"})
_LIMIT = (20, 1000)
_IDS_MAX = 100
_STATUSES = ("active", "archived", "expired", "inactive")
_ROLES = ("user", "developer", "billing", "admin", "claude_code_user")
_FLAGS = {"true": True, "false": False}
_COLOURS = {"Default": "#6C5BB9", "Platform": "#3B82F6", "Research": "#10B981", "Prototypes": "#9CA3AF"}


def organisation(request: ApiRequest, _scene: Scene) -> Answer:
    """GET /v1/organizations/me. Raises Refusal."""
    check_names(request, ())
    return Answer(200, {"id": ORGANISATION_ID, "type": "organization", "name": ORGANISATION_NAME})


def workspaces(request: ApiRequest, scene: Scene) -> Answer:
    """GET /v1/organizations/workspaces. Raises Refusal."""
    check_names(request, _CURSORS | {"include_archived", "include_default"}, {"ids[]"})
    archived, default = _flag(request, "include_archived"), _flag(request, "include_default")
    ids = request.values("ids[]")
    if len(ids) > _IDS_MAX:
        raise bad(f"ids: List should have at most {_IDS_MAX} items")
    newest = scene.switches.anthropic_contract == "2026"
    return _page(
        request,
        [
            _workspace(held, newest)
            for held in WORKSPACES
            if (archived or held.archived_at is None) and (default or not held.is_default)
            if not ids or held.id in ids
        ],
    )


def api_keys(request: ApiRequest, scene: Scene) -> Answer:
    """GET /v1/organizations/api_keys. Raises Refusal."""
    check_names(request, _CURSORS | {"status", "workspace_id", "created_by_user_id"})
    status = request.value("status")
    if status is not None and status not in _STATUSES:
        raise bad(one_of("status", _STATUSES))
    workspace_id, creator = request.value("workspace_id"), request.value("created_by_user_id")
    newest = scene.switches.anthropic_contract == "2026"
    return _page(
        request,
        [
            _api_key(held, newest)
            for held in API_KEYS
            if status in (None, held.status)
            and workspace_id in (None, held.workspace_id)
            and creator in (None, held.created_by_user_id)
        ],
    )


def users(request: ApiRequest, _scene: Scene) -> Answer:
    """GET /v1/organizations/users. Raises Refusal."""
    check_names(request, _CURSORS | {"email"}, {"roles[]"})
    email, roles = request.value("email"), request.values("roles[]")
    for index, role in enumerate(roles):
        if role not in _ROLES:
            raise bad(one_of(f"roles.{index}", _ROLES))
    return _page(
        request,
        [_user(held) for held in USERS if email in (None, held.email) and (not roles or held.role in roles)],
    )


GETS = {
    "/v1/organizations/me": organisation,
    "/v1/organizations/workspaces": workspaces,
    "/v1/organizations/api_keys": api_keys,
    "/v1/organizations/users": users,
}


def _page(request: ApiRequest, held: Sequence[Document]) -> Answer:
    limit = read_limit(request, *_LIMIT)
    after, before = request.value("after_id"), request.value("before_id")
    if after is not None and before is not None:
        raise bad("Only one of after_id and before_id may be specified")
    if before is not None:
        end = _position(held, "before_id", before)
        start = max(0, end - limit)
        more = start > 0
    else:
        start = 0 if after is None else _position(held, "after_id", after) + 1
        end = start + limit
        more = end < len(held)
    data = list(held[start:end])
    return Answer(
        200,
        {
            "data": data,
            "first_id": data[0]["id"] if data else None,
            "last_id": data[-1]["id"] if data else None,
            "has_more": more,
        },
    )


def _position(held: Sequence[Document], name: str, wanted: str) -> int:
    for index, document in enumerate(held):
        if document["id"] == wanted:
            return index
    raise bad(f"{name}: Invalid cursor")


def _flag(request: ApiRequest, name: str) -> bool:
    text = request.value(name)
    if text is not None and text not in _FLAGS:
        raise bad(f"{name}: Input should be a valid boolean")
    return _FLAGS[text or "false"]


def _workspace(held: Workspace, newest: bool) -> Document:
    document: Document = {
        "id": held.id,
        "type": "workspace",
        "name": held.name,
        "created_at": held.created_at,
        "archived_at": held.archived_at,
        "display_color": _COLOURS[held.name],
    }
    if newest:
        document |= {
            "compartment_id": held.id.replace("wrkspc_", "cmpt_"),
            "data_residency": {
                "allowed_inference_geos": "unrestricted",
                "default_inference_geo": "global",
                "workspace_geo": "us",
            },
            "external_key_id": None,
            "tags": {},
            "user_profile_id": None,
        }
    return document


def _api_key(held: ApiKey, newest: bool) -> Document:
    document: Document = {
        "id": held.id,
        "type": "api_key",
        "name": held.name,
        "workspace_id": None if held.workspace_id == WORKSPACE_DEFAULT_REAL_ID else held.workspace_id,
        "created_at": held.created_at,
        "created_by": {"id": held.created_by_user_id, "type": "user"},
        "partial_key_hint": f"sk-ant-api03-{held.name[:3]}...AAAA",
        "status": held.status,
    }
    if newest:
        scope = {"type": "workspace", "workspace_id": held.workspace_id}
        document |= {"expires_at": None, "principal": None, "scope": scope}
    return document


def _user(held: User) -> Document:
    return {
        "id": held.id,
        "type": "user",
        "email": held.email,
        "name": held.name,
        "role": held.role,
        "added_at": held.added_at,
    }
