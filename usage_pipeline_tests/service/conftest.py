"""The service as tests meet it: ``usage-pipeline serve`` as a process, on a real port and a real database."""

from __future__ import annotations

import gzip
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from usage_pipeline.ledger.feed_tokens import issue_token
from usage_pipeline.ledger.hermes_feeds import HermesFeed, add_hermes_feed
from usage_pipeline.ledger.server import connect_engine
from usage_pipeline.ledger.workspaces import add_workspace
from usage_pipeline_tests.conftest import _database
from usage_pipeline_tests.hermes.payload_building import RECEIVED_AT
from usage_pipeline_tests.service.api_world import Api, api_on, two_empty_workspaces, two_rich_workspaces

INGEST = "/api/ingest/hermes-usage"
NOW = RECEIVED_AT
_LISTENING = re.compile(r"http://[^/]+")


@dataclass
class Service:
    """A running server. ``log`` is what it wrote to standard error, line by line."""

    process: subprocess.Popen[str]
    url: str
    log: list[str] = field(default_factory=list)
    collecting: threading.Thread | None = None

    def post(self, body: object, token: str | None, **headers: str) -> httpx.Response:
        """Post a payload: bytes as they are, anything else as JSON."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        return httpx.post(f"{self.url}{INGEST}", content=content, headers=headers, timeout=30)

    def post_gzipped(self, body: bytes, token: str) -> httpx.Response:
        return self.post(gzip.compress(body), token, **{"Content-Encoding": "gzip"})

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"{self.url}{path}", timeout=30)

    def kill(self) -> None:
        """As ``kill -9`` does it."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(30)

    def stop(self) -> int:
        """Ask it to end; its exit code."""
        self.process.terminate()
        return self.process.wait(30)


@dataclass(frozen=True)
class Install:
    """A feed and its token."""

    feed: HermesFeed
    token: str


Start = Callable[..., Service]


def start_service(environ: Mapping[str, str], host: str = "127.0.0.1") -> Service:
    """Start ``usage-pipeline serve`` on a free port, and wait until it listens."""
    process = subprocess.Popen(
        [sys.executable, "-m", "usage_pipeline.cli", "serve", "--host", host, "--port", "0"],
        env={**os.environ, **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    found = _LISTENING.search(line)
    if found is None:
        process.kill()
        raise AssertionError(f"the service did not start: {process.communicate()}")
    service = Service(process, found[0])
    service.collecting = threading.Thread(target=_collect, args=(process, service.log), daemon=True)
    service.collecting.start()
    return service


def _collect(process: subprocess.Popen[str], log: list[str]) -> None:
    assert process.stderr is not None
    log.extend(iter(process.stderr.readline, ""))


@pytest.fixture
def start(migrated_database: str, tmp_path: Path) -> Iterator[Start]:
    """Starts servers on the test's database, with settings by keyword; all are gone after the test."""
    started: list[Service] = []

    def begin(*, host: str = "127.0.0.1", **environ: str) -> Service:
        service = start_service(
            {
                "USAGE_DATABASE_URL": migrated_database,
                "USAGE_HOME": str(tmp_path / "home"),
                "USAGE_NOW": NOW.isoformat(),
                "USAGE_INGEST_BATCHES_PER_MINUTE": "0",
                **environ,
            },
            host,
        )
        started.append(service)
        return service

    yield begin
    for service in started:
        service.process.kill()
        service.process.wait(30)
        assert service.collecting is not None
        service.collecting.join(60)  # a process that it started for cron has the same standard error
        for stream in (service.process.stdout, service.process.stderr):
            assert stream is not None
            stream.close()


@pytest.fixture
def service(start: Start) -> Service:
    """A running server with every setting at its default, but for the rate."""
    return start()


@pytest.fixture
def engine(migrated_database: str) -> Iterator[sa.Engine]:
    """The server's database, to look into."""
    engine = connect_engine(migrated_database)
    yield engine
    engine.dispose()


@pytest.fixture(scope="package")
def api(database_server: Any, migrated_template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """The usage API over two workspaces with a rich day each, for all tests that only read."""
    with (
        _database(database_server, template=migrated_template) as url,
        api_on(url, tmp_path_factory.mktemp("api"), fill=two_rich_workspaces) as made,
    ):
        yield made


@pytest.fixture
def empty_api(migrated_database: str, tmp_path: Path) -> Iterator[Api]:
    """The same without figures, for a test that writes."""
    with api_on(migrated_database, tmp_path / "api", fill=two_empty_workspaces) as made:
        yield made


@pytest.fixture
def install(engine: sa.Engine) -> Callable[..., Install]:
    """Registers feeds: ``install("laptop")``."""
    with engine.begin() as connection:
        workspace = add_workspace(connection, "acme", name=None, now=NOW)

    def register(label: str = "laptop", **options: Any) -> Install:
        with engine.begin() as connection:
            feed = add_hermes_feed(
                connection, workspace, label, "production", **{"days_back": None, "now": NOW, **options}
            )
            return Install(feed, issue_token(connection, feed, NOW))

    return register


@pytest.fixture
def laptop(install: Callable[..., Install]) -> Install:
    """A feed ``acme.laptop``."""
    return install()


def batches(engine: sa.Engine, **wanted: object) -> list[Any]:
    """The rows of the inbox with these values, in the order of arrival."""
    conditions = "".join(f" AND {name} = :{name}" for name in wanted)
    with engine.connect() as connection:
        return list(
            connection.execute(
                sa.text(f"SELECT * FROM hermes_batches WHERE true{conditions} ORDER BY batch_id"), wanted
            )
        )
