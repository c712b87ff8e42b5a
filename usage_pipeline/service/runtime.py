"""What the service needs to answer: the store, the settings and a clock. Opened once, for as long as it serves."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from sqlalchemy import Engine

from usage_pipeline.clock import now
from usage_pipeline.errors import TransientError
from usage_pipeline.ledger.migrate import fit_schema, head_revision
from usage_pipeline.ledger.server import acquire, connect_engine
from usage_pipeline.ledger.settings_log import record_settings
from usage_pipeline.service.day_groups import DayGroups
from usage_pipeline.settings import Settings

STATEMENT_SECONDS_MAX: Final = 15
LOCK_SECONDS_MAX: Final = 10

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ServiceRuntime:
    """The engine (its pool is the service's own), the settings, a clock (UTC), the schema that this code needs, the
    environment that the settings came from, and the days that were summed before."""

    engine: Engine
    settings: Settings
    clock: Callable[[], datetime]
    schema_needed: str
    environ: Mapping[str, str] = field(repr=False)
    day_groups: DayGroups = field(default_factory=DayGroups, repr=False)


@contextmanager
def open_service_runtime(environ: Mapping[str, str]) -> Iterator[ServiceRuntime]:
    """The store that the environment names, for as long as the block lasts.

    The embedded store is brought up to date. Another one that cannot be reached now may come later: the service
    starts and says on ``/readyz`` that it is not ready. Raises ``schema_outdated`` and ``setting_malformed``.
    """
    settings = Settings.from_environment(environ)
    settings.check_tokens()
    now(environ)  # a malformed USAGE_NOW is told at the start, not by the first request
    with acquire(environ) as server:
        engine = connect_engine(
            server.url,
            application_name="usage-pipeline serve",
            statement_timeout_s=STATEMENT_SECONDS_MAX,
            lock_timeout_s=LOCK_SECONDS_MAX,
        )
        try:
            try:
                fit_schema(engine, embedded=server.embedded, writes=True)
                with engine.begin() as connection:
                    record_settings(connection, settings, now(environ))
            except TransientError as error:
                _log.warning("%s Serving all the same; requests are answered with 503 until it is there.", error)
            yield ServiceRuntime(engine, settings, lambda: now(environ), head_revision(), environ)
        finally:
            engine.dispose()
