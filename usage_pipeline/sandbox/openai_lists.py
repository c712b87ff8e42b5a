"""The OpenAI administration API's lists: projects, their keys, people, and administration keys.

In: an authenticated request and the scene. Out: one page in the list envelope, whose cursor is the last object's id.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

from usage_pipeline.sandbox.exchange import SURPRISE_FIELD, Answer, ApiRequest, Document, Scene
from usage_pipeline.sandbox.openai_directory import (
    ADMIN_KEYS,
    PEOPLE,
    PROJECT_KEYS,
    PROJECTS,
    AdminKey,
    Person,
    Project,
    ProjectKey,
    person,
)
from usage_pipeline.sandbox.openai_request import (
    check_parameters,
    integer_parameter,
    invalid_value,
    refuse,
)
from usage_pipeline.sandbox.switches import Fault, FaultKind
from usage_pipeline.sandbox.traffic import DAY_SECONDS

_LIMIT_DEFAULT: Final = 20
_LIMIT_MAX: Final = 100
_PAGING: Final = frozenset({"limit", "after"})


def projects(request: ApiRequest, scene: Scene) -> Answer:
    """GET /v1/organization/projects. Archived ones only when they are asked for. Raises Refusal."""
    check_parameters(request, _PAGING | {"include_archived"})
    archived = _choice(request, "include_archived", ("true", "false")) == "true"
    newest = scene.switches.openai_contract == "2026"
    held = [_project(project, newest) for project in PROJECTS if archived or project.archived_at_s is None]
    return _listed(request, held, scene)


def project_keys(request: ApiRequest, scene: Scene) -> Answer:
    """GET /v1/organization/projects/{project_id}/api_keys. Raises Refusal: 404 for an unknown project.

    Without ``owner_project_access`` a key whose owner has left the project is not listed.
    """
    check_parameters(request, _PAGING | {"owner_project_access"})
    access = _choice(request, "owner_project_access", ("active", "inactive", "any")) or "active"
    project_id = request.parts["project_id"]
    if all(project.id != project_id for project in PROJECTS):
        raise refuse(404, f"No such project: {project_id}.", param="project_id")
    wanted = {"active": (True,), "inactive": (False,), "any": (True, False)}[access]
    today_s = int(scene.world.now().timestamp()) // DAY_SECONDS * DAY_SECONDS
    keys = [key for key in PROJECT_KEYS if key.project_id == project_id and key.owner_has_access in wanted]
    return _listed(request, [_project_key(key, today_s) for key in keys], scene)


def users(request: ApiRequest, scene: Scene) -> Answer:
    """GET /v1/organization/users. Raises Refusal."""
    check_parameters(request, _PAGING, {"emails"})
    emails = request.values("emails")
    return _listed(request, [_person(member) for member in PEOPLE if not emails or member.email in emails], scene)


def admin_keys(request: ApiRequest, scene: Scene) -> Answer:
    """GET /v1/organization/admin_api_keys. Raises Refusal."""
    check_parameters(request, _PAGING | {"order"})
    newest_first = _choice(request, "order", ("asc", "desc")) == "desc"
    held = [_admin_key(key) for key in sorted(ADMIN_KEYS, key=lambda key: key.created_at_s, reverse=newest_first)]
    return _listed(request, held, scene)


def _listed(request: ApiRequest, held: Sequence[Document], scene: Scene) -> Answer:
    limit = integer_parameter(request, "limit")
    limit = _LIMIT_DEFAULT if limit is None else limit
    if not 1 <= limit <= _LIMIT_MAX:
        bound = "greater than or equal to 1" if limit < 1 else f"less than or equal to {_LIMIT_MAX}"
        raise refuse(400, f"Invalid limit provided: {limit}. Limit must be {bound}.", param="limit")
    after = request.value("after")
    ids = [entry["id"] for entry in held]
    if after is not None and after not in ids:
        raise refuse(400, f"Invalid value for 'after': no object '{after}'.", param="after", code="invalid_value")
    first = 0 if after is None else ids.index(after) + 1
    data = [dict(entry) for entry in held[first : first + limit]]
    body: Document = {
        "object": "list",
        "data": data,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
        "has_more": first + limit < len(held),
    }
    return Answer(200, _spoil(body, after, scene.faults))


def _spoil(body: Document, after: str | None, faults: tuple[Fault, ...]) -> Document:
    """The list after its content faults, as ``exchange.spoil`` does to a report."""
    for fault in faults:
        match fault.kind:
            case FaultKind.REPEATED_CURSOR:
                body |= {"has_more": True, "last_id": after or body["last_id"]}
            case FaultKind.EMPTY_PAGE:
                body |= {"data": [], "first_id": None, "last_id": after, "has_more": True}
            case FaultKind.CURSOR_MISSING:
                body["has_more"] = True
                body.pop("last_id", None)
            case FaultKind.UNKNOWN_FIELD:
                for entry in body["data"]:
                    entry[SURPRISE_FIELD] = 7
            case _:
                pass
    return body


def _project(project: Project, newest: bool) -> Document:
    document: Document = {
        "id": project.id,
        "object": "organization.project",
        "name": project.name,
        "created_at": project.created_at_s,
        "archived_at": project.archived_at_s,
        "status": "active" if project.archived_at_s is None else "archived",
    }
    return document | ({"external_key_id": None, "residency": "GLOBAL"} if newest else {})


def _project_key(key: ProjectKey, today_s: int) -> Document:
    owner = person(key.owner_id)
    shown: Document = {"id": owner.id, "name": owner.name, "created_at": owner.added_at_s, "role": "member"}
    kind = "service_account" if owner.is_service_account else "user"
    if kind == "user":
        shown["email"] = owner.email
    return {
        "object": "organization.project.api_key",
        "redacted_value": key.redacted_value,
        "name": key.name,
        "created_at": key.created_at_s,
        "last_used_at": today_s if key.is_used else None,
        "id": key.id,
        "owner_project_access": "active" if key.owner_has_access else "inactive",
        "owner": {"type": kind, kind: shown},
    }


def _person(member: Person) -> Document:
    return {
        "object": "organization.user",
        "id": member.id,
        "name": member.name,
        "email": member.email,
        "role": member.role,
        "added_at": member.added_at_s,
        "is_service_account": member.is_service_account,
    }


def _admin_key(key: AdminKey) -> Document:
    owner = next(member for member in PEOPLE if member.role == "owner")
    return {
        "object": "organization.admin_api_key",
        "id": key.id,
        "name": key.name,
        "redacted_value": key.redacted_value,
        "created_at": key.created_at_s,
        "expires_at": None,
        "last_used_at": None,
        "owner": {
            "type": "user",
            "object": "organization.user",
            "id": owner.id,
            "name": owner.name,
            "created_at": owner.added_at_s,
            "role": owner.role,
        },
    }


def _choice(request: ApiRequest, name: str, allowed: Collection[str]) -> str | None:
    value = request.value(name)
    if value is not None and value not in allowed:
        raise invalid_value(name, value, allowed)
    return value


GETS: Final[Mapping[str, Callable[[ApiRequest, Scene], Answer]]] = {
    "/v1/organization/projects": projects,
    "/v1/organization/projects/{project_id}/api_keys": project_keys,
    "/v1/organization/users": users,
    "/v1/organization/admin_api_keys": admin_keys,
}
"""What answers each path."""
