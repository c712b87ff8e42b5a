"""The package and the naive model, written apart from the same rules, give the same table for any history."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from usage_pipeline_tests.reconcile.comparing import differences, emptied, play, played, reported, world
from usage_pipeline_tests.reconcile.histories import POLICIES, Story, stories
from usage_pipeline_tests.reconcile.playing import Stage
from usage_pipeline_tests.reconcile.telling import story_in_words
from usage_pipeline_tests.scripted.scenario import Scenario, figure

# The database is one for all examples: each empties it first. The same examples each time, and what fails is told as it
# is: `make soak` tries others, and makes what it finds small, which takes minutes.
RANDOM = settings(
    max_examples=50,
    deadline=None,
    derandomize=True,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)


@pytest.fixture
def scenario(migrated_database: str, tmp_path: Path) -> Iterator[Scenario]:
    with world(migrated_database, tmp_path) as made:
        yield made


@pytest.mark.parametrize("policy", POLICIES)
def test_the_package_and_the_model_agree(scenario: Scenario, policy: str) -> None:
    @RANDOM
    @given(stories(policies=[policy]))
    def agrees(story: Story) -> None:
        found = differences(played(scenario, story))
        assert not found, "\n".join([story_in_words(story), *found])

    agrees()


@settings(RANDOM, max_examples=15)
@given(st.tuples(stories(only="p1"), stories(only="p2")))
def test_two_workspaces_that_share_an_account_by_projects_are_each_as_the_model_says(
    scenario: Scenario, pair: tuple[Story, Story]
) -> None:
    emptied(scenario)
    stages = [Stage(scenario, story, name) for story, name in zip(pair, ("acme", "beta"), strict=True)]
    for stage in stages:
        play(stage)
    for stage in stages:
        stage.settle()  # as of its own story's end
        found = differences(stage)
        assert not found, "\n".join([*(story_in_words(story) for story in pair), stage.workspace, *found])


@settings(RANDOM, max_examples=15)
@given(stories(policies=["provider_first"]))
def test_what_counts_is_what_providers_say_and_what_stands_in_and_what_hermes_alone_knows(
    scenario: Scenario, story: Story
) -> None:
    rows = list(reported(played(scenario, story)).values())
    for measure in ("uncached_input", "cache_read", "cache_write_unsplit", "output", "requests"):
        sums = {
            name: sum(figure(row, name, measure) or 0 for row in rows if measure not in row["lower_bound"])
            for name in ("counted", "reported_by_provider", "stand_in")
        }
        alone = [row for row in rows if row["decision"] == "hermes_only"]
        by_hermes = sum(figure(row, "counted", measure) or 0 for row in alone)
        assert sums["counted"] == sums["reported_by_provider"] + sums["stand_in"] + by_hermes
