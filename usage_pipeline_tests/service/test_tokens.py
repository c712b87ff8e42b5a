"""Only a feed's own living token opens it, and no answer or log line repeats one."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from datetime import timedelta
from urllib.parse import urlsplit

import pytest
import sqlalchemy as sa

from usage_pipeline.ledger.audit_log import list_changes
from usage_pipeline.ledger.feed_tokens import list_tokens, revoke_tokens, rotate_token
from usage_pipeline_tests.hermes.payload_building import bucket, model, v2
from usage_pipeline_tests.service.conftest import INGEST, NOW, Install, Service, Start, batches

PAYLOAD = v2(bucket("2026-03-11", model()))


def test_without_any_token_the_secret_is_not_configured(service: Service) -> None:
    for token in (None, "anything"):
        answer = service.post(PAYLOAD, token)
        assert (answer.status_code, answer.json()["code"]) == (503, "no_token_configured")


def wrong_tokens(token: str) -> list[str | None]:
    prefix, secret = token[:14], token[15:]
    return [
        None,
        "x",
        prefix,
        f"{prefix}_",
        f"{prefix}_{'0' * 64}",
        f"uph_{'0' * 10}_{secret}",
        token.upper(),
        token + "0",
        "\xff",
        "x" * 5000,
    ]


def test_a_token_that_is_missing_wrong_or_malformed_is_refused(
    service: Service, laptop: Install, engine: sa.Engine
) -> None:
    for token in wrong_tokens(laptop.token):
        headers = {} if token is None else {"Authorization": f"Bearer {token}".encode("latin-1")}
        answer = service.post(PAYLOAD, None, **headers)  # type: ignore[arg-type]
        assert (answer.status_code, answer.json()["code"]) == (401, "token_refused"), token
    for header in (laptop.token, f"Basic {laptop.token}", "Bearer"):
        assert service.post(PAYLOAD, None, Authorization=header).status_code == 401
    assert batches(engine) == []


def test_a_token_writes_its_own_feed_alone(
    service: Service, install: Callable[..., Install], engine: sa.Engine
) -> None:
    one, other = install("one"), install("other")
    service.post(PAYLOAD, one.token)
    service.post(PAYLOAD, other.token)
    mixed = one.token[:15] + other.token[15:]
    assert service.post({**PAYLOAD, "n": 1}, mixed).status_code == 401
    assert [row.feed_id for row in batches(engine)] == [one.feed.feed_id, other.feed.feed_id]


def test_a_revoked_token_is_refused_at_once(service: Service, laptop: Install, engine: sa.Engine) -> None:
    assert service.post(PAYLOAD, laptop.token).status_code == 200
    with engine.begin() as connection:
        assert revoke_tokens(connection, laptop.feed.slug, NOW) == 1
    assert service.post(PAYLOAD, laptop.token).status_code == 401


@pytest.mark.parametrize(("hours", "status"), [(0, 401), (2, 200)])
def test_an_old_token_goes_on_for_the_hours_of_grace(
    service: Service, laptop: Install, engine: sa.Engine, hours: int, status: int
) -> None:
    with engine.begin() as connection:
        new = rotate_token(connection, laptop.feed.slug, timedelta(hours=hours), NOW)
    assert service.post(PAYLOAD, laptop.token).status_code == status
    assert service.post(PAYLOAD, new).status_code == 200
    assert {row.feed_id for row in batches(engine)} == {laptop.feed.feed_id}


def test_after_the_grace_the_old_token_ends(start: Start, laptop: Install, engine: sa.Engine) -> None:
    with engine.begin() as connection:
        rotate_token(connection, laptop.feed.slug, timedelta(hours=2), NOW)
    assert start(USAGE_NOW=(NOW + timedelta(hours=2)).isoformat()).post(PAYLOAD, laptop.token).status_code == 401


def test_only_the_hash_is_stored_and_the_audit_log_has_no_token(laptop: Install, engine: sa.Engine) -> None:
    with engine.connect() as connection:
        stored = connection.execute(sa.text("SELECT t::text FROM feed_tokens t")).scalar_one()
        (token,) = list_tokens(connection, laptop.feed)
        changes = list_changes(connection, laptop.feed.slug)
    secret = laptop.token.rpartition("_")[2]
    assert secret not in stored
    assert laptop.token.startswith(f"{token.prefix}_")
    assert "feed_token_issued" in [change.what for change in changes]
    assert secret not in str(changes)


def test_the_log_has_a_line_for_each_request_and_never_a_token_a_query_or_an_unknown_path(
    service: Service, laptop: Install
) -> None:
    service.post(PAYLOAD, laptop.token)
    service.post(b"secret-body", laptop.token)
    service.post(PAYLOAD, "uph_wrong")
    service.get(f"{INGEST}?token={laptop.token}")
    service.get(f"/{laptop.token}")
    assert service.stop() == 0
    time.sleep(0.2)
    log = "".join(service.log)
    assert log.count("\n") == 5
    assert f"POST {INGEST} 200" in log
    assert "acme.laptop" in log
    for word in (laptop.token, laptop.token[15:], "secret-body", "uph_wrong", "?"):
        assert word not in log


def test_a_body_without_a_good_token_is_not_waited_for(service: Service, laptop: Install) -> None:
    address = urlsplit(service.url)
    with socket.create_connection((address.hostname, address.port), timeout=20) as connection:
        connection.sendall(
            f"POST {INGEST} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer wrong\r\nContent-Length: 99\r\n\r\n".encode()
        )
        assert connection.recv(20).startswith(b"HTTP/1.1 401 ")


def test_a_sender_with_a_wrong_token_and_a_large_body_still_gets_its_answer(service: Service, laptop: Install) -> None:
    assert service.post(bytes(6_000_000), "wrong").status_code == 401
