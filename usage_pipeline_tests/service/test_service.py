"""What operators and programs see of the service: whether it lives and is ready, its description, its end."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import make_url

from usage_pipeline_tests.hermes.payload_building import bucket, model, v2
from usage_pipeline_tests.service.conftest import INGEST, Install, Service, Start, batches

PAYLOAD = v2(bucket("2026-03-11", model()))
SCHEMA = Path(__file__).parents[2] / "usage_pipeline" / "hermes" / "payload_v3.schema.json"


def test_a_running_service_lives_and_is_ready(service: Service) -> None:
    assert (service.get("/healthz").status_code, service.get("/readyz").status_code) == (200, 200)


def test_the_schema_of_payload_v3_is_published(service: Service) -> None:
    answer = service.get(f"{INGEST}/schema/v3")
    assert answer.headers["Content-Type"].startswith("application/schema+json")
    assert answer.content == SCHEMA.read_bytes()


def test_unknown_paths_and_methods_are_answered_in_json(service: Service) -> None:
    nothing = service.get("/nothing").json()
    assert nothing["code"] == "not_found"
    assert INGEST in nothing["error"]  # whoever gave the plugin the server alone learns the path
    refused = service.get(INGEST).json()
    assert refused["code"] == "method_not_allowed"
    assert "POST" in refused["error"]


def test_no_address_leads_to_another_since_the_token_would_travel_along(service: Service) -> None:
    # Behind a proxy with TLS the server would even name the address without it.
    answer = service.get(f"{INGEST}/")
    assert answer.status_code == 404
    assert "Location" not in answer.headers


def test_the_description_names_every_status_of_the_ingest(service: Service) -> None:
    described = service.get("/openapi.json").json()
    statuses = {"200", "400", "401", "403", "408", "413", "415", "429", "503"}
    assert statuses <= described["paths"][INGEST]["post"]["responses"].keys()


def test_it_ends_when_it_is_asked_to(service: Service) -> None:
    assert service.stop() == 0


def test_a_request_that_is_being_answered_is_answered_before_the_end(
    service: Service, laptop: Install, engine: sa.Engine
) -> None:
    body = json.dumps(PAYLOAD).encode()
    address = urlsplit(service.url)
    with socket.create_connection((address.hostname, address.port), timeout=20) as connection:
        head = f"POST {INGEST} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {laptop.token}\r\n"
        connection.sendall(f"{head}Expect: 100-continue\r\nContent-Length: {len(body)}\r\n\r\n".encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 100 ")  # it reads the body now
        service.process.terminate()
        connection.sendall(body)
        assert connection.recv(20).startswith(b"HTTP/1.1 200 ")
    assert service.process.wait(30) == 0
    assert len(batches(engine)) == 1


def test_a_port_that_is_taken_is_one_line(service: Service, migrated_database: str, tmp_path: Path) -> None:
    port = str(urlsplit(service.url).port)
    ended = subprocess.run(
        [sys.executable, "-m", "usage_pipeline.cli", "serve", "--port", port],
        env={"USAGE_DATABASE_URL": migrated_database, "USAGE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("error: [address_unusable] 127.0.0.1:")
    assert ended.stderr.count("\n") == 1


@pytest.fixture
def passage(migrated_database: str) -> Iterator[tuple[str, socket.socket]]:
    """The address of a database behind a port on which nobody answers, and the socket that holds the port."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        url = make_url(migrated_database).set(host="127.0.0.1", port=held.getsockname()[1], query={})
        yield url.render_as_string(hide_password=False), held


def test_a_store_that_is_down_is_503_and_the_process_lives(start: Start, passage: tuple[str, socket.socket]) -> None:
    service = start(USAGE_DATABASE_URL=passage[0])
    assert service.get("/healthz").status_code == 200
    ready = service.get("/readyz")
    assert (ready.status_code, ready.json()["code"]) == (503, "store_unavailable")
    answer = service.post(PAYLOAD, "uph_0123456789_" + "0" * 64)
    assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable")
    assert "Retry-After" in answer.headers


def test_a_connection_that_broke_is_made_anew(service: Service, laptop: Install, engine: sa.Engine) -> None:
    assert service.post(PAYLOAD, laptop.token).status_code == 200
    with engine.begin() as connection:
        connection.execute(
            sa.text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )
    assert service.post({**PAYLOAD, "n": 1}, laptop.token).status_code == 200


def test_a_schema_of_another_release_is_503_and_not_ready(service: Service, laptop: Install, engine: sa.Engine) -> None:
    with engine.begin() as connection:
        connection.execute(sa.text("ALTER TABLE hermes_batches RENAME TO moved"))
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '0001'"))
    assert service.get("/readyz").json()["code"] == "schema_outdated"
    answer = service.post(PAYLOAD, laptop.token)
    assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable")


def test_a_header_that_never_ends_is_not_waited_for(service: Service) -> None:
    from usage_pipeline.service.server import HEADER_SECONDS_MAX

    address = urlsplit(service.url)
    with socket.create_connection((address.hostname, address.port), timeout=HEADER_SECONDS_MAX + 15) as connection:
        connection.sendall(b"POST /api HTTP/1.1\r\nHost: x\r\n")
        assert connection.recv(10) == b""
