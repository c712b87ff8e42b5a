"""Secrets that a request carries: made here, shown once, stored as a hash, found by a public prefix.

In: a kind (``uph`` of Hermes feeds, ``upr`` of readers, ``ups`` of sessions). Out: a new secret, or the prefix under
which one is looked up, and whether it is the stored one. Where they are stored is their tables' own matter.

A secret is 256 random bits, so its SHA-256 cannot be searched backwards; a slow hash would protect only secrets that
people choose, and cost every request its time.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field
from typing import Final

_SECRET: Final = re.compile(r"((uph|upr|ups)_[0-9a-f]{10})_[0-9a-f]{64}", re.ASCII)
_PREFIX_BYTES: Final = 5
_SECRET_BYTES: Final = 32
_NO_HASH: Final = bytes(32)


@dataclass(frozen=True, slots=True)
class NewSecret:
    """A secret that was just made: ``text`` is shown once and not stored, ``sha256`` is."""

    prefix: str
    text: str = field(repr=False)
    sha256: bytes = field(repr=False)


def new_secret(kind: str) -> NewSecret:
    """A new secret of the kind."""
    prefix = f"{kind}_{secrets.token_hex(_PREFIX_BYTES)}"
    text = f"{prefix}_{secrets.token_hex(_SECRET_BYTES)}"
    return NewSecret(prefix, text, _sha256(text))


def prefix_of(text: str, kind: str) -> str | None:
    """The public prefix of a secret of the kind; None for what cannot be one."""
    parts = _SECRET.fullmatch(text)
    return parts[1] if parts is not None and parts[2] == kind else None


def is_stored(text: str, stored: bytes | None) -> bool:
    """Whether the secret is the one with the stored hash. It takes the same time where none is stored."""
    matches = hmac.compare_digest(_NO_HASH if stored is None else bytes(stored), _sha256(text))
    return matches and stored is not None


def _sha256(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
