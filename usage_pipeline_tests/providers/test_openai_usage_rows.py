"""OpenAI's reports beside completions: each measure in its own unit, each dimension in its place."""

from __future__ import annotations

from typing import Any

import pytest

from usage_pipeline.measures import LEVELS
from usage_pipeline.providers import openai_endpoints as endpoints
from usage_pipeline.providers.contract import ContractBrokenError, Drift, Endpoint
from usage_pipeline.providers.openai import COMPLETIONS, PROVIDER
from usage_pipeline.pulls.asking import default_dimensions
from usage_pipeline_tests.providers.reading import dimensions, fixture_page, measures, raw, rows_of

EVERY = [endpoint for endpoint in endpoints.ENDPOINTS if endpoint.kind == "usage" and "admin" in endpoint.modes]
BESIDE = [endpoint for endpoint in EVERY if endpoint.name != "completions"]

# What the documented example of each report says, and its row's required counts.
DOCUMENTED: dict[str, tuple[dict[str, int], dict[str, int]]] = {
    "embeddings": ({"uncached_input": 16, "requests": 2}, {"input_tokens": 16, "num_model_requests": 2}),
    "moderations": ({"uncached_input": 16, "requests": 2}, {"input_tokens": 16, "num_model_requests": 2}),
    "images": ({"images": 2, "requests": 2}, {"images": 2, "num_model_requests": 2}),
    "audio_speeches": ({"characters": 45, "requests": 1}, {"characters": 45, "num_model_requests": 1}),
    "audio_transcriptions": ({"seconds": 20, "requests": 1}, {"seconds": 20, "num_model_requests": 1}),
    "vector_stores": ({"usage_bytes": 1024}, {"usage_bytes": 1024}),
    "code_interpreter_sessions": ({"sessions": 1}, {"num_sessions": 1}),
    "web_search_calls": ({"searches": 2}, {"num_requests": 2, "num_model_requests": 2}),
    "file_search_calls": ({"searches": 2}, {"num_requests": 2}),
}
OBJECTS = {"web_search_calls": "web_searches", "file_search_calls": "file_searches"}


def named(endpoint: Endpoint) -> str:
    return endpoint.name


def counts(endpoint: Endpoint, **more: Any) -> dict[str, Any]:
    return {**DOCUMENTED[endpoint.name][1], **more}


def test_every_family_has_its_endpoint_and_path() -> None:
    assert {endpoint.family: endpoint.path.removeprefix("/organization/usage/") for endpoint in EVERY} == {
        "text": "completions",
        "embeddings": "embeddings",
        "moderations": "moderations",
        "images": "images",
        "audio_speeches": "audio_speeches",
        "audio_transcriptions": "audio_transcriptions",
        "vector_stores": "vector_stores",
        "code_interpreter": "code_interpreter_sessions",
        "web_search": "web_search_calls",
        "file_search": "file_search_calls",
    }
    assert all(endpoint.path.endswith(f"/{endpoint.name}") for endpoint in EVERY)


@pytest.mark.parametrize("endpoint", BESIDE, ids=named)
def test_the_documented_example_is_read_without_drift(endpoint: Endpoint) -> None:
    drift = Drift()
    (bucket,) = fixture_page(PROVIDER, endpoint, f"{endpoint.name}.json").buckets

    row, *_ = rows_of(PROVIDER, endpoint, bucket.results, drift)

    assert measures(row) == DOCUMENTED[endpoint.name][0]
    assert dimensions(row) == {}
    assert (drift.unknown_fields, drift.totals_off, drift.not_counted) == ({}, {}, {})


@pytest.mark.parametrize("endpoint", BESIDE, ids=named)
def test_a_row_reports_exactly_what_its_endpoint_declares(endpoint: Endpoint) -> None:
    (row,) = rows_of(PROVIDER, endpoint, raw(counts(endpoint)))

    assert measures(row).keys() == endpoint.always_reports
    assert endpoint.may_report == frozenset()


@pytest.mark.parametrize(
    ("endpoint", "detail"),
    [
        (endpoints.IMAGES, '{"size":"1024x1024","source":"image.generation"}'),
        (endpoints.WEB_SEARCH_CALLS, '{"context_level":"medium"}'),
        (endpoints.FILE_SEARCH_CALLS, '{"vector_store_id":"vs_abc"}'),
    ],
    ids=lambda given: getattr(given, "name", ""),
)
def test_what_one_report_alone_is_grouped_by_stands_in_the_lines_detail(endpoint: Endpoint, detail: str) -> None:
    drift = Drift()
    (bucket,) = fixture_page(PROVIDER, endpoint, f"{endpoint.name}.json").buckets

    _, grouped = rows_of(PROVIDER, endpoint, bucket.results, drift)

    assert dimensions(grouped)["line_detail"] == detail
    assert dimensions(grouped)["project_id"] == "proj_abc"
    assert drift.answered_dimensions == set(default_dimensions(endpoint))


@pytest.mark.parametrize("endpoint", BESIDE, ids=named)
def test_every_documented_dimension_is_asked_for_and_kept(endpoint: Endpoint) -> None:
    drift = Drift()
    asked = default_dimensions(endpoint)
    row = counts(endpoint, **{endpoint.dimensions[name]: f"{name} of the row" for name in asked})

    (read,) = rows_of(PROVIDER, endpoint, raw(row), drift)

    told = dimensions(read)
    detail = told.pop("line_detail", "")
    assert set(told) | {name for name in asked if f'"{name} of the row"' in detail} == set(asked)
    assert drift.answered_dimensions == set(asked)


def test_a_dimension_that_is_null_in_every_row_is_not_answered() -> None:
    drift = Drift()

    (row,) = rows_of(PROVIDER, endpoints.IMAGES, raw(counts(endpoints.IMAGES, model="gpt-image-1", size=None)), drift)

    assert dimensions(row) == {"model": "gpt-image-1"}
    assert drift.answered_dimensions == {"model"}


def test_an_empty_text_is_no_value() -> None:
    (row,) = rows_of(PROVIDER, endpoints.IMAGES, raw(counts(endpoints.IMAGES, project_id="", size="", source="x")))

    assert dimensions(row) == {"line_detail": '{"source":"x"}'}


def test_a_dimension_that_was_not_asked_for_is_not_waited_for() -> None:
    drift = Drift()
    row = raw(counts(endpoints.IMAGES, model="gpt-image-1"))

    list(PROVIDER.usage_rows(endpoints.IMAGES, row, ("project_id",), drift))

    assert drift.answered_dimensions == set()


def test_the_source_of_the_api_is_asked_for_only_by_name() -> None:
    for endpoint in (COMPLETIONS, endpoints.WEB_SEARCH_CALLS):
        assert "api_source" in endpoint.dimensions
        assert "api_source" not in default_dimensions(endpoint)
    row = raw(counts(endpoints.WEB_SEARCH_CALLS, api_source="agents_api"))

    (read,) = PROVIDER.usage_rows(endpoints.WEB_SEARCH_CALLS, row, ("api_source",), Drift())

    assert dimensions(read) == {"api_source": "agents_api"}


def test_a_web_searchs_model_requests_are_those_of_completions_and_never_kept() -> None:
    assert "requests" not in endpoints.WEB_SEARCH_CALLS.always_reports | endpoints.WEB_SEARCH_CALLS.may_report
    (row,) = rows_of(PROVIDER, endpoints.WEB_SEARCH_CALLS, raw({"num_requests": 3, "num_model_requests": 70}))

    assert measures(row) == {"searches": 3}


def test_only_storage_is_a_level() -> None:
    assert [endpoint.name for endpoint in EVERY if endpoint.always_reports & LEVELS] == ["vector_stores"]


@pytest.mark.parametrize("endpoint", BESIDE, ids=named)
def test_a_row_of_another_report_is_refused(endpoint: Endpoint) -> None:
    other = "moderations" if endpoint.name == "embeddings" else "embeddings"
    row = counts(endpoint, object=f"organization.usage.{other}.result")

    with pytest.raises(ContractBrokenError, match="row_of_another_report"):
        rows_of(PROVIDER, endpoint, raw(row))


@pytest.mark.parametrize("endpoint", BESIDE, ids=named)
def test_the_results_are_known_by_their_own_name_which_is_not_always_the_paths(endpoint: Endpoint) -> None:
    drift = Drift()
    ours = f"organization.usage.{OBJECTS.get(endpoint.name, endpoint.name)}.result"

    rows_of(PROVIDER, endpoint, raw(counts(endpoint, object=ours), counts(endpoint, object="a.new.name")), drift)

    assert drift.rows == 2
    assert drift.unknown_fields == {"object a.new.name": 1}


@pytest.mark.parametrize("endpoint", BESIDE, ids=named)
def test_an_unknown_field_is_counted_and_the_row_is_read(endpoint: Endpoint) -> None:
    drift = Drift()

    (row,) = rows_of(PROVIDER, endpoint, raw(counts(endpoint, shoe_size=42)), drift)

    assert drift.unknown_fields == {"shoe_size": 1}
    assert measures(row) == DOCUMENTED[endpoint.name][0]


@pytest.mark.parametrize("endpoint", BESIDE, ids=named)
def test_a_row_without_its_measure_or_with_a_negative_one_is_refused(endpoint: Endpoint) -> None:
    measure, *_ = DOCUMENTED[endpoint.name][1]
    for code, row in (
        ("row_unreadable", {**counts(endpoint), measure: None}),
        ("row_unreadable", {name: n for name, n in counts(endpoint).items() if name != measure}),
        ("count_negative", counts(endpoint, **{measure: -1})),
    ):
        with pytest.raises(ContractBrokenError) as caught:
            rows_of(PROVIDER, endpoint, raw(row))
        assert caught.value.code == code
        assert caught.value.where == f"openai {endpoint.path}"


def test_fields_that_the_live_api_adds_are_known() -> None:
    drift = Drift()
    live = {"organization_id": "org-x", "organization_name": "Acme", "project_name": "Web", "user_email": "a@b.example"}

    rows_of(PROVIDER, endpoints.VECTOR_STORES, raw(counts(endpoints.VECTOR_STORES, **live)), drift)

    assert drift.unknown_fields == {}
