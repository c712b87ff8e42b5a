from __future__ import annotations

from collections import Counter
from datetime import date, timedelta

import httpx
import pytest

from usage_pipeline.sandbox import DEFAULT_OPENAI_KEY, DEFAULT_OPENAI_STANDARD_KEY, Fault, FaultKind, SandboxServer
from usage_pipeline_tests.sandbox.conftest import DAY_S, MONDAY_S, NOW, USAGE, Caller

LEGACY = "/v1/usage"
MONDAY = ("date", "2026-11-09")
LISTS = {"data", "ft_data", "dalle_api_data", "whisper_api_data", "tts_api_data", "assistant_code_interpreter_data"}


@pytest.fixture
def standard(sandbox: SandboxServer, http: httpx.Client) -> Caller:
    return Caller(http, {"authorization": f"Bearer {DEFAULT_OPENAI_STANDARD_KEY}"})


def test_a_day_is_what_the_key_spent_on_completions_and_embeddings(standard: Caller, openai: Caller) -> None:
    body = standard.page(LEGACY, MONDAY)
    assert {name for name, value in body.items() if isinstance(value, list)} == LISTS
    rows = body["data"]
    assert {row["operation"] for row in rows} == {"completion", "embeddings"}
    told: dict[str, Counter[str]] = {}
    for row in rows:
        told.setdefault(row["snapshot_id"], Counter()).update(
            input_tokens=row["n_context_tokens_total"],
            output_tokens=row["n_generated_tokens_total"],
            input_cached_tokens=row["n_cached_context_tokens_total"],
            num_model_requests=row["n_requests"],
        )
    day = (("start_time", MONDAY_S), ("end_time", MONDAY_S + DAY_S), ("api_key_ids", "key_sandbox_hermes"))
    for path in (USAGE, "/v1/organization/usage/embeddings"):
        for result in openai.page(path, *day, ("group_by", "model"))["data"][0]["results"]:
            total = told.pop(result["model"])
            assert {name: total[name] for name in total if name in result} == {
                name: result[name] for name in total if name in result
            }
    assert told == {}


def test_rows_lie_on_a_grid_of_five_minutes_inside_the_day(standard: Caller) -> None:
    rows = standard.page(LEGACY, MONDAY)["data"]
    assert {row["aggregation_timestamp"] % 300 for row in rows} == {0}
    assert all(MONDAY_S <= row["aggregation_timestamp"] < MONDAY_S + DAY_S for row in rows)
    assert [row["aggregation_timestamp"] for row in rows] == sorted(row["aggregation_timestamp"] for row in rows)


def test_a_time_alone_does_not_tell_rows_apart(standard: Caller) -> None:
    rows = standard.page(LEGACY, MONDAY)["data"]
    times = Counter(row["aggregation_timestamp"] for row in rows)
    keys = Counter((row["aggregation_timestamp"], row["operation"], row["snapshot_id"], row["user_id"]) for row in rows)
    assert max(times.values()) > 1
    assert max(keys.values()) == 1


def test_today_ends_now_and_tomorrow_is_empty(standard: Caller) -> None:
    today = standard.page(LEGACY, ("date", NOW.date().isoformat()))["data"]
    assert 0 < max(row["aggregation_timestamp"] for row in today) < NOW.timestamp()
    tomorrow = (NOW.date() + timedelta(days=1)).isoformat()
    assert standard.page(LEGACY, ("date", tomorrow))["data"] == []


def test_every_row_belongs_to_the_key(standard: Caller) -> None:
    rows = standard.page(LEGACY, MONDAY)["data"]
    assert {(row["api_key_id"], row["api_key_name"], row["project_id"]) for row in rows} == {
        ("key_sandbox_hermes", "hermes", "proj_sandbox_assistant")
    }


def test_an_old_answer_has_the_old_fields_only(standard: Caller, sandbox: SandboxServer) -> None:
    sandbox.switch(openai_contract="2025")
    assert set(standard.page(LEGACY, MONDAY)["data"][0]) == {
        "organization_id",
        "organization_name",
        "aggregation_timestamp",
        "n_requests",
        "operation",
        "snapshot_id",
        "n_context_tokens_total",
        "n_generated_tokens_total",
    }


def test_a_missing_date_is_the_known_400(standard: Caller) -> None:
    error = standard.get(LEGACY).json()["error"]
    assert (error["message"], error["type"]) == ("Missing query parameter 'date'", "invalid_request_error")
    for wrong in ("yesterday", "20261109", "2026-13-01"):
        assert wrong in standard.refused(LEGACY, ("date", wrong))


def test_an_admin_key_is_not_accepted(openai: Caller) -> None:
    response = openai.get(LEGACY, MONDAY)
    assert (response.status_code, response.json()["error"]["code"]) == (401, "invalid_api_key")
    assert DEFAULT_OPENAI_KEY not in response.text


def test_a_standard_key_can_stand_for_another_key_id(sandbox: SandboxServer) -> None:
    keys = {"openai_legacy": {"sk-proj-lab": ("key_sandbox_lab",)}}
    with SandboxServer(sandbox.world, keys=keys) as server:
        url = f"{server.base_url('openai_legacy')}/usage"
        answer = httpx.get(url, params=[MONDAY], headers={"authorization": "Bearer sk-proj-lab"})
    assert {row["api_key_id"] for row in answer.json()["data"]} == {"key_sandbox_lab"}


def test_alterations_and_faults_reach_it(standard: Caller, sandbox: SandboxServer) -> None:
    whole = sum(row["n_context_tokens_total"] for row in standard.page(LEGACY, MONDAY)["data"])
    sandbox.switch(restate={"2026-11-09": "0.5"})
    assert sum(row["n_context_tokens_total"] for row in standard.page(LEGACY, MONDAY)["data"]) < whole
    sandbox.switch(vanish=[{"day": date(2026, 11, 9).isoformat()}])
    assert standard.page(LEGACY, MONDAY)["data"] == []
    sandbox.switch(vanish=[], faults=[Fault(FaultKind.STATUS, LEGACY), Fault(FaultKind.NEGATIVE_COUNT, LEGACY)])
    assert standard.get(LEGACY, MONDAY).status_code == 429
    sandbox.switch(faults=[Fault(FaultKind.NEGATIVE_COUNT, LEGACY)])
    assert standard.page(LEGACY, MONDAY)["data"][0]["n_context_tokens_total"] < 0
