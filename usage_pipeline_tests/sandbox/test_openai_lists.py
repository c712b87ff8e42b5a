from __future__ import annotations

import pytest

from usage_pipeline.sandbox import DEFAULT_OPENAI_STANDARD_KEY, DEFAULT_OPENAI_USAGE_ONLY_KEY, Fault, FaultKind
from usage_pipeline.sandbox.organisations import OPENAI_STREAMS
from usage_pipeline.sandbox.server import SandboxServer
from usage_pipeline_tests.sandbox.conftest import COSTS, MONDAY_S, USAGE, Caller

PROJECTS = "/v1/organization/projects"
RESEARCH_KEYS = f"{PROJECTS}/proj_sandbox_research/api_keys"
USERS = "/v1/organization/users"
ADMIN_KEYS = "/v1/organization/admin_api_keys"
LISTS = (PROJECTS, RESEARCH_KEYS, USERS, ADMIN_KEYS)


def ids(openai: Caller, path: str, *asked: tuple[str, str | int]) -> list[str]:
    return [entry["id"] for entry in openai.page(path, *asked)["data"]]


def test_an_archived_project_is_listed_only_when_asked_for(openai: Caller) -> None:
    active = ids(openai, PROJECTS)
    everything = openai.page(PROJECTS, ("include_archived", "true"))["data"]
    assert len(everything) == len(active) + 1
    assert [(p["status"], p["archived_at"] is None) for p in everything if p["id"] not in active] == [
        ("archived", False)
    ]
    assert ids(openai, PROJECTS, ("include_archived", "false")) == active


def test_the_lists_name_everything_that_usage_names(openai: Caller) -> None:
    projects = ids(openai, PROJECTS)
    keys = {key for project in projects for key in ids(openai, f"{PROJECTS}/{project}/api_keys")}
    assert {stream.project_id for stream in OPENAI_STREAMS} <= set(projects)
    assert {stream.user_id for stream in OPENAI_STREAMS} <= set(ids(openai, USERS))
    assert {stream.api_key_id for stream in OPENAI_STREAMS} <= keys


def test_a_key_whose_owner_left_is_listed_only_when_asked_for(openai: Caller) -> None:
    assert "key_sandbox_draft" not in ids(openai, RESEARCH_KEYS)
    assert ids(openai, RESEARCH_KEYS, ("owner_project_access", "inactive")) == ["key_sandbox_draft"]
    everything = ids(openai, RESEARCH_KEYS, ("owner_project_access", "any"))
    assert set(everything) == {*ids(openai, RESEARCH_KEYS), "key_sandbox_draft"}


def test_an_archived_projects_keys_can_still_be_listed(openai: Caller) -> None:
    assert ids(openai, f"{PROJECTS}/proj_sandbox_pilot/api_keys") == ["key_sandbox_pilot"]


def test_an_unknown_project_is_404(openai: Caller) -> None:
    response = openai.get(f"{PROJECTS}/proj_none/api_keys")
    assert (response.status_code, "proj_none" in response.json()["error"]["message"]) == (404, True)


def test_people_can_be_filtered_by_email(openai: Caller) -> None:
    assert ids(openai, USERS, ("emails", "bo@sandbox.example")) == ["user-sandbox-bo"]


@pytest.mark.parametrize("path", LISTS)
def test_the_pages_together_are_the_whole_list(openai: Caller, path: str) -> None:
    whole = openai.page(path)
    assert (whole["object"], whole["has_more"]) == ("list", False)
    page = openai.page(path, ("limit", 1))
    seen = list(page["data"])
    while page["has_more"]:
        assert page["first_id"] == page["last_id"] == page["data"][0]["id"]
        page = openai.page(path, ("limit", 1), ("after", page["last_id"]))
        seen += page["data"]
    assert seen == whole["data"]


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (("limit", 0), "greater than or equal to 1."),
        (("limit", 101), "Invalid limit provided: 101. Limit must be less than or equal to 100."),
        (("limit", "few"), "expected an integer"),
        (("after", "none_such"), "no object 'none_such'"),
        (("colour", "red"), "Unknown query parameter: 'colour'."),
    ],
)
def test_what_a_list_refuses(openai: Caller, path: str, asked: tuple[str, str | int], message: str) -> None:
    assert message in openai.refused(path, asked)


def test_a_choice_refuses_other_values(openai: Caller) -> None:
    assert "Supported values are: 'true', 'false'." in openai.refused(PROJECTS, ("include_archived", "yes"))
    assert "'any'" in openai.refused(RESEARCH_KEYS, ("owner_project_access", "all"))
    assert "'desc'" in openai.refused(ADMIN_KEYS, ("order", "down"))


@pytest.mark.parametrize("path", LISTS)
def test_a_key_that_may_only_read_usage_is_403_on_a_list(openai: Caller, path: str) -> None:
    headers = {"authorization": f"Bearer {DEFAULT_OPENAI_USAGE_ONLY_KEY}"}
    response = openai.get(path, headers=headers)
    assert response.status_code == 403
    assert response.json()["error"]["message"].endswith("Missing scopes: api.management.read")
    for report in (USAGE, COSTS):
        assert openai.get(report, ("start_time", MONDAY_S), headers=headers).status_code == 200


@pytest.mark.parametrize("path", [*LISTS, USAGE, COSTS])
def test_a_standard_key_is_403_on_the_organisations_endpoints(openai: Caller, path: str) -> None:
    response = openai.get(path, headers={"authorization": f"Bearer {DEFAULT_OPENAI_STANDARD_KEY}"})
    assert (response.status_code, "Missing scopes: api." in response.text) == (403, True)


def test_the_old_contract_knows_fewer_fields_of_a_project(openai: Caller, sandbox: SandboxServer) -> None:
    assert "residency" in openai.page(PROJECTS)["data"][0]
    sandbox.switch(openai_contract="2025")
    assert "residency" not in openai.page(PROJECTS)["data"][0]


def test_faults_reach_lists_by_a_pattern(openai: Caller, sandbox: SandboxServer) -> None:
    sandbox.switch(faults=[Fault(FaultKind.STATUS, "*/projects/*/api_keys", status=503)])
    assert [openai.get(path).status_code for path in (PROJECTS, RESEARCH_KEYS, RESEARCH_KEYS)] == [200, 503, 200]


def test_content_faults_reach_lists(openai: Caller, sandbox: SandboxServer) -> None:
    cursor = ("after", ids(openai, USERS)[0])
    sandbox.switch(faults=[Fault(FaultKind.REPEATED_CURSOR, USERS, page=2)])
    repeated = openai.page(USERS, ("limit", 1), cursor)
    assert (repeated["has_more"], repeated["last_id"]) == (True, cursor[1])
    sandbox.switch(faults=[Fault(FaultKind.EMPTY_PAGE, USERS)])
    empty = openai.page(USERS, cursor)
    assert (empty["data"], empty["has_more"], empty["last_id"]) == ([], True, cursor[1])
    sandbox.switch(faults=[Fault(FaultKind.CURSOR_MISSING, USERS)])
    missing = openai.page(USERS)
    assert (missing["has_more"], "last_id" in missing) == (True, False)
    sandbox.switch(faults=[Fault(FaultKind.UNKNOWN_FIELD, USERS)])
    assert openai.page(USERS)["data"][0]["sandbox_surprise"] == 7
    assert "sandbox_surprise" not in openai.page(USERS)["data"][0]
