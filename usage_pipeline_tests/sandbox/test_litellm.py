from __future__ import annotations

from collections import Counter
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest

from usage_pipeline.sandbox import (
    DEFAULT_LITELLM_KEY,
    DEFAULT_LITELLM_VIRTUAL_KEY,
    Fault,
    FaultKind,
    SandboxServer,
)
from usage_pipeline.sandbox.litellm_traffic import (
    ANTHROPIC_KEY_ID,
    OPENAI_KEY_ID,
    proxy_spend_usd,
    proxy_totals,
)
from usage_pipeline.sandbox.world import row_tokens
from usage_pipeline_tests.sandbox.conftest import DAY_S, MONDAY_S, Caller

LOGS = "/litellm/spend/logs/v2"
DAILY = "/litellm/user/daily/activity"
MONDAY = date(2026, 11, 9)
MONDAYS_LOGS = (("start_date", "2026-11-09 00:00:00"), ("end_date", "2026-11-09 23:59:59"))
MONDAYS_ROWS = (("start_date", "2026-11-09"), ("end_date", "2026-11-09"))


@pytest.fixture
def litellm(sandbox: SandboxServer, http: httpx.Client) -> Caller:
    return Caller(http, {"authorization": f"Bearer {DEFAULT_LITELLM_KEY}"})


@pytest.fixture
def visitor(sandbox: SandboxServer, http: httpx.Client) -> Caller:
    return Caller(http, {"authorization": f"Bearer {DEFAULT_LITELLM_VIRTUAL_KEY}"})


def all_logs(caller: Caller, *parameters: tuple[str, str | int]) -> list[dict[str, Any]]:
    page = caller.page(LOGS, *parameters, ("page_size", 97))
    logs = page["data"]
    for number in range(2, page["total_pages"] + 1):
        logs += caller.page(LOGS, *parameters, ("page_size", 97), ("page", number))["data"]
    return logs


def test_every_hour_of_an_upstream_is_exactly_in_its_own_report(litellm: Caller, sandbox: SandboxServer) -> None:
    proxied: dict[tuple[str, str, int], Counter[str]] = {}
    for log in all_logs(litellm, *MONDAYS_LOGS):
        hour = datetime.fromisoformat(log["startTime"]).hour
        usage = log["metadata"]["additional_usage_values"]
        proxied.setdefault((log["custom_llm_provider"], log["model"], hour), Counter()).update(
            input=log["prompt_tokens"],
            output=log["completion_tokens"],
            read=usage.get("cache_read_input_tokens", 0),
            written=usage.get("cache_creation_input_tokens", 0),
        )
    upstream: dict[tuple[str, str, int], Counter[str]] = {}
    rows = [
        *(("openai", row) for row in sandbox.world.openai_rows(MONDAY_S, MONDAY_S + DAY_S)),
        *(("anthropic", row) for row in sandbox.world.anthropic_rows(MONDAY_S, MONDAY_S + DAY_S)),
    ]
    for name, row in rows:
        if row.stream.api_key_id in (OPENAI_KEY_ID, ANTHROPIC_KEY_ID):
            tokens = row_tokens(row)
            upstream.setdefault((name, row.stream.model, (row.at_s - MONDAY_S) // 3600), Counter()).update(
                input=tokens.input_total, output=tokens.output, read=tokens.cache_read, written=tokens.cache_write
            )
    known = {key: sums for key, sums in proxied.items() if key[0] != "mistral"}
    assert {key: +sums for key, sums in known.items() if +sums} == {key: +sums for key, sums in upstream.items()}
    assert {key[0] for key in proxied} == {"openai", "anthropic", "mistral"}


def test_the_log_and_the_daily_rows_are_the_same_truth(litellm: Caller, sandbox: SandboxServer) -> None:
    truth = proxy_totals(sandbox.world, MONDAY)
    day = litellm.page(DAILY, *MONDAYS_ROWS)["results"][0]
    assert day["date"] == "2026-11-09"
    assert {name: cut["metrics"]["prompt_tokens"] for name, cut in day["breakdown"]["models"].items()} == {
        model: tokens.prompt for (_, model), tokens in truth.items()
    }
    logs = all_logs(litellm, *MONDAYS_LOGS)
    assert len({log["request_id"] for log in logs}) == len(logs) == day["metrics"]["api_requests"]
    assert 100 < len(logs) < 600
    assert sum(log["total_tokens"] for log in logs) == day["metrics"]["total_tokens"]
    spend = proxy_spend_usd(sandbox.world, MONDAY)
    assert sum(Decimal(str(log["spend"])) for log in logs) == pytest.approx(spend, abs=Decimal("1e-9"))
    assert day["metrics"]["spend"] == pytest.approx(float(spend))


def test_a_failed_call_spends_nothing_and_says_so(litellm: Caller) -> None:
    failed = all_logs(litellm, *MONDAYS_LOGS, ("status_filter", "failure"))
    assert failed
    for log in failed:
        assert (log["spend"], log["total_tokens"], log["metadata"]["usage_object"]) == (0.0, 0, None)
        assert log["metadata"]["error_information"]["error_code"] == "429"
    metrics = litellm.page(DAILY, *MONDAYS_ROWS)["results"][0]["metrics"]
    assert metrics["failed_requests"] == len(failed)
    assert metrics["api_requests"] == metrics["failed_requests"] + metrics["successful_requests"]


def test_each_cut_is_the_whole_but_the_one_by_endpoint(litellm: Caller) -> None:
    day = litellm.page(DAILY, *MONDAYS_ROWS)["results"][0]
    whole = day["metrics"]["total_tokens"]
    for name in ("models", "model_groups", "providers", "api_keys", "entities"):
        cut = day["breakdown"][name]
        assert sum(held["metrics"]["total_tokens"] for held in cut.values()) == whole
    assert list(day["breakdown"]["endpoints"]) == ["/chat/completions"]
    assert day["breakdown"]["endpoints"]["/chat/completions"]["metrics"]["total_tokens"] < whole


def test_a_date_may_stand_on_two_pages_and_totals_are_the_pages(litellm: Caller) -> None:
    asked = (("start_date", "2026-11-09"), ("end_date", "2026-11-11"))
    whole = litellm.page(DAILY, *asked)
    assert [day["date"] for day in whole["results"]] == ["2026-11-11", "2026-11-10", "2026-11-09"]
    tokens: Counter[str] = Counter()
    dates: list[str] = []
    number, more = 1, True
    while more:
        page = litellm.page(DAILY, *asked, ("page_size", 4), ("page", number))
        assert page["metadata"]["total_tokens"] == sum(day["metrics"]["total_tokens"] for day in page["results"])
        for day in page["results"]:
            tokens[day["date"]] += day["metrics"]["total_tokens"]
            dates.append(day["date"])
        number, more = number + 1, page["metadata"]["has_more"]
    assert number - 1 == page["metadata"]["total_pages"]
    assert len(dates) > len(set(dates))
    assert tokens == {day["date"]: day["metrics"]["total_tokens"] for day in whole["results"]}


def test_the_newest_row_comes_first_and_both_ends_are_included(litellm: Caller) -> None:
    times = [log["startTime"] for log in all_logs(litellm, *MONDAYS_LOGS)]
    assert times == sorted(times, reverse=True)
    ascending = [log["startTime"] for log in all_logs(litellm, *MONDAYS_LOGS, ("sort_order", "asc"))]
    assert ascending == times[::-1]
    whole_second = next(time for time in times if time[20:23] == "000")
    at = datetime.fromisoformat(whole_second).strftime("%Y-%m-%d %H:%M:%S")
    assert litellm.page(LOGS, ("start_date", at), ("end_date", at))["data"][0]["startTime"] == whole_second


def test_the_total_stops_at_ten_thousand_and_the_pages_go_on(litellm: Caller) -> None:
    asked = (("start_date", "2026-10-01"), ("end_date", "2026-11-19"), ("page_size", 1000))
    page = litellm.page(LOGS, *asked)
    assert (page["total"], page["total_pages"], page["total_is_capped"]) == (10_000, 10, True)
    assert len(litellm.page(LOGS, *asked, ("page", 11))["data"]) == 1000


def test_filters_keep_only_what_they_name(litellm: Caller) -> None:
    whole = all_logs(litellm, *MONDAYS_LOGS)
    some = whole[5]
    for parameter, field in (("model", "model"), ("api_key", "api_key"), ("user_id", "user"), ("team_id", "team_id")):
        expected = [log for log in whole if log[field] == some[field]]
        assert all_logs(litellm, *MONDAYS_LOGS, (parameter, some[field])) == expected
    assert all_logs(litellm, *MONDAYS_LOGS, ("request_id", some["request_id"])) == [some]
    dear = all_logs(litellm, *MONDAYS_LOGS, ("min_spend", "0.1"))
    assert dear == [log for log in whole if log["spend"] >= 0.1]
    models = litellm.page(DAILY, *MONDAYS_ROWS, ("model", "mistral-large-latest"))["results"][0]["breakdown"]["models"]
    assert list(models) == ["mistral-large-latest"]


def test_another_key_sees_only_its_users_part_and_is_not_told(litellm: Caller, visitor: Caller) -> None:
    mine, whole = visitor.page(DAILY, *MONDAYS_ROWS), litellm.page(DAILY, *MONDAYS_ROWS)
    assert 0 < mine["metadata"]["total_tokens"] < whole["metadata"]["total_tokens"]
    assert {log["user"] for log in all_logs(visitor, *MONDAYS_LOGS)} == {"sandbox-web"}
    assert visitor.get(DAILY, *MONDAYS_ROWS, ("user_id", "sandbox-bo")).status_code == 403
    assert visitor.get(LOGS, *MONDAYS_LOGS, ("team_id", "team-sandbox-lab")).status_code == 403


def test_who_a_key_is(litellm: Caller, visitor: Caller) -> None:
    directory = litellm.page("/litellm/user/info")
    assert {key["key_alias"] for key in directory["keys"]} == {"web-frontend", "lab-notebooks"}
    assert visitor.page("/litellm/user/info")["user_info"]["user_id"] == "sandbox-web"
    assert visitor.get("/litellm/user/info", ("user_id", "sandbox-bo")).status_code == 403
    assert litellm.get("/litellm/user/info", ("user_id", "nobody")).status_code == 404
    assert visitor.page("/litellm/key/info")["info"]["key_alias"] == "web-frontend"
    missing = litellm.get("/litellm/key/info")
    assert (missing.status_code, missing.json()["error"]["message"]) == (404, "Key not found in database")
    hashed = directory["keys"][1]["token"]
    assert litellm.page("/litellm/key/info", ("key", hashed))["info"]["user_id"] == "sandbox-bo"
    assert visitor.get("/litellm/key/info", ("key", hashed)).status_code == 403


def test_health_is_open_and_everything_else_is_not(litellm: Caller) -> None:
    assert litellm.get("/litellm/health/liveliness", headers={}).json() == "I'm alive!"
    for headers in ({}, {"authorization": "Bearer sk-wrong"}, {"authorization": DEFAULT_LITELLM_KEY}):
        refused = litellm.get(DAILY, *MONDAYS_ROWS, headers=headers)
        assert refused.status_code == 401
        error = refused.json()["error"]
        assert error["message"].startswith("Authentication Error")
        assert error["code"] == "401"


@pytest.mark.parametrize(
    ("path", "parameters", "status", "message"),
    [
        (LOGS, [], 400, "Start date and end date are required"),
        (LOGS, [MONDAYS_LOGS[0]], 400, "Start date and end date are required"),
        (LOGS, [("start_date", "2026-11-09T00:00:00Z"), MONDAYS_LOGS[1]], 400, "Invalid date format"),
        (LOGS, [*MONDAYS_LOGS, ("sort_by", "user")], 400, "Invalid sort_by"),
        (LOGS, [*MONDAYS_LOGS, ("sort_order", "up")], 400, "Invalid sort_order"),
        (LOGS, [*MONDAYS_LOGS, ("search", "x")], 400, "does not speak search"),
        (LOGS, [*MONDAYS_LOGS, ("page_size", 1001)], 422, "less than or equal to 1000"),
        (LOGS, [*MONDAYS_LOGS, ("page", 0)], 422, "greater than or equal to 1"),
        (LOGS, [*MONDAYS_LOGS, ("page", "x")], 422, "valid integer"),
        (LOGS, [*MONDAYS_LOGS, ("min_spend", "x")], 422, "valid number"),
        (DAILY, [], 400, "Please provide start_date and end_date"),
        (DAILY, [("start_date", "20261109"), MONDAYS_ROWS[1]], 400, "valid YYYY-MM-DD dates"),
        (DAILY, [("start_date", "2026-11-10"), MONDAYS_ROWS[1]], 400, "on or after start_date"),
        (DAILY, [*MONDAYS_ROWS, ("page_size", 1001)], 422, "less than or equal to 1000"),
    ],
)
def test_what_the_proxy_refuses_is_refused(
    litellm: Caller, path: str, parameters: list[tuple[str, str | int]], status: int, message: str
) -> None:
    refused = litellm.get(path, *parameters)
    assert refused.status_code == status
    assert message in refused.text


def test_an_unknown_parameter_is_ignored(litellm: Caller) -> None:
    assert litellm.page(DAILY, *MONDAYS_ROWS, ("colour", "red")) == litellm.page(DAILY, *MONDAYS_ROWS)


def test_a_providers_restatement_does_not_reach_the_proxy(litellm: Caller, sandbox: SandboxServer) -> None:
    before = litellm.page(DAILY, *MONDAYS_ROWS)
    sandbox.switch(restate={"2026-11-09": Decimal(2)})
    assert litellm.page(DAILY, *MONDAYS_ROWS) == before


def test_faults_count_its_numbered_pages(litellm: Caller, sandbox: SandboxServer) -> None:
    sandbox.switch(faults=(Fault(FaultKind.STATUS, path=LOGS, page=2, status=500),))
    assert litellm.get(LOGS, *MONDAYS_LOGS).status_code == 200
    broken = litellm.get(LOGS, *MONDAYS_LOGS, ("page", 2))
    assert (broken.status_code, broken.json()["error"]["code"]) == (500, "500")
    sandbox.switch(faults=(Fault(FaultKind.EMPTY_PAGE, path=LOGS), Fault(FaultKind.NEGATIVE_COUNT, path=DAILY)))
    assert litellm.page(LOGS, *MONDAYS_LOGS)["data"] == []
    assert litellm.page(DAILY, *MONDAYS_ROWS)["results"][0]["metrics"]["completion_tokens"] < 0


def test_the_open_day_is_told_as_far_as_it_went(litellm: Caller, sandbox: SandboxServer) -> None:
    today = sandbox.world.now().date()
    logs = all_logs(litellm, ("start_date", f"{today}"), ("end_date", f"{today + timedelta(days=1)}"))
    assert logs
    assert datetime.fromisoformat(logs[0]["startTime"]) <= sandbox.world.now()
