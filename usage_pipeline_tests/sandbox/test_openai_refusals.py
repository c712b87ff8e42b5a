from __future__ import annotations

import httpx
import pytest

from usage_pipeline.sandbox import DEFAULT_OPENAI_KEY_WITHOUT_SCOPE, SandboxServer
from usage_pipeline_tests.sandbox.conftest import COSTS, DAY_S, MONDAY_S, NOW_S, USAGE, Caller

START = ("start_time", MONDAY_S)


@pytest.mark.parametrize("path", [USAGE, COSTS])
def test_no_key_and_an_unknown_key_are_401_in_the_apis_error_shape(openai: Caller, path: str) -> None:
    for headers in ({}, {"authorization": "Bearer sk-admin-unknown-0123456789"}, {"x-api-key": "k"}):
        response = openai.get(path, START, headers=headers)
        assert response.status_code == 401
        assert set(response.json()["error"]) == {"message", "type", "param", "code"}
    assert "sk-admin-unknown-0123456789" not in response.text


def test_a_key_without_the_usage_scope_is_403(openai: Caller) -> None:
    response = openai.get(USAGE, START, headers={"authorization": f"Bearer {DEFAULT_OPENAI_KEY_WITHOUT_SCOPE}"})
    assert response.status_code == 403
    assert response.json()["error"]["message"].endswith("Missing scopes: api.usage.read")


@pytest.mark.parametrize(
    ("path", "parameters", "message"),
    [
        (USAGE, [], "Missing query parameter 'start_time'"),
        (USAGE, [START, ("limit", 32)], "Invalid limit provided: 32. Limit must be less than or equal to 31."),
        (USAGE, [START, ("bucket_width", "1h"), ("limit", 169)], "less than or equal to 168."),
        (USAGE, [START, ("bucket_width", "1m"), ("limit", 1441)], "less than or equal to 1440."),
        (COSTS, [START, ("limit", 366)], "Invalid limit provided: 366. Limit must be less than or equal to 180."),
        (USAGE, [START, ("limit", 0)], "greater than or equal to 1."),
        (USAGE, [START, ("limit", "many")], "expected an integer"),
        (USAGE, [START, ("group_by", "colour")], "Invalid value: 'colour'. Supported values are: 'project_id'"),
        (COSTS, [START, ("group_by", "model")], "Invalid value: 'model'"),
        (USAGE, [START, ("colour", "red")], "Unknown query parameter: 'colour'."),
        (COSTS, [START, ("batch", "true")], "Unknown query parameter: 'batch'."),
        (COSTS, [START, ("bucket_width", "1h")], "Supported values are: '1d'."),
        (USAGE, [START, ("bucket_width", "1w")], "Supported values are: '1m', '1h', '1d'."),
        (USAGE, [START, ("batch", "yes")], "Invalid value: 'yes'"),
        (USAGE, [START, ("end_time", NOW_S + 1)], "must not be in the future"),
        (USAGE, [START, ("end_time", MONDAY_S)], "end_time must be after start_time"),
        (USAGE, [("start_time", NOW_S)], "end_time must be after start_time"),
        (USAGE, [START, START], "more than once"),
        (USAGE, [START, ("page", "page_AAAA")], "Invalid page token"),
        (USAGE, [("start_time", NOW_S - 400 * DAY_S)], "Usage and cost data are available for the past year."),
    ],
)
def test_what_the_api_refuses_is_refused(
    openai: Caller, path: str, parameters: list[tuple[str, str | int]], message: str
) -> None:
    assert message in openai.refused(path, *parameters)


def test_the_lookback_refusal_has_its_own_code(openai: Caller) -> None:
    error = openai.get(COSTS, ("start_time", NOW_S - 400 * DAY_S)).json()["error"]
    assert error["code"] == "reporting_lookback_exceeded"
    assert error["message"].endswith("Earliest supported start date: 2025-11-19 (UTC).")


def test_costs_have_no_key_dimension_before_december_2025(openai: Caller, sandbox: SandboxServer) -> None:
    by_key = ("group_by", "api_key_id")
    assert "api_key_id" in openai.refused(COSTS, ("start_time", 1764979200 - 60), by_key)
    assert openai.page(COSTS, ("start_time", 1764979200), by_key)["data"]
    sandbox.switch(openai_costs_refuse_api_key_id=True)
    assert "not available" in openai.refused(COSTS, START, by_key)


def test_some_organisations_refuse_people_together_with_projects_on_costs(
    openai: Caller, sandbox: SandboxServer
) -> None:
    person, project = ("group_by", "user_id"), ("group_by", "project_id")
    assert openai.page(COSTS, START, person, project)["data"]
    sandbox.switch(openai_costs_refuse_user_id_with_project=True)
    for together in (project, ("project_ids", "proj_sandbox_research")):
        assert "user_id together with project_id" in openai.refused(COSTS, START, person, together)
    assert openai.page(COSTS, START, person)["data"]
    assert openai.page(COSTS, START, project)["data"]


@pytest.mark.parametrize(
    "changed",
    [("limit", 3), ("bucket_width", "1h"), ("group_by", "user_id"), ("end_time", NOW_S), ("models", "o3-2025-04-16")],
)
def test_a_page_token_does_not_work_with_changed_parameters(openai: Caller, changed: tuple[str, str | int]) -> None:
    asked = {"start_time": MONDAY_S, "limit": 2, "group_by": "model", "end_time": NOW_S - 600}
    token = ("page", openai.page(USAGE, *asked.items())["next_page"])
    assert openai.page(USAGE, *asked.items(), token)["data"]
    assert "page token" in openai.refused(USAGE, *(asked | dict([changed])).items(), token)


def test_a_token_of_usage_does_not_open_costs(openai: Caller) -> None:
    token = openai.page(USAGE, START, ("limit", 2))["next_page"]
    assert "page token" in openai.refused(COSTS, START, ("limit", 2), ("page", token))


def test_unknown_paths_and_other_methods_are_refused_in_json(openai: Caller) -> None:
    assert openai.get("/v1/organization/usage/poems", START).json()["error"]["message"]
    response = openai.http.post(USAGE, headers=openai.headers)
    assert (response.status_code, "error" in response.json()) == (405, True)


def test_keys_can_be_chosen(running: SandboxServer) -> None:
    with (
        SandboxServer(running.world, openai_keys={"mine": ("api.usage.read",)}) as server,
        httpx.Client(base_url=server.openai_base_url) as http,
    ):
        answer = http.get("organization/costs", params=[START], headers={"authorization": "Bearer mine"})
        assert answer.status_code == 200
