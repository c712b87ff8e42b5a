"""The nine OpenAI usage reports beside completions, against the world's own truth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from usage_pipeline.sandbox import Fault, FaultKind, SandboxServer, Vanish, World
from usage_pipeline.sandbox.openai_services import SERVICES, VECTOR_STORES, WEB_SEARCH_CALLS
from usage_pipeline.sandbox.prices import OPENAI_RATES
from usage_pipeline_tests.sandbox.conftest import COSTS, DAY_S, MONDAY_S, NOW, NOW_S, USAGE, Caller

WEEK = (("start_time", MONDAY_S), ("end_time", MONDAY_S + 7 * DAY_S))
MONDAY = (("start_time", MONDAY_S), ("end_time", MONDAY_S + DAY_S))
FLOWS = [service for service in SERVICES if service != VECTOR_STORES]
GROUPS = {
    "embeddings": ("project_id", "user_id", "api_key_id", "model"),
    "moderations": ("project_id", "user_id", "api_key_id", "model"),
    "images": ("project_id", "user_id", "api_key_id", "model", "size", "source"),
    "audio_speeches": ("project_id", "user_id", "api_key_id", "model"),
    "audio_transcriptions": ("project_id", "user_id", "api_key_id", "model"),
    "vector_stores": ("project_id",),
    "code_interpreter_sessions": ("project_id",),
    "web_search_calls": ("project_id", "user_id", "api_key_id", "model", "context_level", "api_source"),
    "file_search_calls": ("project_id", "user_id", "api_key_id", "vector_store_id"),
}


def path_of(service: str) -> str:
    return f"/v1/organization/usage/{service}"


def group_by(*names: str) -> list[tuple[str, str | int]]:
    return [("group_by", name) for name in names]


def results(buckets: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for bucket in buckets:
        yield from bucket["results"]


def sums(buckets: list[dict[str, Any]], *keys: str) -> dict[tuple[Any, ...], Counter[str]]:
    totals: dict[tuple[Any, ...], Counter[str]] = {}
    for result in results(buckets):
        measures = {name: value for name, value in result.items() if type(value) is int}
        totals.setdefault(tuple(result[key] for key in keys), Counter()).update(measures)
    return totals


def day_of(bucket: dict[str, Any]) -> date:
    return datetime.fromtimestamp(bucket["start_time"], UTC).date()


@pytest.mark.parametrize("service", SERVICES)
def test_each_day_tells_the_worlds_truth_by_model(openai: Caller, sandbox: SandboxServer, service: str) -> None:
    keys = ["model"] if "model" in GROUPS[service] else []
    buckets = openai.all_buckets(path_of(service), *WEEK, *group_by(*keys))
    assert any(bucket["results"] for bucket in buckets)
    for bucket in buckets:
        told = {key[0] if key else None: total for key, total in sums([bucket], *keys).items()}
        assert told == sandbox.world.openai_measures(service, day_of(bucket))


def test_the_world_tells_the_measures_of_completions_alike(openai: Caller, sandbox: SandboxServer) -> None:
    truth = sandbox.world.openai_measures("completions", date(2026, 11, 9))
    (bucket,) = openai.page(USAGE, *MONDAY, ("group_by", "model"))["data"]
    assert {
        result["model"]: {name: result[name] for name in ("input_tokens", "output_tokens", "num_model_requests")}
        for result in bucket["results"]
    } == truth


@pytest.mark.parametrize(
    ("service", "name"), [("web_search_calls", "web_searches"), ("file_search_calls", "file_searches")]
)
def test_the_searches_name_their_results_otherwise(openai: Caller, service: str, name: str) -> None:
    told = {result["object"] for result in results(openai.page(path_of(service), *WEEK)["data"])}
    assert told == {f"organization.usage.{name}.result"}


@pytest.mark.parametrize("service", FLOWS)
def test_hours_minutes_and_groups_add_up_to_the_day(openai: Caller, service: str) -> None:
    path, keys = path_of(service), GROUPS[service]
    fine = sums(openai.all_buckets(path, *MONDAY, *group_by(*keys), ("bucket_width", "1h")), *keys)
    assert fine == sums(openai.all_buckets(path, *MONDAY, *group_by(*keys)), *keys)
    whole = sums(openai.all_buckets(path, *MONDAY))
    assert whole == {(): sum(fine.values(), Counter())}
    assert whole == sums(openai.all_buckets(path, *MONDAY, ("bucket_width", "1m"), ("limit", 1440)))


@pytest.mark.parametrize("service", SERVICES)
def test_every_value_of_a_dimension_can_be_filtered_for(openai: Caller, service: str) -> None:
    path = path_of(service)
    for dimension in GROUPS[service]:
        if dimension == "api_source":
            continue
        by_value = sums(openai.all_buckets(path, *WEEK, *group_by(dimension)), dimension)
        for (value,), total in by_value.items():
            kept = sums(openai.all_buckets(path, *WEEK, (f"{dimension}s", value)))
            assert kept == {(): total}


def test_a_vector_stores_bucket_is_a_level_in_every_width(openai: Caller, sandbox: SandboxServer) -> None:
    path = path_of(VECTOR_STORES)
    by_project = group_by("project_id")

    def levels(*asked: tuple[str, str | int]) -> list[dict[str, int]]:
        buckets = openai.all_buckets(path, *MONDAY, *by_project, *asked)
        return [{r["project_id"]: r["usage_bytes"] for r in bucket["results"]} for bucket in buckets]

    day, hours = levels(), levels(("bucket_width", "1h"))
    minutes = levels(("bucket_width", "1m"), ("limit", 1440))
    assert set(day[0]) == {"proj_sandbox_research", "proj_sandbox_support"}
    assert (len(hours), len(minutes)) == (24, 1440)
    assert day[0] == hours[-1] == minutes[-1]
    assert minutes[10 * 60] == minutes[10 * 60 + 59] == hours[10]
    assert hours[23] != hours[0]


def test_todays_level_is_what_lies_there_now_and_no_bucket_tells_the_future(
    openai: Caller, sandbox: SandboxServer
) -> None:
    start_s = NOW_S - NOW_S % 3600
    asked = (("start_time", start_s), ("bucket_width", "1m"), ("limit", 1440))
    assert all(bucket["results"] for bucket in openai.all_buckets(path_of(VECTOR_STORES), *asked))
    sandbox.switch(late_minutes=10)
    late = [bool(bucket["results"]) for bucket in openai.all_buckets(path_of(VECTOR_STORES), *asked)]
    assert late == [True] * 28 + [False] * 10


def test_the_requests_of_web_searches_are_among_completions_requests(openai: Caller) -> None:
    keys = ("project_id", "user_id", "api_key_id", "model", "api_source")
    hourly = (("bucket_width", "1m"), ("limit", 1440))
    searches = openai.all_buckets(path_of(WEB_SEARCH_CALLS), *MONDAY, *group_by(*keys), *hourly)
    completions = openai.all_buckets(USAGE, *MONDAY, *group_by(*keys), *hourly)
    seen = 0
    for searched, completed in zip(searches, completions, strict=True):
        requests = sums([completed], *keys)
        for key, total in sums([searched], *keys).items():
            assert 0 < total["num_model_requests"] <= requests[key]["num_model_requests"]
            assert total["num_requests"] >= total["num_model_requests"]
            seen += 1
    assert seen > 5


@pytest.mark.parametrize("service", SERVICES)
def test_a_restated_day_and_late_data_reach_every_service(openai: Caller, sandbox: SandboxServer, service: str) -> None:
    before = sums(openai.all_buckets(path_of(service), *MONDAY))[()]
    sandbox.switch(restate={"openai:2026-11-09": "0.5"})
    after = sums(openai.all_buckets(path_of(service), *MONDAY))[()]
    assert all(after[name] < before[name] for name in before if name != "num_model_requests")
    assert after["num_model_requests"] == before["num_model_requests"]
    sandbox.switch(restate={}, late_minutes=60 * 24 * 11)
    assert openai.page(path_of(service), *MONDAY)["data"][0]["results"] == []


@pytest.mark.parametrize("service", SERVICES)
def test_content_faults_reach_every_service(openai: Caller, sandbox: SandboxServer, service: str) -> None:
    asked = (*MONDAY, ("group_by", "project_id"))
    faults = (FaultKind.NEGATIVE_COUNT, FaultKind.UNKNOWN_FIELD, FaultKind.DIMENSION_UNANSWERED)
    sandbox.switch(faults=[Fault(kind, f"*/{service}") for kind in faults])
    (told,) = openai.page(path_of(service), *asked)["data"][0]["results"]
    assert min(value for value in told.values() if type(value) is int) < 0
    assert (told["sandbox_surprise"], told["project_id"]) == (7, None)


@pytest.mark.parametrize("contract", ["2025", "2026"])
def test_decisions_exist_in_the_newest_contract_only_and_nobody_made_any(
    openai: Caller, sandbox: SandboxServer, contract: str
) -> None:
    sandbox.switch(openai_contract=contract)
    response = openai.get(path_of("decisions"), *WEEK, ("group_by", "model"))
    assert response.status_code == (200 if contract == "2026" else 404)
    if contract == "2026":
        assert [bucket["results"] for bucket in response.json()["data"]] == [[]] * 7


def test_vanished_rows_are_gone_from_the_report_and_from_the_bill(openai: Caller, sandbox: SandboxServer) -> None:
    sandbox.switch(vanish=[Vanish(date(2026, 11, 9), model="whisper-1")])
    assert openai.page(path_of("audio_transcriptions"), *MONDAY)["data"][0]["results"] == []
    lines = results(openai.page(COSTS, *MONDAY, *group_by("line_item"))["data"])
    assert all("whisper" not in line["line_item"] for line in lines)


@pytest.mark.parametrize("service", SERVICES)
def test_what_another_report_knows_is_refused_where_it_is_unknown(openai: Caller, service: str) -> None:
    path = path_of(service)
    assert "Invalid value: 'batch'" in openai.refused(path, *MONDAY, ("group_by", "batch"))
    assert "Unknown query parameter: 'line_items'" in openai.refused(path, *MONDAY, ("line_items", "x"))
    assert "Unknown query parameter: 'batch'" in openai.refused(path, *MONDAY, ("batch", "true"))
    for name in ("model", "size", "context_level", "vector_store_id", "user_id"):
        if name not in GROUPS[service]:
            assert f"Invalid value: '{name}'" in openai.refused(path, *MONDAY, ("group_by", name))
            assert "Unknown query parameter" in openai.refused(path, *MONDAY, (f"{name}s", "x"))
    for width, maximum in (("1m", 1440), ("1h", 168), ("1d", 31)):
        message = openai.refused(path, *MONDAY, ("bucket_width", width), ("limit", maximum + 1))
        assert message.endswith(f"Limit must be less than or equal to {maximum}.")


@pytest.mark.parametrize(
    ("service", "name"), [("images", "sizes"), ("images", "sources"), ("web_search_calls", "context_levels")]
)
def test_a_filter_with_few_values_refuses_others(openai: Caller, service: str, name: str) -> None:
    assert "Invalid value: 'huge'" in openai.refused(path_of(service), *MONDAY, (name, "huge"))


def test_web_searches_group_by_api_source_only_in_the_newest_contract(openai: Caller, sandbox: SandboxServer) -> None:
    assert openai.page(path_of(WEB_SEARCH_CALLS), *MONDAY, ("group_by", "api_source"))["data"]
    sandbox.switch(openai_contract="2025")
    assert "api_source" in openai.refused(path_of(WEB_SEARCH_CALLS), *MONDAY, ("group_by", "api_source"))
    assert "api_source" not in openai.page(path_of(WEB_SEARCH_CALLS), *MONDAY)["data"][0]["results"][0]


def test_the_bill_holds_every_service_at_its_list_price_in_its_unit(openai: Caller, sandbox: SandboxServer) -> None:
    lines = {line["line_item"]: line for line in results(openai.page(COSTS, *MONDAY, *group_by("line_item"))["data"])}
    truth = {service: sandbox.world.openai_measures(service, date(2026, 11, 9)) for service in FLOWS}
    for label, unit, quantity, rate in (
        (
            "text-embedding-3-small, input",
            "tokens",
            truth["embeddings"]["text-embedding-3-small"]["input_tokens"],
            "2e-8",
        ),
        ("tts-1, characters", "characters", truth["audio_speeches"]["tts-1"]["characters"], "15e-6"),
        ("whisper-1, transcription", "duration_seconds", truth["audio_transcriptions"]["whisper-1"]["seconds"], "1e-4"),
        ("code interpreter sessions", "sessions", truth["code_interpreter_sessions"][None]["num_sessions"], "0.03"),
        ("web search tool calls", "calls", truth["web_search_calls"]["gpt-5-2025-08-07"]["num_requests"], "0.01"),
        ("file search tool calls", "calls", truth["file_search_calls"][None]["num_requests"], "0.0025"),
    ):
        line = lines[label]
        assert (line["quantity"], line["quantity_unit"]) == (quantity, unit)
        assert Decimal(str(line["amount"]["value"])) == quantity * Decimal(rate) > 0
    images = [line for label, line in lines.items() if "dall-e" in label]
    assert {line["quantity_unit"] for line in images} == {"images"}
    assert sum(line["quantity"] for line in images) == sum(total["images"] for total in truth["images"].values())
    assert not any("moderation" in label for label in lines)
    assert lines["gpt-5-2025-08-07, input"]["quantity_unit"] == "tokens"


def test_storage_is_billed_by_the_gibibyte_hour(openai: Caller) -> None:
    asked = (*MONDAY, *group_by("line_item"), ("line_items", "vector store storage"))
    (line,) = results(openai.page(COSTS, *asked)["data"])
    hours = results(openai.all_buckets(path_of(VECTOR_STORES), *MONDAY, ("bucket_width", "1h")))
    gib_hours = sum(hour["usage_bytes"] for hour in hours) / 2**30
    assert line["quantity_unit"] == "gibibyte_hours"
    assert line["quantity"] == pytest.approx(gib_hours)
    assert float(line["amount"]["value"]) == pytest.approx(gib_hours * 0.10 / 24)


def test_no_service_costs_much_beside_completions() -> None:
    world = World(7, NOW)
    completions, services = 0.0, Counter[str]()
    for charge in world.openai_charges(MONDAY_S, MONDAY_S + 7 * DAY_S):
        if charge.model in OPENAI_RATES:
            completions += float(charge.amount_usd)
        else:
            services[charge.line_item] += float(charge.amount_usd)
    assert max(services.values()) < 0.05 * completions
    assert sum(services.values()) < 0.15 * completions


def test_the_services_left_completions_as_they_were() -> None:
    tuesday = World(7, NOW).token_totals("openai", date(2026, 11, 10))
    assert {model: total.requests for model, total in tuesday.items()} == {
        "gpt-4o-mini-2024-07-18": 3247,
        "gpt-5-mini-2025-08-07": 3901,
        "gpt-5-2025-08-07": 1429,
        "o3-2025-04-16": 248,
        "gpt-realtime-2025-08-28": 67,
    }


def test_the_same_seed_tells_the_same_of_services_and_another_does_not() -> None:
    day = date(2026, 11, 10)
    for service in FLOWS:
        assert World(3, NOW).openai_measures(service, day) == World(3, NOW).openai_measures(service, day)
        assert World(3, NOW).openai_measures(service, day) != World(4, NOW).openai_measures(service, day)
