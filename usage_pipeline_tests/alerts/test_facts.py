"""What the store tells: refused keys, missing days, stale keys, differences; each only while it holds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from usage_pipeline.alerts.conditions import Condition
from usage_pipeline.alerts.facts import store_conditions
from usage_pipeline.errors import UsagePipelineError
from usage_pipeline.ledger.feed_settings import disable_feed
from usage_pipeline.ledger.finding_replacement import replace_findings
from usage_pipeline.ledger.findings import Finding
from usage_pipeline.ledger.workspaces import find_workspace
from usage_pipeline_tests.scripted.scenario import RegisteredAccount, Scenario, scenario_on

D = date(2026, 11, 10)
NOW = datetime(2026, 11, 13, 12, tzinfo=UTC)
"""Expected by now is the day D + 1: it ended more than 24 hours ago."""


@pytest.fixture
def scenario(migrated_database: str, tmp_path: Path) -> Iterator[Scenario]:
    with scenario_on(migrated_database, tmp_path, datetime(2026, 11, 9, 8, tzinfo=UTC)) as made:
        yield made


@pytest.fixture
def key(scenario: Scenario) -> RegisteredAccount:
    """A key that was registered on the day before D; now is three days after D."""
    registered = scenario.register()
    scenario.at(NOW)
    return registered


def held(scenario: Scenario, *causes: str) -> list[Condition]:
    with scenario.runtime.engine.begin() as connection:
        found = store_conditions(connection, scenario.runtime.settings, scenario.clock.now)
    return [one for one in found if not causes or one.cause.code in causes]


def fail(scenario: Scenario, key: RegisteredAccount, status: int) -> None:
    key.account.refuse("completions", status)
    with pytest.raises(UsagePipelineError):
        scenario.pull(key, D)


@pytest.mark.parametrize("status", [401, 403])
def test_a_key_that_is_refused_holds_until_a_pull_goes_through(
    scenario: Scenario, key: RegisteredAccount, status: int
) -> None:
    fail(scenario, key, status)
    (one,) = held(scenario, "key_refused")
    assert one.place == key.slug
    assert f"HTTP {status}" in one.what
    assert (one.since, len(one.occurrences)) == (NOW, 1)
    assert key.slug in one.remedy
    scenario.at(NOW + timedelta(hours=1))
    fail(scenario, key, 500)  # says nothing about the key
    assert len(held(scenario, "key_refused")) == 1
    key.account.refusals.clear()
    scenario.at(NOW + timedelta(hours=2)).pull(key, D)
    assert held(scenario, "key_refused") == []


def test_a_secret_that_is_gone_is_a_key_that_stopped_working(scenario: Scenario, key: RegisteredAccount) -> None:
    scenario.environ.clear()
    with pytest.raises(UsagePipelineError):
        scenario.pull(key, D)
    assert "[secret_env_missing]" in held(scenario, "key_refused")[0].what


def test_a_server_that_fails_is_no_refused_key(scenario: Scenario, key: RegisteredAccount) -> None:
    fail(scenario, key, 500)
    assert held(scenario, "key_refused") == []


def test_days_without_a_pull_are_missing_but_the_newest_is_stale(scenario: Scenario, key: RegisteredAccount) -> None:
    # Nothing was reconciled: no finding tells of them.
    (missing,) = held(scenario, "window_missing")
    assert missing.occurrences == ("2026-11-09", "2026-11-10")
    assert missing.remedy == f"usage-pipeline backfill --from 2026-11-09 --to 2026-11-10 --key {key.slug}"
    (stale,) = held(scenario, "data_stale")
    assert stale.occurrences == ("2026-11-11",)
    scenario.pull(key, D - timedelta(days=1), D + timedelta(days=2))
    scenario.settle(*[D + timedelta(days=n) for n in (-1, 0, 1)])
    assert held(scenario) == []


def test_a_day_that_was_pulled_too_early_is_missing_when_it_should_be_final(
    scenario: Scenario, key: RegisteredAccount
) -> None:
    scenario.at(datetime(2026, 11, 10, 12, tzinfo=UTC)).pull(key, D)
    scenario.settle(D)
    late = datetime(2026, 11, 20, 12, tzinfo=UTC)
    scenario.at(late).settle(D)
    assert {finding["code"] for finding in scenario.findings(D)} >= {"provider_stale"}
    (missing,) = held(scenario, "window_missing")
    assert "2026-11-10" in missing.occurrences


def test_a_disabled_key_is_neither_stale_nor_missing(scenario: Scenario, key: RegisteredAccount) -> None:
    with scenario.runtime.engine.begin() as connection:
        disable_feed(connection, key.key.feed_id, key.slug, NOW - timedelta(days=2))
    assert held(scenario) == []


def test_a_new_key_is_given_time(scenario: Scenario) -> None:
    scenario.at(NOW).register()
    assert held(scenario) == []
    scenario.at(NOW + timedelta(hours=25))
    assert [one.cause.code for one in held(scenario)] == ["data_stale"]


def test_a_demo_raises_nothing(scenario: Scenario, key: RegisteredAccount) -> None:
    with scenario.runtime.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE workspaces SET demo = true")
    assert held(scenario) == []


def _differ(scenario: Scenario, *findings: Finding) -> None:
    with scenario.runtime.engine.begin() as connection:
        workspace = find_workspace(connection, "acme")
        assert workspace is not None
        for day in {finding.day for finding in findings} or {D}:
            of_day = [finding for finding in findings if finding.day == day]
            replace_findings(connection, workspace.workspace_id, day, of_day, scenario.clock.now)


def _excess(day: date, hermes: int, provider: int = 1000) -> Finding:
    return Finding(
        "hermes_exceeds_provider",
        day,
        f"output: Hermes reports {hermes}, the provider {provider}.",
        provider="openai",
        route="account",
        family="text",
        model="gpt-5",
        measure="output",
        figure_provider=provider,
        figure_hermes=hermes,
        difference=hermes - provider,
    )


def test_a_difference_above_the_fraction_is_told_with_its_largest_day(scenario: Scenario) -> None:
    scenario.workspace()
    _differ(scenario, _excess(D, 1100), _excess(D + timedelta(days=1), 1300), _excess(D + timedelta(days=2), 1005))
    (one,) = held(scenario, "parity_exceeded")
    assert one.place == "acme openai gpt-5 (hermes_exceeds_provider)"
    assert one.what == (
        "2026-11-10 to 2026-11-11 (2 days). The largest is of 2026-11-11, 30.0% off: output: Hermes reports 1300, the "
        "provider 1000."
    )
    assert one.remedy == "usage-pipeline report --from 2026-11-10 --to 2026-11-11 --workspace acme"
    settings = replace(scenario.runtime.settings, alert_parity_fraction=Decimal("0.2"))
    scenario.runtime = replace(scenario.runtime, settings=settings)
    assert held(scenario, "parity_exceeded")[0].occurrences == ("2026-11-11 output",)


def test_usage_where_the_provider_has_none_is_above_every_fraction(scenario: Scenario) -> None:
    scenario.workspace()
    _differ(scenario, _excess(D, 50, provider=0))
    assert "the provider reports none" in held(scenario, "parity_exceeded")[0].what


def test_a_difference_that_is_gone_or_acknowledged_is_over(scenario: Scenario) -> None:
    scenario.workspace()
    _differ(scenario, _excess(D, 1100))
    with scenario.runtime.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE findings SET acknowledged_at = now()")
    assert held(scenario, "parity_exceeded") == []


def test_bills_of_two_accounts_are_two_conditions(scenario: Scenario) -> None:
    scenario.workspace()
    bill = Finding(
        "bill_differs_from_usage",
        D,
        "Billed 2 USD, computed 1 USD.",
        provider="openai",
        account="org-a",
        route="account",
        figure_provider=Decimal(2),
        difference=Decimal(-1),
    )
    _differ(scenario, bill, replace(bill, account="org-b"))
    assert {one.place for one in held(scenario, "parity_exceeded")} == {
        "acme openai org-a (bill_differs_from_usage)",
        "acme openai org-b (bill_differs_from_usage)",
    }
