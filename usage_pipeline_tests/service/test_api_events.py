"""``GET /api/usage/events``: every row is on one page, once, in the same order, and filters keep what they say."""

from __future__ import annotations

import json
from typing import Any

import pytest

from usage_pipeline.reconcile.row_report import event_rows
from usage_pipeline_tests.reconcile.test_cuts import NEXT, D
from usage_pipeline_tests.service.api_world import DAY, Api

Json = dict[str, Any]


def walked(api: Api, limit: int, **parameters: Any) -> list[Json]:
    """The rows of all pages."""
    rows: list[Json] = []
    cursor: dict[str, str] = {}
    while True:
        page = api.told("/api/usage/events", **DAY, limit=limit, **parameters, **cursor)
        rows += page["rows"]
        assert len(page["rows"]) == limit or page["next_cursor"] is None
        if page["next_cursor"] is None:
            return rows
        cursor = {"cursor": page["next_cursor"]}


@pytest.mark.parametrize("limit", [1, 3, 1000])
def test_the_pages_have_every_row_of_the_report_once(api: Api, limit: int) -> None:
    rows = walked(api, limit)
    assert [row["event_id"] for row in rows] == [row["event_id"] for row in walked(api, 7)]
    with api.scenario.runtime.engine.connect() as connection:
        printed = {row["event_id"]: row for row in event_rows(connection, D, NEXT, "acme")}
    assert len(rows) == len(printed)
    for row in rows:
        assert printed[row["event_id"]].items() <= row.items()


@pytest.mark.parametrize(
    ("parameters", "column", "values"),
    [
        ({"project": "proj_b"}, "project_id", {"proj_b"}),
        ({"project": ["proj_b", ""]}, "project_id", {"proj_b", None}),
        ({"user": "user_2"}, "user_id", {"user_2"}),
        ({"api_key": "key_user_2"}, "api_key_id", {"key_user_2"}),
        ({"provider": "anthropic"}, "provider", {"anthropic"}),
        ({"feed": "acme.laptop"}, "feed", {"acme.laptop"}),
        ({"source": "hermes_plugin"}, "source", {"hermes_plugin"}),
        ({"endpoint": "completions"}, "endpoint", {"completions"}),
        ({"state": "shadowed"}, "state", {"shadowed"}),
        ({"model": "gpt-5", "provider": "openai"}, "model", {"gpt-5", "gpt-5-2025-08-07"}),
        ({"reported_model": "gpt-5-2025-08-07"}, "model", {"gpt-5-2025-08-07"}),
        ({"model": "gpt-5", "reported_model": "claude-sonnet-4-5"}, "model", set()),
    ],
)
def test_filters_keep_what_they_say(api: Api, parameters: Json, column: str, values: set[str | None]) -> None:
    everything = [row for row in walked(api, 1000) if row[column] in values]
    if "provider" in parameters:
        everything = [row for row in everything if row["provider"] == parameters["provider"]]
    chosen = walked(api, 2, **parameters)
    assert chosen == everything
    assert {row[column] for row in chosen} == values


def test_a_row_names_what_told_it(api: Api) -> None:
    rows = walked(api, 1000)
    for row in rows:
        assert (row["pull_id"] is None) is (row["source"] == "hermes_plugin")
        assert (row["batch_id"] is None) is (row["source"] == "provider_api_key")
    (pull,) = {row["pull_id"] for row in rows if row["feed"] == "acme.openai.wide" and row["endpoint"] == "completions"}
    page = api.get(f"/api/raw/{pull}/0")
    assert (page.status_code, page.headers["X-Usage-Feed"]) == (200, "acme.openai.wide completions")
    assert json.loads(page.content)["data"]


@pytest.mark.parametrize(
    "cursor",
    ["x", "ü", "bnVsbA==", "WyIyMDI2LVcxMC0yIiwiYSIsImIiLCJjIl0=", "WzEsMiwzLDRd", "WyJhXHUwMDAwIiwiIiwiIiwiIl0="],
)
def test_a_cursor_that_no_page_gave_is_refused(api: Api, cursor: str) -> None:
    api.refused(400, "cursor_malformed", api.get("/api/usage/events", **DAY, cursor=cursor))


def test_a_page_is_bounded(api: Api) -> None:
    api.refused(400, "parameter_malformed", api.get("/api/usage/events", **DAY, limit=1001))
