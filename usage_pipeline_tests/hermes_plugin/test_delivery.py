"""A payload reaches a real server, again and again where that can help, and never where it can't."""

from __future__ import annotations

import gzip
import json
import socket
from email.utils import formatdate

import pytest

from usage_pipeline_hermes.config import Config, load_config
from usage_pipeline_hermes.delivery import BACKOFF_S, UndeliveredError, Waiting, deliver
from usage_pipeline_hermes.errors import PluginError
from usage_pipeline_tests.hermes_plugin.loopback import Answering, Scripted
from usage_pipeline_tests.hermes_plugin.replica import moment

NOW = moment("2026-08-10T09:00:00")
TOKEN = "uph_very_secret"


class Clock:
    """Sleeps without sleeping."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def waiting(self, fraction: float = 0.5) -> Waiting:
        return Waiting(sleep=self.slept.append, fraction=lambda: fraction, now_s=lambda: NOW)


def _config(url: str, timeout: str = "5") -> Config:
    return load_config(
        {
            "HERMES_HOME": "/nowhere",
            "USAGE_PIPELINE_ENDPOINT": url,
            "USAGE_PIPELINE_TOKEN": TOKEN,
            "USAGE_PIPELINE_TIMEOUT": timeout,
        }
    )


def test_a_payload_is_taken_with_its_token_in_one_header() -> None:
    with Answering() as server:
        delivered = deliver(b'{"a":1}', _config(server.url), Clock().waiting())
    assert (delivered.status, delivered.attempts, delivered.rows_written) == (200, 1, 3)
    (request,) = server.requests
    assert (request.path, request.body) == ("/api/ingest/hermes-usage", b'{"a":1}')
    assert request.headers["Authorization"] == f"Bearer {TOKEN}"
    assert request.headers["Content-Type"] == "application/json"


def test_a_large_payload_is_packed_and_always_to_the_same_bytes() -> None:
    body = b'"' + b"x" * 5000 + b'"'
    with Answering() as server:
        deliver(body, _config(server.url), Clock().waiting())
        deliver(body, _config(server.url), Clock().waiting())
    first, second = server.requests
    assert first.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(first.body) == body
    assert first.body == second.body


@pytest.mark.parametrize("trouble", [Scripted(500), Scripted(503), Scripted(429), Scripted(408)])
def test_a_passing_trouble_is_tried_again_with_the_same_bytes(trouble: Scripted) -> None:
    clock = Clock()
    with Answering(trouble, trouble) as server:
        delivered = deliver(b"{}", _config(server.url), clock.waiting())
    assert delivered.attempts == 3
    assert len({request.body for request in server.requests}) == 1
    assert clock.slept == [BACKOFF_S[0] * 0.5, BACKOFF_S[1] * 0.5]


def test_an_answer_that_is_cut_after_its_status_was_an_acknowledgement() -> None:
    with Answering(Scripted(200, b'{"rowsWr', cut=True)) as server:
        delivered = deliver(b"{}", _config(server.url), Clock().waiting())
    assert (delivered.attempts, delivered.rows_written) == (1, None)


def test_the_waits_are_random_below_a_growing_limit() -> None:
    clock = Clock()
    with Answering(*[Scripted(500)] * 4) as server, pytest.raises(UndeliveredError) as caught:
        deliver(b"{}", _config(server.url), clock.waiting(fraction=1.0))
    assert clock.slept == list(BACKOFF_S)
    assert (caught.value.status, len(server.requests)) == (4, 4)


@pytest.mark.parametrize("written", ["40", formatdate(NOW + 40, usegmt=True)])
def test_the_wait_that_a_server_asks_for_is_kept(written: str) -> None:
    clock = Clock()
    with Answering(Scripted(429, headers={"Retry-After": written})) as server:
        deliver(b"{}", _config(server.url), clock.waiting())
    assert clock.slept == [40.0]


def test_a_server_that_asks_for_a_long_wait_is_left_alone() -> None:
    clock = Clock()
    answer = Scripted(503, headers={"Retry-After": "7200"})
    with Answering(answer) as server, pytest.raises(UndeliveredError) as caught:
        deliver(b"{}", _config(server.url), clock.waiting())
    assert (caught.value.retry_after_s, clock.slept, len(server.requests)) == (7200.0, [], 1)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 422])
def test_a_refusal_is_not_repeated_and_says_what_to_do(status: int) -> None:
    clock = Clock()
    answer = Scripted(status, b'{"error": "days[0].usageDate: must be text, uph_very_secret"}')
    with Answering(answer) as server, pytest.raises(PluginError) as caught:
        deliver(b"{}", _config(server.url), clock.waiting())
    assert (caught.value.code, caught.value.status, len(server.requests), clock.slept) == ("refused", 3, 1, [])
    assert "days[0].usageDate" in str(caught.value)
    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "code", "remedy"),
    [
        (400, "payload_labels_contradict", "each profile needs a feed and a token of its own"),
        (400, "payload_from_the_future", "Set this machine's clock"),
        (400, "payload_version_unknown", "newer release"),
        (400, "payload_contract", "the field that it names"),
        (401, "token_refused", "usage-pipeline hermes rotate-token"),
        (403, "feed_disabled", "usage-pipeline hermes enable"),
    ],
)
def test_a_refusal_says_what_to_do_about_its_cause(status: int, code: str, remedy: str) -> None:
    refusal = Scripted(status, json.dumps({"error": "why", "code": code}).encode())
    with Answering(refusal) as server, pytest.raises(PluginError) as caught:
        deliver(b"{}", _config(server.url), Clock().waiting())
    assert remedy in caught.value.remedy
    # A second feed for the same install would count its usage twice.
    assert "add-feed" not in caught.value.remedy


def test_a_redirect_is_not_followed_since_it_would_carry_the_token_away() -> None:
    with Answering() as elsewhere:
        redirect = Scripted(307, headers={"Location": f"{elsewhere.url}/api/ingest/hermes-usage"})
        with Answering(redirect) as server, pytest.raises(PluginError, match="redirects"):
            deliver(b"{}", _config(server.url), Clock().waiting())
    assert elsewhere.requests == []


def test_a_server_that_is_not_there_is_tried_four_times() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    clock = Clock()
    with pytest.raises(UndeliveredError, match="cannot be reached"):
        deliver(b"{}", _config(f"http://127.0.0.1:{port}"), clock.waiting())
    assert len(clock.slept) == 3


def test_a_server_that_never_answers_is_given_up_after_the_timeout() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        port = silent.getsockname()[1]
        with pytest.raises(UndeliveredError, match="in time"):
            deliver(b"{}", _config(f"http://127.0.0.1:{port}", timeout="1"), Clock().waiting())
