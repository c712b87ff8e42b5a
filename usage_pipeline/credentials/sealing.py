"""Envelope encryption: a secret sealed for one row of the store, openable with the key ring and for that row alone.

Belongs here: the sealed format and its errors. Comes in: a ``Secret`` or sealed bytes, the row's binding, the key
ring. Goes out: sealed bytes or a ``Secret``. Two layers of AES-256-GCM: the secret under a data key of its own, the
data key under a key-encryption key of the ring. Both layers authenticate the binding, so a sealed secret does not open
in another row; replacing a key-encryption key touches only the outer layer.

Format 1, all integers big-endian::

    4  magic "USEC"            1  format version (1)
    1  length of the key id    n  key id (ASCII)
    32 SHA-256 of the binding
    12 nonce of the data key   48 wrapped data key (32 + tag)
    12 nonce of the secret     4  length of the sealed secret    m  sealed secret (UTF-8 + tag)
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass, replace
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from usage_pipeline.credentials.key_ring import ENCRYPTION_KEYS_VARIABLE, KeyRing, is_key_id
from usage_pipeline.credentials.secret import SECRET_BYTES_MAX, Secret
from usage_pipeline.errors import InvalidInputError, PermanentError

SEALING_ERROR_CODES: Final = frozenset(
    {
        "encryption_key_missing",
        "sealed_secret_cut",
        "sealed_secret_moved",
        "sealed_secret_tampered",
        "sealed_secret_wrong_key",
    }
)
"""Every code of a :class:`SealingError`."""

_MAGIC: Final = b"USEC"
_FORMAT_VERSION: Final = 1
_DIGEST_BYTES: Final = 32
_NONCE_BYTES: Final = 12  # what GCM takes without hashing it; random, as each wrapping key wraps far fewer than 2^32
_TAG_BYTES: Final = 16
_DATA_KEY_BYTES: Final = 32
_LENGTH_BYTES: Final = 4
_VERSION_MAX: Final = 2**63 - 1

_DIGEST_TAG: Final = b"usage-pipeline/credential-binding/1"
_DATA_KEY_TAG: Final = b"usage-pipeline/credential-data-key/1"
_SECRET_TAG: Final = b"usage-pipeline/credential-secret/1"


class SealingError(PermanentError):
    """A sealed secret that does not open; ``code`` is one of ``SEALING_ERROR_CODES``."""


@dataclass(frozen=True, slots=True)
class CredentialBinding:
    """The one row a sealed secret belongs to. ``version`` counts the secrets that this key has had.

    Raises ``InvalidInputError`` ``credential_binding_malformed``: a part is empty or not encodable as UTF-8, or the
    version is no integer from 0 to 2^63 - 1.
    """

    workspace: str
    provider: str
    name: str
    version: int

    def __post_init__(self) -> None:
        for part in (self.workspace, self.provider, self.name):
            if not part or any("\ud800" <= character <= "\udfff" for character in part):
                raise _malformed_binding("a part of the credential's name is empty or not valid text")
        if not 0 <= self.version <= _VERSION_MAX:
            raise _malformed_binding("the credential's version is out of range")

    def __str__(self) -> str:
        return f"{self.workspace}.{self.provider}.{self.name} version {self.version}"

    def encode(self) -> bytes:
        """The four parts, each with its length in front, so that no two bindings give the same bytes."""
        return _join(
            self.workspace.encode(),
            self.provider.encode(),
            self.name.encode(),
            self.version.to_bytes(8, "big"),
        )


@dataclass(frozen=True, slots=True)
class _Envelope:
    key_id: str
    binding_digest: bytes
    data_key_nonce: bytes
    wrapped_data_key: bytes
    secret_nonce: bytes
    sealed_secret: bytes

    def encode(self) -> bytes:
        key_id = self.key_id.encode("ascii")
        return b"".join(
            (
                _MAGIC,
                bytes((_FORMAT_VERSION, len(key_id))),
                key_id,
                self.binding_digest,
                self.data_key_nonce,
                self.wrapped_data_key,
                self.secret_nonce,
                len(self.sealed_secret).to_bytes(_LENGTH_BYTES, "big"),
                self.sealed_secret,
            )
        )


def seal(secret: Secret, binding: CredentialBinding, ring: KeyRing) -> bytes:
    """Seal a secret for one row with the ring's newest key. Two seals of one secret never look alike."""
    data_key = secrets.token_bytes(_DATA_KEY_BYTES)
    secret_nonce = secrets.token_bytes(_NONCE_BYTES)
    sealed_secret = AESGCM(data_key).encrypt(secret_nonce, secret.reveal().encode(), _secret_associated(binding))
    data_key_nonce, wrapped_data_key = _wrap(data_key, binding, ring)
    return _Envelope(
        ring.newest.id, _digest(binding), data_key_nonce, wrapped_data_key, secret_nonce, sealed_secret
    ).encode()


def open_sealed(sealed: bytes, binding: CredentialBinding, ring: KeyRing) -> Secret:
    """Open a sealed secret for the row it was sealed for.

    Raises :class:`SealingError`: ``sealed_secret_cut`` (bytes are missing, or this is no sealed secret of a known
    format), ``sealed_secret_moved`` (sealed for another row), ``encryption_key_missing`` (the ring lacks its key),
    ``sealed_secret_wrong_key`` (its key does not unwrap it), ``sealed_secret_tampered`` (the secret was altered).
    """
    envelope = _parse(sealed, str(binding))
    data_key = _unwrap(envelope, binding, ring)
    secret = _decrypt_secret(envelope, data_key, binding)
    if secret is None:
        raise SealingError(
            "sealed_secret_tampered",
            "the sealed secret was altered after it was sealed",
            where=str(binding),
            remedy="Find out who wrote to the store, restore the row from a backup or add the key again.",
        )
    return secret


def rewrap(sealed: bytes, binding: CredentialBinding, ring: KeyRing) -> bytes:
    """Put the data key under the ring's newest key, without decrypting the secret; the inner layer stays as it is.

    Gives back equal bytes if the newest key wraps it already. Raises :class:`SealingError` as ``open_sealed`` does,
    except ``sealed_secret_tampered``, which only opening can see.
    """
    envelope = _parse(sealed, str(binding))
    data_key = _unwrap(envelope, binding, ring)
    if envelope.key_id == ring.newest.id:
        return envelope.encode()
    data_key_nonce, wrapped_data_key = _wrap(data_key, binding, ring)
    return replace(
        envelope, key_id=ring.newest.id, data_key_nonce=data_key_nonce, wrapped_data_key=wrapped_data_key
    ).encode()


def key_id_of(sealed: bytes) -> str:
    """The id of the key-encryption key that wraps this one; not authenticated until it is opened.

    Raises :class:`SealingError` ``sealed_secret_cut``.
    """
    return _parse(sealed, "sealed secret").key_id


def _parse(sealed: bytes, where: str) -> _Envelope:
    reader = _Reader(bytes(sealed), where)
    if reader.take(len(_MAGIC)) != _MAGIC:
        raise _cut("these bytes are no sealed secret", where)
    version = reader.take(1)[0]
    if version != _FORMAT_VERSION:
        raise _cut(f"format version {version} is not known to this release", where)
    key_id = reader.take(reader.take(1)[0]).decode("latin-1")
    if not is_key_id(key_id):
        raise _cut("the id of its encryption key is not readable", where)
    envelope = _Envelope(
        key_id=key_id,
        binding_digest=reader.take(_DIGEST_BYTES),
        data_key_nonce=reader.take(_NONCE_BYTES),
        wrapped_data_key=reader.take(_DATA_KEY_BYTES + _TAG_BYTES),
        secret_nonce=reader.take(_NONCE_BYTES),
        sealed_secret=reader.take(int.from_bytes(reader.take(_LENGTH_BYTES), "big")),
    )
    reader.finish()
    if not _TAG_BYTES < len(envelope.sealed_secret) <= SECRET_BYTES_MAX + _TAG_BYTES:
        raise _cut("the length of the sealed secret is impossible", where)
    return envelope


class _Reader:
    """Takes bytes from the front; a shortage is an error of its own instead of a shorter piece."""

    def __init__(self, data: bytes, where: str) -> None:
        self._data = data
        self._where = where
        self._position = 0

    def take(self, count: int) -> bytes:
        piece = self._data[self._position : self._position + count]
        if len(piece) != count:
            raise _cut("the sealed secret is shorter than it says", self._where)
        self._position += count
        return piece

    def finish(self) -> None:
        if self._position != len(self._data):
            raise _cut("the sealed secret is longer than it says", self._where)


def _wrap(data_key: bytes, binding: CredentialBinding, ring: KeyRing) -> tuple[bytes, bytes]:
    """The nonce and the data key under the ring's newest key."""
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return nonce, ring.newest.encrypt(nonce, data_key, _data_key_associated(ring.newest.id, binding))


def _unwrap(envelope: _Envelope, binding: CredentialBinding, ring: KeyRing) -> bytes:
    if not hmac.compare_digest(envelope.binding_digest, _digest(binding)):
        raise SealingError(
            "sealed_secret_moved",
            "the sealed secret belongs to another workspace, provider, key or version than the row it stands in",
            where=str(binding),
            remedy="Restore the row from a backup, or add the key again.",
        )
    key = ring.find(envelope.key_id)
    if key is None:
        raise SealingError(
            "encryption_key_missing",
            f"it is sealed with the encryption key {envelope.key_id}, and the key ring has only {', '.join(ring.ids)}",
            where=str(binding),
            remedy=f"Put {envelope.key_id} at the end of {ENCRYPTION_KEYS_VARIABLE} until all keys are rotated.",
        )
    associated = _data_key_associated(envelope.key_id, binding)
    try:
        return key.decrypt(envelope.data_key_nonce, envelope.wrapped_data_key, associated)
    except InvalidTag:
        raise SealingError(
            "sealed_secret_wrong_key",
            f"the encryption key {envelope.key_id} does not open it: the id may stand for another key than when it was "
            "sealed, or the sealed secret was moved from another row or altered",
            where=str(binding),
            remedy=f"Check {envelope.key_id} in the key ring, restore the row from a backup or add the key again.",
        ) from None


def _decrypt_secret(envelope: _Envelope, data_key: bytes, binding: CredentialBinding) -> Secret | None:
    # Nothing is raised in here: a decoding error would carry the plain text along as the new error's context.
    try:
        plain = AESGCM(data_key).decrypt(envelope.secret_nonce, envelope.sealed_secret, _secret_associated(binding))
        return Secret(plain.decode())
    except (InvalidTag, UnicodeDecodeError, InvalidInputError):
        return None


def _digest(binding: CredentialBinding) -> bytes:
    return hashlib.sha256(_join(_DIGEST_TAG, binding.encode())).digest()


def _data_key_associated(key_id: str, binding: CredentialBinding) -> bytes:
    return _join(_DATA_KEY_TAG, key_id.encode("ascii"), binding.encode())


def _secret_associated(binding: CredentialBinding) -> bytes:
    return _join(_SECRET_TAG, binding.encode())


def _join(*parts: bytes) -> bytes:
    return b"".join(len(part).to_bytes(_LENGTH_BYTES, "big") + part for part in parts)


def _cut(what: str, where: str) -> SealingError:
    return SealingError(
        "sealed_secret_cut", what, where=where, remedy="Restore the row from a backup, or add the key again."
    )


def _malformed_binding(what: str) -> InvalidInputError:
    return InvalidInputError("credential_binding_malformed", what, where="credential")
