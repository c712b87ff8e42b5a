"""Alerts as tests meet them: a real store, receivers on loopback, and a clock that the test moves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from usage_pipeline.alerts.causes import KEY_REFUSED, Cause
from usage_pipeline.alerts.conditions import Condition
from usage_pipeline.alerts.tick import Tick, run_tick
from usage_pipeline.ledger.alerts import StoredAlert, list_alerts
from usage_pipeline.ledger.server import connect_engine
from usage_pipeline.settings import Settings
from usage_pipeline_tests.alerts.loopback import LoopbackReceiver, receiving

START = datetime(2026, 11, 22, 2, 10, tzinfo=UTC)


def condition(
    place: str = "acme.openai.main", *occurrences: str, cause: Cause = KEY_REFUSED, what: str = "HTTP 401", **more: Any
) -> Condition:
    """A condition that holds since the start."""
    given = {"since": START, "remedy": f"usage-pipeline keys test {place}", "link": "/runs/r1", **more}
    return Condition(cause, place=place, what=what, occurrences=occurrences or ("one",), **given)


@dataclass
class Desk:
    """Where ticks are run: at minutes after the start, on one store."""

    engine: sa.Engine
    environ: dict[str, str] = field(default_factory=dict)

    def tick(self, minute: float, *conditions: Condition) -> Tick:
        """What a tick does when these conditions hold."""
        at = START + timedelta(minutes=minute)
        return run_tick(self.engine, conditions, Settings.from_environment(self.environ), self.environ, at)

    def alerts(self, *, open_only: bool = False) -> list[StoredAlert]:
        with self.engine.connect() as connection:
            return list_alerts(connection, 100, open_only=open_only)

    def only(self) -> StoredAlert:
        (alert,) = self.alerts()
        return alert


@pytest.fixture
def engine(migrated_database: str) -> Iterator[sa.Engine]:
    engine = connect_engine(migrated_database)
    yield engine
    engine.dispose()


@pytest.fixture
def receiver() -> Iterator[LoopbackReceiver]:
    with receiving() as made:
        yield made


@pytest.fixture
def desk(engine: sa.Engine, receiver: LoopbackReceiver) -> Desk:
    """A desk whose only receiver is on loopback."""
    return Desk(engine, {"USAGE_ALERT_URLS": receiver.url, "USAGE_DAGSTER_URL": "https://dagster.acme.example/"})
