"""Posting a payload, and what an answer means.

Belongs here: HTTP, waiting, trying again. In: a body and the configuration. Out: what the server answered, or a
PluginError that says whether trying again can help. The token goes into one header and into nothing else.

| answer | meaning |
| --- | --- |
| 2xx | taken, whatever follows: the server stores before it answers |
| 408, 425, 429, 5xx, no answer, a timeout | tried again, the same bytes, so that twice is once |
| a redirect, any other 4xx, an untrusted certificate | permanent: repeating changes nothing |
"""

from __future__ import annotations

import gzip
import http.client
import json
import random
import re
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from email.message import Message
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import urlsplit

from .config import Config
from .errors import Exit, PluginError
from .version import PLUGIN_VERSION

GZIP_ABOVE_BYTES: Final = 4096
ATTEMPTS: Final = 4
BACKOFF_S: Final = (1.0, 5.0, 25.0)
"""The longest wait before the second, third and fourth attempt; the wait itself is random below it."""
RETRY_AFTER_WAIT_MAX_S: Final = 60.0
"""A server that asks for a longer wait is left alone until then; a command should not sleep for hours."""
RETRY_AFTER_MAX_S: Final = 86_400.0

_ANSWER_BYTES_MAX = 64 * 1024
_WORTH_RETRYING = frozenset({408, 425, 429})
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]+")
_PERMANENT: Final = {
    400: "The plugin and the server disagree about the field that it names; update the older one.",
    401: "Check USAGE_PIPELINE_TOKEN. If it was revoked: `usage-pipeline hermes rotate-token FEED` on the server.",
    403: "Ask who runs the server to run `usage-pipeline hermes enable FEED`; the usage is kept here.",
    404: "Check the path of USAGE_PIPELINE_ENDPOINT.",
    413: "Report fewer days: lower USAGE_PIPELINE_DAYS_BACK.",
}
_PERMANENT_BY_CODE: Final = {
    "payload_labels_contradict": "Set the labels back; each profile needs a feed and a token of its own.",
    "payload_from_the_future": "Set this machine's clock; `doctor` compares it with the server's.",
    "payload_version_unknown": "The server needs a newer release, or the plugin an older one.",
}
"""What the server's stable code says more exactly than its status. None tells to add a feed for an install that has
one: its usage would count twice."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """How time passes between attempts; tests pass their own."""

    sleep: Callable[[float], None] = time.sleep
    fraction: Callable[[], float] = random.SystemRandom().random
    now_s: Callable[[], float] = time.time


@dataclass(frozen=True, slots=True)
class Delivered:
    """A payload that was taken. ``rows_written`` as the server says, None where it doesn't."""

    status: int
    attempts: int
    bytes_sent: int
    rows_written: int | None


class UndeliveredError(PluginError):
    """No attempt succeeded. ``retry_after_s``: how long the server asked to be left alone, None where it didn't."""

    def __init__(self, what: str, retry_after_s: float | None) -> None:
        remedy = "Nothing is lost: the usage is kept and goes with the next sync."
        super().__init__("undelivered", what, remedy, Exit.UNDELIVERED)
        self.retry_after_s = retry_after_s


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Following a redirect would carry the token to another place."""

    def redirect_request(self, *_: object) -> None:
        return None


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer, at most 64 KiB of its body."""

    status: int
    headers: Message
    body: bytes


def ask(url: str, timeout_s: float, *, body: bytes | None = None, headers: dict[str, str] | None = None) -> Answer:
    """One request, GET or, with a body, POST. An answer of any status is returned; no answer raises OSError or
    http.client.HTTPException."""
    request = urllib.request.Request(url, data=body, headers=headers or {})  # noqa: S310  config allows http(s) alone
    request.add_header("User-Agent", f"usage-pipeline-hermes/{PLUGIN_VERSION}")
    is_local = urlsplit(url).hostname in ("localhost", "127.0.0.1", "::1")
    opener = urllib.request.build_opener(_NoRedirect, urllib.request.ProxyHandler({} if is_local else None))
    try:
        with opener.open(request, timeout=timeout_s) as response:
            return Answer(response.status, response.headers, response.read(_ANSWER_BYTES_MAX))
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, error.headers, error.read(_ANSWER_BYTES_MAX))


def deliver(body: bytes, config: Config, waiting: Waiting) -> Delivered:
    """Post ``body`` until it is taken.

    Raises UndeliveredError (exit status 4) after four attempts or where the server asks for a long wait, PluginError
    ``refused`` (3) for an answer that repeating cannot change.
    """
    headers = {"Authorization": f"Bearer {config.token}", "Content-Type": "application/json"}
    if len(body) > GZIP_ABOVE_BYTES:
        # Without a time in its header, so that the same payload is the same bytes.
        body, headers["Content-Encoding"] = gzip.compress(body, mtime=0), "gzip"
    for attempt in range(1, ATTEMPTS + 1):
        retry_after_s: float | None = None
        try:
            answer = ask(config.endpoint, config.timeout_s, body=body, headers=headers)
        except (OSError, http.client.HTTPException) as error:
            trouble = _trouble(error)
        else:
            if 200 <= answer.status < 300:
                return Delivered(answer.status, attempt, len(body), _rows_written(answer.body))
            if answer.status < 500 and answer.status not in _WORTH_RETRYING:
                raise _refused(answer, config)
            trouble = f"the server answered {answer.status}"
            retry_after_s = _retry_after(answer.headers, waiting.now_s())
        if retry_after_s is not None and retry_after_s > RETRY_AFTER_WAIT_MAX_S:
            raise UndeliveredError(f"{trouble} and asks to wait {retry_after_s:.0f} s", retry_after_s)
        if attempt < ATTEMPTS:
            waiting.sleep(max(retry_after_s or 0.0, BACKOFF_S[attempt - 1] * waiting.fraction()))
    raise UndeliveredError(f"{trouble}, {ATTEMPTS} times", retry_after_s)


def _trouble(error: OSError | http.client.HTTPException) -> str:
    """What went wrong, in words that hold nothing of the request. Raises PluginError for a certificate."""
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(reason, ssl.SSLCertVerificationError):
        raise PluginError(
            "certificate_untrusted",
            "the server's certificate is not trusted",
            "Check the endpoint's name, or the system's certificates.",
            Exit.REFUSED,
        ) from None
    if isinstance(reason, TimeoutError):
        return "the server did not answer in time"
    return f"the server cannot be reached ({type(reason).__name__})"


def _refused(answer: Answer, config: Config) -> PluginError:
    if 300 <= answer.status < 400:
        remedy = "Write the final address into USAGE_PIPELINE_ENDPOINT: a redirect would carry the token elsewhere."
        return PluginError("refused", f"the server redirects ({answer.status})", remedy, Exit.REFUSED)
    said, code = _words(answer.body, config.token)
    by_status = _PERMANENT.get(answer.status, "Repeating changes nothing; ask who runs the server.")
    remedy = _PERMANENT_BY_CODE.get(code, by_status)
    what = f"the server refused with {answer.status}" + (f" ({said})" if said else "")
    return PluginError("refused", what, remedy, Exit.REFUSED)


def _words(body: bytes, token: str) -> tuple[str, str]:
    """The server's own words, which name the field that it refused: plain, short, and never our token. And its code."""
    try:
        said = json.loads(body)
        error = said["error"] if isinstance(said, dict) else ""
        code = str(said.get("code", "")) if isinstance(said, dict) else ""
    except (ValueError, KeyError, RecursionError):
        return "", ""
    words = _UNPRINTABLE.sub(" ", error if isinstance(error, str) else json.dumps(error))
    return words.replace(token, "***")[:300].strip(), code


def _rows_written(body: bytes) -> int | None:
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return None
    rows = said.get("rowsWritten") if isinstance(said, dict) else None
    return rows if isinstance(rows, int) and not isinstance(rows, bool) else None


def _retry_after(headers: Message, now_s: float) -> float | None:
    """The wait that a server asks for, in seconds (at most a day), given as seconds or as a date."""
    written = (headers.get("Retry-After") or "").strip()
    if not written:
        return None
    if written.isascii() and written.isdigit():
        return min(float(written[:9]), RETRY_AFTER_MAX_S)
    try:
        return min(max(0.0, parsedate_to_datetime(written).timestamp() - now_s), RETRY_AFTER_MAX_S)
    except (ValueError, OverflowError):
        return None
