"""One running sandbox for the folder, put back to its default switches after each test, and two plain callers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from usage_pipeline.sandbox import DEFAULT_ANTHROPIC_KEY, DEFAULT_OPENAI_KEY, SandboxServer, Switches, World

NOW = datetime(2026, 11, 19, 14, 37, 25, tzinfo=UTC)
NOW_S = int(NOW.timestamp())
MONDAY_S = int(datetime(2026, 11, 9, tzinfo=UTC).timestamp())
DAY_S = 86400
USAGE = "/v1/organization/usage/completions"
COSTS = "/v1/organization/costs"
MESSAGES = "/v1/organizations/usage_report/messages"
COST_REPORT = "/v1/organizations/cost_report"

Parameters = Sequence[tuple[str, str | int]]


@dataclass(frozen=True)
class Caller:
    """Calls one provider's API with its default key."""

    http: httpx.Client
    headers: dict[str, str]

    def get(
        self, path: str, *parameters: tuple[str, str | int], headers: dict[str, str] | None = None
    ) -> httpx.Response:
        return self.http.get(path, params=list(parameters), headers=self.headers if headers is None else headers)

    def page(self, path: str, *parameters: tuple[str, str | int]) -> dict[str, Any]:
        response = self.get(path, *parameters)
        assert response.status_code == 200, response.text
        return response.json()

    def all_buckets(self, path: str, *parameters: tuple[str, str | int]) -> list[dict[str, Any]]:
        """Every bucket of a listing, over all of its pages."""
        page = self.page(path, *parameters)
        buckets = page["data"]
        while page["has_more"]:
            page = self.page(path, *parameters, ("page", page["next_page"]))
            buckets += page["data"]
        return buckets

    def refused(self, path: str, *parameters: tuple[str, str | int]) -> str:
        """The message of a 400."""
        response = self.get(path, *parameters)
        assert response.status_code == 400, response.text
        return response.json()["error"]["message"]


@pytest.fixture(scope="session")
def running() -> Iterator[SandboxServer]:
    with SandboxServer(World(7, NOW)) as server:
        yield server


@pytest.fixture
def sandbox(running: SandboxServer) -> Iterator[SandboxServer]:
    defaults = Switches()
    yield running
    running.switch(**{switch.name: getattr(defaults, switch.name) for switch in fields(Switches)})
    running.forget_requests()


@pytest.fixture(scope="session")
def http(running: SandboxServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=running.anthropic_base_url) as client:
        yield client


@pytest.fixture
def openai(sandbox: SandboxServer, http: httpx.Client) -> Caller:
    return Caller(http, {"authorization": f"Bearer {DEFAULT_OPENAI_KEY}"})


@pytest.fixture
def anthropic(sandbox: SandboxServer, http: httpx.Client) -> Caller:
    return Caller(http, {"x-api-key": DEFAULT_ANTHROPIC_KEY, "anthropic-version": "2023-06-01"})
