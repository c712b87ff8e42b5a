"""Two worlds, each played once for all tests of exports, which only read: the golden month, and three odd days."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Connection

from usage_pipeline import stages
from usage_pipeline.ledger.snapshot import snapshot
from usage_pipeline.ledger.workspaces import add_workspace
from usage_pipeline_tests.conftest import _database
from usage_pipeline_tests.reconcile.golden import SPEAKS, GoldenMonth
from usage_pipeline_tests.scripted.account import Bill
from usage_pipeline_tests.scripted.payloads import Call, v2_payload
from usage_pipeline_tests.scripted.scenario import Json, Scenario, scenario_on, utc

D = date(2026, 3, 10)
ODD = D + timedelta(days=1)
MOVED = D + timedelta(days=2)
FORMULA = "=HYPERLINK(1)"


@pytest.fixture(scope="package")
def month(
    database_server: Any, migrated_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GoldenMonth]:
    """March 2026, with pulls, batches and runs in the order of their instants."""
    with (
        _database(database_server, template=migrated_template) as url,
        scenario_on(url, tmp_path_factory.mktemp("home"), utc(date(2026, 2, 28)), speaks=SPEAKS) as scenario,
    ):
        golden = GoldenMonth(scenario)
        golden.play(sorted([*golden.arrivals(), *golden.runs()], key=lambda event: event.at))
        yield golden


@pytest.fixture(scope="package")
def report(month: GoldenMonth) -> Json:
    """The month's report."""
    return month.report()


@pytest.fixture
def connection(month: GoldenMonth) -> Iterator[Connection]:
    """One snapshot of the month."""
    with snapshot(month.scenario.runtime.engine) as found:
        yield found


@pytest.fixture(scope="package")
def odd_world(
    database_server: Any, migrated_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scenario]:
    """Three days of March 2026, of which one is restated in May and another has a newer pull."""
    with (
        _database(database_server, template=migrated_template) as url,
        scenario_on(url, tmp_path_factory.mktemp("home"), utc(D + timedelta(days=5), 6)) as scenario,
    ):
        play_odd_days(scenario)
        yield scenario


def play_odd_days(scenario: Scenario) -> None:
    key, feed = scenario.register(), scenario.hermes()
    key.account.spend(utc(D, 9), 1_000_000, project="proj_web", api_key="key_1")
    key.account.spend(utc(ODD, 9), 300, FORMULA, project="@proj", user="-1+1")
    key.account.spend(utc(ODD, 10), 500)
    key.account.bills += [
        Bill(ODD, Decimal("-2.5"), "Promotional credit"),
        Bill(ODD, Decimal("0.19"), "Sales tax"),
        Bill(ODD, Decimal("0.0000123456789012345"), "Code interpreter sessions"),
    ]
    key.account.spend(utc(MOVED, 9), 700)
    scenario.pull(key, D, MOVED + timedelta(days=1))
    calls = [Call(utc(day, 9), output=200, uncached_input=10) for day in (D, ODD, MOVED)]
    scenario.send(feed, v2_payload(scenario.clock.now, calls))
    scenario.settle(D, ODD, MOVED)
    # Restated after the period is closed: fewer tokens, at the same price.
    key.account.forget()
    key.account.spend(utc(D, 9), 900_000, project="proj_web", api_key="key_1")
    scenario.at(datetime(2026, 5, 10, tzinfo=UTC)).pull(key, D)
    scenario.settle(D)
    # A later pull that is stored, and not reconciled yet.
    key.account.forget()
    key.account.spend(utc(MOVED, 9), 600)
    scenario.pull(key, MOVED)
    stages.normalise_usage(scenario.runtime, [MOVED])
    with scenario.runtime.engine.begin() as connection:
        add_workspace(connection, "demo", name=None, now=scenario.clock.now, demo=True)
