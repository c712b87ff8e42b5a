"""Pseudonyms in the place of erased ids: found by a keyed hash, so that no id has to be kept to replace it again.

In: a provider's answer, or a single id. Out: the same with each erased id replaced. The hash is HMAC-SHA256 under a
random key, over the provider and the id; the pseudonym is ``erased-`` and the hash's first 24 hex digits, so it is the
same in every answer. The key is sealed by the key ring like a provider's secret: without the ring the database does not
tell whose pseudonym one is.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Iterable
from datetime import datetime
from typing import Final, Protocol

from sqlalchemy import Connection

from usage_pipeline.credentials.key_ring import ENCRYPTION_KEYS_VARIABLE, KEY_FILE_NAME, KeyRing
from usage_pipeline.credentials.sealing import CredentialBinding, open_sealed, rewrap, seal
from usage_pipeline.credentials.secret import Secret
from usage_pipeline.errors import PermanentError
from usage_pipeline.ledger.erased_ids import erased_hashes, find_erasure_secret, store_erasure_secret

PREFIX: Final = "erased-"

_BINDING: Final = CredentialBinding("usage-pipeline", "erasure", "pseudonyms", 1)
_STRING: Final = re.compile(rb'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_SHOWN_DIGITS: Final = 24
_REMEMBERED_MAX: Final = 200_000
_SECRET_BYTES: Final = 32


class RingSource(Protocol):
    """Where the key ring comes from; ``credentials.vault.KeyRingSource`` is one."""

    def existing(self) -> KeyRing | None:
        """The ring if there is one."""

    def for_sealing(self, connection: Connection) -> KeyRing:
        """The ring, made if there is none and nothing is sealed."""


class Pseudonyms:
    """Replaces the erased ids of one provider. ``hashes`` are those that it knows."""

    def __init__(self, provider: str, secret: Secret, hashes: Iterable[bytes]) -> None:
        self._provider = provider
        self._secret = secret
        self.hashes = frozenset(hashes)
        self._remembered: dict[bytes, bytes | None] = {}

    def hash_of(self, identifier: str) -> bytes:
        """The keyed hash of an id; of an e-mail address in any case, since providers differ in that."""
        told = identifier.casefold() if "@" in identifier else identifier
        return hmac.digest(self._secret.reveal().encode(), f"{self._provider}\0{told}".encode(), hashlib.sha256)

    def of(self, identifier: str) -> str | None:
        """The pseudonym of an erased id; None for any other."""
        found = self.hash_of(identifier)
        return f"{PREFIX}{found.hex()[:_SHOWN_DIGITS]}" if found in self.hashes else None

    def redact(self, body: bytes) -> bytes:
        """JSON with every string replaced that is an erased id as a whole; every other byte stays as it is."""
        return _STRING.sub(self._replaced, body)

    def _replaced(self, found: re.Match[bytes]) -> bytes:
        written = found[0]
        if written not in self._remembered:
            if len(self._remembered) >= _REMEMBERED_MAX:
                self._remembered.clear()
            self._remembered[written] = self._pseudonym_of(written)
        return self._remembered[written] or written

    def _pseudonym_of(self, written: bytes) -> bytes | None:
        try:
            told = json.loads(written)
        except ValueError:  # not valid JSON: whoever reads the answer refuses it
            return None
        pseudonym = self.of(told)
        return None if pseudonym is None else b'"%b"' % pseudonym.encode()


def load_pseudonyms(connection: Connection, provider: str, rings: RingSource) -> Pseudonyms | None:
    """What replaces a provider's erased ids; None where there are none, and no key ring is needed.

    Raises :class:`SealingError`, or :class:`PermanentError` ``encryption_key_missing``: without it the ids would come
    back.
    """
    hashes = erased_hashes(connection, provider)
    if not hashes:
        return None
    sealed = find_erasure_secret(connection)
    ring = rings.existing()
    if sealed is None or ring is None:
        raise PermanentError(
            "encryption_key_missing",
            "ids were erased, and the key that finds them again cannot be opened",
            where=str(_BINDING),
            remedy=f"Set {ENCRYPTION_KEYS_VARIABLE}, or put the key file {KEY_FILE_NAME} back into USAGE_HOME.",
        )
    return Pseudonyms(provider, open_sealed(sealed, _BINDING, ring), hashes)


def pseudonyms_for(
    connection: Connection, provider: str, ids: Iterable[str], rings: RingSource, now: datetime, *, keep: bool
) -> Pseudonyms:
    """What replaces these ids and all that were erased before. The key is made with the first of them and kept, unless
    nothing is to be kept. Raises :class:`SealingError`."""
    sealed = find_erasure_secret(connection)
    if sealed is not None:
        secret = open_sealed(sealed, _BINDING, rings.for_sealing(connection))
    else:
        secret = Secret(secrets.token_urlsafe(_SECRET_BYTES))
        if keep:
            store_erasure_secret(connection, seal(secret, _BINDING, rings.for_sealing(connection)), now)
    made = Pseudonyms(provider, secret, ())
    return Pseudonyms(provider, secret, {*erased_hashes(connection, provider), *map(made.hash_of, ids)})


def rewrap_erasure_secret(connection: Connection, ring: KeyRing, now: datetime) -> bool | None:
    """Put the key under the ring's newest encryption key; whether it was under another, None where there is none."""
    sealed = find_erasure_secret(connection)
    if sealed is None:
        return None
    renewed = rewrap(sealed, _BINDING, ring)
    if renewed == sealed:
        return False
    store_erasure_secret(connection, renewed, now)
    return True
