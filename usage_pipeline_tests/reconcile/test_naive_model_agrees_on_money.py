"""The package and the naive model agree on every cost: billed, computed, Hermes', and the one that counts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings

from usage_pipeline_tests.reconcile.comparing import differences, played, world
from usage_pipeline_tests.reconcile.histories import POLICIES, Story, stories
from usage_pipeline_tests.reconcile.telling import story_in_words
from usage_pipeline_tests.reconcile.test_naive_model_agrees import RANDOM
from usage_pipeline_tests.scripted.scenario import Scenario


@pytest.fixture
def scenario(migrated_database: str, tmp_path: Path) -> Iterator[Scenario]:
    with world(migrated_database, tmp_path, billed=True) as made:
        yield made


@pytest.mark.parametrize("policy", POLICIES)
def test_the_package_and_the_model_agree_on_money(scenario: Scenario, policy: str) -> None:
    @settings(RANDOM, max_examples=30)
    @given(stories(policies=[policy], billed=True))
    def agrees(story: Story) -> None:
        found = differences(played(scenario, story))
        assert not found, "\n".join([story_in_words(story), *found])

    agrees()
