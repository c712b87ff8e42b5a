from __future__ import annotations

import time
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import pytest

from usage_pipeline.sandbox import Fault, FaultKind, SandboxServer
from usage_pipeline_tests.sandbox.conftest import (
    COST_REPORT,
    COSTS,
    DAY_S,
    MESSAGES,
    MONDAY_S,
    NOW,
    USAGE,
    Caller,
)

WEEK = (("start_time", MONDAY_S), ("end_time", MONDAY_S + 7 * DAY_S), ("limit", 2))


def statuses(openai: Caller, count: int, path: str = USAGE) -> list[int]:
    return [openai.get(path, *WEEK).status_code for _ in range(count)]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_status_hits_the_chosen_requests_only(openai: Caller, sandbox: SandboxServer, status: int) -> None:
    sandbox.switch(faults=[Fault(FaultKind.STATUS, USAGE, first_request=2, times=2, status=status)])
    assert statuses(openai, 5) == [200, status, status, 200, 200]
    assert statuses(openai, 2, COSTS) == [200, 200]


def test_a_fault_can_last_and_setting_faults_counts_anew(openai: Caller, sandbox: SandboxServer) -> None:
    sandbox.switch(faults=[Fault(FaultKind.STATUS, "*", times=None)])
    assert statuses(openai, 3) == [429] * 3
    sandbox.switch(faults=[Fault(FaultKind.STATUS)])
    assert statuses(openai, 2) == [429, 200]
    sandbox.switch(faults=[Fault(FaultKind.STATUS)])
    assert statuses(openai, 2) == [429, 200]


def test_a_fault_can_wait_for_a_page(openai: Caller, sandbox: SandboxServer) -> None:
    sandbox.switch(faults=[Fault(FaultKind.STATUS, USAGE, page=2, status=500)])
    first = openai.page(USAGE, *WEEK)
    token = ("page", first["next_page"])
    assert openai.get(USAGE, *WEEK, token).status_code == 500
    third = openai.page(USAGE, *WEEK, token)["next_page"]
    assert openai.page(USAGE, *WEEK, ("page", third))["data"]


def test_retry_after_comes_in_its_three_forms(openai: Caller, sandbox: SandboxServer) -> None:
    forms = {}
    for form in (None, "7", "http-date:30"):
        sandbox.switch(faults=[Fault(FaultKind.STATUS, retry_after=form)])
        forms[form] = openai.get(USAGE, *WEEK).headers.get("retry-after")
    assert (forms[None], forms["7"]) == (None, "7")
    assert (parsedate_to_datetime(forms["http-date:30"] or "") - NOW).total_seconds() == 30


def test_a_forced_status_has_the_providers_own_error_shape(
    openai: Caller, anthropic: Caller, sandbox: SandboxServer
) -> None:
    sandbox.switch(faults=[Fault(FaultKind.STATUS, times=None)])
    assert set(openai.get(USAGE).json()["error"]) == {"message", "type", "param", "code"}
    assert anthropic.get(MESSAGES).json()["error"]["type"] == "rate_limit_error"


def test_html_comes_with_status_200(openai: Caller, sandbox: SandboxServer) -> None:
    sandbox.switch(faults=[Fault(FaultKind.HTML)])
    response = openai.get(USAGE, *WEEK)
    assert (response.status_code, response.headers["content-type"][:9]) == (200, "text/html")


def test_a_redirect_points_to_another_host(openai: Caller, sandbox: SandboxServer) -> None:
    sandbox.switch(faults=[Fault(FaultKind.REDIRECT, location="http://elsewhere.invalid/v1")])
    response = openai.get(USAGE, *WEEK)
    assert (response.status_code, response.headers["location"]) == (302, "http://elsewhere.invalid/v1")


def test_a_body_can_be_cut_in_the_middle(openai: Caller, sandbox: SandboxServer) -> None:
    sandbox.switch(faults=[Fault(FaultKind.TRUNCATED_BODY)])
    with pytest.raises(httpx.RemoteProtocolError):
        openai.get(USAGE, *WEEK)
    assert statuses(openai, 1) == [200]


def test_a_connection_can_be_reset(openai: Caller, sandbox: SandboxServer) -> None:
    sandbox.switch(faults=[Fault(FaultKind.CONNECTION_RESET)])
    with pytest.raises(httpx.ReadError):
        openai.get(USAGE, *WEEK)
    assert [entry.status for entry in sandbox.requests] == [None]
    assert statuses(openai, 1) == [200]


def test_a_slow_answer_comes_late(openai: Caller, sandbox: SandboxServer) -> None:
    sandbox.switch(faults=[Fault(FaultKind.SLOW, delay_s=0.3)])
    began_s = time.monotonic()
    assert statuses(openai, 1) == [200]
    assert time.monotonic() - began_s >= 0.3


def test_a_client_that_gives_up_on_a_slow_answer_leaves_the_server_well(openai: Caller, sandbox: SandboxServer) -> None:
    sandbox.switch(faults=[Fault(FaultKind.SLOW, delay_s=60)])
    with pytest.raises(httpx.ReadTimeout):
        openai.http.get(USAGE, params=list(WEEK), headers=openai.headers, timeout=0.2)
    assert statuses(openai, 1) == [200]


def test_a_repeated_cursor_leads_to_the_same_page(openai: Caller, sandbox: SandboxServer) -> None:
    sandbox.switch(faults=[Fault(FaultKind.REPEATED_CURSOR, page=2, times=None)])
    token = openai.page(USAGE, *WEEK)["next_page"]
    second = openai.page(USAGE, *WEEK, ("page", token))
    assert (second["has_more"], second["next_page"]) == (True, token)


@pytest.mark.parametrize("page", [1, 2])
def test_an_empty_page_with_a_cursor_loses_nothing(openai: Caller, sandbox: SandboxServer, page: int) -> None:
    whole = openai.all_buckets(USAGE, *WEEK)
    requests_of_a_listing = len(sandbox.requests)
    sandbox.forget_requests()
    sandbox.switch(faults=[Fault(FaultKind.EMPTY_PAGE, page=page)])
    assert openai.all_buckets(USAGE, *WEEK) == whole
    assert len(sandbox.requests) == requests_of_a_listing + 1


def test_a_missing_cursor_comes_with_has_more(openai: Caller, sandbox: SandboxServer) -> None:
    sandbox.switch(faults=[Fault(FaultKind.CURSOR_MISSING)])
    page = openai.page(USAGE, *WEEK)
    assert page["has_more"] is True
    assert "next_page" not in page


def every_report(openai: Caller, anthropic: Caller) -> list[dict[str, Any]]:
    """The first page of all four reports."""
    start = ("starting_at", "2026-11-09T00:00:00Z")
    return [
        openai.page(USAGE, *WEEK, ("group_by", "model")),
        openai.page(COSTS, *WEEK, ("group_by", "line_item")),
        anthropic.page(MESSAGES, start, ("group_by[]", "model")),
        anthropic.page(COST_REPORT, start, ("group_by[]", "description")),
    ]


def test_an_unknown_field_can_appear_in_every_report(openai: Caller, anthropic: Caller, sandbox: SandboxServer) -> None:
    sandbox.switch(faults=[Fault(FaultKind.UNKNOWN_FIELD, times=None)])
    for page in every_report(openai, anthropic):
        assert page["data"][0]["results"][0]["sandbox_surprise"] == 7


def test_a_negative_number_can_appear_in_every_report(
    openai: Caller, anthropic: Caller, sandbox: SandboxServer
) -> None:
    sandbox.switch(faults=[Fault(FaultKind.NEGATIVE_COUNT, times=None)])
    usage, costs, messages, cost_report = (page["data"][0]["results"][0] for page in every_report(openai, anthropic))
    assert usage["output_tokens"] < 0
    assert costs["amount"]["value"].startswith("-")
    assert messages["output_tokens"] < 0
    assert cost_report["amount"].startswith("-")


def test_a_dimension_can_stay_unanswered_in_every_report(
    openai: Caller, anthropic: Caller, sandbox: SandboxServer
) -> None:
    sandbox.switch(faults=[Fault(FaultKind.DIMENSION_UNANSWERED, times=None)])
    for page, name in zip(every_report(openai, anthropic), ("model", "line_item", "model", "description"), strict=True):
        assert [result[name] for result in page["data"][0]["results"]] == [None]
