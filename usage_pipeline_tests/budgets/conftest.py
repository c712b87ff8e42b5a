"""Twenty days of November that cost 20 dollars each, but for one of 60, and today, of 5 so far.

``proj_web`` has three quarters of it. Days before the 17th are final. Tests write in transactions that are taken back.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, text

from usage_pipeline.ledger.dimension_names import Named, store_names
from usage_pipeline_tests.conftest import _database
from usage_pipeline_tests.scripted.scenario import Scenario, scenario_on, utc

FIRST = date(2026, 11, 1)
TODAY = date(2026, 11, 20)
NOW = utc(TODAY, 6)
_MILLIONS = {date(2026, 11, 19): 6_000_000, TODAY: 500_000}
"""Tokens of output, of which a million costs 10 dollars; on any other day two millions."""


@pytest.fixture(scope="package")
def spent(database_server: Any, migrated_template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scenario]:
    """The days, reconciled this morning."""
    with (
        _database(database_server, template=migrated_template) as url,
        scenario_on(url, tmp_path_factory.mktemp("home"), utc(FIRST)) as scenario,
    ):
        key = scenario.register()
        days = [FIRST + timedelta(days=n) for n in range((TODAY - FIRST).days + 1)]
        for day in days:
            output = _MILLIONS.get(day, 2_000_000)
            key.account.spend(utc(day, 3), output * 3 // 4, project="proj_web", api_key="key_1")
            key.account.spend(utc(day, 4), output // 4, "gpt-5-2025-08-07", project="proj_lab", api_key="key_2")
        scenario.at(NOW).pull(key, FIRST, TODAY + timedelta(days=1))
        scenario.settle(*days)
        with scenario.runtime.engine.begin() as connection:
            store_names(connection, "openai", "org-acme", [Named("project_id", "proj_web", "Website")], NOW)
        yield scenario


def change(connection: Connection, assignment: str) -> None:
    """Change every reconciled cell, as a reconciling does it: its day is written too."""
    connection.execute(text(f"UPDATE reconciled_usage SET {assignment}"))
    connection.execute(text("UPDATE reconciliations SET now = now"))


@pytest.fixture
def connection(spent: Scenario) -> Iterator[Connection]:
    """A transaction on the days that leaves nothing behind."""
    with spent.runtime.engine.connect() as made:
        yield made
        made.rollback()
