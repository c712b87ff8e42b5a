"""The HTTP client asks patiently, believes nothing that is not JSON, and keeps the credential to itself."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from usage_pipeline.credentials.secret import Secret
from usage_pipeline.errors import PermanentError, TransientError, UsagePipelineError
from usage_pipeline.providers import anthropic, openai
from usage_pipeline.providers.contract import ContractBrokenError, PageQuery
from usage_pipeline.providers.http import HttpLimits, ProviderClient
from usage_pipeline_tests.providers.loopback import EMPTY_PAGE, Answer, Loopback, serving

KEY = "sk-admin-Very5ecretKey"
NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
QUERY = PageQuery(
    start=datetime(2026, 11, 20, tzinfo=UTC),
    end=datetime(2026, 11, 21, tzinfo=UTC),
    width="1d",
    dimensions=("model",),
    projects=("proj_private",),
)


class Time:
    """A clock that moves only when someone sleeps."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.sleeps: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.seconds += seconds

    def monotonic(self) -> float:
        return self.seconds


@pytest.fixture
def time() -> Time:
    return Time()


@contextlib.contextmanager
def client_of(
    loopback: Loopback, time: Time, provider: Any = openai.PROVIDER, **changes: Any
) -> Iterator[ProviderClient]:
    rate_limiter = changes.pop("rate_limiter", None)
    with (
        serving(loopback),
        ProviderClient(
            provider,
            Secret(KEY),
            base_url=loopback.url,
            rate_limiter=rate_limiter,
            limits=HttpLimits(**changes),
            sleep=time.sleep,
            clock=lambda: NOW,
            monotonic=time.monotonic,
        ) as client,
    ):
        yield client


def ask(client: ProviderClient) -> bytes:
    return client.fetch_page(client.provider.endpoints[0], QUERY)


def refused(client: ProviderClient) -> UsagePipelineError:
    """The error, checked for what no error may hold."""
    with pytest.raises(UsagePipelineError) as caught:
        ask(client)
    error = caught.value
    shown = "".join(traceback.format_exception(error))
    assert "\n" not in str(error)
    for private in (KEY, "proj_private", "start_time"):
        assert private not in shown
    assert error.__cause__ is None
    assert error.__context__ is None
    return error


# Asking


def test_a_page_is_asked_for_with_the_credential_and_our_name(time: Time) -> None:
    loopback = Loopback(Answer())
    with client_of(loopback, time) as client:
        assert ask(client) == EMPTY_PAGE

    [asked] = loopback.asked
    assert asked.path.startswith("/v1/organization/usage/completions?start_time=1795132800&end_time=1795219200&")
    assert asked.path.endswith("&group_by=model&project_ids=proj_private")
    assert asked.headers["Authorization"] == f"Bearer {KEY}"
    assert asked.headers["User-Agent"].startswith("usage-pipeline")
    assert client.counters.requests == 1
    assert client.counters.bytes_received == len(EMPTY_PAGE)
    assert time.sleeps == []


def test_anthropic_is_asked_with_its_own_headers_and_brackets(time: Time) -> None:
    loopback = Loopback(Answer())
    with client_of(loopback, time, anthropic.PROVIDER) as client:
        ask(client)

    [asked] = loopback.asked
    assert asked.path.startswith("/v1/organizations/usage_report/messages?")
    assert "group_by%5B%5D=model" in asked.path
    assert asked.headers["x-api-key"] == KEY
    assert asked.headers["anthropic-version"] == "2023-06-01"
    assert "usage-pipeline" in asked.headers["User-Agent"]


def test_a_packed_answer_is_unpacked(time: Time) -> None:
    with client_of(Loopback(Answer.gzipped(EMPTY_PAGE)), time) as client:
        assert ask(client) == EMPTY_PAGE


def test_an_answer_without_a_content_type_is_judged_by_its_body(time: Time) -> None:
    with client_of(Loopback(Answer(content_type=None)), time) as client:
        assert ask(client) == EMPTY_PAGE


def test_the_rate_limiter_is_asked_before_every_request(time: Time) -> None:
    class Limiter:
        def wait(self) -> float:
            return 2.5

    with client_of(Loopback(Answer(status=503), Answer()), time, rate_limiter=Limiter(), jitter_s=0.0) as client:
        ask(client)

    assert client.counters.requests == 2
    assert client.counters.waited_s == pytest.approx(2 * 2.5 + 1.0)


# Trying again


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504, 529])
def test_a_transient_status_is_tried_again(time: Time, status: int) -> None:
    with client_of(Loopback(Answer(status=status, body=b"{}"), Answer()), time) as client:
        assert ask(client) == EMPTY_PAGE

    assert (client.counters.requests, client.counters.retries) == (2, 1)
    assert client.counters.waited_s == sum(time.sleeps) > 0


@pytest.mark.parametrize(
    "answer",
    [
        Answer(reset=True),
        Answer(cut_after=20),
        Answer(announce_length=False, cut_after=20),
        Answer(body=b"not gzip", headers={"Content-Encoding": "gzip"}),
        Answer(silent_s=0.4),
    ],
    ids=["connection reset", "body cut", "body cut without a length", "broken packing", "silence"],
)
def test_an_answer_that_did_not_arrive_is_tried_again(time: Time, answer: Answer) -> None:
    with client_of(Loopback(answer, Answer()), time, read_s=0.2) as client:
        assert ask(client) == EMPTY_PAGE

    assert client.counters.retries == 1


def test_waits_grow(time: Time) -> None:
    with client_of(Loopback(Answer(status=500)), time, attempts_max=6, backoff_max_s=6, jitter_s=0) as client:
        refused(client)

    assert time.sleeps == [1, 2, 4, 6, 6]


@pytest.mark.parametrize(
    ("headers", "at_least"),
    [
        ({"Retry-After": "17"}, 17),
        ({"Retry-After": "Sat, 21 Nov 2026 12:00:17 GMT"}, 17),
        ({"x-ratelimit-reset-requests": "1m0s"}, 60),
        ({}, 1),
    ],
)
def test_it_waits_at_least_as_long_as_it_is_told(time: Time, headers: dict[str, str], at_least: float) -> None:
    with client_of(Loopback(Answer(status=429, headers=headers), Answer()), time) as client:
        ask(client)

    [slept] = time.sleeps
    assert at_least <= slept <= at_least + 1


def test_a_wait_that_would_pass_the_total_time_is_not_begun(time: Time) -> None:
    with client_of(Loopback(Answer(status=429, headers={"Retry-After": "3600"})), time, total_s=60) as client:
        error = refused(client)

    assert isinstance(error, TransientError)
    assert error.code == "rate_limited"
    assert "3600 s" in error.what
    assert time.sleeps == []


def test_attempts_end_and_say_so(time: Time) -> None:
    body = b'{"error": {"message": "The server is overloaded"}}'
    with client_of(Loopback(Answer(status=503, body=body)), time, attempts_max=3) as client:
        error = refused(client)

    assert isinstance(error, TransientError)
    assert error.code == "provider_unavailable"
    assert 'says "The server is overloaded"' in error.what
    assert "given up after 3 attempts" in error.what
    assert client.counters.requests == 3


def test_a_provider_that_is_not_there_is_transient(time: Time) -> None:
    gone = Loopback(Answer())
    with serving(gone):
        pass
    client = ProviderClient(
        openai.PROVIDER,
        Secret(KEY),
        base_url=gone.url,
        limits=HttpLimits(attempts_max=2),
        sleep=time.sleep,
        monotonic=time.monotonic,
    )
    with client:
        error = refused(client)

    assert isinstance(error, TransientError)
    assert error.code == "provider_unreachable"


def test_an_answer_that_trickles_without_end_is_given_up() -> None:
    loopback = Loopback(Answer(byte_pause_s=0.05))
    with (
        serving(loopback),
        ProviderClient(
            openai.PROVIDER, Secret(KEY), base_url=loopback.url, limits=HttpLimits(answer_s=0.2, attempts_max=1)
        ) as client,
    ):
        error = refused(client)

    assert error.code == "answer_timeout"


def test_the_circuit_opens_after_failures_in_a_row_and_closes_after_an_answer(time: Time) -> None:
    loopback = Loopback(Answer(status=500), Answer(status=500), Answer(status=500), Answer())
    with client_of(loopback, time, circuit_failures_max=3, circuit_cooldown_s=30) as client:
        error = refused(client)
        assert error.code == "circuit_open"
        assert "HTTP 500" in error.what
        assert isinstance(error, TransientError)

        assert refused(client).code == "circuit_open"
        assert len(loopback.asked) == 3

        time.seconds += 31
        assert ask(client) == EMPTY_PAGE
        assert ask(client) == EMPTY_PAGE


def test_rate_limits_do_not_open_the_circuit(time: Time) -> None:
    loopback = Loopback(*[Answer(status=429)] * 5, Answer())
    with client_of(loopback, time, circuit_failures_max=2) as client:
        assert ask(client) == EMPTY_PAGE


# Not trying again


@pytest.mark.parametrize(
    ("status", "code"),
    [(400, "request_refused"), (401, "credential_refused"), (403, "credential_forbidden"), (404, "endpoint_unknown")],
)
def test_a_permanent_refusal_is_not_tried_again(time: Time, status: int, code: str) -> None:
    body = f'{{"error": {{"message": "No: {KEY} for nothing"}}}}'.encode()
    with client_of(Loopback(Answer(status=status, body=body)), time) as client:
        error = refused(client)

    assert isinstance(error, PermanentError)
    assert error.code == code
    assert "No: [redacted] for nothing" in error.what
    assert client.counters.requests == 1


def test_a_key_that_looks_like_no_key_is_taken_out_too(time: Time) -> None:
    loopback = Loopback(Answer(status=401, body=b'{"error": {"message": "plain-word is wrong"}}'))
    with serving(loopback), ProviderClient(openai.PROVIDER, Secret("plain-word"), base_url=loopback.url) as client:
        error = refused(client)

    assert "plain-word" not in str(error)
    assert "[redacted] is wrong" in str(error)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(time: Time, status: int) -> None:
    elsewhere = Loopback(Answer())
    with serving(elsewhere):
        moved = Answer(status=status, headers={"Location": f"{elsewhere.url}/v1/organization/usage/completions"})
        with client_of(Loopback(moved), time) as client:
            error = refused(client)

    assert isinstance(error, PermanentError)
    assert error.code == "redirect_refused"
    assert "credential did not travel" in error.what
    assert elsewhere.asked == []


@pytest.mark.parametrize(
    "answer",
    [
        Answer(body=b"<html>Sign in</html>", content_type="text/html"),
        Answer(body=b"<html>Sign in</html>"),
        Answer(body=b"[]"),
        Answer(body=b""),
        Answer(status=204, body=b""),
    ],
)
def test_what_is_no_json_object_is_refused(time: Time, answer: Answer) -> None:
    with client_of(Loopback(answer), time) as client:
        error = refused(client)

    assert isinstance(error, ContractBrokenError)
    assert error.code == "answer_not_json"
    assert "Sign in" not in str(error)


def test_an_answer_over_the_size_limit_is_refused_by_its_unpacked_size(time: Time) -> None:
    bomb = Answer.gzipped(b'{"data": "' + b"0" * 1_000_000 + b'"}')
    assert len(bomb.body) < 10_000
    with client_of(Loopback(bomb), time, body_bytes_max=100_000) as client:
        error = refused(client)

    assert isinstance(error, ContractBrokenError)
    assert error.code == "answer_too_large"


def test_a_key_that_no_header_can_carry_is_not_sent(time: Time) -> None:
    loopback = Loopback(Answer())
    with serving(loopback), ProviderClient(openai.PROVIDER, Secret("schlüssel"), base_url=loopback.url) as client:
        error = refused(client)

    assert error.code == "credential_unusable"
    assert "schlüssel" not in str(error)
    assert loopback.asked == []
