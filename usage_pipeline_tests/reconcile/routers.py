"""A reseller and a proxy for tests: they report in OpenAI's words, and each row names the vendor by its model's prefix.

Belongs here: two providers, a scenario that speaks them beside the vendors, and keys with an account behind them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import msgspec

from usage_pipeline.hermes.routes import UNKNOWN, vendor_of_model
from usage_pipeline.measures import EVENT_DIMENSIONS
from usage_pipeline.providers.anthropic import COST_REPORT, MESSAGES, Anthropic
from usage_pipeline.providers.contract import Drift, Endpoint, Role, UsageRow
from usage_pipeline.providers.openai_endpoints import COMPLETIONS, COSTS
from usage_pipeline_tests.scripted.account import ScriptedAccount
from usage_pipeline_tests.scripted.narrowed_openai import NarrowedOpenAI
from usage_pipeline_tests.scripted.scenario import RegisteredAccount, Scenario, scenario_on

_MODEL, _PROJECT, _UPSTREAM = map(EVENT_DIMENSIONS.index, ("model", "project_id", "upstream_provider"))

DAILY_ACTIVITY = replace(COMPLETIONS, name="daily_activity", informational=True)
"""The proxy's own sum of the same calls, answered where the calls are."""


class TextOfAnthropic(Anthropic):
    """Anthropic without its report on Claude Code."""

    endpoints = (MESSAGES, COST_REPORT)


class Router(NarrowedOpenAI):
    """Others' models behind OpenAI's reports. A row's project, where it has one, is who answered, else the vendor of
    its model, if that is known."""

    def __init__(self, name: str, role: Role, *endpoints: Endpoint) -> None:
        super().__init__(*endpoints)
        self.name, self.title, self.role = name, name, role  # type: ignore[misc]

    def usage_rows(
        self, endpoint: Endpoint, results: msgspec.Raw, asked: tuple[str, ...], drift: Drift
    ) -> Iterator[UsageRow]:
        for row in super().usage_rows(COMPLETIONS, results, asked, drift):
            dimensions = list(row.dimensions)
            vendor = dimensions[_PROJECT] or vendor_of_model(dimensions[_MODEL] or "")
            dimensions[_UPSTREAM] = None if vendor == UNKNOWN else vendor
            yield UsageRow(tuple(dimensions), row.measures)


@contextmanager
def routed_scenario(database: str, home: Path, now: datetime) -> Iterator[Scenario]:
    """A world with OpenAI and Anthropic, a reseller ``openrouter`` with a bill, and a proxy ``litellm`` without."""
    speaks = [
        NarrowedOpenAI(COMPLETIONS, COSTS),
        TextOfAnthropic(),
        Router("openrouter", "reseller", COMPLETIONS, COSTS),
        Router("litellm", "proxy", COMPLETIONS, DAILY_ACTIVITY),
    ]
    with scenario_on(database, home, now, speaks=speaks) as scenario:
        for name in ("OPENROUTER", "LITELLM"):
            scenario.environ[f"{name}_ADMIN_REQUESTS_PER_MINUTE"] = "0"
        yield scenario


def register_router(scenario: Scenario, provider: str, name: str = "main") -> RegisteredAccount:
    """A key of the reseller or the proxy; its account answers in OpenAI's words."""
    secret = f"sk-acme-{provider}-{name}"
    scenario.served.accounts[secret] = ScriptedAccount("openai", secret)
    return scenario.register(provider, name, organization=f"{provider}-acme")
