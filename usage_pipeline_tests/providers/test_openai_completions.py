"""OpenAI's completions become disjoint token classes, in both generations of the contract."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from usage_pipeline.providers.contract import ContractBrokenError, Drift
from usage_pipeline.providers.openai import COMPLETIONS, PROVIDER
from usage_pipeline_tests.providers.reading import dimensions, fixture_page, measures, raw, rows_of, tokens

FIRST_OF_NOVEMBER = datetime(2024, 11, 1, tzinfo=UTC)  # 1730419200


def completion(**fields: Any) -> dict[str, Any]:
    return {"input_tokens": 0, "output_tokens": 0, "num_model_requests": 0, **fields}


# The way of one day


def test_the_documented_rows_become_disjoint_classes_that_add_up_to_the_totals() -> None:
    first, second = fixture_page(PROVIDER, COMPLETIONS, "completions.json").buckets

    plain, grouped = rows_of(PROVIDER, COMPLETIONS, first.results)

    # input 1000 = uncached 500 + cached 400 + written 100; output 500 = text 400 + audio 50 + image 50
    assert measures(plain) == {
        "uncached_input": 500,
        "cache_read": 400,
        "cache_write_unsplit": 100,
        "output": 500,
        "requests": 5,
        "input_text": 400,
        "input_audio": 50,
        "input_image": 50,
        "cache_read_text": 300,
        "cache_read_audio": 50,
        "cache_read_image": 50,
        "output_text": 400,
        "output_audio": 50,
        "output_image": 50,
    }
    assert tokens(plain) == 1000 + 500
    assert dimensions(plain) == {}
    # input 5000 = uncached 3000 + cached 1800 + written 200; output 1000
    assert tokens(grouped) == 5000 + 1000
    assert dimensions(grouped) == {
        "project_id": "proj_abc",
        "user_id": "user-abc",
        "api_key_id": "key_abc",
        "model": "gpt-4o-mini-2024-07-18",
        "batch": "false",
        "service_tier": "default",
    }
    assert first.start == FIRST_OF_NOVEMBER
    assert rows_of(PROVIDER, COMPLETIONS, second.results) == []


def test_the_documented_rows_show_no_drift() -> None:
    drift = Drift()

    rows_of(PROVIDER, COMPLETIONS, fixture_page(PROVIDER, COMPLETIONS, "completions.json").buckets[0].results, drift)

    assert (drift.rows, drift.unknown_fields, drift.totals_off) == (2, {}, {})
    assert drift.answered_dimensions == {"project_id", "user_id", "api_key_id", "model", "batch", "service_tier"}


# Two generations of the token contract


def test_before_july_2026_audio_stands_beside_the_text_totals() -> None:
    page = fixture_page(PROVIDER, COMPLETIONS, "completions_before_july_2026.json")

    audio, text = rows_of(PROVIDER, COMPLETIONS, page.buckets[0].results)

    # text input 1000, 800 of it cached, and 300 of audio beside: 200 + 300 uncached; text output 500 + audio 200
    assert measures(audio) == {
        "uncached_input": 500,
        "cache_read": 800,
        "cache_write_unsplit": 0,
        "output": 700,
        "requests": 5,
        "input_audio": 300,
        "output_audio": 200,
    }
    assert tokens(audio) == 1000 + 300 + 500 + 200
    assert measures(text) == {
        "uncached_input": 40,
        "cache_read": 0,
        "cache_write_unsplit": 0,
        "output": 2,
        "requests": 1,
    }


def test_an_empty_project_is_no_project() -> None:
    page = fixture_page(PROVIDER, COMPLETIONS, "completions_before_july_2026.json")

    audio, text = rows_of(PROVIDER, COMPLETIONS, page.buckets[0].results)

    assert "project_id" not in dimensions(audio)
    assert dimensions(audio)["batch"] == "true"
    assert dimensions(text)["project_id"] == "proj_abc"


def test_since_july_2026_audio_is_inside_the_totals_and_never_added() -> None:
    row = completion(input_tokens=100, input_uncached_tokens=60, input_cached_tokens=40, input_audio_tokens=30)

    [read] = rows_of(PROVIDER, COMPLETIONS, raw(row))

    assert tokens(read) == 100


def test_a_row_of_the_new_contract_without_its_uncached_field_is_split_by_what_is_left() -> None:
    row = completion(input_tokens=100, input_cached_tokens=30, input_cache_write_tokens=20, input_audio_tokens=10)

    [read] = rows_of(PROVIDER, COMPLETIONS, raw(row))

    assert measures(read)["uncached_input"] == 50
    assert tokens(read) == 100


def test_cache_writes_are_split_by_lifetime_and_the_rest_stays_unsplit() -> None:
    row = completion(
        input_tokens=100,
        input_uncached_tokens=10,
        input_cached_tokens=20,
        input_cache_write_tokens=70,
        input_cache_write_30m_tokens=40,
        input_cache_write_12h_tokens=25,
    )

    [read] = rows_of(PROVIDER, COMPLETIONS, raw(row))

    got = measures(read)
    assert (got["cache_write_30m"], got["cache_write_12h"], got["cache_write_unsplit"]) == (40, 25, 5)
    assert tokens(read) == 100


def test_parts_that_do_not_add_up_are_counted_and_the_input_total_is_kept() -> None:
    drift = Drift()
    row = completion(
        input_tokens=100, input_uncached_tokens=90, input_cached_tokens=20, input_cache_write_tokens=5, output_tokens=7
    )

    [read] = rows_of(PROVIDER, COMPLETIONS, raw(row), drift)

    assert drift.totals_off == {"input_tokens": 1}
    assert measures(read)["uncached_input"] == 75
    assert tokens(read) == 107


def test_parts_that_leave_a_rest_untold_are_counted_too() -> None:
    drift = Drift()

    [read] = rows_of(PROVIDER, COMPLETIONS, raw(completion(input_tokens=100, input_uncached_tokens=90)), drift)

    assert drift.totals_off == {"input_tokens": 1}
    assert tokens(read) == 100


def test_modality_parts_that_do_not_add_up_are_counted() -> None:
    drift = Drift()
    row = completion(
        input_tokens=10,
        input_uncached_tokens=6,
        input_cached_tokens=4,
        input_cache_write_tokens=0,
        input_text_tokens=5,
        input_cached_text_tokens=3,
        output_tokens=9,
        output_text_tokens=8,
    )

    rows_of(PROVIDER, COMPLETIONS, raw(row), drift)

    assert drift.totals_off == {"input_uncached_tokens": 1, "input_cached_tokens": 1, "output_tokens": 1}


counts = st.integers(min_value=0, max_value=10**12)


@given(uncached=counts, cached=counts, thirty=counts, twelve=counts, rest=counts, output=counts, spelled=st.booleans())
def test_classes_of_any_new_row_sum_to_input_and_output(
    uncached: int, cached: int, thirty: int, twelve: int, rest: int, output: int, spelled: bool
) -> None:
    written = thirty + twelve + rest
    row = completion(
        input_tokens=uncached + cached + written,
        input_cached_tokens=cached,
        input_cache_write_tokens=written,
        input_cache_write_30m_tokens=thirty,
        input_cache_write_12h_tokens=twelve,
        output_tokens=output,
        **({"input_uncached_tokens": uncached} if spelled else {}),
    )
    drift = Drift()

    [read] = rows_of(PROVIDER, COMPLETIONS, raw(row), drift)

    assert tokens(read) == row["input_tokens"] + row["output_tokens"]
    assert measures(read)["uncached_input"] == uncached
    assert drift.totals_off == {}


@given(uncached=counts, cached=counts, audio_in=counts, output=counts, audio_out=counts)
def test_classes_of_any_old_row_sum_to_text_and_audio(
    uncached: int, cached: int, audio_in: int, output: int, audio_out: int
) -> None:
    row = completion(
        input_tokens=uncached + cached,
        input_cached_tokens=cached,
        input_audio_tokens=audio_in,
        output_tokens=output,
        output_audio_tokens=audio_out,
    )

    [read] = rows_of(PROVIDER, COMPLETIONS, raw(row))

    assert tokens(read) == uncached + cached + audio_in + output + audio_out


# Broken and drifted rows


@pytest.mark.parametrize(
    ("code", "row"),
    [
        ("count_negative", completion(input_tokens=-1)),
        ("count_negative", completion(output_audio_tokens=-1)),
        ("row_unreadable", {"input_tokens": 1, "output_tokens": 1}),
        ("row_unreadable", completion(input_tokens=1.5)),
        ("row_unreadable", completion(input_tokens=2**63)),
        ("row_unreadable", completion(input_tokens="1")),
        ("row_unreadable", "text"),
        ("cached_over_input", completion(input_tokens=5, input_cached_tokens=6)),
        (
            "cached_over_input",
            completion(input_tokens=5, input_uncached_tokens=0, input_cached_tokens=3, input_cache_write_tokens=3),
        ),
        (
            "cache_writes_over_total",
            completion(input_tokens=9, input_cache_write_tokens=3, input_cache_write_30m_tokens=4),
        ),
    ],
)
def test_a_row_that_cannot_be_is_refused(code: str, row: Any) -> None:
    with pytest.raises(ContractBrokenError) as caught:
        rows_of(PROVIDER, COMPLETIONS, raw(completion(), row))

    assert caught.value.code == code
    assert caught.value.where == "openai /organization/usage/completions"


@pytest.mark.parametrize("results", [b"{}", b"[1", b"3"])
def test_results_that_are_no_list_are_refused(results: bytes) -> None:
    with pytest.raises(ContractBrokenError, match="results_unreadable"):
        rows_of(PROVIDER, COMPLETIONS, msgspec.Raw(results))


def test_text_that_is_no_utf8_is_refused() -> None:
    with pytest.raises(ContractBrokenError, match="row_unreadable"):
        rows_of(PROVIDER, COMPLETIONS, msgspec.Raw(json.dumps([completion(model="?")]).encode().replace(b"?", b"\xff")))


def test_unknown_fields_are_counted_by_row_and_the_row_is_read() -> None:
    drift = Drift()
    new = completion(input_tokens=3, input_cache_write_24h_tokens=1)

    read = rows_of(PROVIDER, COMPLETIONS, raw(new, completion(), {**new, "shoe_size": 42}), drift)

    assert drift.unknown_fields == {"input_cache_write_24h_tokens": 2, "shoe_size": 1}
    assert [tokens(row) for row in read] == [3, 0, 3]


def test_fields_that_the_live_api_adds_are_known() -> None:
    drift = Drift()
    row = completion(organization_id="org-x", organization_name="Example", project_name="Web", user_email="a@b.example")

    rows_of(PROVIDER, COMPLETIONS, raw(row), drift)

    assert drift.unknown_fields == {}
