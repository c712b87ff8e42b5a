"""Cuts of random histories: resellers, proxies, overlapping keys and every policy, whatever came in which order."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from usage_pipeline.reconcile.cut_dimensions import DIMENSIONS
from usage_pipeline.reconcile.cut_lines import CUT_MEASURES, Source
from usage_pipeline.reconcile.cuts import cut
from usage_pipeline.reconcile.figures import add
from usage_pipeline.reconcile.report import measures
from usage_pipeline_tests.reconcile.comparing import played, world
from usage_pipeline_tests.reconcile.histories import Story, stories
from usage_pipeline_tests.scripted.scenario import Scenario

BY = st.lists(st.sampled_from(DIMENSIONS), min_size=1, max_size=3, unique=True)


@pytest.fixture
def scenario(migrated_database: str, tmp_path: Path) -> Iterator[Scenario]:
    with world(migrated_database, tmp_path) as made:
        yield made


@settings(
    max_examples=5,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(story=stories(), by=BY)
def test_every_cut_of_a_random_history_adds_up(scenario: Scenario, story: Story, by: list[str]) -> None:
    played(scenario, story)
    first, end = min(story.days), max(story.days) + timedelta(days=1)
    totals = scenario.report(first, end)["totals"]["counted"]
    with scenario.runtime.engine.begin() as connection:
        made = cut(connection, first, end, None, [*by, *([] if "source" in by else ["source"])])
    at = made.by.index("source")
    assert Source.NOT_RECONCILED_YET not in {row.values[at] for row in made.rows}
    sums = add(dict.fromkeys(CUT_MEASURES), *(row.figures for row in made.rows))
    for name, value in flat(measures(sums)).items():
        assert (value or 0) == (flat(totals).get(name) or 0), name


def flat(told: dict[str, dict[str, int]]) -> dict[str, int | None]:
    units = {name: value for name, value in told["other"].items() if name != "usage_bytes"}
    return {**told["tokens"], "reasoning": told["reasoning"], "requests": told["requests"], **units}
