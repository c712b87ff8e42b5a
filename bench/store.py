"""The store that is measured: an embedded PostgreSQL of its own in a temporary folder, deleted at the end.

Out comes a :class:`Bench` with an engine and one registered key; its methods put made-up days through the project's own
functions, from the answered page to the stored event.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import psycopg
import zstandard
from sqlalchemy import Engine, text

from bench.figures import DAY, NOW
from bench.pages import MadeUpDay, page_bodies
from usage_pipeline.ledger import embedded_postgres, migrate
from usage_pipeline.ledger.provider_keys import NewProviderKey, ProviderKey, add_provider_key
from usage_pipeline.ledger.pulls import NewPage, NewPull, record_complete_pull
from usage_pipeline.ledger.replacement import binary_copy
from usage_pipeline.ledger.server import acquire, connect_engine
from usage_pipeline.ledger.workspaces import Workspace, add_workspace
from usage_pipeline.normalise.provider_days import NormalisedDays, normalise_provider_days
from usage_pipeline.providers.contract import Endpoint, PageQuery
from usage_pipeline.providers.openai import COMPLETIONS, PROVIDER
from usage_pipeline.pulls.asking import default_dimensions
from usage_pipeline.pulls.fetch import FetchedRange, fetch_range
from usage_pipeline.pulls.ranges import RangeRequest

REQUEST = RangeRequest(DAY, DAY + timedelta(days=1), "1h", default_dimensions(COMPLETIONS), ())
SETTLING = timedelta(hours=72)


class CannedAnswers:
    """A page source that answers with pages made up before, as fast as they unpack."""

    def __init__(self, day: MadeUpDay) -> None:
        packer = zstandard.ZstdCompressor()
        self._pages = [packer.compress(body) for body in page_bodies(day)]
        self._unpacker = zstandard.ZstdDecompressor()

    def clock(self) -> datetime:
        """The instant of every answer."""
        return NOW

    def fetch_page(self, _endpoint: Endpoint, page: PageQuery) -> bytes:
        """The page that the cursor names."""
        return self._unpacker.decompress(self._pages[int(page.cursor or 0)])


@dataclass(slots=True)
class Bench:
    """A store with one key. ``conninfo`` is how psycopg reaches it, ``url`` how SQLAlchemy does."""

    url: str
    engine: Engine
    workspace: Workspace
    key: ProviderKey
    pulls: int = field(default=0)

    def fetch(self, answers: CannedAnswers) -> FetchedRange:
        """Read the whole answer: every row validated, every page packed, the day's digest made."""
        return fetch_range(answers, PROVIDER, COMPLETIONS, REQUEST, NOW)

    def record(self, fetched: FetchedRange) -> None:
        """Store what was fetched as the newest complete pull."""
        self.pulls += 1
        at = NOW + timedelta(minutes=self.pulls)
        pull = NewPull(
            feed_id=self.key.feed_id,
            endpoint=COMPLETIONS.name,
            first_day=REQUEST.first_day,
            end_day=REQUEST.end_day,
            window_seconds=3600,
            dimensions_asked=REQUEST.dimensions,
            projects=(),
            started_at=at,
            finished_at=at,
            requests=len(fetched.pages),
            seconds_waited=0.0,
            pages=len(fetched.pages),
            rows_read=fetched.drift.rows,
        )
        pages = [
            NewPage(p.number, DAY, DAY, {}, p.fetched_at, p.body_sha256, p.body_bytes, p.body_zstd)
            for p in fetched.pages
        ]
        with self.engine.begin() as connection:
            record_complete_pull(connection, pull, {day.day: day.digest for day in fetched.days}, pages)

    def normalise(self) -> NormalisedDays:
        """From the stored pages to committed events."""
        return normalise_provider_days(self.engine, self.key, PROVIDER, COMPLETIONS, [DAY], NOW, SETTLING)

    def bare_copy(self, chunks: list[bytes]) -> None:
        """The rows as they are, into an unlogged table without index that :meth:`settle` has emptied."""
        with self.engine.begin() as connection:
            driver = connection.connection.driver_connection
            assert isinstance(driver, psycopg.Connection)
            with driver.cursor().copy("COPY bare_events FROM STDIN (FORMAT BINARY)") as copy:
                binary_copy(chunks)(copy)

    def settle(self) -> None:
        """Give back what the last measurement left behind: dead rows of the bare table, pages not yet on disk."""
        with self.engine.begin() as connection:
            connection.execute(text("TRUNCATE bare_events"))
        with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("CHECKPOINT"))

    def empty(self) -> None:
        """Forget every pull, event and result; the key stays."""
        self.forget_results()
        with self.engine.begin() as connection:
            connection.execute(
                text(
                    "TRUNCATE pulls, pull_days, raw_pages, slices, final_figures, usage_events, usage_event_history"
                    " CASCADE"
                )
            )

    def forget_results(self) -> None:
        """Forget what was reconciled; events stay."""
        with self.engine.begin() as connection:
            connection.execute(
                text(
                    "TRUNCATE reconciliations, reconciled_usage, reconciled_usage_history, reconciled_shares,"
                    " reconciled_shares_history, counted_slices, counted_slices_history, account_bills,"
                    " account_bill_history, findings, prices, prices_in_force CASCADE"
                )
            )


@contextmanager
def open_bench() -> Iterator[Bench]:
    """A fresh store for as long as the block lasts."""
    with tempfile.TemporaryDirectory(prefix="usage-bench-") as home:
        try:
            with acquire({"USAGE_HOME": home}) as server:
                migrate.upgrade(server.url)
                engine = connect_engine(server.url)
                try:
                    yield _registered(server.url, engine)
                finally:
                    engine.dispose()
        finally:
            embedded_postgres.erase(Path(home).resolve())


def _registered(url: str, engine: Engine) -> Bench:
    with engine.begin() as connection:
        workspace = add_workspace(connection, "bench", name=None, now=NOW)
        key = add_provider_key(
            connection,
            NewProviderKey(
                workspace=workspace,
                provider=PROVIDER.name,
                name="main",
                mode="admin",
                organization=None,
                projects=(),
                grain="1h",
                base_url=PROVIDER.default_base_url,
                secret_sealed=None,
                secret_reference="env:OPENAI_ADMIN_KEY",
            ),
            NOW - timedelta(days=60),
        )
        connection.execute(text("CREATE UNLOGGED TABLE bare_events (LIKE usage_events)"))
    return Bench(url, engine, workspace, key)
