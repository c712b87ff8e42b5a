"""Any order, interleaving and duplication of a set of batches gives the same days and the same rows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from usage_pipeline import stages
from usage_pipeline.ledger.hermes_feeds import HermesFeed
from usage_pipeline_tests.scripted.payloads import Call, v2_payload, v3_payload
from usage_pipeline_tests.scripted.scenario import Json, Scenario, scenario_on, utc

FIRST = date(2026, 11, 10)
DAYS = [FIRST + timedelta(days=n) for n in range(4)]
NOW = utc(FIRST + timedelta(days=10))
LABELS = count()

CALLS = st.lists(
    st.builds(
        lambda day, hour, model, output, cached: Call(
            utc(day, hour), model, output=output, cache_read=cached, requests=1
        ),
        st.sampled_from(DAYS),
        st.sampled_from((3, 12, 22)),
        st.sampled_from(("gpt-5", "gpt-5-mini", "claude-sonnet-4-5")),
        st.integers(0, 50),
        st.integers(0, 50),
    ),
    max_size=5,
)


@st.composite
def payloads(draw: st.DrawFn) -> Json:
    """A batch of either plugin. Few instants, so that some are generated at the same one."""
    generated_at = utc(DAYS[-1], draw(st.integers(20, 23)), 30)
    calls = draw(CALLS)
    if draw(st.booleans()):
        first = draw(st.integers(0, 3))
        end = draw(st.integers(first + 1, 4))
        days = DAYS[first:end]
        covered = [call for call in calls if call.at.date() in days]
        return v3_payload(generated_at, covered, days[0], days[-1] + timedelta(days=1))
    payload = v2_payload(generated_at, [call for call in calls if call.at <= generated_at])
    return {**payload, "workspace": {"slug": "acme", "name": "Acme", "provider": "Hermes"}}


@st.composite
def arrivals(draw: st.DrawFn) -> tuple[list[Json], list[Json | None]]:
    """Batches, and how they arrive: in any order, some more than once, with processing (None) in between."""
    batches = draw(st.lists(payloads(), min_size=1, max_size=5))
    again = draw(st.lists(st.sampled_from(batches), max_size=3))
    processing: list[Any] = [None] * draw(st.integers(0, 3))
    return batches, draw(st.permutations([*batches, *again, *processing]))


@pytest.fixture
def scenario(migrated_database: str, tmp_path: Path) -> Iterator[Scenario]:
    with scenario_on(migrated_database, tmp_path, NOW) as made:
        yield made


def process(scenario: Scenario) -> None:
    stages.settle_hermes_days(scenario.runtime, DAYS)
    stages.normalise_usage(scenario.runtime, DAYS)


def said(scenario: Scenario, feed: HermesFeed) -> tuple[list[str], list[str]]:
    """Which batch speaks for each of the feed's days, and its rows; the feed's own ids left out."""
    words = scenario.select(
        "SELECT day, generated_at, batch_digest FROM hermes_days WHERE feed_id = :feed_id ORDER BY day",
        feed_id=feed.feed_id,
    )
    rows = scenario.select(
        "SELECT to_jsonb(e) - 'slice_id' - 'event_id' - 'source_id' - 'recorded_at' - 'feed_id' AS row"
        " FROM usage_events e JOIN slices USING (slice_id) WHERE slices.feed_id = :feed_id",
        feed_id=feed.feed_id,
    )
    return (
        [f"{word['day']} {word['generated_at']} {bytes(word['batch_digest']).hex()}" for word in words],
        sorted(json.dumps(row["row"], sort_keys=True) for row in rows),
    )


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(arrivals())
def test_any_arrival_gives_the_same_days_and_rows(
    scenario: Scenario, story: tuple[list[Json], list[Json | None]]
) -> None:
    batches, arrived = story
    plain, shuffled = (scenario.hermes(f"install-{next(LABELS)}") for _ in range(2))
    for batch in sorted(batches, key=lambda one: str(one["generatedAt"])):
        scenario.send(plain, batch)
    for batch_or_processing in arrived:
        if batch_or_processing is None:
            process(scenario)
        else:
            scenario.send(shuffled, batch_or_processing)
    process(scenario)
    assert said(scenario, shuffled) == said(scenario, plain)
    distinct = len({json.dumps(batch, sort_keys=True) for batch in batches})
    stored = scenario.select(
        "SELECT count(*) AS n FROM hermes_batches WHERE feed_id = :feed_id", feed_id=shuffled.feed_id
    )
    assert stored[0]["n"] == distinct
