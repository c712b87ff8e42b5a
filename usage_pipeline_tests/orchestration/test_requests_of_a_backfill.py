"""A backfill asks as rarely as the providers allow: full pages, counted where the requests arrive.

What is expected comes from the providers' documented limits, not from our own description of their endpoints. The
sandbox hides all usage here: how often it is asked does not hang on what it answers, how long a test takes does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest

from usage_pipeline.orchestration.backfill import _BackfillRuns
from usage_pipeline.orchestration.backfill_pace import PlannedRun
from usage_pipeline.sandbox import LoggedRequest, SandboxServer
from usage_pipeline.stages import pull_days
from usage_pipeline_tests.orchestration.stores import Store, store_on

RUN_DAYS = 31
"""The days of one run of a backfill."""

BUCKETS_OF_A_PAGE = {"1h": 168, "1d": 31}
OPENAI_USAGE = "/v1/organization/usage/"
OPENAI_COSTS = "/v1/organization/costs"
ANTHROPIC_USAGE = "/v1/organizations/usage_report/messages"
ANTHROPIC_COSTS = "/v1/organizations/cost_report"
ANTHROPIC_CLAUDE_CODE = "/v1/organizations/usage_report/claude_code"
BUCKETS_OF_A_COST_PAGE = {OPENAI_COSTS: 180, ANTHROPIC_COSTS: 31}

ALL_MINUTES = 10 * 366 * 24 * 60


@pytest.fixture
def sandbox_without_usage(sandbox: SandboxServer) -> SandboxServer:
    sandbox.switch(late_minutes=ALL_MINUTES)
    return sandbox


@pytest.fixture(params=["1h", "1d"])
def grain(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def store(
    environ: dict[str, str],
    tmp_path: Path,
    sandbox_without_usage: SandboxServer,
    grain: str,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Store]:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    instance = tmp_path / "instance"
    instance.mkdir()
    with store_on(environ, instance, sandbox_without_usage, grain) as opened:
        yield opened


@pytest.fixture
def pulls_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pull a run's days as its asset does; Dagster and the days' reconciling, which ask nobody, would take minutes."""

    def run(runs: _BackfillRuns, planned: PlannedRun, _how_far: str) -> None:
        if planned.key is not None:
            pull_days(runs.runtime, planned.key, planned.span.first_day, planned.span.end_day)

    monkeypatch.setattr(_BackfillRuns, "_run", run)


def width_of(requests: list[LoggedRequest]) -> str:
    """The one width that a path was asked for; where none was named, the documented default."""
    (width,) = {dict(one.query).get("bucket_width", "1d") for one in requests}
    return width


def fewest(path: str, width: str, first: date, end: date) -> int:
    """The fewest requests for the half-open range of days, run by run."""
    wanted = 0
    while first < end:
        days = min(RUN_DAYS, (end - first).days)
        if path in BUCKETS_OF_A_COST_PAGE:
            wanted += -(-days // BUCKETS_OF_A_COST_PAGE[path])
        elif path == ANTHROPIC_CLAUDE_CODE:
            wanted += days  # it takes one day, no range
        else:
            buckets = days * 24 if width == "1h" else days
            wanted += -(-buckets // BUCKETS_OF_A_PAGE[width])
        first += timedelta(days=days)
    return wanted


def is_report(path: str) -> bool:
    """Whether a path answers for days; the lists of projects, users and keys do not."""
    return path.startswith(OPENAI_USAGE) or path in {
        OPENAI_COSTS,
        ANTHROPIC_USAGE,
        ANTHROPIC_COSTS,
        ANTHROPIC_CLAUDE_CODE,
    }


def test_a_long_range_takes_the_fewest_requests_that_the_limits_allow(
    store: Store, sandbox: SandboxServer, pulls_alone: None, grain: str
) -> None:
    end = date(2025, 3, 11)
    first = {"1d": date(2024, 3, 14), "1h": end - timedelta(days=100)}[grain]  # hours take longer, and no other rule
    store.run(first, end)
    by_path: dict[str, list[LoggedRequest]] = {}
    for one in sandbox.requests:
        by_path.setdefault(one.path, []).append(one)
    reports = {path: found for path, found in by_path.items() if is_report(path)}
    assert set(reports) >= {f"{OPENAI_USAGE}completions", OPENAI_COSTS, ANTHROPIC_USAGE, ANTHROPIC_COSTS}
    assert {width_of(reports[path]) for path in (f"{OPENAI_USAGE}completions", ANTHROPIC_USAGE)} == {grain}
    counted = {path: len(found) for path, found in reports.items()}
    assert counted == {path: fewest(path, width_of(found), first, end) for path, found in reports.items()}
    assert {one.status for found in reports.values() for one in found} == {200}


@pytest.mark.parametrize("grain", ["1h"])
@pytest.mark.usefixtures("instance_in_memory")
def test_a_run_of_a_real_backfill_asks_as_often(store: Store, sandbox: SandboxServer) -> None:
    first, end = date(2025, 3, 1), date(2025, 3, 9)
    assert store.run(first, end).ok
    asked = Counter(one.path for one in sandbox.requests)
    for path in (f"{OPENAI_USAGE}completions", ANTHROPIC_USAGE):
        assert asked[path] == fewest(path, "1h", first, end) == 2
    for path in BUCKETS_OF_A_COST_PAGE:
        assert asked[path] == fewest(path, "1d", first, end) == 1


def test_the_expectation_is_the_documented_one() -> None:
    year = (date(2024, 3, 14), date(2025, 3, 14))
    assert fewest(ANTHROPIC_USAGE, "1d", *year) == 12
    assert fewest(ANTHROPIC_USAGE, "1h", *year) == 11 * 5 + 4
    assert fewest(OPENAI_COSTS, "1d", *year) == 12
