"""The endpoint under fuzz from its own description: never a fault of ours, and nothing that the description lacks."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from usage_pipeline_tests.service.api_world import DAY, Api
from usage_pipeline_tests.service.conftest import INGEST, Install, Service, Start

CRON_SECRET = "a-secret-that-cron-has"
EXAMPLES = 30
SECONDS_MAX = 60
"""The first call loads Dagster, beside whatever else the machine does."""
CHECKS = [
    schemathesis.checks.not_a_server_error,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
]
FUZZ = settings(
    max_examples=EXAMPLES,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
    derandomize=True,
)


@pytest.fixture
def description(service: Service) -> Iterator[schemathesis.BaseSchema]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # schemathesis' own
        yield schemathesis.openapi.from_url(f"{service.url}/openapi.json")


@pytest.mark.parametrize("mode", [schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE])
def test_no_payload_makes_the_service_fail(
    description: schemathesis.BaseSchema, laptop: Install, mode: schemathesis.GenerationMode
) -> None:
    operation = description[INGEST]["POST"]
    seen: set[int] = set()

    @FUZZ
    @given(case=operation.as_strategy(generation_mode=mode))
    def fuzz(case: schemathesis.Case) -> None:
        answer = case.call_and_validate(
            timeout=SECONDS_MAX, headers={"Authorization": f"Bearer {laptop.token}"}, checks=CHECKS
        )
        seen.add(answer.status_code)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fuzz()
    assert seen <= {200, 400, 401, 413, 415}
    assert seen & {200, 400}


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", f"{INGEST}/schema/v3"])
def test_no_request_makes_the_other_paths_fail(description: schemathesis.BaseSchema, path: str) -> None:
    operation = description[path]["GET"]

    @settings(FUZZ, max_examples=10)
    @given(case=operation.as_strategy())
    def fuzz(case: schemathesis.Case) -> None:
        case.call_and_validate(timeout=SECONDS_MAX, checks=CHECKS)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fuzz()


@pytest.mark.parametrize("mode", [schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE])
def test_no_call_of_cron_makes_the_service_fail(start: Start, mode: schemathesis.GenerationMode) -> None:
    service = start(CRON_SECRET=CRON_SECRET, DAGSTER_HOME="")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        operation = schemathesis.openapi.from_url(f"{service.url}/openapi.json")["/api/cron/ingest"]["POST"]
    seen: set[int] = set()

    @settings(FUZZ, max_examples=15)
    @given(case=operation.as_strategy(generation_mode=mode))
    def fuzz(case: schemathesis.Case) -> None:
        answer = case.call_and_validate(
            timeout=SECONDS_MAX, headers={"Authorization": f"Bearer {CRON_SECRET}"}, checks=CHECKS
        )
        seen.add(answer.status_code)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fuzz()
    assert seen <= {200, 400, 401, 413, 415}  # no key is registered, so nothing starts
    assert seen & {200, 400}


API = (
    "/api/usage",
    "/api/usage/events",
    "/api/findings",
    "/api/coverage",
    "/api/bills",
    "/api/budgets",
    "/api/workspaces",
)
DOWNLOADS = ("/api/exports/csv", "/api/exports/parquet", "/api/exports/focus")


@pytest.fixture(scope="module")
def api_description(api: Api) -> schemathesis.BaseSchema:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return schemathesis.openapi.from_asgi("/openapi.json", api.client.app)


@pytest.mark.parametrize("mode", [schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE])
@pytest.mark.parametrize("path", [*API, *DOWNLOADS, "/api/raw/{pull}/{page}"])
def test_no_question_makes_the_api_fail(
    api_description: schemathesis.BaseSchema, api: Api, path: str, mode: schemathesis.GenerationMode
) -> None:
    operation = api_description[path]["GET"]
    seen: set[int] = set()

    @settings(FUZZ, max_examples=8)
    @given(case=operation.as_strategy(generation_mode=mode))
    def fuzz(case: schemathesis.Case) -> None:
        headers = {"Authorization": f"Bearer {api.tokens['acme']}"}
        seen.add(case.call_and_validate(timeout=SECONDS_MAX, headers=headers, checks=CHECKS).status_code)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fuzz()
    assert seen <= {200, 304, 400, 403, 404, 410}


@pytest.mark.parametrize("path", [*API, *DOWNLOADS, "/api/session", "/api/raw/{pull}/{page}"])
def test_a_good_question_gets_the_answer_that_is_described(
    api_description: schemathesis.BaseSchema, api: Api, path: str
) -> None:
    without = {"/api/budgets", "/api/workspaces", "/api/session", "/api/raw/{pull}/{page}"}
    days = {} if path in without else dict(DAY)
    numbers = {"pull": 1, "page": 0} if "{pull}" in path else {}
    operation = api_description[path]["GET"]
    for more in ({}, {"group_by": "project,source"}) if path == "/api/usage" else ({},):
        case = operation.Case(query={**days, **more}, path_parameters=numbers)
        answer = case.call_and_validate(
            timeout=SECONDS_MAX, headers={"Authorization": f"Bearer {api.tokens['acme']}"}, checks=CHECKS
        )
        assert answer.status_code == 200


@pytest.mark.parametrize("path", ["/login", "/logout"])
def test_no_login_makes_the_service_fail(api_description: schemathesis.BaseSchema, path: str) -> None:
    operation = api_description[path]["POST"]

    @settings(FUZZ, max_examples=8)
    @given(case=operation.as_strategy())
    def fuzz(case: schemathesis.Case) -> None:
        case.call_and_validate(timeout=SECONDS_MAX, checks=CHECKS)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fuzz()
