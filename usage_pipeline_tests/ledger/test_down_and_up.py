"""Every migration goes down and up again with the ledger's data kept."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest

from usage_pipeline.ledger import migrate
from usage_pipeline_tests.scripted.payloads import Call, v2_payload
from usage_pipeline_tests.scripted.scenario import Json, Scenario, scenario_on, utc

D = date(2026, 3, 10)
SETTLED = utc(D + timedelta(days=4), 6)


@pytest.fixture
def scenario(migrated_database: str, tmp_path: Path) -> Iterator[Scenario]:
    with scenario_on(migrated_database, tmp_path / "home", utc(D)) as made:
        yield made


def filled(scenario: Scenario) -> None:
    """A day with a bill, with usage that Hermes knows in part, and with a finding."""
    key, feed = scenario.register(), scenario.hermes()
    key.account.spend(utc(D, 9), 1_000_000)
    scenario.at(SETTLED).pull(key, D)
    calls = [Call(utc(D, 9), output=800), Call(utc(D, 9), "gpt-5-mini", output=500)]
    scenario.send(feed, v2_payload(SETTLED, calls))
    scenario.settle(D)


def figures(scenario: Scenario) -> Json:
    """What counts, and the findings' figures, without the numbers and instants that a store gives them."""
    told = scenario.report(D)
    findings = [(one["code"], one["model"], one["measure"], one["difference"]) for one in told["findings"]]
    return {"rows": told["rows"], "totals": told["totals"], "findings": findings}


def test_down_and_up_again_version_by_version_keeps_what_counts(scenario: Scenario) -> None:
    filled(scenario)
    before = figures(scenario)
    bills = scenario.report(D)["bills"]
    engine = scenario.runtime.engine
    url = engine.url.render_as_string(hide_password=False)
    engine.dispose()
    revisions = migrate.known_revisions()
    for revision in revisions[1 : revisions.index("0005")]:
        migrate.downgrade(url, revision)
    migrate.upgrade(url)
    assert figures(scenario) == before
    scenario.settle(D)
    assert figures(scenario) == before
    assert scenario.report(D)["bills"] == bills
