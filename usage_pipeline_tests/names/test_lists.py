"""The lists of both providers, asked of the sandbox over HTTP: every page, with archived things, by their real ids."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import msgspec
import pytest

from usage_pipeline.credentials.secret import Secret
from usage_pipeline.errors import PermanentError
from usage_pipeline.ledger.dimension_names import Named
from usage_pipeline.names import anthropic, openai
from usage_pipeline.names.lists import Entry, NameList, entries
from usage_pipeline.providers.http import ProviderClient
from usage_pipeline.providers.registry import provider
from usage_pipeline.sandbox.anthropic_directory import API_KEYS, USERS, WORKSPACES
from usage_pipeline.sandbox.faces import DEFAULT_ANTHROPIC_KEY, DEFAULT_OPENAI_KEY
from usage_pipeline.sandbox.openai_directory import PEOPLE, PROJECT_KEYS, PROJECTS
from usage_pipeline.sandbox.server import SandboxServer
from usage_pipeline.sandbox.world import World

NOW = datetime(2026, 11, 19, 14, tzinfo=UTC)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxServer]:
    with SandboxServer(World(7, NOW)) as server:
        yield server


def listed(sandbox: SandboxServer, name: str, lists: tuple[NameList, ...]) -> dict[str, dict[str, Named]]:
    """What each list of a provider gives, by id."""
    key = {"openai": DEFAULT_OPENAI_KEY, "anthropic": DEFAULT_ANTHROPIC_KEY}[name]
    with ProviderClient(provider(name), Secret(key), base_url=sandbox.base_url(name)) as client:
        return {one.what: {named.id: named for named in one.read(client.fetch)} for one in lists}


def test_every_project_person_and_key_of_openai_has_its_name(sandbox: SandboxServer) -> None:
    found = listed(sandbox, "openai", openai.LISTS)
    assert {i: n.name for i, n in found["projects"].items()} == {project.id: project.name for project in PROJECTS}
    assert any(named.detail["status"] == "archived" for named in found["projects"].values())
    assert {i: n.detail["project_id"] for i, n in found["keys"].items()} == {k.id: k.project_id for k in PROJECT_KEYS}
    assert set(found["users"]) == {person.id for person in PEOPLE}


def test_every_workspace_user_and_key_of_anthropic_has_its_name(sandbox: SandboxServer) -> None:
    found = listed(sandbox, "anthropic", anthropic.LISTS)
    # The default workspace is null in reports: under its real id nobody would look for it.
    assert set(found["workspaces"]) == {one.id for one in WORKSPACES if not one.is_default}
    assert {i: n.name for i, n in found["keys"].items()} == {key.id: key.name for key in API_KEYS}
    assert {i: n.detail["email"] for i, n in found["users"].items()} == {user.id: user.email for user in USERS}


def test_a_secret_is_in_no_name(sandbox: SandboxServer) -> None:
    told = str([listed(sandbox, "openai", openai.LISTS), listed(sandbox, "anthropic", anthropic.LISTS)])
    assert "sk-" not in told


@pytest.mark.parametrize("names_last_id", [True, False])
def test_every_page_of_a_list_is_read(names_last_id: bool) -> None:
    ids = [f"p{number}" for number in range(5)]

    def fetch(_path: str, query: object) -> bytes:
        after = dict(query).get("after")  # type: ignore[call-overload]
        first = ids.index(after) + 1 if after else 0
        some = ids[first : first + 2]
        page = {"data": [{"id": one} for one in some], "has_more": first + 2 < len(ids)}
        return msgspec.json.encode(page | ({"last_id": some[-1]} if names_last_id else {}))

    assert [entry.id for entry in entries(fetch, "/things", (("limit", "2"),), "after", Entry)] == ids


@pytest.mark.parametrize(
    "body",
    [b'{"data": [], "has_more": true}', b'{"data": [{"id": "a"}], "has_more": true}', b"{}", b'{"data": [{"id": 1}]}'],
)
def test_a_list_that_would_never_end_or_is_none_is_refused(body: bytes) -> None:
    with pytest.raises(PermanentError, match="list_unreadable"):
        list(entries(lambda _path, _query: body, "/things", (), "after", Entry))
