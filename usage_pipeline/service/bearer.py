"""The token of a request: ``Authorization: Bearer TOKEN``, and whether it is the one that is expected."""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

from starlette.requests import Request

from usage_pipeline.credentials.secret import Secret

_CHARACTERS_MAX: Final = 1000


def bearer_token(request: Request) -> str:
    """The token of the request, empty where there is none or more than one."""
    sent = request.headers.getlist("authorization")
    scheme, _, token = sent[0].partition(" ") if len(sent) == 1 else ("", "", "")
    token = token.strip()
    return token if scheme.lower() == "bearer" and len(token) <= _CHARACTERS_MAX else ""


def is_token(token: str, expected: Secret) -> bool:
    """Whether the token is the expected one. It takes the same time for every token of a length."""
    one, other = (hashlib.sha256(text.encode(errors="surrogateescape")) for text in (token, expected.reveal()))
    return hmac.compare_digest(one.digest(), other.digest())
