from __future__ import annotations

import pytest

from usage_pipeline.sandbox import SandboxServer
from usage_pipeline_tests.sandbox.conftest import COST_REPORT, MESSAGES, Caller

START = ("starting_at", "2026-11-09T00:00:00Z")
SIX = ["api_key_id", "context_window", "model", "service_tier", "workspace_id", "inference_geo"]


@pytest.mark.parametrize("path", [MESSAGES, COST_REPORT])
def test_no_key_and_an_unknown_key_are_401_in_the_apis_error_shape(anthropic: Caller, path: str) -> None:
    version = {"anthropic-version": "2023-06-01"}
    for headers in (version, version | {"x-api-key": "sk-ant-admin01-unknown"}):
        response = anthropic.get(path, START, headers=headers)
        assert response.status_code == 401
        body = response.json()
        assert (body["type"], body["error"]["type"]) == ("error", "authentication_error")


@pytest.mark.parametrize("version", [None, "2099-01-01"])
def test_the_version_header_is_needed(anthropic: Caller, version: str | None) -> None:
    headers = {"x-api-key": anthropic.headers["x-api-key"]} | ({"anthropic-version": version} if version else {})
    response = anthropic.get(MESSAGES, START, headers=headers)
    assert response.status_code == 400
    assert response.json()["error"]["message"].startswith("anthropic-version")


@pytest.mark.parametrize(
    ("path", "parameters", "message"),
    [
        (MESSAGES, [], "starting_at: Field required"),
        (MESSAGES, [("starting_at", "2026-11-09")], "valid RFC 3339"),
        (MESSAGES, [("starting_at", "2026-11-09T00:00:00")], "valid RFC 3339"),
        (MESSAGES, [("starting_at", 1762646400)], "valid RFC 3339"),
        (MESSAGES, [START, ("limit", 32)], "limit: Input should be less than or equal to 31"),
        (MESSAGES, [START, ("bucket_width", "1h"), ("limit", 169)], "less than or equal to 168"),
        (MESSAGES, [START, ("bucket_width", "1m"), ("limit", 1441)], "less than or equal to 1440"),
        (COST_REPORT, [START, ("limit", 32)], "less than or equal to 31"),
        (MESSAGES, [START, ("limit", 0)], "greater than or equal to 1"),
        (MESSAGES, [START, ("limit", "x")], "valid integer"),
        (MESSAGES, [START, ("group_by", "model")], "group_by: Extra inputs are not permitted"),
        (MESSAGES, [START, ("models", "claude-opus-4-6")], "models: Extra inputs are not permitted"),
        (MESSAGES, [START, ("colour", "red")], "colour: Extra inputs are not permitted"),
        (MESSAGES, [START, ("group_by[]", "colour")], "group_by.0: Input should be one of"),
        (MESSAGES, [START, *(("group_by[]", n) for n in SIX)], "Cannot specify more than 5 group_by[] dimensions."),
        (COST_REPORT, [START, ("group_by[]", "api_key_id")], "group_by.0: Input should be one of"),
        (COST_REPORT, [START, ("bucket_width", "1h")], "bucket_width: Input should be one of '1d'"),
        (MESSAGES, [START, ("context_window[]", "1M")], "context_window.0: Input should be one of"),
        (MESSAGES, [START, ("ending_at", "2026-11-09T00:00:00Z")], "ending date must be after starting date"),
        (MESSAGES, [START, START], "given once"),
        (MESSAGES, [START, ("page", "2026-11-10T00:00:00Z")], "page: Invalid page token"),
    ],
)
def test_what_the_api_refuses_is_refused(
    anthropic: Caller, path: str, parameters: list[tuple[str, str | int]], message: str
) -> None:
    assert message in anthropic.refused(path, *parameters)


def test_a_range_without_a_closed_bucket_is_refused(anthropic: Caller) -> None:
    today = ("starting_at", "2026-11-19T00:00:00Z")
    for path in (MESSAGES, COST_REPORT):
        assert anthropic.refused(path, today) == "ending date must be after starting date"
    assert anthropic.page(MESSAGES, today, ("bucket_width", "1h"))["data"]


@pytest.mark.parametrize(
    "changed", [("limit", 3), ("group_by[]", "workspace_id"), ("ending_at", "2026-11-14T00:00:00Z")]
)
def test_a_page_token_does_not_work_with_changed_parameters(anthropic: Caller, changed: tuple[str, str | int]) -> None:
    asked: dict[str, str | int] = {START[0]: START[1], "limit": 2, "group_by[]": "model"}
    token = ("page", anthropic.page(MESSAGES, *asked.items())["next_page"])
    assert anthropic.page(MESSAGES, *asked.items(), token)["data"]
    assert "page token" in anthropic.refused(MESSAGES, *(asked | dict([changed])).items(), token)


@pytest.mark.parametrize("name", ["account_id", "inference_geo", "service_account_id", "speed"])
def test_the_older_contract_does_not_know_the_newer_dimensions(
    anthropic: Caller, sandbox: SandboxServer, name: str
) -> None:
    assert anthropic.page(MESSAGES, START, ("group_by[]", name))["data"]
    sandbox.switch(anthropic_contract="2025")
    assert "group_by.0" in anthropic.refused(MESSAGES, START, ("group_by[]", name))
