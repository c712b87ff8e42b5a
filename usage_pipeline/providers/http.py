"""The HTTP client that every provider is asked with: one answer's bytes, or an error that says what to do.

Belongs here: timeouts, retries, waiting as told, size limits, and that a credential only ever travels to the base URL's
own host. Comes in: an endpoint and a page's query. Goes out: the body of a 200 that holds a whole JSON object. What the
body means is the provider's.

Errors name provider, path and status, never the query (ids), headers, or a body beyond the provider's own redacted
message. They are raised outside of any ``except`` block, so that no httpx exception (which holds the request with its
headers) hangs on them as their context.
"""

from __future__ import annotations

import io
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from types import TracebackType
from typing import Final, Protocol, Self

import httpx
from tenacity import RetryCallState, Retrying, retry_if_result, wait_exponential_jitter, wait_random

from usage_pipeline.credentials.secret import Secret
from usage_pipeline.errors import PermanentError, TransientError, UsagePipelineError
from usage_pipeline.providers.circuit import Circuit
from usage_pipeline.providers.contract import Endpoint, PageQuery, Provider
from usage_pipeline.providers.refusals import refusal_at, without_secret
from usage_pipeline.providers.retry_after import seconds_to_wait
from usage_pipeline.providers.rows import broken, where_of

Query = Sequence[tuple[str, str]]
"""Query parameters in their order; a name may be there more than once."""

_Refused = Callable[[int, bytes], UsagePipelineError]
_REFUSAL_BYTES_MAX: Final = 65_536


class RateLimiter(Protocol):
    """Waits until one more request may be sent."""

    def wait(self) -> float:
        """Wait as long as needed; return the seconds waited."""


class Unlimited:
    """No rate limit."""

    def wait(self) -> float:
        """Never waits."""
        return 0.0


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Every bound of the client; seconds, bytes, attempts.

    ``total_s`` bounds one page with all its retries and waits; a wait that would pass it is not begun. ``answer_s``
    bounds one answer from the first byte to the last (``read_s`` bounds only the silence between two).
    """

    connect_s: float = 10.0
    read_s: float = 60.0
    answer_s: float = 300.0
    total_s: float = 600.0
    attempts_max: int = 7
    backoff_first_s: float = 1.0
    backoff_max_s: float = 60.0
    jitter_s: float = 1.0
    body_bytes_max: int = 256 * 1024 * 1024
    circuit_failures_max: int = 12
    circuit_cooldown_s: float = 60.0


@dataclass(slots=True)
class HttpCounters:
    """What the client did so far: for telemetry. ``waited_s`` is backoff and rate limit together, in seconds."""

    requests: int = 0
    retries: int = 0
    waited_s: float = 0.0
    bytes_received: int = 0


@dataclass(frozen=True, slots=True)
class _Failure:
    """An attempt that gave no page. ``wait_s`` is what the provider asked for; ``is_down`` counts for the circuit."""

    error: UsagePipelineError
    wait_s: float | None = None
    is_down: bool = False

    @property
    def may_pass(self) -> bool:
        return isinstance(self.error, TransientError)


_Outcome = bytes | _Failure


def utc_now() -> datetime:
    """The time now, UTC."""
    return datetime.now(UTC)


def user_agent() -> str:
    """Names this project and its version to the provider, as Anthropic asks integrations to do."""
    try:
        return f"usage-pipeline/{version('usage-pipeline')}"
    except PackageNotFoundError:
        return "usage-pipeline"


@cache
def _trusted() -> ssl.SSLContext:
    """The certificates that are trusted, read once: it takes longer than a small pull."""
    return httpx.create_ssl_context()


class ProviderClient:
    """Asks one provider with one credential. Use as a context manager; not for use by several threads at once.

    ``base_url`` None is the provider's own host. ``sleep``, ``clock`` (UTC) and ``monotonic`` (seconds) are parameters
    so that a test waits for nothing.
    """

    def __init__(
        self,
        provider: Provider,
        secret: Secret,
        *,
        base_url: str | None = None,
        rate_limiter: RateLimiter | None = None,
        limits: HttpLimits | None = None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], datetime] = utc_now,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.provider = provider
        self.counters = HttpCounters()
        self.clock = clock
        self._secret = secret
        self._base_url = provider.normalise_base_url(base_url or provider.default_base_url)
        self._rate_limiter = rate_limiter or Unlimited()
        self._limits = limits or HttpLimits()
        self._sleep = sleep
        self._monotonic = monotonic
        self._circuit = Circuit(self._limits.circuit_failures_max, self._limits.circuit_cooldown_s, monotonic)
        self._client = httpx.Client(
            timeout=httpx.Timeout(self._limits.read_s, connect=self._limits.connect_s),
            headers={"User-Agent": user_agent(), "Accept": "application/json"},
            follow_redirects=False,
            verify=_trusted(),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def fetch_page(self, endpoint: Endpoint, page: PageQuery) -> bytes:
        """The body of one page: a JSON object, whole.

        Raises ``TransientError`` when the attempts or the time are used up: ``rate_limited``, ``provider_unavailable``,
        ``provider_unreachable``, ``answer_timeout``, ``answer_cut``, ``circuit_open``; ``PermanentError`` at once: what
        the provider's ``refusal`` tells, ``redirect_refused``, ``credential_unusable``; ``ContractBrokenError``:
        ``answer_not_json``, ``answer_too_large``.
        """
        return self._get(
            endpoint.path,
            self.provider.query(endpoint, page),
            where_of(self.provider.name, endpoint),
            lambda status, body: self.provider.refusal(endpoint, status, body),
        )

    def fetch(self, path: str, query: Query) -> bytes:
        """The body of what is at a path beside the reports: a JSON object, whole. Raises as :meth:`fetch_page` does."""
        where = f"{self.provider.name} {path}"
        return self._get(path, query, where, lambda status, body: refusal_at(where, self.provider.title, status, body))

    def _get(self, path: str, query: Query, where: str, refused: _Refused) -> bytes:
        if self._circuit.is_open:
            raise self._circuit_open(where, "")
        request = self._request(path, query, where)
        began = self._monotonic()
        retrying = Retrying(
            retry=retry_if_result(lambda outcome: isinstance(outcome, _Failure) and outcome.may_pass),
            wait=self._wait_s,
            stop=lambda state: self._is_used_up(state, began),
            sleep=self._wait,
            retry_error_callback=_outcome_of,
        )
        outcome = retrying(self._attempt, refused, request, where)
        if isinstance(outcome, bytes):
            return outcome
        if self._circuit.is_open:
            raise self._circuit_open(where, outcome.error.what)
        raise _given_up(outcome, retrying.statistics["attempt_number"], self._monotonic() - began)

    def _request(self, path: str, query: Query, where: str) -> httpx.Request:
        headers = self.provider.headers(self._secret)
        if not all(value.isascii() and value.isprintable() for value in headers.values()):
            raise PermanentError(
                "credential_unusable",
                "the key has characters that no HTTP header can carry",
                where=where,
                remedy="Replace the key; it was not copied as the provider showed it.",
            )
        parameters = httpx.QueryParams(list(query))
        return self._client.build_request("GET", self._base_url + path, params=parameters, headers=dict(headers))

    def _attempt(self, refused: _Refused, request: httpx.Request, where: str) -> _Outcome:
        self.counters.waited_s += self._rate_limiter.wait()
        self.counters.requests += 1
        outcome = self._exchange(refused, request, where)
        if isinstance(outcome, _Failure) and outcome.is_down:
            self._circuit.failed()
        else:
            self._circuit.worked()
        return outcome

    def _exchange(self, refused: _Refused, request: httpx.Request, where: str) -> _Outcome:
        """Send and read once. No exception of httpx leaves this function."""
        try:
            response = self._client.send(request, stream=True)
            try:
                if response.status_code == 200:
                    return self._body(response, where)
                return self._refusal(refused, response, where)
            finally:
                response.close()
        except httpx.TimeoutException:
            return _down("answer_timeout", "no answer in time", where)
        except (httpx.RemoteProtocolError, httpx.DecodingError, httpx.ReadError):
            return _down("answer_cut", "the connection ended before the answer did", where)
        except (httpx.TransportError, OSError) as error:
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                return _Failure(_certificate_refused(where))
            return _down("provider_unreachable", "no connection to the provider", where)

    def _body(self, response: httpx.Response, where: str) -> _Outcome:
        kind = response.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
        if kind != "application/json" and not kind.endswith("+json"):
            kind = kind.replace(self._secret.reveal().lower(), "[redacted]")[:60]
            return _Failure(broken("answer_not_json", f"HTTP 200 with the content type {kind!r}", where))
        body = self._read(response, where)
        if isinstance(body, _Failure):
            return body
        # Without a length, a body that was cut in the middle looks like a whole one: an object must end as one.
        text = body.strip() if len(body) < 64 else body[:32].lstrip() + body[-32:].rstrip()
        if not text.startswith(b"{"):
            return _Failure(broken("answer_not_json", "HTTP 200 with a body that is no JSON object", where))
        if not text.endswith(b"}"):
            return _down("answer_cut", "the answer ends in the middle", where)
        return body

    def _read(self, response: httpx.Response, where: str) -> _Outcome:
        # BytesIO hands its buffer over without a copy; joining chunks would hold the answer twice.
        body = io.BytesIO()
        deadline = self._monotonic() + self._limits.answer_s
        for chunk in response.iter_bytes():
            body.write(chunk)
            if body.tell() > self._limits.body_bytes_max:
                limit = f"{self._limits.body_bytes_max:,} bytes"
                return _Failure(broken("answer_too_large", f"the answer is larger than {limit} unpacked", where))
            if self._monotonic() > deadline:
                return _down("answer_timeout", f"the answer takes longer than {self._limits.answer_s:.0f} s", where)
        self.counters.bytes_received += body.tell()
        return body.getvalue()

    def _refusal(self, refused: _Refused, response: httpx.Response, where: str) -> _Failure:
        status = response.status_code
        if 300 <= status < 400:
            return _Failure(
                PermanentError(
                    "redirect_refused",
                    f"HTTP {status} points to another place; it was not followed and the credential did not travel",
                    where=where,
                    remedy="Check the account's base URL.",
                )
            )
        if status < 300:
            return _Failure(broken("answer_not_json", f"HTTP {status} where a page is answered with 200", where))
        error = refused(status, without_secret(_head_of_body(response), self._secret))
        if not isinstance(error, TransientError):
            return _Failure(error)
        return _Failure(error, seconds_to_wait(response.headers, self.clock()), is_down=status != 429)

    def _wait_s(self, state: RetryCallState) -> float:
        """Seconds until the next attempt: never earlier than told, growing, with jitter against callers in step."""
        limits = self._limits
        outcome = _outcome_of(state)
        told = outcome.wait_s if isinstance(outcome, _Failure) else None
        grown = wait_exponential_jitter(limits.backoff_first_s, limits.backoff_max_s, jitter=limits.jitter_s)(state)
        return grown if told is None else max(grown, told + wait_random(0, limits.jitter_s)(state))

    def _is_used_up(self, state: RetryCallState, began: float) -> bool:
        spent = self._monotonic() - began + state.upcoming_sleep
        return (
            state.attempt_number >= self._limits.attempts_max or spent > self._limits.total_s or self._circuit.is_open
        )

    def _wait(self, seconds: float) -> None:
        self._sleep(seconds)
        self.counters.retries += 1
        self.counters.waited_s += seconds

    def _circuit_open(self, where: str, last: str) -> TransientError:
        because = f" (the last: {last})" if last else ""
        return TransientError(
            "circuit_open",
            f"{self._circuit.failures} requests in a row failed{because}; none is sent for "
            f"{self._limits.circuit_cooldown_s:.0f} s",
            where=where,
            remedy="The next run asks again; the provider's status page may say more.",
        )


def _outcome_of(state: RetryCallState) -> _Outcome:
    assert state.outcome is not None, "tenacity asks after an attempt"
    outcome: _Outcome = state.outcome.result()
    return outcome


def _down(code: str, what: str, where: str) -> _Failure:
    return _Failure(TransientError(code, what, where=where, remedy="The next run retries."), is_down=True)


def _certificate_refused(where: str) -> PermanentError:
    return PermanentError(
        "certificate_refused",
        "the host's TLS certificate is not trusted, so nothing was sent",
        where=where,
        remedy="Check the base URL, or name your company's certificate authority in SSL_CERT_FILE.",
    )


def _given_up(failure: _Failure, attempts: int, seconds: float) -> UsagePipelineError:
    error = failure.error
    if not isinstance(error, TransientError):
        return error
    told = "" if failure.wait_s is None else f"; it asks to be left alone for {failure.wait_s:.0f} s"
    many = "attempt" if attempts == 1 else "attempts"
    what = f"{error.what.rstrip('.')}{told}; given up after {attempts} {many} in {seconds:.0f} s"
    return TransientError(error.code, what, where=error.where, remedy=error.remedy)


def _head_of_body(response: httpx.Response) -> bytes:
    """The first bytes of a refusal's body: enough for its message; a body that breaks off is taken as it is."""
    head = b""
    try:
        for chunk in response.iter_bytes():
            head += chunk
            if len(head) >= _REFUSAL_BYTES_MAX:
                break
    except httpx.HTTPError:
        pass
    return head[:_REFUSAL_BYTES_MAX]
