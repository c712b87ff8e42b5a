"""``kill -9`` at random moments under load: every acknowledged batch is there exactly once, none half."""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
from collections import Counter
from contextlib import closing
from urllib.parse import urlsplit

import sqlalchemy as sa

from usage_pipeline.hermes.payload import batch_digest
from usage_pipeline.ledger.hermes_batches import batch_body
from usage_pipeline_tests.hermes.payload_building import bucket, model, v2
from usage_pipeline_tests.service.conftest import INGEST, Install, Start, batches

KILLS = 4
SENDERS = 4


class Sender(threading.Thread):
    """Posts new batches one after the other until the server is gone; ``acknowledged`` by body, with the batch id."""

    def __init__(self, url: str, token: str, name: str) -> None:
        super().__init__(name=name)
        self._address = urlsplit(url).netloc
        self._token = token
        self.acknowledged: dict[bytes, int] = {}
        self.sent: list[bytes] = []

    def run(self) -> None:
        for number in range(10_000):
            body = json.dumps(v2(bucket("2026-03-11", model()), sourceLabel=f"{self.name} {number}")).encode()
            self.sent.append(body)
            try:
                with closing(http.client.HTTPConnection(self._address, timeout=30)) as connection:
                    connection.request("POST", INGEST, body, {"Authorization": f"Bearer {self._token}"})
                    with connection.getresponse() as answer:
                        told = json.loads(answer.read())
            except (OSError, http.client.HTTPException, ValueError):
                return
            assert answer.status == 200
            self.acknowledged[body] = told["batchId"]


def test_every_acknowledged_batch_survives_a_kill_once(start: Start, laptop: Install, engine: sa.Engine) -> None:
    moments = random.Random(20260312)
    acknowledged: dict[bytes, int] = {}
    sent: set[bytes] = set()
    for kill in range(KILLS):
        service = start()
        senders = [Sender(service.url, laptop.token, f"{kill}.{n}") for n in range(SENDERS)]
        for sender in senders:
            sender.start()
        deadline = time.monotonic() + 20
        while not all(sender.acknowledged for sender in senders) and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(moments.uniform(0, 0.6))
        service.kill()
        for sender in senders:
            sender.join(40)
            acknowledged |= sender.acknowledged
            sent |= set(sender.sent)
    kept = batches(engine)
    assert len(acknowledged) >= KILLS * SENDERS
    stored: Counter[bytes] = Counter()
    with engine.connect() as connection:
        for row in kept:
            body, _ = batch_body(connection, row.batch_id)
            assert bytes(row.digest) == batch_digest(body)
            assert row.accepted
            stored[body] += 1
            if body in acknowledged:
                assert acknowledged[body] == row.batch_id
    assert set(stored.values()) == {1}
    assert acknowledged.keys() <= stored.keys() <= sent


def test_what_was_acknowledged_before_a_kill_is_a_repeat_after_it(start: Start, laptop: Install) -> None:
    body = json.dumps(v2(bucket("2026-03-11", model()))).encode()
    first = start()
    told = first.post(body, laptop.token).json()
    first.kill()
    again = start().post(body, laptop.token).json()
    assert (again["batchId"], again["duplicate"]) == (told["batchId"], True)
