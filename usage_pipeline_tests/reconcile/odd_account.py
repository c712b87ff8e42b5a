"""A scripted account whose answers a test changes before they are sent: fields that are new, sums that are off."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from usage_pipeline_tests.scripted.account import Json, Query, ScriptedAccount
from usage_pipeline_tests.scripted.scenario import RegisteredAccount, Scenario


@dataclass
class OddAccount(ScriptedAccount):
    """``change`` is done to every result of completions; days before ``keeps_from`` are refused as OpenAI does."""

    change: Callable[[Json], Any] | None = None
    keeps_from: date | None = None
    refused: list[Query] = field(default_factory=list)

    def answer(self, path: str, query: Query) -> tuple[int, bytes]:
        if self.keeps_from is not None and "/organization/" in path and self._begins_too_early(query):
            self.refused.append(query)
            return 400, _lookback_refusal(self.keeps_from)
        status, body = super().answer(path, query)
        if self.change is None or status != 200 or not path.endswith("/completions"):
            return status, body
        page = json.loads(body)
        for bucket in page["data"]:
            for result in bucket["results"]:
                self.change(result)
        return status, json.dumps(page).encode()

    def _begins_too_early(self, query: Query) -> bool:
        assert self.keeps_from is not None
        start = int(dict(query)["start_time"])
        return start // 86400 < (self.keeps_from - date(1970, 1, 1)).days


def register_odd(scenario: Scenario, name: str = "odd") -> tuple[RegisteredAccount, OddAccount]:
    """An OpenAI key with such an account behind it."""
    secret = f"sk-acme-openai-{name}"
    account = OddAccount("openai", secret)
    scenario.served.accounts[secret] = account
    return scenario.register(name=name), account


def _lookback_refusal(earliest: date) -> bytes:
    message = f"Usage and cost data are available for the past year. Earliest supported start date: {earliest} (UTC)."
    error = {"code": "reporting_lookback_exceeded", "message": message}
    return json.dumps({"error": error}).encode()
