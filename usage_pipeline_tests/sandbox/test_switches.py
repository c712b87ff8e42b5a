from __future__ import annotations

from datetime import date
from decimal import Decimal

import httpx
import pytest

from usage_pipeline.errors import InvalidInputError
from usage_pipeline.sandbox import Fault, FaultKind, SandboxServer, Vanish
from usage_pipeline.sandbox.switches import SwitchBoard, Switches
from usage_pipeline_tests.sandbox.conftest import COSTS, DAY_S, MESSAGES, MONDAY_S, NOW_S, USAGE, Caller

DAY = (("start_time", MONDAY_S), ("end_time", MONDAY_S + DAY_S), ("group_by", "model"))


def output_tokens(openai: Caller, *parameters: tuple[str, str | int]) -> int:
    buckets = openai.all_buckets(USAGE, *(parameters or DAY))
    return sum(result["output_tokens"] for bucket in buckets for result in bucket["results"])


def test_a_restated_day_is_served_from_its_revision_on(openai: Caller, sandbox: SandboxServer) -> None:
    before = output_tokens(openai)
    sandbox.switch(restate={"2026-11-09": "0.5"}, alter_from_revision=1)
    assert output_tokens(openai) == before
    sandbox.switch(revision=1)
    assert 0.49 * before < output_tokens(openai) < 0.51 * before
    sandbox.switch(restate={})
    assert output_tokens(openai) == before


def test_vanished_rows_are_not_served(openai: Caller, sandbox: SandboxServer) -> None:
    sandbox.switch(vanish=[Vanish(date(2026, 11, 9), model="o3-2025-04-16")])
    models = {result["model"] for result in openai.page(USAGE, *DAY)["data"][0]["results"]}
    assert models
    assert "o3-2025-04-16" not in models
    lines = openai.page(COSTS, DAY[0], DAY[1], ("group_by", "line_item"))["data"][0]["results"]
    assert not any("o3-2025-04-16" in line["line_item"] for line in lines)


def test_late_rows_show_up_when_they_are_old_enough(openai: Caller, sandbox: SandboxServer) -> None:
    recent = (("start_time", NOW_S - 7200), ("bucket_width", "1h"))
    before = output_tokens(openai, *recent)
    sandbox.switch(late_minutes=90)
    assert 0 < output_tokens(openai, *recent) < before
    sandbox.switch(late_minutes=0)
    assert output_tokens(openai, *recent) == before


def test_another_process_can_switch_over_http(openai: Caller, sandbox: SandboxServer) -> None:
    response = openai.http.post(
        "/_sandbox/switches",
        json={
            "restate": {"openai:2026-11-09": 0.95},
            "vanish": [{"day": "2026-11-09", "user_id": "user-sandbox-bo"}],
            "faults": [{"kind": "status", "path": "*/costs", "status": 503}],
        },
    )
    assert response.status_code == 200
    assert sandbox.switches.restate == {"openai:2026-11-09": Decimal("0.95")}
    assert sandbox.switches.vanish == (Vanish(date(2026, 11, 9), user_id="user-sandbox-bo"),)
    assert sandbox.switches.faults == (Fault(FaultKind.STATUS, "*/costs", status=503),)
    assert openai.http.get("/_sandbox/switches").json() == response.json()
    sandbox.switch(**response.json())


@pytest.mark.parametrize(
    "body",
    [
        {"colour": "red"},
        {"openai_contract": "2027"},
        {"openai_last_cursor": "x"},
        {"restate": {"someday": 1}},
        {"restate": {"mistral:2026-11-09": 1}},
        {"restate": {"2026-11-09": -1}},
        {"restate": {"2026-11-09": "NaN"}},
        {"late_minutes": -1},
        {"late_minutes": "1"},
        {"openai_extras": "no"},
        {"vanish": [{"day": "2026-11-09", "colour": "red"}]},
        {"vanish": ["2026-11-09"]},
        {"faults": [{"kind": "meteor"}]},
        {"faults": [{"kind": "slow", "delay_s": "long"}]},
        {"faults": [{"kind": "slow", "colour": "red"}]},
        ["late_minutes"],
    ],
)
def test_a_switch_that_does_not_exist_changes_nothing(openai: Caller, sandbox: SandboxServer, body: object) -> None:
    before = sandbox.switches
    response = openai.http.post("/_sandbox/switches", json=body)
    assert (response.status_code, "error" in response.json()) == (400, True)
    assert sandbox.switches == before


def test_an_unknown_switch_is_refused_in_python_too() -> None:
    with pytest.raises(InvalidInputError, match="sandbox_switch_invalid"):
        SwitchBoard(Switches()).change(colour="red")


def test_the_log_holds_what_was_asked_and_no_header(openai: Caller, anthropic: Caller, sandbox: SandboxServer) -> None:
    openai.get(USAGE, ("start_time", MONDAY_S), ("group_by", "model"), ("group_by", "batch"))
    anthropic.get(MESSAGES)
    document = httpx.get(f"{sandbox.anthropic_base_url}/_sandbox/requests").json()
    query = [["start_time", str(MONDAY_S)], ["group_by", "model"], ["group_by", "batch"]]
    assert document == [
        {"method": "GET", "path": USAGE, "query": query, "status": 200},
        {"method": "GET", "path": MESSAGES, "query": [], "status": 400},
    ]
    assert [entry.path for entry in sandbox.requests] == [USAGE, MESSAGES]
    assert httpx.delete(f"{sandbox.anthropic_base_url}/_sandbox/requests").json() == []
