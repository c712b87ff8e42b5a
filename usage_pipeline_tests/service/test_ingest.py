"""What the plugin in use sends is taken in and answered as it expects; what is not right is refused and named."""

from __future__ import annotations

import copy
import gzip
import json
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import pytest
import sqlalchemy as sa

from usage_pipeline.ledger.feed_settings import disable_feed
from usage_pipeline_tests.hermes.payload_building import Json, bucket, fixture, head, model, v2
from usage_pipeline_tests.service.conftest import INGEST, Install, Service, Start, batches

FIXTURES = ("v1_with_token_classes", "v1_models_without_classes", "v2_two_days", "v3_call_time_hours")
LATER = "2027-01-01T00:00:00Z"


def payload(generated_at: str = "2026-03-12T09:30:00Z", **changes: object) -> Json:
    return v2(bucket("2026-03-11", model()), generatedAt=generated_at, **changes)


def everything(engine: sa.Engine) -> dict[str, object]:
    """A digest of every table."""
    with engine.connect() as connection:
        return {
            table: connection.execute(
                sa.text(f'SELECT md5(string_agg(t::text, chr(10) ORDER BY t::text)) FROM "{table}" t')
            ).scalar()
            for table in sa.inspect(connection).get_table_names()
        }


@pytest.mark.parametrize("name", FIXTURES)
def test_every_version_is_taken_in_and_answered_as_the_plugin_expects(
    start: Start, laptop: Install, engine: sa.Engine, name: str
) -> None:
    service = start(USAGE_NOW=LATER)
    sent = fixture(name)
    body = json.dumps(sent).encode()
    answer = service.post(body, laptop.token)
    assert answer.status_code == 200
    told = answer.json()
    assert type(told["rowsWritten"]) is int
    assert told["rowsWritten"] > 0
    assert told["sourceLabel"] == sent["sourceLabel"]
    assert told["syncedAt"] == "2027-01-01T00:00:00.000Z"
    (kept,) = batches(engine)
    assert (kept.accepted, kept.batch_id, kept.body_bytes) == (True, told["batchId"], len(body))


def test_the_documented_batch_of_the_plugin_in_use_is_taken_in(start: Start, laptop: Install) -> None:
    service = start(USAGE_NOW=LATER)
    figures = {"inputTokens": 150, "outputTokens": 70, "cachedTokens": 35, "reasoningTokens": 5, "totalTokens": 260}
    day = bucket(
        "2025-11-19",
        model("gpt-5.4", "OpenAI", requests=3, estimated=1.25),
        model(
            "claude-sonnet-4", "Anthropic", requests=2, uncached=50, read=0, write=5, output=30, reasoning=0,
            estimated=0.75, actual=0.5,
        ),
    )  # fmt: skip
    assert figures.items() <= day.items()
    sent = {**head(generatedAt="2025-11-20T08:15:00Z"), "rollups": [day]}
    answer = service.post(sent, laptop.token)
    assert answer.status_code == 200
    assert answer.json()["changedDays"] == ["2025-11-19", "2025-11-20"]
    assert answer.json()["rowsWritten"] == 2


def test_a_heartbeat_touches_freshness_alone(service: Service, laptop: Install, engine: sa.Engine) -> None:
    answer = service.post({**head(), "schemaVersion": 2, "rollups": [], "repositoryRollups": []}, laptop.token)
    assert answer.status_code == 200
    assert (answer.json()["rowsWritten"], answer.json()["changedDays"]) == (0, [])
    (kept,) = batches(engine)
    assert (kept.accepted, kept.first_day) == (True, None)


def test_a_body_is_kept_as_it_came(service: Service, laptop: Install, engine: sa.Engine) -> None:
    from usage_pipeline.ledger.hermes_batches import batch_body

    body = b"\n " + json.dumps(payload(), indent=3).encode() + b"\t"
    batch_id = service.post_gzipped(body, laptop.token).json()["batchId"]
    with engine.connect() as connection:
        assert batch_body(connection, batch_id)[0] == body


def test_the_same_batch_twice_is_one_batch(service: Service, laptop: Install, engine: sa.Engine) -> None:
    first, again = (service.post(payload(), laptop.token).json() for _ in range(2))
    assert (first["duplicate"], again["duplicate"]) == (False, True)
    assert (again["batchId"], again["rowsWritten"]) == (first["batchId"], first["rowsWritten"])
    assert len(batches(engine)) == 1


def test_an_older_batch_that_arrives_later_changes_no_day_of_a_newer_one(service: Service, laptop: Install) -> None:
    service.post(payload("2026-03-12T09:00:00Z"), laptop.token)
    late = service.post(payload("2026-03-12T08:00:00Z"), laptop.token)
    assert late.status_code == 200
    assert late.json()["changedDays"] == []


def refusals() -> list[tuple[str, Any, str, str]]:
    """A name, what is sent, the code and the field of the refusal."""
    negative = payload()
    negative["rollups"][0]["inputTokens"] = -1
    twice = payload()
    twice["rollups"].append(copy.deepcopy(twice["rollups"][0]))
    apart = payload()
    apart["repositoryRollups"][0]["requests"] += 1
    # So long a number is read by another decoder, which lets half a character through.
    half = json.dumps(payload(sourceLabel="\ud800")).encode().replace(b"{", b'{"note": %s, ' % (b"1" * 5000), 1)
    return [
        ("no JSON", b"<html>", "payload_not_json", ""),
        ("nothing", b"", "payload_not_json", ""),
        ("not UTF-8", b'{"environment": "\xff"}', "payload_not_json", ""),
        ("deep", b"[" * 100_000, "payload_not_json", ""),
        ("a list", [], "payload_contract", "payload"),
        ("no environment", payload(environment=None), "payload_contract", "environment"),
        ("half a character", half, "payload_contract", "sourceLabel"),
        ("unknown version", payload(schemaVersion=9), "payload_version_unknown", "schemaVersion"),
        ("from the future", payload("2026-03-12T10:30:00Z"), "payload_from_the_future", "generatedAt"),
        ("negative", negative, "payload_contract", "rollups[0].inputTokens"),
        ("a bucket twice", twice, "payload_duplicate_bucket", "rollups[1].usageDate"),
        ("repositories apart", apart, "payload_repositories_differ", "repositoryRollups[0].requests"),
    ]


@pytest.mark.parametrize(("sent", "code", "field"), [r[1:] for r in refusals()], ids=[r[0] for r in refusals()])
def test_a_refusal_names_the_field_and_keeps_the_payload_alone(
    start: Start, laptop: Install, engine: sa.Engine, sent: Any, code: str, field: str
) -> None:
    service = start()
    before = everything(engine)
    answer = service.post(sent, laptop.token)
    assert answer.status_code == 400
    told = answer.json()
    assert (told["code"], told.get("field", "")) == (code, field)
    assert field in told["error"]
    after = everything(engine)
    assert {name for name in after if after[name] != before[name]} == {"hermes_batches"}
    (kept,) = batches(engine)
    assert (kept.accepted, kept.refused_code) == (False, code)


def test_labels_that_contradict_the_bound_ones_are_refused(
    service: Service, install: Callable[..., Install], engine: sa.Engine
) -> None:
    bound = install("bound", plugin_workspace="hermes-usage", plugin_environment="production")
    answer = service.post(payload(), bound.token)
    assert (answer.status_code, answer.json()["field"]) == (400, "workspace.slug")
    by_first = install("first")
    assert service.post(payload(), by_first.token).status_code == 200
    answer = service.post(payload(environment="staging"), by_first.token)
    assert (answer.status_code, answer.json()["code"]) == (400, "payload_labels_contradict")
    assert len(batches(engine, accepted=True)) == 1


def test_of_first_batches_at_once_that_contradict_each_other_one_binds(
    service: Service, laptop: Install, engine: sa.Engine
) -> None:
    sent = [payload(workspace={"slug": f"install-{n % 4}", "name": "", "provider": "Hermes"}, n=n) for n in range(16)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda one: service.post(one, laptop.token), sent))
    taken = {one["workspace"]["slug"] for one, answer in zip(sent, answers, strict=True) if answer.status_code == 200}
    assert len(taken) == 1
    assert sorted(answer.status_code for answer in answers) == [200] * 4 + [400] * 12
    with engine.connect() as connection:
        assert {connection.execute(sa.text("SELECT bound_workspace_slug FROM hermes_feeds")).scalar_one()} == taken


def test_the_same_batch_at_the_same_moment_is_one_batch(service: Service, laptop: Install, engine: sa.Engine) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = [answer.json() for answer in pool.map(lambda _: service.post(payload(), laptop.token), range(16))]
    assert len({answer["batchId"] for answer in answers}) == 1
    assert [answer["duplicate"] for answer in answers].count(False) == 1
    assert len(batches(engine)) == 1


def test_a_gzipped_body_is_taken_in(service: Service, laptop: Install, engine: sa.Engine) -> None:
    assert service.post_gzipped(json.dumps(payload()).encode(), laptop.token).status_code == 200
    assert service.post(payload(), laptop.token).json()["duplicate"] is True


@pytest.mark.parametrize(
    "body",
    [b"no gzip", gzip.compress(b"{}")[:-4], gzip.compress(b"{}") * 2, b""],
    ids=["plain", "cut", "two streams", "empty"],
)
def test_what_is_no_whole_gzip_stream_is_refused_and_kept(
    service: Service, laptop: Install, engine: sa.Engine, body: bytes
) -> None:
    answer = service.post(body, laptop.token, **{"Content-Encoding": "gzip"})
    assert (answer.status_code, answer.json()["code"]) == (400, "payload_not_gzip")
    assert [row.refused_code for row in batches(engine)] == ["payload_not_gzip"]


def test_a_gzip_bomb_costs_no_memory(service: Service, laptop: Install, engine: sa.Engine) -> None:
    bomb = gzip.compress(bytes(1024 * 1024 * 1024), 9)
    assert len(bomb) < 2_000_000
    service.post(payload(), laptop.token)
    before = peak_kib(service)
    answer = service.post(bomb, laptop.token, **{"Content-Encoding": "gzip"})
    assert (answer.status_code, answer.json()["code"]) == (413, "payload_too_large")
    assert peak_kib(service) - before < 64 * 1024
    assert len(batches(engine)) == 1


def peak_kib(service: Service) -> int:
    """The most memory that the server ever held."""
    from pathlib import Path

    status = Path(f"/proc/{service.process.pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM:")).split()[1])


@pytest.mark.parametrize("encoding", ["br", "deflate", "gzip, gzip"])
def test_another_content_encoding_is_refused(service: Service, laptop: Install, encoding: str) -> None:
    answer = service.post(b"x", laptop.token, **{"Content-Encoding": encoding})
    assert (answer.status_code, answer.json()["code"]) == (415, "content_encoding_unknown")


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_over_the_limit_is_refused_whether_its_size_is_told_or_not(
    start: Start, laptop: Install, engine: sa.Engine, chunked: bool
) -> None:
    import httpx

    service = start(USAGE_INGEST_BODY_BYTES_MAX="100000")
    body = bytes(300_000)
    content: Any = iter([body[:150_000], body[150_000:]]) if chunked else body
    headers = {"Authorization": f"Bearer {laptop.token}"}
    answer = httpx.post(f"{service.url}{INGEST}", content=content, headers=headers, timeout=30)
    assert (answer.status_code, answer.json()["code"]) == (413, "payload_too_large")
    assert batches(engine) == []


def test_a_payload_with_too_many_buckets_is_refused_and_kept(start: Start, laptop: Install, engine: sa.Engine) -> None:
    service = start(USAGE_INGEST_BUCKETS_MAX="1")
    answer = service.post(payload(), laptop.token)
    assert (answer.status_code, answer.json()["code"]) == (400, "payload_too_many_buckets")
    assert [row.refused_code for row in batches(engine)] == ["payload_too_many_buckets"]


def test_a_sender_that_takes_too_long_is_told_so(start: Start, laptop: Install) -> None:
    service = start(USAGE_INGEST_READ_SECONDS="1")
    address = urlsplit(service.url)
    with socket.create_connection((address.hostname, address.port), timeout=20) as connection:
        connection.sendall(
            f"POST {INGEST} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {laptop.token}\r\n"
            "Content-Length: 100\r\n\r\n{".encode()
        )
        assert connection.recv(20).startswith(b"HTTP/1.1 408 ")


def test_refusals_are_kept_up_to_a_number_and_a_size_a_day(start: Start, laptop: Install, engine: sa.Engine) -> None:
    service = start(USAGE_INGEST_REFUSALS_PER_DAY="3", USAGE_INGEST_REFUSAL_BYTES_PER_DAY="1000")
    assert service.post(b"x" * 2000, laptop.token).status_code == 400  # alone larger than the day's size
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda n: service.post(b"x%d" % n, laptop.token), range(12)))
    assert {answer.status_code for answer in answers} == {400}
    assert len(batches(engine)) == 3
    assert service.post(payload(), laptop.token).status_code == 200


def test_a_feed_that_floods_is_told_to_wait(start: Start, laptop: Install, install: Callable[..., Install]) -> None:
    service = start(USAGE_INGEST_BATCHES_PER_MINUTE="3")
    answers = [service.post(payload(n=n), laptop.token) for n in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert answers[-1].headers["Retry-After"] == "60"
    assert service.post(payload(), install("other").token).status_code == 200


def test_a_disabled_feed_is_told_so(start: Start, laptop: Install, engine: sa.Engine) -> None:
    from usage_pipeline_tests.service.conftest import NOW

    with engine.begin() as connection:
        disable_feed(connection, laptop.feed.feed_id, laptop.feed.slug, NOW)
    assert start().post(payload(), laptop.token).status_code == 200  # its last day is not over
    answer = start(USAGE_NOW="2026-03-13T00:00:00Z").post(payload(n=1), laptop.token)
    assert (answer.status_code, answer.json()["code"]) == (403, "feed_disabled")
    assert len(batches(engine)) == 1


def test_a_sender_that_leaves_in_the_middle_leaves_nothing(
    service: Service, laptop: Install, engine: sa.Engine
) -> None:
    address = urlsplit(service.url)
    body = json.dumps(payload()).encode()
    with socket.create_connection((address.hostname, address.port), timeout=20) as connection:
        head_lines = f"POST {INGEST} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {laptop.token}\r\n"
        connection.sendall(f"{head_lines}Content-Length: {len(body)}\r\n\r\n".encode() + body[:100])
        time.sleep(0.3)
    time.sleep(0.3)
    assert service.get("/healthz").status_code == 200
    assert batches(engine) == []
