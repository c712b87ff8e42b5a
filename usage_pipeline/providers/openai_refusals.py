"""What OpenAI's refusals say beyond their status: that less may be asked for, or that the key is of the other kind.

In come an endpoint, a status and a body; out goes the error. Sources: the sample of ``reporting_lookback_exceeded``,
and reports of the refusals of costs by key, of too large pages, and of missing scopes.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from usage_pipeline.errors import PermanentError, UsagePipelineError
from usage_pipeline.providers.contract import Endpoint
from usage_pipeline.providers.refusals import (
    AskedTooMuchError,
    LookbackExceededError,
    provider_code,
    provider_message,
    refusal_of,
)
from usage_pipeline.providers.rows import UNREADABLE, where_of

_LIMIT: Final = re.compile(r"[Ll]imit must be less than or equal to (\d{1,6})\b")
_GROUPING: Final = re.compile(r"\bgroup_by\b|\bgroup(?:ing|ed)?[ -]by\b", re.IGNORECASE)
_SUPPORTED: Final = re.compile(r"\bsupported values\b", re.IGNORECASE)

_LEGACY_REMEDY: Final = (
    "It was revoked or mistyped, or is an admin key (sk-admin-…), which belongs under mode admin: this report takes a"
    " project's standard key. It is not documented, and may be gone."
)
_ADMIN_REMEDY: Final = (
    "This report takes an admin key (sk-admin-…) that has this permission in the OpenAI console. A project's standard"
    " key belongs under mode standard: register it so."
)


class _Detail(msgspec.Struct):
    message: str | None = None
    param: str | None = None


class _Body(msgspec.Struct):
    error: _Detail


_BODY: Final = msgspec.json.Decoder(_Body)


def openai_refusal(provider: str, title: str, endpoint: Endpoint, status: int, body: bytes) -> UsagePipelineError:
    """The refusal as an error.

    ``lookback_exceeded`` where the range begins before the year that OpenAI keeps; ``asked_too_much`` where a dimension
    or the page's size is refused by name; else as ``refusals.refusal_of``, with words for a key of the other kind.
    """
    where = where_of(provider, endpoint)
    if status == 400:
        if provider_code(body) == "reporting_lookback_exceeded":
            return LookbackExceededError.from_message(where, provider_message(body))
        if narrower := _asked_too_much(endpoint, body, where):
            return narrower
    refusal = refusal_of(provider, title, endpoint, status, body)
    if "standard" in endpoint.modes and status in {401, 403, 404}:
        return PermanentError(refusal.code, refusal.what, where=where, remedy=_LEGACY_REMEDY)
    if refusal.code == "scope_missing":
        return PermanentError(refusal.code, refusal.what, where=where, remedy=_ADMIN_REMEDY)
    return refusal


def _asked_too_much(endpoint: Endpoint, body: bytes, where: str) -> AskedTooMuchError | None:
    """What the refusal names as too much; None where it names nothing: a guess would lose a dimension for good."""
    try:
        detail = _BODY.decode(body).error
    except UNREADABLE:
        return None
    # What is refused stands before the list of what is taken.
    message = _SUPPORTED.split(detail.message or "")[0]
    if found := _LIMIT.search(message):
        return AskedTooMuchError("the API takes smaller pages", where, page_limit=int(found.group(1)))
    named = [
        ours
        for ours, theirs in endpoint.dimensions.items()
        if detail.param == theirs or (_is_about_grouping(detail, message) and _names(message, theirs))
    ]
    if not named:
        return None
    # Where two are refused together, what matters less goes.
    return AskedTooMuchError(f"the API does not take the dimension {named[-1]}", where, refused_dimension=named[-1])


def _is_about_grouping(detail: _Detail, message: str) -> bool:
    return (detail.param or "").startswith("group_by") or _GROUPING.search(message) is not None


def _names(message: str, dimension: str) -> bool:
    return re.search(rf"\b{re.escape(dimension)}\b", message) is not None
