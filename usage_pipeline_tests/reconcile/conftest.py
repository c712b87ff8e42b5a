"""A scenario on the provider-first rules for one account and one Hermes feed; see ``scripted.scenario``."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from usage_pipeline_tests.scripted.scenario import Scenario, scenario_on


@pytest.fixture
def scenario(migrated_database: str, tmp_path: Path) -> Iterator[Scenario]:
    """An empty world on the morning of 2026-03-10."""
    with scenario_on(migrated_database, tmp_path / "home", datetime(2026, 3, 10, tzinfo=UTC)) as made:
        yield made
