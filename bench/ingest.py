"""The ingest API: how long a POST of a 30-day batch takes while a day is reconciled on the same database.

The server is ``usage-pipeline serve`` in a process of its own, the reconciling too (``python -m bench.ingest URL``).
Every batch is new and comes over a connection of its own, as the plugin's do.
"""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from time import perf_counter, sleep
from urllib.parse import urlsplit

from sqlalchemy import text

from bench.figures import DAY, NOW, Figure
from bench.pages import MadeUpDay
from bench.store import Bench, CannedAnswers
from usage_pipeline.ledger.feed_tokens import issue_token
from usage_pipeline.ledger.hermes_feeds import add_hermes_feed
from usage_pipeline.ledger.server import connect_engine
from usage_pipeline.ledger.workspaces import get_workspace
from usage_pipeline.pricing.price_book import PriceBook
from usage_pipeline.providers.openai import PROVIDER
from usage_pipeline.reconcile.day import reconcile_workspace_days
from usage_pipeline.settings import Settings

BUDGET_S = 0.025
DAYS = 30
POSTS = 100
WARM_UP_POSTS = 20
USUAL = (3, 3)
WIDE = (10, 4)
"""Models and repositories of every bucket: of an install as most are, and of a large one."""

PAUSE_S = 0.02
"""Between two posts: many installs post now and then, none of them all the time."""

_NO_ACTUAL_COST: dict[str, object] = {
    "actualCostUsd": None,
    "actualCostObservedSessions": 0,
    "actualCostObservedTokens": 0,
}
_ROOT = Path(__file__).parents[1]


def measure_ingest(bench: Bench, rows: int, cells: int, rounds: int) -> Iterator[Figure]:
    """The 95th percentile of each round's posts, with the reconciling beside them, and without."""
    bench.record(bench.fetch(CannedAnswers(MadeUpDay(rows, models=cells))))
    bench.normalise()
    with bench.engine.begin() as connection:
        feed = add_hermes_feed(connection, bench.workspace, "ingest", "production", days_back=DAYS, now=NOW)
        token = issue_token(connection, feed, NOW)
    usual, wide = Batches(*USUAL), Batches(*WIDE)
    with _serving(bench) as address:
        _post_all(address, token, usual, WARM_UP_POSTS)
        alone = [_p95(_post_all(address, token, usual, POSTS)) for _ in range(rounds)]
        with _reconciling(bench):
            beside = [_p95(_post_all(address, token, usual, POSTS)) for _ in range(rounds)]
            beside_wide = [_p95(_post_all(address, token, wide, POSTS)) for _ in range(rounds)]
    with bench.engine.begin() as connection:
        kept = connection.execute(text("SELECT count(*) FROM hermes_batches WHERE accepted")).scalar_one()
        made = usual.made + wide.made
        assert kept == made, f"{made} batches were acknowledged, {kept} are there"
        connection.execute(text("TRUNCATE hermes_days, hermes_batches CASCADE"))
    bench.empty()
    for words, batches, samples, budget in (
        ("nothing beside it", usual, alone, None),
        ("beside reconciling", usual, beside, BUDGET_S),
        (f"{WIDE[0]} models, beside reconciling", wide, beside_wide, None),
    ):
        name = f"POST of a {DAYS}-day batch, 95th percentile, {words}"
        yield Figure(name, batches.rows, batches.size, "s", samples, (), budget)


class Batches:
    """Batches of the plugin in use (version 2), each generated a millisecond after the one before: 30 days and the
    last 24 hours, each with some models in some repositories."""

    def __init__(self, models: int, repositories: int) -> None:
        self._generated_at = datetime.combine(DAY, time(23, 30), UTC)
        days = [(DAY - timedelta(days=back)).isoformat() for back in range(DAYS)]
        hours = [f"{self._generated_at - timedelta(hours=back):%Y-%m-%dT%H}:00:00Z" for back in range(24)]
        self._payload = {
            "schemaVersion": 2,
            "environment": "production",
            "sourceLabel": "bench",
            "workspace": {"slug": "hermes-usage", "name": "Hermes Usage", "provider": "Hermes"},
            "rollups": [_bucket(start, models, repositories) for start in (*days, *hours)],
            "repositoryRollups": [_share(start, models, n) for start in (*days, *hours) for n in range(repositories)],
        }
        self.size = len(json.dumps(self._payload))
        self.rows = (DAYS + 24) * models + DAYS * repositories
        self.made = 0

    def next(self) -> bytes:
        """The body of the next batch."""
        self.made += 1
        instant = self._generated_at + timedelta(milliseconds=self.made)
        return json.dumps({**self._payload, "generatedAt": f"{instant:%Y-%m-%dT%H:%M:%S.%f}Z"}).encode()


def _bucket(start: str, models: int, repositories: int) -> dict[str, object]:
    return {
        "usageDate": start,
        **_totals(models * repositories),
        **_NO_ACTUAL_COST,
        "models": [
            {
                "model": f"gpt-5.{n}",
                "provider": "OpenAI",
                "requests": 3 * repositories,
                "tokens": 1750 * repositories,
                "inputTokens": 1000 * repositories,
                "outputTokens": 400 * repositories,
                "cacheReadTokens": 200 * repositories,
                "cacheWriteTokens": 100 * repositories,
                "reasoningTokens": 50 * repositories,
                "estimatedCostUsd": round(0.0125 * repositories, 4),
                **_NO_ACTUAL_COST,
            }
            for n in range(models)
        ],
    }


def _share(start: str, models: int, number: int) -> dict[str, object]:
    return {
        "usageDate": start,
        "repository": {"key": f"git.example.com/acme/shop-{number}", "name": f"shop-{number}"},
        "attributionStatus": "exact",
        **_totals(models),
        "models": [
            {"model": f"gpt-5.{n}", "requests": 3, "tokens": 1750, "estimatedCostUsd": 0.0125} for n in range(models)
        ],
    }


def _totals(parts: int) -> dict[str, object]:
    """What ``parts`` times the usage of one model in one repository adds up to, as the plugin counts."""
    return {
        "requests": 3 * parts,
        "totalTokens": 1750 * parts,
        "inputTokens": 1000 * parts,
        "outputTokens": 400 * parts,
        "cachedTokens": 300 * parts,
        "reasoningTokens": 50 * parts,
        "estimatedCostUsd": round(0.0125 * parts, 4),
    }


def _post_all(address: str, token: str, batches: Batches, count: int) -> list[float]:
    """Seconds of each post, from opening the connection to the end of the answer."""
    seconds = []
    for body in [batches.next() for _ in range(count)]:
        sleep(PAUSE_S)
        began = perf_counter()
        connection = http.client.HTTPConnection(address, timeout=30)
        connection.request("POST", "/api/ingest/hermes-usage", body, {"Authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        answer.read()
        connection.close()
        seconds.append(perf_counter() - began)
        assert answer.status == 200, f"the batch was answered with {answer.status}"
    return seconds


def _p95(seconds: list[float]) -> float:
    return sorted(seconds)[-(len(seconds) // 20) - 1]


@contextmanager
def _serving(bench: Bench) -> Iterator[str]:
    """The host and port of a running server."""
    environ = {
        **os.environ,
        "USAGE_DATABASE_URL": bench.url,
        "USAGE_NOW": NOW.isoformat(),
        "USAGE_INGEST_BATCHES_PER_MINUTE": "0",
    }
    command = [sys.executable, "-m", "usage_pipeline.cli", "serve", "--port", "0"]
    with subprocess.Popen(
        command, env=environ, cwd=_ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield urlsplit(process.stdout.readline().split()[-1]).netloc
        finally:
            process.terminate()


@contextmanager
def _reconciling(bench: Bench) -> Iterator[None]:
    with subprocess.Popen(
        [sys.executable, "-m", "bench.ingest", bench.url], cwd=_ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield
            assert process.poll() is None, "the reconciling ended while it was needed"
        finally:
            process.kill()


def main(url: str) -> None:
    """Reconcile the loaded day of the store at ``url`` from nothing, again and again, until the process is ended."""
    engine = connect_engine(url)
    with engine.begin() as connection:
        workspace = get_workspace(connection, "bench")
    bench = Bench(url, engine, workspace, None)  # type: ignore[arg-type] - the key is not needed
    print("ready", flush=True)
    while True:
        bench.forget_results()
        reconcile_workspace_days(engine, workspace, [DAY], NOW, {PROVIDER.name: PROVIDER}, PriceBook(), Settings())


if __name__ == "__main__":
    main(sys.argv[1])
