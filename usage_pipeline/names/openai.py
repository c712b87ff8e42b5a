"""OpenAI's lists: projects, the keys of each project, and users.

Source of the facts: OpenAI's OpenAPI description (August 2026). Archived projects are left out unless they are asked
for; ``api_key_id`` in usage is a project's key and never one of ``/organization/admin_api_keys``; ``user_id`` in usage
may be a service account, which the list of users tells apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final
from urllib.parse import quote

from usage_pipeline.ledger.dimension_names import Named
from usage_pipeline.names.lists import Entry, Fetch, NameList, entries, plain

_LIMIT: Final = ("limit", "100")
_PROJECT_KEYS: Final = "/organization/projects/{}/api_keys"


class _Project(Entry):
    name: str | None = None
    status: str | None = None


class _User(Entry):
    name: str | None = None
    email: str | None = None
    role: str | None = None


class _Key(Entry):
    name: str | None = None


def _project_list(fetch: Fetch) -> Iterator[_Project]:
    return entries(fetch, "/organization/projects", (_LIMIT, ("include_archived", "true")), "after", _Project)


def _projects(fetch: Fetch) -> Iterator[Named]:
    for project in _project_list(fetch):
        yield Named("project_id", project.id, project.name or project.id, plain(status=project.status))


def _users(fetch: Fetch) -> Iterator[Named]:
    for user in entries(fetch, "/organization/users", (_LIMIT,), "after", _User):
        yield Named("user_id", user.id, user.name or user.email or user.id, plain(email=user.email, role=user.role))


def _keys(fetch: Fetch) -> Iterator[Named]:
    """The keys of every project, those of active ones first: a list that is cut off lacks what matters least."""
    for project in sorted(_project_list(fetch), key=lambda project: project.status == "archived"):
        query = (_LIMIT, ("owner_project_access", "any"))
        for key in entries(fetch, _PROJECT_KEYS.format(quote(project.id, safe="")), query, "after", _Key):
            yield Named("api_key_id", key.id, key.name or key.id, {"project_id": project.id})


LISTS: Final = (NameList("projects", _projects), NameList("users", _users), NameList("keys", _keys))
