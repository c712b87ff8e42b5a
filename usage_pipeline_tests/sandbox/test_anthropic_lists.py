from __future__ import annotations

from uuid import UUID

import pytest

from usage_pipeline.sandbox import SandboxServer
from usage_pipeline_tests.sandbox.conftest import Caller

ORGANISATION = "/v1/organizations/me"
WORKSPACES = "/v1/organizations/workspaces"
KEYS = "/v1/organizations/api_keys"
USERS = "/v1/organizations/users"


def ids(anthropic: Caller, path: str, *parameters: tuple[str, str | int]) -> list[str]:
    return [held["id"] for held in anthropic.page(path, *parameters)["data"]]


def test_a_key_tells_its_organisation(anthropic: Caller) -> None:
    body = anthropic.page(ORGANISATION)
    assert UUID(body["id"])
    assert (body["type"], bool(body["name"])) == ("organization", True)
    assert anthropic.get(ORGANISATION, headers={"anthropic-version": "2023-06-01"}).status_code == 401


def test_archived_and_default_workspaces_come_only_when_asked_for(anthropic: Caller) -> None:
    assert len(ids(anthropic, WORKSPACES)) == 2
    assert len(ids(anthropic, WORKSPACES, ("include_archived", "true"))) == 3
    assert len(ids(anthropic, WORKSPACES, ("include_archived", "true"), ("include_default", "true"))) == 4
    assert ids(anthropic, WORKSPACES, ("ids[]", "wrkspc_01SandboxResearch")) == ["wrkspc_01SandboxResearch"]


@pytest.mark.parametrize("path", [KEYS, USERS])
def test_a_list_is_walked_by_its_last_identifier_and_back_by_its_first(anthropic: Caller, path: str) -> None:
    whole = ids(anthropic, path)
    first = anthropic.page(path, ("limit", 2))
    assert (first["first_id"], first["last_id"], first["has_more"]) == (whole[0], whole[1], True)
    walked, page = [held["id"] for held in first["data"]], first
    while page["has_more"]:
        page = anthropic.page(path, ("limit", 2), ("after_id", page["last_id"]))
        walked += [held["id"] for held in page["data"]]
    assert walked == whole
    assert ids(anthropic, path, ("limit", 1), ("before_id", whole[2])) == [whole[1]]
    assert ids(anthropic, path, ("before_id", whole[1])) == [whole[0]]


def test_a_key_shows_the_real_default_workspace_only_in_its_scope(anthropic: Caller, sandbox: SandboxServer) -> None:
    key = anthropic.page(KEYS, ("status", "inactive"))["data"][0]
    assert key["workspace_id"] is None
    assert key["scope"] == {"type": "workspace", "workspace_id": "wrkspc_01SandboxDefault"}
    sandbox.switch(anthropic_contract="2025")
    assert "scope" not in anthropic.page(KEYS)["data"][0]


def test_filters_keep_only_what_they_name(anthropic: Caller) -> None:
    assert ids(anthropic, KEYS, ("status", "archived")) == ["apikey_01SandboxOld"]
    assert len(ids(anthropic, KEYS, ("workspace_id", "wrkspc_01SandboxResearch"))) == 2
    assert ids(anthropic, USERS, ("email", "bo@sandbox.example")) == ["user_01SandboxBo"]
    assert len(ids(anthropic, USERS, ("roles[]", "admin"), ("roles[]", "developer"))) == 2
    assert anthropic.page(USERS, ("email", "x@sandbox.example"))["first_id"] is None


@pytest.mark.parametrize(
    ("path", "parameters", "message"),
    [
        (ORGANISATION, [("limit", 1)], "Extra inputs"),
        (WORKSPACES, [("limit", 0)], "greater than or equal to 1"),
        (WORKSPACES, [("limit", 1001)], "less than or equal to 1000"),
        (WORKSPACES, [("include_archived", "maybe")], "valid boolean"),
        (KEYS, [("status", "lost")], "status: Input should be one of"),
        (KEYS, [("after_id", "apikey_unknown")], "after_id: Invalid cursor"),
        (KEYS, [("after_id", "a"), ("before_id", "b")], "Only one of"),
        (KEYS, [("page", "x")], "page: Extra inputs"),
        (USERS, [("roles[]", "king")], "roles.0: Input should be one of"),
    ],
)
def test_what_the_api_refuses_is_refused(
    anthropic: Caller, path: str, parameters: list[tuple[str, str | int]], message: str
) -> None:
    assert message in anthropic.refused(path, *parameters)


def test_every_key_of_the_reports_has_a_name(anthropic: Caller) -> None:
    asked = (("starting_at", "2026-11-09T00:00:00Z"), ("group_by[]", "api_key_id"))
    reported = {
        r["api_key_id"]
        for bucket in anthropic.page("/v1/organizations/usage_report/messages", *asked)["data"]
        for r in bucket["results"]
    }
    assert reported - {None} <= set(ids(anthropic, KEYS))
