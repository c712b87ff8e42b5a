"""A scripted account asked without a network: the same answers as over HTTP, for tests that pull a thousand times."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from datetime import date, datetime

from usage_pipeline.ledger.feed_settings import get_settings
from usage_pipeline.ledger.provider_keys import ProviderKey
from usage_pipeline.providers.contract import Endpoint, PageQuery, Provider
from usage_pipeline.providers.http import HttpCounters
from usage_pipeline.pulls.pull import PullResult, pull_key
from usage_pipeline.stages import Runtime
from usage_pipeline_tests.scripted.account import ScriptedAccount


class InMemoryClient:
    """What a pull needs of a ``ProviderClient``: pages, counters and a clock."""

    def __init__(self, provider: Provider, account: ScriptedAccount, clock: Callable[[], datetime]) -> None:
        self.provider = provider
        self.account = account
        self.clock = clock
        self.counters = HttpCounters()

    def fetch_page(self, endpoint: Endpoint, page: PageQuery) -> bytes:
        self.counters.requests += 1
        status, body = self.account.answer(endpoint.path, self.provider.query(endpoint, page))
        if status != 200:
            raise self.provider.refusal(endpoint, status, body)
        return body


def pull_in_memory(
    runtime: Runtime,
    key: ProviderKey,
    account: ScriptedAccount,
    first_day: date,
    end_day: date,
    kind: str | None = None,
) -> list[PullResult]:
    """Pull every endpoint of the key, or those of a kind, for the half-open days; a failed endpoint's result carries
    its error."""
    provider = copy(runtime.providers[key.provider])
    provider.endpoints = tuple(one for one in provider.endpoints if kind in (None, one.kind))  # type: ignore[misc]
    with runtime.engine.begin() as connection:
        projects = get_settings(connection, key.feed_id).projects_on(first_day)
    client = InMemoryClient(provider, account, runtime.clock)
    return pull_key(runtime.engine, key, provider, client, projects, first_day, end_day, runtime.clock)  # type: ignore[arg-type]
