"""Anthropic's lists: workspaces, API keys, and users.

Source of the facts: Anthropic's Admin API reference (2026). Usage calls a workspace ``project_id`` with us and a user
``user_id``. The default workspace is null in reports, whatever identifier it has elsewhere: it has no name here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from usage_pipeline.ledger.dimension_names import Named
from usage_pipeline.names.lists import Entry, Fetch, NameList, entries, plain

_LIMIT: Final = ("limit", "1000")


class _Workspace(Entry):
    name: str | None = None
    archived_at: str | None = None


class _Key(Entry):
    name: str | None = None
    status: str | None = None
    workspace_id: str | None = None


class _User(Entry):
    name: str | None = None
    email: str | None = None
    role: str | None = None


def _workspaces(fetch: Fetch) -> Iterator[Named]:
    query = (_LIMIT, ("include_archived", "true"))
    for workspace in entries(fetch, "/v1/organizations/workspaces", query, "after_id", _Workspace):
        status = "archived" if workspace.archived_at else "active"
        yield Named("project_id", workspace.id, workspace.name or workspace.id, {"status": status})


def _keys(fetch: Fetch) -> Iterator[Named]:
    for key in entries(fetch, "/v1/organizations/api_keys", (_LIMIT,), "after_id", _Key):
        detail = plain(status=key.status, project_id=key.workspace_id)
        yield Named("api_key_id", key.id, key.name or key.id, detail)


def _users(fetch: Fetch) -> Iterator[Named]:
    for user in entries(fetch, "/v1/organizations/users", (_LIMIT,), "after_id", _User):
        yield Named("user_id", user.id, user.name or user.email or user.id, plain(email=user.email, role=user.role))


LISTS: Final = (NameList("workspaces", _workspaces), NameList("keys", _keys), NameList("users", _users))
