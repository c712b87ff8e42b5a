"""Every answer of the sandbox's OpenAI face, over real HTTP, against OpenAI's own description."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from usage_pipeline.sandbox import Fault, FaultKind, SandboxServer
from usage_pipeline_tests.sandbox.conftest import DAY_S, MONDAY_S, Caller
from usage_pipeline_tests.sandbox.openapi_description import (
    described_paths,
    relaxed,
    validate_request,
    validate_response,
)

Parameters = list[tuple[str, str | int]]

REPORTS = [path for path in described_paths() if "/usage/" in path or path.endswith("/costs")]
LISTS = [path for path in described_paths() if path not in REPORTS]
DAY: Parameters = [("start_time", MONDAY_S), ("end_time", MONDAY_S + DAY_S)]


def judged(caller: Caller, path: str, parameters: Parameters) -> dict[str, Any]:
    """One exchange, both halves judged."""
    url = f"/v1{path.format(project_id='proj_sandbox_research')}"
    response = caller.get(url, *parameters)
    judge(response)
    body: dict[str, Any] = response.json()
    return body


def judge(response: httpx.Response) -> None:
    asked = response.request
    validate_request(asked.method, str(asked.url), asked.headers)
    validate_response(asked.method, str(asked.url), response.status_code, response.headers, response.content)


def described(path: str, name: str) -> list[str]:
    """The values that the description, as far as relaxed, allows a parameter."""
    parameters = relaxed()["paths"][path]["get"]["parameters"]
    schema = next(parameter["schema"] for parameter in parameters if parameter["name"] == name)
    values: list[str] = schema.get("enum") or schema["items"]["enum"]
    return values


def results(body: dict[str, Any]) -> list[dict[str, Any]]:
    return [result for bucket in body["data"] for result in bucket["results"]]


@pytest.mark.parametrize("path", REPORTS)
def test_a_report_follows_it_in_every_width(openai: Caller, path: str) -> None:
    for width in described(path, "bucket_width"):
        body = judged(openai, path, [*DAY, ("bucket_width", width), ("limit", 30)])
        assert results(body) or width == "1m"


@pytest.mark.parametrize("path", REPORTS)
def test_a_report_follows_it_in_every_grouping(openai: Caller, path: str) -> None:
    dimensions = described(path, "group_by")
    for asked in [[name] for name in dimensions] + [dimensions]:
        body = judged(openai, path, [*DAY, *(("group_by", name) for name in asked)])
        for name in asked:
            assert any(name in result for result in results(body))


@pytest.mark.parametrize("path", REPORTS)
def test_every_page_of_a_report_follows_it(openai: Caller, path: str) -> None:
    asked: Parameters = [("start_time", MONDAY_S), ("end_time", MONDAY_S + 3 * DAY_S), ("limit", 1)]
    body = judged(openai, path, asked)
    pages = 1
    while body["has_more"]:
        body = judged(openai, path, [*asked, ("page", body["next_page"])])
        pages += 1
    assert (pages, body["next_page"]) == (3, None)


@pytest.mark.parametrize("path", REPORTS)
@pytest.mark.parametrize("name", ["project_ids", "user_ids", "api_key_ids", "models", "sizes", "vector_store_ids"])
def test_an_answer_without_results_follows_it(openai: Caller, path: str, name: str) -> None:
    known = {parameter["name"] for parameter in relaxed()["paths"][path]["get"]["parameters"]}
    if name in known:
        nothing = "1792x1792" if name == "sizes" else "none_such"
        assert results(judged(openai, path, [*DAY, (name, nothing), (name, nothing)])) == []


@pytest.mark.parametrize("path", REPORTS)
@pytest.mark.parametrize("contract", ["2025", "2026"])
def test_both_generations_follow_it(openai: Caller, sandbox: SandboxServer, path: str, contract: str) -> None:
    sandbox.switch(openai_contract=contract, openai_extras=contract == "2026", openai_last_cursor="")
    assert results(judged(openai, path, DAY))


@pytest.mark.parametrize("path", REPORTS)
def test_a_rate_limit_follows_it(openai: Caller, sandbox: SandboxServer, path: str) -> None:
    sandbox.switch(faults=[Fault(FaultKind.STATUS, status=429, retry_after="1")])
    response = openai.get(f"/v1{path}", *DAY)
    assert response.status_code == 429
    judge(response)


@pytest.mark.parametrize("path", LISTS)
def test_every_page_of_a_list_follows_it(openai: Caller, path: str) -> None:
    whole = judged(openai, path, [])
    body = judged(openai, path, [("limit", 1)])
    seen = body["data"]
    while body["has_more"]:
        body = judged(openai, path, [("limit", 1), ("after", body["last_id"])])
        seen += body["data"]
    assert seen == whole["data"] != []
    empty = judged(openai, path, [("after", whole["last_id"])])
    assert (empty["data"], empty["first_id"], empty["has_more"]) == ([], None, False)


def test_the_lists_parameters_follow_it(openai: Caller) -> None:
    judged(openai, "/organization/projects", [("include_archived", "true"), ("limit", 100)])
    judged(openai, "/organization/projects/{project_id}/api_keys", [("owner_project_access", "any")])
    judged(openai, "/organization/users", [("emails", "ana@sandbox.example")])
    judged(openai, "/organization/admin_api_keys", [("order", "desc")])


@pytest.mark.parametrize(
    ("query", "headers"),
    [
        ("", {"authorization": "Bearer k"}),
        ("start_time=soon", {"authorization": "Bearer k"}),
        ("start_time=1&group_by=colour", {"authorization": "Bearer k"}),
        ("start_time=1&group_by[]=model", {"authorization": "Bearer k"}),
        ("start_time=1&bucket_width=1w", {"authorization": "Bearer k"}),
        ("start_time=1", {}),
    ],
)
def test_the_judge_refuses_a_wrong_request(query: str, headers: dict[str, str]) -> None:
    with pytest.raises(AssertionError):
        validate_request("GET", f"http://127.0.0.1:1/v1/organization/usage/completions?{query}", headers)


def test_the_judge_refuses_a_wrong_answer(openai: Caller) -> None:
    response = openai.get("/v1/organization/usage/embeddings", *DAY)
    url = str(response.request.url)
    for old, new in ((b'"input_tokens":', b'"tokens":'), (b'"has_more":false', b'"has_more":"no"')):
        spoilt = response.content.replace(old, new)
        assert spoilt != response.content
        with pytest.raises(AssertionError):
            validate_response("GET", url, 200, response.headers, spoilt)
    with pytest.raises(AssertionError):
        validate_response("GET", url, 418, response.headers, response.content)
