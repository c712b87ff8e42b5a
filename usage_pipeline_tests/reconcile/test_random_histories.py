"""What holds for any history, whatever its figures are: order, repetition, shares, and what history keeps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from usage_pipeline_tests.reconcile.comparing import differing_orders, played, world
from usage_pipeline_tests.reconcile.histories import Story, stories
from usage_pipeline_tests.reconcile.test_naive_model_agrees import RANDOM
from usage_pipeline_tests.scripted.scenario import TELEMETRY, Scenario, utc

HISTORIES = ("usage_event_history", "reconciled_usage_history", "reconciled_shares_history")


@pytest.fixture
def scenario(migrated_database: str, tmp_path: Path) -> Iterator[Scenario]:
    with world(migrated_database, tmp_path) as made:
        yield made


@settings(RANDOM, max_examples=10)
@given(story=stories(), random=st.randoms(use_true_random=False))
def test_the_order_of_arrival_changes_nothing(scenario: Scenario, story: Story, random: Any) -> None:
    assert differing_orders(scenario, story, random) == []


@settings(RANDOM, max_examples=10)
@given(story=stories())
def test_reconciling_again_writes_nothing(scenario: Scenario, story: Story) -> None:
    stage = played(scenario, story)
    before = scenario.contents(*TELEMETRY)
    stage.settle()
    assert scenario.contents(*TELEMETRY) == before


@settings(RANDOM, max_examples=10)
@given(story=stories())
def test_shares_add_up_to_their_cells(scenario: Scenario, story: Story) -> None:
    played(scenario, story)
    assert scenario.select(_SHARES_THAT_DIFFER) == []


@settings(RANDOM, max_examples=10)
@given(story=stories())
def test_the_same_answer_again_adds_nothing_to_history(scenario: Scenario, story: Story) -> None:
    stage = played(scenario, story)
    whole = {"first_day": story.days[0], "end_day": story.end, "complete": True}
    last = {pull.key: pull for pull in story.history.pulls}
    kept = []
    for hour in range(2):
        at = utc(story.end + timedelta(days=20), hour)
        for pull in last.values():
            stage.arrive(replace(pull, **whole, started_at=at))
        scenario.at(at).settle(*story.days)
        kept.append([scenario.count(table) for table in HISTORIES])
    assert kept[0] == kept[1]


_SHARES_THAT_DIFFER = " UNION ALL ".join(
    f"SELECT '{share} {measure}' AS what, r.{share}_{measure} AS of_cell, s.total AS of_shares FROM reconciled_usage r"
    f" LEFT JOIN LATERAL (SELECT sum({measure}) AS total FROM reconciled_shares s WHERE s.cell_id = r.cell_id"
    f" AND s.reconciliation_id = r.reconciliation_id AND s.share = '{share}') s ON true"
    f" WHERE coalesce(r.{share}_{measure}, 0) <> coalesce(s.total, 0)"
    for share in ("explained", "stand_in")
    for measure in ("uncached_input", "cache_read", "output", "requests")
)
