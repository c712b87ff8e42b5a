"""What an HTTP status other than 200 means, for every provider alike, in words that hold no secret.

Comes in: provider, endpoint, status and body. Goes out: a ``PermanentError`` (a person must change something) or a
``TransientError`` (later it may work). What only one provider says belongs in its own file.
"""

from __future__ import annotations

import contextlib
import re
from datetime import date
from typing import Final

import msgspec

from usage_pipeline.credentials.secret import Secret
from usage_pipeline.errors import PermanentError, TransientError, UsagePipelineError
from usage_pipeline.providers.contract import Endpoint
from usage_pipeline.providers.rows import UNREADABLE, where_of

MESSAGE_CHARACTERS_MAX: Final = 300

TRANSIENT_STATUSES: Final = frozenset({408, 425, 429, 500, 502, 503, 504, 529})
"""529 is Anthropic's "overloaded". Any other status of 500 and above is transient too."""

_ISO_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
_SCOPE: Final = re.compile(r"[Mm]issing scopes?:\s*([a-z0-9_.]+(?:\s*,\s*[a-z0-9_.]+)*)")

# What looks like a credential, however the provider masked it: a prefixed key, a bearer header, or one long run of
# letters and digits. Providers repeat parts of the key in a refusal ("Incorrect API key provided: sk-adm***xyz").
_KEY_LIKE: Final = re.compile(
    r"\b(?:sk|rk|pk)-[A-Za-z0-9_*.•-]{3,}|\b[Bb]earer\s+[^\s,;\"]+|[A-Za-z0-9+/_*=-]*\*{3,}[A-Za-z0-9+/_*=-]*"
    r"|\b(?=[A-Za-z0-9+/_-]*\d)[A-Za-z0-9+/_-]{32,}={0,2}"
)


class LookbackExceededError(PermanentError):
    """The range begins before what the provider keeps. ``earliest`` is the first UTC day it answers, where it says."""

    def __init__(self, what: str, where: str, earliest: date | None) -> None:
        self.earliest = earliest
        begin = earliest.isoformat() if earliest else "later"
        super().__init__("lookback_exceeded", what, where=where, remedy=f"Begin the backfill at {begin}.")

    @classmethod
    def from_message(cls, where: str, message: str) -> LookbackExceededError:
        """From the provider's own message, in which the first ISO date is the earliest day."""
        found = _ISO_DATE.search(message)
        try:
            earliest = date.fromisoformat(found.group()) if found else None
        except ValueError:
            earliest = None
        return cls("the range begins before the days that the provider keeps", where, earliest)


class AskedTooMuchError(PermanentError):
    """The API takes the request if it asks for less, and says of what: the answer to a narrower one is as complete.

    ``refused_dimension`` (our name) cannot be asked for at all, ``dimensions_max`` is how many are taken at once,
    ``page_limit`` how many buckets a page may hold; each None where the refusal does not say so.
    """

    def __init__(
        self,
        what: str,
        where: str,
        *,
        refused_dimension: str | None = None,
        dimensions_max: int | None = None,
        page_limit: int | None = None,
    ) -> None:
        self.refused_dimension = refused_dimension
        self.dimensions_max = dimensions_max
        self.page_limit = page_limit
        super().__init__("asked_too_much", what, where=where, remedy="Ask for fewer dimensions or smaller pages.")


class _ErrorDetail(msgspec.Struct):
    message: str | None = None
    code: str | int | None = None
    type: str | None = None


class _ErrorBody(msgspec.Struct):
    error: _ErrorDetail


_BODY: Final = msgspec.json.Decoder(_ErrorBody)


def redacted(text: str) -> str:
    """The text on one line, shortened, with everything that looks like a key as ``[redacted]``."""
    line = _KEY_LIKE.sub("[redacted]", " ".join(text.split()))
    return line if len(line) <= MESSAGE_CHARACTERS_MAX else line[: MESSAGE_CHARACTERS_MAX - 1] + "…"


def without_secret(body: bytes, secret: Secret) -> bytes:
    """A refusal's body without the key that was sent, as ``[redacted]``.

    Providers redact what looks like a key; a gateway's key may look like anything, so it is taken out as it is. JSON
    may spell it with escapes, so a body that is JSON is spelled anew first.
    """
    with contextlib.suppress(*UNREADABLE):
        body = msgspec.json.encode(msgspec.json.decode(body))
    plain = secret.reveal()
    for spelled in (plain.encode(), msgspec.json.encode(plain)[1:-1]):
        body = body.replace(spelled, b"[redacted]")
    return body


def provider_message(body: bytes) -> str:
    """The provider's own error message, redacted; empty where the body has none (HTML, plain text, nothing)."""
    detail = _detail(body)
    return redacted(detail.message) if detail and detail.message else ""


def provider_code(body: bytes) -> str:
    """The provider's own error code or type; empty where the body has none."""
    detail = _detail(body)
    return redacted(str(detail.code or detail.type or "")) if detail else ""


def refusal_of(provider: str, title: str, endpoint: Endpoint, status: int, body: bytes) -> UsagePipelineError:
    """The refusal of a page as an error; see :func:`refusal_at`."""
    return refusal_at(where_of(provider, endpoint), title, status, body)


def refusal_at(where: str, title: str, status: int, body: bytes) -> UsagePipelineError:
    """The refusal of a request as an error, permanent or transient by its status.

    Codes: ``credential_refused`` (401), ``scope_missing`` (401 or 403 that name a scope), ``credential_forbidden``
    (403), ``endpoint_unknown`` (404), ``rate_limited`` (429), ``provider_unavailable`` (408, 425, 5xx),
    ``request_refused`` (every other).
    """
    said = provider_message(body)
    quote = f' and says "{said}"' if said else ""
    if status == 429:
        return TransientError(
            "rate_limited", f"HTTP 429{quote}", where=where, remedy="The next run asks again; ask less often."
        )
    if status in TRANSIENT_STATUSES or status >= 500:
        return TransientError(
            "provider_unavailable", f"{title} answers HTTP {status}{quote}", where=where, remedy="The next run retries."
        )
    scope = _SCOPE.search(said)
    if status in {401, 403} and scope:
        return PermanentError(
            "scope_missing",
            f"HTTP {status}: the key lacks the scope {scope.group(1).rstrip('.')}",
            where=where,
            remedy=f"Give the key this permission in the {title} console, or add an admin key that has it.",
        )
    code, what, remedy = _permanent(title, status)
    return PermanentError(code, f"{what} (HTTP {status}){quote}", where=where, remedy=remedy)


def _permanent(title: str, status: int) -> tuple[str, str, str]:
    if status == 401:
        return (
            "credential_refused",
            f"{title} does not accept the key",
            "It was revoked, mistyped, or is no admin key: replace it with a new admin key.",
        )
    if status == 403:
        return (
            "credential_forbidden",
            f"{title} knows the key and forbids it this report",
            f"Use an admin key of the organisation, made in the {title} console.",
        )
    if status == 404:
        return ("endpoint_unknown", f"{title} has no such report", "Check the account's base URL.")
    return ("request_refused", f"{title} refuses the request", "Asking again gives the same answer.")


def _detail(body: bytes) -> _ErrorDetail | None:
    try:
        return _BODY.decode(body).error
    except UNREADABLE:
        return None
