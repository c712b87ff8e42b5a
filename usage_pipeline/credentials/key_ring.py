"""The key ring: the key-encryption keys that wrap every credential's data key, newest first.

Belongs here: where the keys come from (the variable ``USAGE_ENCRYPTION_KEYS``, or a key file that is made on first
use) and their textual form ``id:base64(32 bytes)``. Comes in: the environment and the data folder. Goes out: a
``KeyRing``. No error and no repr shows a key's bytes; an entry that does not parse is named by its position alone, as
what looks like an id may be a key in the wrong place.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, NoReturn, Self, final

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from usage_pipeline.credentials.regular_file import RegularFile, read_regular_file
from usage_pipeline.errors import InvalidInputError, PermanentError, UsagePipelineError

ENCRYPTION_KEYS_VARIABLE: Final = "USAGE_ENCRYPTION_KEYS"
KEY_FILE_NAME: Final = "encryption-keys"
KEY_BYTES: Final = 32
KEY_ID_LENGTH_MAX: Final = 32
"""Characters. Shorter than 32 bytes in base64 (43), so that a key can never be taken for an id."""

_KEY_FILE_BYTES_MAX: Final = 65_536
_KEY_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}")
_ENTRY_FORM: Final = "Write each key as id:base64 of 32 random bytes, separated by commas, the newest first."


@final
class KeyEncryptionKey:
    """One AES-256-GCM key with its id. Shows only its id and cannot be pickled.

    Raises ``InvalidInputError`` ``key_ring_malformed`` if the id has other characters than ``A-Z a-z 0-9 . _ -`` (at
    most 32, the first one a letter or a digit) or if ``material`` is not 32 bytes.
    """

    __slots__ = ("_cipher", "_identity", "id")

    def __init__(self, id: str, material: bytes, *, where: str = "key ring") -> None:  # noqa: A002 - the ring's word
        if not is_key_id(id):
            raise _malformed("a key's id has other characters than letters, digits, '.', '_' and '-'", where)
        if len(material) != KEY_BYTES:
            raise _malformed(f"a key has {len(material)} bytes instead of {KEY_BYTES}", where)
        self.id: Final = id
        self._cipher: Final = AESGCM(material)
        self._identity: Final = hashlib.sha256(b"usage-pipeline/key-identity\0" + material).digest()

    def encrypt(self, nonce: bytes, plain: bytes, associated: bytes) -> bytes:
        """Encrypt with AES-256-GCM; the tag of 16 bytes is at the end. The nonce must never have been used before."""
        return self._cipher.encrypt(nonce, plain, associated)

    def decrypt(self, nonce: bytes, sealed: bytes, associated: bytes) -> bytes:
        """Decrypt what ``encrypt`` made. Raises ``cryptography.exceptions.InvalidTag``."""
        return self._cipher.decrypt(nonce, sealed, associated)

    def is_same_key(self, other: KeyEncryptionKey) -> bool:
        """Whether both hold the same bytes, whatever their ids."""
        return secrets.compare_digest(self._identity, other._identity)

    def __repr__(self) -> str:
        return f"KeyEncryptionKey(id={self.id!r})"

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __getstate__(self) -> NoReturn:
        raise TypeError("a KeyEncryptionKey cannot be pickled")

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a KeyEncryptionKey cannot be pickled")


@dataclass(frozen=True, slots=True)
class KeyRing:
    """Key-encryption keys, the newest first. The newest seals; all of them open.

    Raises ``InvalidInputError`` ``key_ring_malformed`` if there is none, or if two share an id or their bytes.
    """

    keys: tuple[KeyEncryptionKey, ...]

    def __post_init__(self) -> None:
        _refuse_duplicates(self.keys, "key ring")

    @classmethod
    def parse(cls, text: str, *, where: str = ENCRYPTION_KEYS_VARIABLE) -> Self:
        """Read ``id:base64`` entries, separated by commas or lines. Raises ``key_ring_malformed`` with ``where``."""
        if not text.strip():
            raise _malformed("there is no key", where)
        entries = re.split(r"[,\n]", text.strip())
        keys = tuple(_parse_entry(entry.strip(), position, where) for position, entry in enumerate(entries, start=1))
        _refuse_duplicates(keys, where)
        return cls(keys)

    @property
    def newest(self) -> KeyEncryptionKey:
        """The key that seals."""
        return self.keys[0]

    @property
    def ids(self) -> tuple[str, ...]:
        """All ids, the newest first."""
        return tuple(key.id for key in self.keys)

    def find(self, key_id: str) -> KeyEncryptionKey | None:
        """The key with that id, if the ring has it."""
        return next((key for key in self.keys if key.id == key_id), None)


@dataclass(frozen=True, slots=True)
class LoadedKeyRing:
    """A ring and where it came from. ``created`` is the key file if this very call made it."""

    ring: KeyRing
    source: Literal["environment", "file"]
    created: Path | None


def is_key_id(text: str) -> bool:
    """Whether ``text`` may be a key's id."""
    return _KEY_ID.fullmatch(text) is not None


def new_key_entry(prefix: str = "key") -> str:
    """A new random key as an entry for the variable or the key file, with the id ``prefix-xxxxxxxx``.

    The result is a secret: show it only to the person who asked for a new key.
    Raises ``InvalidInputError`` ``key_ring_malformed`` if the prefix makes no valid id.
    """
    key_id = f"{prefix}-{secrets.token_hex(4)}"
    if not is_key_id(key_id):
        raise _malformed("the prefix makes no valid id", "new key")
    return f"{key_id}:{base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode('ascii')}"


def load_key_ring(environ: Mapping[str, str], home: Path) -> LoadedKeyRing:
    """Load the ring from ``USAGE_ENCRYPTION_KEYS``, or else from ``home/encryption-keys``, made if it is not there.

    A variable that is set but empty is refused: whoever set it meant to give a key, and a key made in its place would
    be lost with the machine.

    Raises ``InvalidInputError`` ``key_ring_malformed``; ``PermanentError`` ``key_file_permissions`` (others may read or
    write it), ``key_file_unreadable``, ``key_file_unwritable``.
    """
    variable = environ.get(ENCRYPTION_KEYS_VARIABLE)
    if variable is not None:
        return LoadedKeyRing(KeyRing.parse(variable), "environment", None)
    path = home / KEY_FILE_NAME
    created = False
    try:
        file = _read_key_file(path)
    except FileNotFoundError:
        created = _make_key_file(path)
        file = _read_made_key_file(path)
    if file.permissions & 0o077:
        raise PermanentError(
            "key_file_permissions",
            f"the key file has the permissions {file.permissions:04o}, so others than its owner can use it",
            where=str(path),
            remedy=f"Run: chmod 600 {path}, and replace its keys if others may have read them.",
        )
    try:
        text = file.content.decode("ascii")
    except UnicodeDecodeError:
        text = None
    if text is None:
        raise _malformed("the key file is not plain text", str(path))
    return LoadedKeyRing(KeyRing.parse(text, where=str(path)), "file", path if created else None)


def _parse_entry(entry: str, position: int, where: str) -> KeyEncryptionKey:
    key_id, colon, encoded = entry.partition(":")
    if not colon or not is_key_id(key_id.strip()):
        raise _malformed(f"entry {position} does not start with an id and a colon", where)
    material = _decode_key(encoded.strip())
    if material is None:
        raise _malformed(f"entry {position} is not base64", where)
    if len(material) != KEY_BYTES:
        raise _malformed(f"the key of entry {position} has {len(material)} bytes instead of {KEY_BYTES}", where)
    return KeyEncryptionKey(key_id.strip(), material, where=where)


def _decode_key(encoded: str) -> bytes | None:
    """Decode base64 in either alphabet, padded or not, as the usual tools print it; ``None`` if it is neither."""
    unpadded = encoded.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(unpadded + "=" * (-len(unpadded) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None


def _refuse_duplicates(keys: tuple[KeyEncryptionKey, ...], where: str) -> None:
    if not keys:
        raise _malformed("there is no key", where)
    for index, key in enumerate(keys):
        for earlier in keys[:index]:
            if earlier.id == key.id:
                raise _malformed(f"the id {key.id} stands for two keys", where)
            if earlier.is_same_key(key):
                raise _malformed(f"the ids {earlier.id} and {key.id} stand for the same key", where)


def _read_key_file(path: Path) -> RegularFile:
    try:
        return read_regular_file(path, bytes_max=_KEY_FILE_BYTES_MAX)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _key_file_failure("key_file_unreadable", "the key file cannot be read", path, error) from None


def _read_made_key_file(path: Path) -> RegularFile:
    try:
        return _read_key_file(path)
    except FileNotFoundError as error:
        # A link to nowhere: its name is taken, yet there is nothing to read.
        raise _key_file_failure("key_file_unreadable", "the key file cannot be read", path, error) from None


def _make_key_file(path: Path) -> bool:
    """Make the key file whole or not at all; ``False`` if another process was first.

    The key is written to a file of its own and then linked to its name: linking, like O_EXCL, has one winner, and
    the loser never sees a file that is still empty. Both are on disk before a secret is sealed with the key.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                os.fchmod(file.fileno(), 0o600)
                file.write(f"{new_key_entry('file')}\n".encode("ascii"))
                file.flush()
                os.fsync(file.fileno())
            os.link(draft, path)
        finally:
            draft.unlink(missing_ok=True)
        _sync_folder(path.parent)
    except FileExistsError:
        return False
    except OSError as error:
        raise _key_file_failure("key_file_unwritable", "the key file cannot be made", path, error) from None
    return True


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _key_file_failure(code: str, what: str, path: Path, error: OSError) -> UsagePipelineError:
    return PermanentError(
        code,
        f"{what}: {error.strerror or type(error).__name__}",
        where=str(path),
        remedy=f"Correct this, or set {ENCRYPTION_KEYS_VARIABLE}.",
    )


def _malformed(what: str, where: str) -> InvalidInputError:
    return InvalidInputError("key_ring_malformed", what, where=where, remedy=_ENTRY_FORM)
