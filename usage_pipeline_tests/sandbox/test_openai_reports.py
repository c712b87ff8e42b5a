from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from usage_pipeline.sandbox import SandboxServer, TokenTotals
from usage_pipeline_tests.sandbox.conftest import COSTS, DAY_S, MONDAY_S, NOW_S, USAGE, Caller

DIMENSIONS = ("project_id", "user_id", "api_key_id", "model", "batch", "service_tier", "api_source")
WEEK = (("start_time", MONDAY_S), ("end_time", MONDAY_S + 7 * DAY_S))


def sums(buckets: list[dict[str, Any]], *keys: str) -> dict[tuple[Any, ...], Counter[str]]:
    """The integer measures of all results, added up by the given fields."""
    totals: dict[tuple[Any, ...], Counter[str]] = {}
    for bucket in buckets:
        for result in bucket["results"]:
            measures = {name: value for name, value in result.items() if type(value) is int}
            totals.setdefault(tuple(result[key] for key in keys), Counter()).update(measures)
    return totals


def group_by(*names: str) -> list[tuple[str, str | int]]:
    return [("group_by", name) for name in names]


def test_a_day_is_exactly_the_sum_of_its_hours_and_its_minutes(openai: Caller) -> None:
    day = (("start_time", MONDAY_S), ("end_time", MONDAY_S + DAY_S), *group_by("model", "service_tier"))
    keys = ("model", "service_tier")
    by_day = sums(openai.all_buckets(USAGE, *day), *keys)
    assert by_day
    assert by_day == sums(openai.all_buckets(USAGE, *day, ("bucket_width", "1h")), *keys)
    assert by_day == sums(openai.all_buckets(USAGE, *day, ("bucket_width", "1m"), ("limit", 1000)), *keys)


@pytest.mark.parametrize("kept", [(), ("model",), ("project_id", "user_id"), ("batch", "service_tier", "api_source")])
def test_fewer_dimensions_are_exactly_the_sum_of_more(openai: Caller, kept: tuple[str, ...]) -> None:
    fine = openai.all_buckets(USAGE, *WEEK, *group_by(*DIMENSIONS))
    coarse = openai.all_buckets(USAGE, *WEEK, *group_by(*kept))
    assert sums(coarse, *kept) == sums(fine, *kept)


def test_the_pages_together_are_the_one_big_page(openai: Caller) -> None:
    asked = [*WEEK, ("bucket_width", "1h"), *group_by("model")]
    assert openai.all_buckets(USAGE, *asked, ("limit", 5)) == openai.page(USAGE, *asked, ("limit", 168))["data"]


def test_buckets_are_whole_ordered_and_there_even_when_idle(openai: Caller) -> None:
    page = openai.page(USAGE, *WEEK, ("bucket_width", "1h"), ("limit", 168))
    starts = [bucket["start_time"] for bucket in page["data"]]
    assert starts == list(range(MONDAY_S, MONDAY_S + 7 * DAY_S, 3600))
    assert any(bucket["results"] == [] for bucket in page["data"])
    assert (page["object"], page["has_more"], page["next_page"]) == ("page", False, None)


def test_the_first_and_the_last_bucket_are_clipped(openai: Caller) -> None:
    start_s = NOW_S - 3 * DAY_S
    buckets = openai.all_buckets(USAGE, ("start_time", start_s))
    assert buckets[0]["start_time"] == start_s - start_s % 60
    assert buckets[0]["end_time"] % DAY_S == 0
    assert buckets[-1]["end_time"] == NOW_S
    assert len(buckets) == 4
    ended = openai.all_buckets(USAGE, ("start_time", MONDAY_S), ("end_time", MONDAY_S + DAY_S + 77))
    assert [bucket["end_time"] for bucket in ended] == [MONDAY_S + DAY_S, MONDAY_S + DAY_S + 77]


def test_a_clipped_bucket_holds_only_what_lies_inside(openai: Caller) -> None:
    noon_s = MONDAY_S + DAY_S // 2
    halves = openai.all_buckets(USAGE, ("start_time", MONDAY_S), ("end_time", noon_s)) + openai.all_buckets(
        USAGE, ("start_time", noon_s), ("end_time", MONDAY_S + DAY_S)
    )
    assert sums(halves) == sums(openai.all_buckets(USAGE, ("start_time", MONDAY_S), ("end_time", MONDAY_S + DAY_S)))


def test_the_limit_counts_buckets_and_has_the_documented_default(openai: Caller) -> None:
    start = ("start_time", MONDAY_S - 30 * DAY_S)
    assert [len(openai.page(USAGE, start, ("bucket_width", width))["data"]) for width in ("1m", "1h", "1d")] == [
        60,
        24,
        7,
    ]
    assert len(openai.page(COSTS, start)["data"]) == 7


def test_a_dimension_that_was_not_asked_for_is_null(openai: Caller, sandbox: SandboxServer) -> None:
    def dimensions() -> set[Any]:
        return {bucket[name] for bucket in openai.page(USAGE, *WEEK)["data"][0]["results"] for name in DIMENSIONS}

    assert dimensions() == {None}
    sandbox.switch(openai_null_dimension="")
    assert dimensions() == {None, ""}


@pytest.mark.parametrize("asked", [[("group_by[]", "model")], [("group_by", "model,project_id")]])
def test_brackets_and_commas_are_silently_without_effect(openai: Caller, asked: list[tuple[str, str | int]]) -> None:
    assert openai.all_buckets(USAGE, *WEEK, *asked) == openai.all_buckets(USAGE, *WEEK)


def test_filters_keep_only_what_they_name(openai: Caller) -> None:
    everything = sums(openai.all_buckets(USAGE, *WEEK, *group_by(*DIMENSIONS)), *DIMENSIONS)
    wanted = {"project_ids": "project_id", "user_ids": "user_id", "api_key_ids": "api_key_id", "models": "model"}
    for parameter, name in wanted.items():
        index = DIMENSIONS.index(name)
        values = sorted({key[index] for key in everything})[:2]
        found = openai.all_buckets(USAGE, *WEEK, *group_by(*DIMENSIONS), *((parameter, value) for value in values))
        assert sums(found, *DIMENSIONS) == {key: total for key, total in everything.items() if key[index] in values}
    for text, flag in (("true", True), ("false", False)):
        found = openai.all_buckets(USAGE, *WEEK, *group_by(*DIMENSIONS), ("batch", text))
        assert sums(found, *DIMENSIONS) == {key: total for key, total in everything.items() if key[4] is flag}


def test_the_newest_contract_keeps_its_identities(openai: Caller) -> None:
    for bucket in openai.page(USAGE, *WEEK, *group_by("model"))["data"]:
        for r in bucket["results"]:
            uncached, cached = r["input_uncached_tokens"], r["input_cached_tokens"]
            assert r["input_tokens"] == uncached + cached + r["input_cache_write_tokens"]
            assert uncached == r["input_text_tokens"] + r["input_audio_tokens"] + r["input_image_tokens"]
            assert cached == sum(r[f"input_cached_{kind}_tokens"] for kind in ("text", "audio", "image"))
            assert r["output_tokens"] == sum(r[f"output_{kind}_tokens"] for kind in ("text", "audio", "image"))


def test_the_older_contract_holds_audio_beside_the_input(openai: Caller, sandbox: SandboxServer) -> None:
    asked = (*WEEK, *group_by("model"))
    new = sums(openai.all_buckets(USAGE, *asked), "model")
    sandbox.switch(openai_contract="2025")
    old = sums(openai.all_buckets(USAGE, *asked), "model")
    assert "input_uncached_tokens" not in old["gpt-realtime-2025-08-28",]
    for model, counts in old.items():
        assert counts["input_tokens"] + counts["input_audio_tokens"] == new[model]["input_tokens"]
    assert old["gpt-realtime-2025-08-28",]["input_audio_tokens"] > 0
    assert "Invalid value: 'api_source'" in openai.refused(USAGE, *WEEK, ("group_by", "api_source"))


def test_usage_is_the_worlds_truth(openai: Caller, sandbox: SandboxServer) -> None:
    buckets = openai.all_buckets(USAGE, *WEEK, *group_by("model"))
    for bucket in buckets:
        day = datetime.fromtimestamp(bucket["start_time"], UTC).date()
        assert {
            r["model"]: TokenTotals(
                r["input_uncached_tokens"],
                r["input_cached_tokens"],
                r["input_cache_write_tokens"],
                r["output_tokens"],
                r["num_model_requests"],
            )
            for r in bucket["results"]
        } == sandbox.world.token_totals("openai", day)


def money(buckets: list[dict[str, Any]]) -> Decimal:
    return sum((Decimal(str(r["amount"]["value"])) for b in buckets for r in b["results"]), Decimal(0))


@pytest.mark.parametrize("names", [(), ("line_item",), ("project_id", "line_item"), ("api_key_id", "user_id")])
def test_costs_are_the_worlds_bill_at_any_grouping(
    openai: Caller, sandbox: SandboxServer, names: tuple[str, ...]
) -> None:
    for bucket in openai.all_buckets(COSTS, *WEEK, *group_by(*names)):
        day = datetime.fromtimestamp(bucket["start_time"], UTC).date()
        assert money([bucket]) == sandbox.world.bill_usd("openai", day)


def test_amounts_come_as_numbers_as_long_strings_and_as_a_tiny_zero(openai: Caller) -> None:
    month = (("start_time", MONDAY_S - 20 * DAY_S), ("limit", 31))
    page = openai.page(COSTS, *month, *group_by("project_id", "line_item"))
    results = [result for bucket in page["data"] for result in bucket["results"]]
    amounts = [result["amount"]["value"] for result in results]
    assert any(isinstance(amount, float) for amount in amounts)
    assert any(isinstance(amount, str) and len(amount) > 35 for amount in amounts)
    assert "0E-6176" in amounts
    assert {result["amount"]["currency"] for result in results} == {"usd"}
    assert {"gpt-5-2025-08-07, input", "gpt-5-2025-08-07, cached input", "priority | gpt-5-2025-08-07, output"} <= {
        result["line_item"] for result in results
    }


def test_quantity_is_there_only_with_the_line_item(openai: Caller, sandbox: SandboxServer) -> None:
    by_line = openai.page(COSTS, *WEEK, *group_by("line_item"))["data"][0]["results"][0]
    by_project = openai.page(COSTS, *WEEK, *group_by("project_id"))["data"][0]["results"][0]
    assert (type(by_line["quantity"]), by_line["quantity_unit"]) == (float, "tokens")
    assert (by_project["quantity"], by_project["quantity_unit"]) == (None, None)
    sandbox.switch(openai_contract="2025")
    assert "quantity_unit" not in openai.page(COSTS, *WEEK)["data"][0]["results"][0]


def test_a_clipped_day_still_costs_its_whole_amount(openai: Caller, sandbox: SandboxServer) -> None:
    noon = ("start_time", MONDAY_S + DAY_S // 2)
    bucket = openai.page(COSTS, noon, ("end_time", MONDAY_S + DAY_S))["data"][0]
    assert bucket["start_time"] == noon[1]
    assert money([bucket]) == sandbox.world.bill_usd("openai", date(2026, 11, 9))


def test_undocumented_extras_can_be_switched_off(openai: Caller, sandbox: SandboxServer) -> None:
    bucket = openai.page(USAGE, *WEEK, *group_by("project_id"))["data"][0]
    assert bucket["start_time_iso"].startswith("2026-11-09T00:00:00")
    assert bucket["results"][0]["project_name"] == "Assistant"
    sandbox.switch(openai_extras=False)
    bucket = openai.page(USAGE, *WEEK, *group_by("project_id"))["data"][0]
    assert "start_time_iso" not in bucket
    assert "organization_id" not in bucket["results"][0]


def test_the_last_cursor_can_be_an_empty_text(openai: Caller, sandbox: SandboxServer) -> None:
    sandbox.switch(openai_last_cursor="")
    assert openai.page(USAGE, *WEEK)["next_page"] == ""
