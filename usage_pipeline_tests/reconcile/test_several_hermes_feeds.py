"""Several Hermes installs in one workspace: profiles add up, environments that do not count are only shown."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest

from usage_pipeline.ledger.hermes_feeds import HermesFeed, get_hermes_feed, set_counts
from usage_pipeline_tests.scripted.payloads import Call, v2_payload, v3_payload
from usage_pipeline_tests.scripted.scenario import Scenario, figure, figures, scenario_on, utc

D = date(2026, 3, 10)
NEXT = D + timedelta(days=1)
SETTLED = utc(D + timedelta(days=4), 6)


@pytest.fixture
def scenario(migrated_database: str, tmp_path: Path) -> Iterator[Scenario]:
    with scenario_on(migrated_database, tmp_path / "home", SETTLED) as made:
        yield made


def posted(scenario: Scenario, label: str, output: int, environment: str = "production") -> HermesFeed:
    feed = scenario.hermes(label, environment=environment)
    payload = v3_payload(SETTLED, [Call(utc(D, 9), output=output)], D, NEXT)
    scenario.send(feed, {**payload, "environment": environment, "sourceLabel": f"hermes on {label}"})
    return feed


def test_profiles_with_a_feed_each_add_up_and_explain_the_provider_together(scenario: Scenario) -> None:
    key = scenario.register()
    key.account.spend(utc(D, 9), 1000)
    scenario.pull(key, D)
    posted(scenario, "work", 300)
    posted(scenario, "home", 200)
    scenario.settle(D)
    row = figures(scenario.row(D, family="text"))
    assert (row["reported_by_hermes"], row["counted"], row["explained"], row["unattributed"]) == (500, 1000, 500, 500)


def test_versions_of_the_payload_mix(scenario: Scenario) -> None:
    posted(scenario, "new", 300)
    old = scenario.hermes("old")
    scenario.send(old, v2_payload(SETTLED, [Call(utc(D, 9), output=40)]))
    scenario.settle(D)
    assert figure(scenario.row(D), "counted") == 340


def test_another_environment_is_kept_and_counts_only_when_it_is_told_to(scenario: Scenario) -> None:
    posted(scenario, "laptop", 300)
    staging = posted(scenario, "lab", 70, "staging")
    scenario.settle(D)
    assert figure(scenario.row(D), "counted") == 300
    kept = scenario.select(
        "SELECT sum(e.output) AS output FROM usage_events AS e JOIN slices AS s USING (slice_id)"
        " WHERE s.feed_id = :feed AND s.endpoint = 'rollups'",
        feed=staging.feed_id,
    )
    assert kept == [{"output": 70}]
    with scenario.runtime.engine.begin() as connection:
        set_counts(connection, get_hermes_feed(connection, staging.slug), True, SETTLED)
    scenario.settle(D)
    assert figure(scenario.row(D), "counted") == 370


def test_two_installs_that_post_to_one_feed_are_told(scenario: Scenario) -> None:
    feed = posted(scenario, "laptop", 300)
    later = SETTLED + timedelta(minutes=1)
    payload = v3_payload(later, [Call(utc(D, 9), output=1)], D, NEXT, revision=2)
    scenario.at(later).send(feed, {**payload, "sourceLabel": "hermes on another machine"})
    scenario.settle(D)
    assert "overlapping_feeds" in scenario.codes(D)
    assert figure(scenario.row(D), "counted") == 1  # the newest word, never the sum of two that cannot be told apart
