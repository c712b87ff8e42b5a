"""Days of OpenRouter and of a LiteLLM proxy on their whole way: pulled over HTTP, stored, read again, restated.

What is stored is read a second time when it becomes events, with another query than the one it was asked with: the
figures below hold only if both readings agree.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from usage_pipeline.ledger.feed_settings import set_projects
from usage_pipeline_tests.providers.loopback import Answer, Loopback, serving
from usage_pipeline_tests.providers.reading import FIXTURES
from usage_pipeline_tests.scripted.scenario import Scenario, scenario_on

NOW = datetime(2025, 8, 30, 9, tzinfo=UTC)
SUNDAY, MONDAY, TUESDAY = date(2025, 8, 24), date(2025, 8, 25), date(2025, 8, 26)
Json = dict[str, Any]


@pytest.fixture
def scenario(migrated_database: str, tmp_path: Path) -> Iterator[Scenario]:
    with scenario_on(migrated_database, tmp_path, NOW) as made:
        made.environ |= {"OPENROUTER_ADMIN_REQUESTS_PER_MINUTE": "0", "LITELLM_ADMIN_REQUESTS_PER_MINUTE": "0"}
        yield made


def events(scenario: Scenario, endpoint: str) -> list[tuple[Any, ...]]:
    rows = scenario.select(
        "SELECT day, model, upstream_provider, sum(uncached_input) AS uncached, sum(cache_read) AS cached,"
        " sum(output) AS output, sum(requests) AS requests FROM usage_events JOIN slices USING (slice_id)"
        " WHERE endpoint = :endpoint GROUP BY 1, 2, 3 ORDER BY 1, 2, 3",
        endpoint=endpoint,
    )
    return [tuple(int(value) if isinstance(value, Decimal) else value for value in row.values()) for row in rows]


def test_two_days_of_openrouter_from_one_answer(scenario: Scenario) -> None:
    answer: Json = json.loads((FIXTURES / "openrouter" / "activity_two_days.json").read_text())
    with serving(Loopback(by_path=lambda _: Answer(body=json.dumps(answer).encode()))) as server:
        scenario.served.url = server.url
        key = scenario.register("openrouter", organization=None, grain="1d")
        scenario.pull(key, SUNDAY, TUESDAY)
        scenario.settle(SUNDAY, MONDAY)

        assert [urlsplit(one.path).path for one in server.asked] == ["/api/v1/activity"] * 2
        before = [
            (SUNDAY, "openai/gpt-4.1", "openai", 50, None, 125, 5),
            (MONDAY, "anthropic/claude-sonnet-4.5", "anthropic", 400, 600, 400, 3),
            (MONDAY, "openai/gpt-4.1", "openai", 120, 0, 30, 3),
        ]
        assert events(scenario, "activity") == before
        # 0.015 on Sunday; 0.0081 + 0.00032 + 0.00016 on Monday
        billed = scenario.select("SELECT day, sum(amount_usd) AS usd FROM billed_costs JOIN slices USING (slice_id)"
                                 " GROUP BY 1 ORDER BY 1")  # fmt: skip
        assert [(row["day"], row["usd"]) for row in billed] == [
            (SUNDAY, Decimal("0.015")),
            (MONDAY, Decimal("0.00858")),
        ]

        answer["data"][0]["completion_tokens"] = 410
        scenario.at(NOW + timedelta(hours=1)).pull(key, MONDAY)
        scenario.settle(MONDAY)

    assert events(scenario, "activity") == [before[0], (*before[1][:5], 410, 3), before[2]]
    assert parse_qs(urlsplit(server.asked[-1].path).query) == {"date": ["2025-08-25"]}


def call(start: str, prompt: int, completion: int, **fields: Any) -> Json:
    return {
        "request_id": start,
        "startTime": start,
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "model": "gpt-5",
        "api_key": "hash",
        "custom_llm_provider": "openai",
        "status": "success",
        **fields,
    }


class Proxy:
    """Answers as the proxy does: rows between two instants, both included, oldest first, three a page."""

    def __init__(self, *calls: Json) -> None:
        self.calls = list(calls)

    def __call__(self, path: str) -> Answer:
        parts = urlsplit(path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if parts.path == "/user/daily/activity":
            return Answer(body=b'{"results": [], "metadata": {"page": 1, "has_more": false}}')
        first, last = (f"{query[name].replace(' ', 'T')}.000Z" for name in ("start_date", "end_date"))
        found = sorted(
            (one for one in self.calls if first <= one["startTime"] <= last), key=lambda one: str(one["startTime"])
        )
        number, size = int(query["page"]), 3
        body = {
            "data": found[(number - 1) * size : number * size],
            "total": len(found),
            "page": number,
            "page_size": size,
            "total_pages": -(-len(found) // size),
            "total_is_capped": False,
        }
        return Answer(body=json.dumps(body).encode())


def test_two_days_of_a_proxy_whose_hours_come_in_parts(scenario: Scenario) -> None:
    proxy = Proxy(
        call("2025-08-24T09:00:00.000Z", 100, 10),
        call("2025-08-24T09:10:00.000Z", 50, 5, metadata={"usage_object": {"cache_read_input_tokens": 20}}),
        call("2025-08-24T09:20:00.000Z", 7, 1, cache_hit="True"),
        call("2025-08-24T09:50:00.000Z", 30, 3),
        call("2025-08-24T23:59:59.999Z", 1, 1, model="claude-sonnet-4-5", custom_llm_provider="anthropic"),
        call("2025-08-25T00:00:00.000Z", 2, 2),
    )
    with serving(Loopback(by_path=proxy)) as server:
        scenario.served.url = server.url
        key = scenario.register("litellm", organization=None)
        scenario.pull(key, SUNDAY, TUESDAY)
        scenario.settle(SUNDAY, MONDAY)

        before = [
            (SUNDAY, "claude-sonnet-4-5", "anthropic", 1, 0, 1, 1),
            (SUNDAY, "gpt-5", "openai", 160, 20, 18, 3),
            (MONDAY, "gpt-5", "openai", 2, 0, 2, 1),
        ]
        assert events(scenario, "spend_logs") == before
        hours = scenario.select("SELECT DISTINCT window_start FROM usage_events ORDER BY 1")
        assert [row["window_start"].astimezone(UTC).hour for row in hours] == [9, 23, 0]
        (drift,) = scenario.select("SELECT drift FROM pulls WHERE endpoint = 'spend_logs'")
        assert drift["drift"]["not_counted"] == {"answered from the proxy's cache": 1}

        proxy.calls.append(call("2025-08-24T09:55:00.000Z", 1000, 100))
        scenario.at(NOW + timedelta(hours=1)).pull(key, SUNDAY)
        scenario.settle(SUNDAY)

    assert events(scenario, "spend_logs") == [before[0], (SUNDAY, "gpt-5", "openai", 1160, 20, 118, 4), before[2]]


def test_a_proxys_day_under_another_scope_is_read_anew_though_the_answer_is_the_same(scenario: Scenario) -> None:
    proxy = Proxy(
        call("2025-08-24T09:00:00.000Z", 100, 10, team_id="team-a"),
        call("2025-08-24T09:10:00.000Z", 50, 5, team_id="team-b"),
    )
    with serving(Loopback(by_path=proxy)) as server:
        scenario.served.url = server.url
        key = scenario.register("litellm", organization=None)
        scenario.pull(key, SUNDAY)
        scenario.settle(SUNDAY)
        assert events(scenario, "spend_logs") == [(SUNDAY, "gpt-5", "openai", 150, 0, 15, 2)]
        with scenario.runtime.engine.begin() as connection:
            set_projects(connection, key.key.feed_id, key.slug, ["team-a"], SUNDAY, NOW)
        scenario.at(NOW + timedelta(hours=1)).pull(key, SUNDAY)
        scenario.settle(SUNDAY)
    assert events(scenario, "spend_logs") == [(SUNDAY, "gpt-5", "openai", 100, 0, 10, 1)]
