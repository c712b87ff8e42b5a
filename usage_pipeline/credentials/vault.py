"""The vault: the secret of a registered key, sealed into its row and opened from it.

Here: sealing for a row, opening a row's secret wherever it is kept, moving sealed secrets to a newer encryption key.
In: a key's row, the key ring, the environment. Out: sealed bytes, or a ``Secret`` in memory. Not here: which keys there
are (``ledger.provider_keys``) and whether one may be registered (``credentials.registration``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from sqlalchemy import Connection

from usage_pipeline.credentials.key_ring import ENCRYPTION_KEYS_VARIABLE, KEY_FILE_NAME, KeyRing, load_key_ring
from usage_pipeline.credentials.pseudonyms import rewrap_erasure_secret
from usage_pipeline.credentials.references import SecretReference
from usage_pipeline.credentials.sealing import CredentialBinding, open_sealed, rewrap, seal
from usage_pipeline.credentials.secret import Secret
from usage_pipeline.errors import InvariantError, PermanentError
from usage_pipeline.ledger.erased_ids import find_erasure_secret
from usage_pipeline.ledger.provider_keys import list_provider_keys, lock_provider_keys, store_secret


class StoredCredential(Protocol):
    """What the vault needs of a key's row; ``ledger.provider_keys.ProviderKey`` is one."""

    @property
    def workspace(self) -> str:
        """The workspace's slug."""

    @property
    def provider(self) -> str:
        """The provider's slug."""

    @property
    def name(self) -> str:
        """The key's name within workspace and provider."""

    @property
    def secret_version(self) -> int:
        """Which of the key's secrets this is, from 1."""

    @property
    def secret_sealed(self) -> bytes | None:
        """The sealed secret, None for a reference."""

    @property
    def secret_reference(self) -> str | None:
        """The reference's text, None for a sealed secret."""


class KeyRingSource:
    """The key ring, loaded when it is first needed, and made only when something is to be sealed.

    ``created`` is the key file that :meth:`for_sealing` made, None if it found one or the environment has the ring.
    """

    def __init__(self, environ: Mapping[str, str], home: Path) -> None:
        self._environ = environ
        self._home = home
        self._ring: KeyRing | None = None
        self.created: Path | None = None

    def existing(self) -> KeyRing | None:
        """The ring if there is one; nothing is made. Raises what :func:`key_ring.load_key_ring` raises."""
        return self._loaded() if self._is_there() else None

    def for_sealing(self, connection: Connection) -> KeyRing:
        """The ring, its key file made if there is none and the store holds nothing that is sealed.

        Raises :class:`PermanentError` ``encryption_key_missing``: a new key would not open what is sealed there. Raises
        what :func:`key_ring.load_key_ring` raises.
        """
        if self._ring is None and not self._is_there():
            _refuse_new_ring(connection)
        return self._loaded()

    def _is_there(self) -> bool:
        return ENCRYPTION_KEYS_VARIABLE in self._environ or (self._home / KEY_FILE_NAME).exists()

    def _loaded(self) -> KeyRing:
        if self._ring is None:
            loaded = load_key_ring(self._environ, self._home)
            self._ring, self.created = loaded.ring, loaded.created
        return self._ring


@dataclass(frozen=True, slots=True)
class Rewrapped:
    """How many sealed secrets were put under the newest encryption key (``key_id``), and how many were under it."""

    key_id: str
    rewrapped: int
    unchanged: int


def seal_for(workspace: str, provider: str, name: str, version: int, secret: Secret, ring: KeyRing) -> bytes:
    """The secret sealed with the ring's newest key for one version of one key: it opens in no other row."""
    return seal(secret, CredentialBinding(workspace, provider, name, version), ring)


def reveal(key: StoredCredential, ring: KeyRing | None, environ: Mapping[str, str]) -> Secret:
    """The key's secret, in memory: opened with the ring, or fetched from where its reference points.

    ``ring`` may be None where no key is sealed. Raises :class:`SealingError`, or :class:`PermanentError`
    ``encryption_key_missing`` without a ring, and what :meth:`SecretReference.resolve` raises.
    """
    if key.secret_reference is not None:
        scheme, _, target = key.secret_reference.partition(":")
        return SecretReference(scheme, target).resolve(environ)
    binding = _binding_of(key)
    if ring is None:
        raise PermanentError(
            "encryption_key_missing",
            "it is sealed, and there is no encryption key to open it",
            where=str(binding),
            remedy=f"Set {ENCRYPTION_KEYS_VARIABLE}, or put the key file {KEY_FILE_NAME} back into USAGE_HOME.",
        )
    return open_sealed(_sealed(key), binding, ring)


def rewrap_all(connection: Connection, ring: KeyRing, now: datetime) -> Rewrapped:
    """Put every sealed secret under the ring's newest key, without seeing a plain one; all of them or none. The key of
    the hashes of erased ids is one of them.

    Raises :class:`SealingError` naming the key that does not open; the caller's transaction is then to be rolled back.
    """
    of_erasures = rewrap_erasure_secret(connection, ring, now)
    rewrapped, unchanged = int(of_erasures is True), int(of_erasures is False)
    for key in lock_provider_keys(connection):
        if key.secret_sealed is None:
            continue
        renewed = rewrap(key.secret_sealed, _binding_of(key), ring)
        if renewed == key.secret_sealed:
            unchanged += 1
            continue
        store_secret(
            connection,
            key,
            secret_sealed=renewed,
            secret_reference=None,
            secret_version=key.secret_version,
            now=now,
        )
        rewrapped += 1
    return Rewrapped(ring.newest.id, rewrapped, unchanged)


def _refuse_new_ring(connection: Connection) -> None:
    sealed = [key.slug for key in list_provider_keys(connection) if key.secret_sealed is not None]
    if find_erasure_secret(connection) is not None:
        sealed.append("the key of erased ids")
    if sealed:
        others = f" and {len(sealed) - 1} more" if len(sealed) > 1 else ""
        raise PermanentError(
            "encryption_key_missing",
            f"there is no encryption key here, and a new one would not open what is sealed ({sealed[0]}{others})",
            where="key ring",
            remedy=f"Set {ENCRYPTION_KEYS_VARIABLE}, or put the key file {KEY_FILE_NAME} back into USAGE_HOME. If the"
            f" keys are lost, set {ENCRYPTION_KEYS_VARIABLE} to a new one, then give each key its secret again:"
            " usage-pipeline keys rotate KEY --secret -.",
        )


def _binding_of(key: StoredCredential) -> CredentialBinding:
    return CredentialBinding(key.workspace, key.provider, key.name, key.secret_version)


def _sealed(key: StoredCredential) -> bytes:
    if key.secret_sealed is None:
        raise InvariantError(
            "credential_missing", "the row has neither a sealed secret nor a reference", where=str(_binding_of(key))
        )
    return bytes(key.secret_sealed)
