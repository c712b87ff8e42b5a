"""OpenAI's refusals are read for what they say: less to ask for, an earlier day, the other kind of key."""

from __future__ import annotations

import json
from datetime import date

import pytest

from usage_pipeline.errors import PermanentError
from usage_pipeline.providers.contract import Endpoint
from usage_pipeline.providers.openai import COMPLETIONS, COSTS, PROVIDER
from usage_pipeline.providers.openai_endpoints import IMAGES, LEGACY_COMPLETIONS, WEB_SEARCH_CALLS
from usage_pipeline.providers.refusals import AskedTooMuchError, LookbackExceededError
from usage_pipeline_tests.providers.reading import FIXTURES

MISSING_SCOPE = "You have insufficient permissions for this operation. Missing scopes: api.usage.read"


def refused(endpoint: Endpoint, message: str, *, status: int = 400, param: str | None = None) -> PermanentError:
    body = {"error": {"message": message, "type": "invalid_request_error", "param": param, "code": None}}
    error = PROVIDER.refusal(endpoint, status, json.dumps(body).encode())
    assert isinstance(error, PermanentError)
    return error


def test_a_start_before_the_kept_year_tells_the_earliest_day() -> None:
    body = (FIXTURES / "openai" / "lookback_exceeded.json").read_bytes()

    error = PROVIDER.refusal(COMPLETIONS, 400, body)

    assert isinstance(error, LookbackExceededError)
    assert error.code == "lookback_exceeded"
    assert error.earliest == date(2030, 1, 1)


@pytest.mark.parametrize(
    ("endpoint", "message", "param", "dimension"),
    [
        (COSTS, "Grouping by api_key_id is not available for this organization.", "group_by", "api_key_id"),
        (COSTS, "group_by api_key_id is not supported before 2025-12-06.", None, "api_key_id"),
        (COSTS, "Not allowed here.", "api_key_id", "api_key_id"),
        (COSTS, "Unsupported group_by: line_item", None, "label"),
        (
            COSTS,
            "Invalid value: 'user_id'. Supported values are: 'project_id', 'line_item', 'api_key_id'.",
            "group_by",
            "user_id",
        ),
        (COMPLETIONS, "Invalid value: 'api_source'. Supported values are: 'model'.", "group_by[6]", "api_source"),
        (WEB_SEARCH_CALLS, "You cannot group by context_level.", None, "context_level"),
        (IMAGES, "Invalid value: 'source'.", "group_by", "source"),
    ],
)
def test_a_dimension_that_is_refused_by_name_is_told_by_our_name(
    endpoint: Endpoint, message: str, param: str | None, dimension: str
) -> None:
    error = refused(endpoint, message, param=param)

    assert isinstance(error, AskedTooMuchError)
    assert error.refused_dimension == dimension


def test_of_two_dimensions_refused_together_the_one_that_matters_less_goes() -> None:
    error = refused(COSTS, "Grouping by user_id together with project_id is not available.", param="group_by")

    assert isinstance(error, AskedTooMuchError)
    assert error.refused_dimension == "user_id"


def test_a_page_that_is_too_large_tells_the_largest() -> None:
    error = refused(COSTS, "Invalid limit provided: 366. Limit must be less than or equal to 180.", param="limit")

    assert isinstance(error, AskedTooMuchError)
    assert (error.page_limit, error.refused_dimension) == (180, None)


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ("Invalid group_by.", "group_by"),
        ("Grouping by shoe_size is not available.", "group_by"),
        ("Invalid value. Supported values are: 'project_id', 'line_item', 'api_key_id'.", "group_by"),
        ("The user_id user-abc does not exist.", "user_ids"),
        ("The project_id group is not known.", None),
        ("Invalid limit provided: 0. Limit must be greater than or equal to 1.", "limit"),
    ],
)
def test_a_refusal_that_names_nothing_loses_nothing(message: str, param: str | None) -> None:
    error = refused(COSTS, message, param=param)

    assert not isinstance(error, AskedTooMuchError)
    assert error.code == "request_refused"


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"error": "no"}', b'{"error": {"param": 3}}'])
def test_a_refusal_that_cannot_be_read_is_a_refusal(body: bytes) -> None:
    assert PROVIDER.refusal(COSTS, 400, body).code == "request_refused"


@pytest.mark.parametrize("status", [401, 403])
def test_a_standard_key_at_an_admin_report_is_told_where_it_belongs(status: int) -> None:
    error = refused(COMPLETIONS, MISSING_SCOPE, status=status)

    assert error.code == "scope_missing"
    assert "api.usage.read" in error.what
    assert "standard key belongs under mode standard" in error.remedy


@pytest.mark.parametrize(
    ("status", "message", "code"),
    [
        (401, MISSING_SCOPE, "scope_missing"),
        (403, MISSING_SCOPE, "scope_missing"),
        (401, "Incorrect API key provided.", "credential_refused"),
        (403, "Forbidden.", "credential_forbidden"),
        (404, "Invalid URL (GET /v1/usage)", "endpoint_unknown"),
    ],
)
def test_an_admin_key_at_the_legacy_report_is_told_where_it_belongs(status: int, message: str, code: str) -> None:
    error = refused(LEGACY_COMPLETIONS, message, status=status)

    assert error.code == code
    assert "belongs under mode admin" in error.remedy
    assert "not documented" in error.remedy


def test_a_key_that_is_not_accepted_is_not_called_one_of_the_other_kind() -> None:
    error = refused(COMPLETIONS, "Incorrect API key provided.", status=401)

    assert error.code == "credential_refused"
    assert "mode standard" not in error.remedy
