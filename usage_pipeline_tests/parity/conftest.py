"""A scripted account that was pulled and reconciled, and comparisons with files about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from usage_pipeline.parity.check import Asked, read_files, run_parity
from usage_pipeline.parity.report import as_json
from usage_pipeline_tests.scripted.account import Bill, ScriptedAccount, Use
from usage_pipeline_tests.scripted.scenario import Scenario, scenario_on, utc

DAY = date(2026, 3, 2)
NEXT = DAY + timedelta(days=1)
SETTLED = datetime(2026, 3, 20, tzinfo=UTC)

Compare = Callable[..., dict[str, Any]]


@pytest.fixture
def scenario(migrated_database: str, tmp_path: Path) -> Iterator[Scenario]:
    """An empty world, long after the days of the tests."""
    with scenario_on(migrated_database, tmp_path / "home", SETTLED) as made:
        yield made


@pytest.fixture
def compare(scenario: Scenario) -> Compare:
    """Compare files with the scenario's store; the report as JSON."""

    def run(*files: Path, **how: Any) -> dict[str, Any]:
        asked = Asked(files=files, **how)
        exports = read_files(asked)
        runtime = scenario.runtime
        with runtime.engine.begin() as connection:
            return as_json(
                run_parity(connection, asked, exports, scenario.clock(), runtime.providers, runtime.settings)
            )

    return run


def use_two_days(account: ScriptedAccount) -> None:
    """Two days of two projects, keys and models, with cached and written tokens, and their bill."""
    for hour, model, project, key, user in (
        (0, "gpt-5-2025-08-07", "proj_a", "key_1", "user-1"),
        (9, "gpt-5-2025-08-07", "proj_a", "key_1", None),
        (9, "gpt-4o-mini-2024-07-18", "proj_b", "key_2", "user-2"),
        (33, "gpt-5-2025-08-07", "proj_b", "key_2", "user-2"),
        (47, "gpt-4o-mini-2024-07-18", "proj_a", "key_1", "user-1"),
    ):
        at = utc(DAY) + timedelta(hours=hour, minutes=7)
        account.uses.append(
            Use(
                at, model, uncached_input=1000 + hour, cache_read=300, cache_write=20, output=50 + hour, requests=3,
                project=project, api_key=key, user=user,
            )
        )  # fmt: skip
        usd = Decimal(f"{hour}.123456789012345678901234567890")
        account.bills.append(Bill(at.date(), usd, f"{model}, output", project=project, api_key=key))


@pytest.fixture
def pulled(scenario: Scenario) -> ScriptedAccount:
    """An account whose two days were pulled, settled and reconciled."""
    key = scenario.register()
    use_two_days(key.account)
    scenario.pull(key, DAY, DAY + timedelta(days=2))
    scenario.settle(DAY, NEXT)
    return key.account
