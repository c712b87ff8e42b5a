"""A level that a later final pull tells otherwise is kept as a level: at its highest instant, never added over time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest

from usage_pipeline.utc_days import day_end
from usage_pipeline_tests.scripted.account import Use
from usage_pipeline_tests.scripted.scenario import Scenario, scenario_on, utc

DAY = date(2026, 11, 3)
SETTLED = day_end(DAY) + timedelta(days=4)


@pytest.fixture
def scenario(migrated_database: str, tmp_path: Path) -> Iterator[Scenario]:
    with scenario_on(migrated_database, tmp_path / "home", SETTLED) as made:
        yield made


def test_what_final_pulls_said_of_stored_bytes_is_the_days_highest_instant(scenario: Scenario) -> None:
    key = scenario.register()

    def stored(size: int) -> None:
        key.account.uses = [
            Use(utc(DAY, hour), project=project, amount=size + hour, endpoint="vector_stores")
            for hour in (3, 9, 21)
            for project in ("proj_a", "proj_b")
        ]
        scenario.pull(key, DAY)
        scenario.settle(DAY)

    stored(100)
    scenario.at(SETTLED + timedelta(hours=1))
    stored(50)
    kept = scenario.select("SELECT figures FROM final_figures ORDER BY pull_id")
    assert [row["figures"]["usage_bytes"] for row in kept] == [2 * 121, 2 * 71]
    (finding,) = [row for row in scenario.findings(DAY) if row["code"] == "restated_after_final"]
    assert (finding["measure"], abs(finding["difference"])) == ("usage_bytes", 100)
