"""OpenAI's API is asked in its own words, and only a page is taken for a page."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from usage_pipeline.credentials.secret import Secret
from usage_pipeline.errors import InvariantError
from usage_pipeline.providers.contract import ContractBrokenError, PageQuery
from usage_pipeline.providers.openai import COMPLETIONS, COSTS, PROVIDER
from usage_pipeline_tests.providers.reading import ASKED, lines_of, raw, rows_of

FIRST_OF_NOVEMBER = datetime(2024, 11, 1, tzinfo=UTC)  # 1730419200


def query(**changes: Any) -> PageQuery:
    values: dict[str, Any] = {
        "start": FIRST_OF_NOVEMBER,
        "end": datetime(2024, 11, 3, tzinfo=UTC),
        "width": "1d",
        "dimensions": ("model", "project_id"),
    }
    return PageQuery(**{**values, **changes})


# Asking


def test_arrays_are_repeated_bare_names_in_a_stable_order() -> None:
    assert list(PROVIDER.query(COMPLETIONS, query(projects=("proj_a", "proj_b"), cursor="page_2"))) == [
        ("start_time", "1730419200"),
        ("end_time", "1730592000"),
        ("bucket_width", "1d"),
        ("limit", "31"),
        ("group_by", "project_id"),
        ("group_by", "model"),
        ("project_ids", "proj_a"),
        ("project_ids", "proj_b"),
        ("page", "page_2"),
    ]


def test_the_largest_pages_are_asked_for() -> None:
    assert dict(PROVIDER.query(COMPLETIONS, query(width="1h")))["limit"] == "168"
    assert dict(PROVIDER.query(COSTS, query(dimensions=("label",))))["limit"] == "180"
    assert ("group_by", "line_item") in PROVIDER.query(COSTS, query(dimensions=("label",)))


@pytest.mark.parametrize(
    ("given_url", "normal"),
    [
        ("https://api.openai.com", "https://api.openai.com/v1"),
        ("https://api.openai.com/", "https://api.openai.com/v1"),
        ("https://api.openai.com/v1/", "https://api.openai.com/v1"),
        ("https://gateway.example/openai/v1", "https://gateway.example/openai/v1"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080/v1"),
    ],
)
def test_the_base_url_gets_its_version_once(given_url: str, normal: str) -> None:
    assert PROVIDER.normalise_base_url(given_url) == normal
    assert PROVIDER.normalise_base_url(normal) == normal


def test_the_key_is_sent_as_a_bearer_token() -> None:
    assert PROVIDER.headers(Secret("sk-admin-x")) == {"Authorization": "Bearer sk-admin-x"}


# The envelope and refusals


@pytest.mark.parametrize(
    ("code", "body"),
    [
        ("page_unreadable", b"[]"),
        ("page_unreadable", b'{"error": {"message": "no"}}'),
        ("page_unreadable", b'{"data": [{"start_time": 99999999999999999}]}'),
        pytest.param(
            "page_unreadable",
            b'{"data": [{"start_time": 1, "results": ' + b"[" * 200_000 + b"]" * 200_000 + b"}]}",
            id="nested without end",
        ),
        ("page_unreadable", b'{"data": [{"start_time": "soon", "results": []}]}'),
        ("results_missing", b'{"data": [{"start_time": 1730419200}]}'),
        ("results_missing", b'{"data": [{"start_time": 1730419200, "results": null}]}'),
        ("cursor_missing", b'{"data": [], "has_more": true, "next_page": null}'),
        ("cursor_missing", b'{"data": [], "has_more": true, "next_page": ""}'),
    ],
)
def test_an_envelope_that_is_no_page_is_refused(code: str, body: bytes) -> None:
    with pytest.raises(ContractBrokenError) as caught:
        PROVIDER.read_page(COMPLETIONS, body, ASKED)

    assert caught.value.code == code


def test_a_cursor_beside_the_end_is_no_next_page() -> None:
    assert (
        PROVIDER.read_page(COMPLETIONS, b'{"data": [], "has_more": false, "next_page": "x"}', ASKED).next_cursor is None
    )


def test_usage_and_costs_are_not_mixed_up() -> None:
    with pytest.raises(InvariantError):
        rows_of(PROVIDER, COSTS, raw())
    with pytest.raises(InvariantError):
        lines_of(PROVIDER, COMPLETIONS, raw())
