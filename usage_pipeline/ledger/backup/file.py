"""A backup as a file: a tar with the dump (``ledger.dump``, pg_dump's custom format) and then ``manifest.json``.

Any tar opens it, and ``pg_restore`` reads the dump in it. It is written as a stream, under another name until it is
whole, for its owner alone. In: chunks of the dump. Out: the file; and the other way round.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from usage_pipeline.errors import InvalidInputError, PermanentError
from usage_pipeline.ledger.backup.manifest import Manifest, unreadable

DUMP: Final = "ledger.dump"
MANIFEST: Final = "manifest.json"
CHUNK_BYTES: Final = 1 << 20

_BLOCK: Final = tarfile.BLOCKSIZE
_MANIFEST_BYTES_MAX: Final = 1 << 20


class BackupWriter:
    """A backup that is being written; ``bytes`` and ``sha256`` are of the dump so far."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self.bytes = 0
        # The dump's header has its size, so it is written last.
        file.seek(_BLOCK)

    @property
    def sha256(self) -> str:
        """The dump's digest, in hex."""
        return self._digest.hexdigest()

    def take(self, dump: IO[bytes]) -> None:
        """Copy the dump to its end."""
        while chunk := dump.read(CHUNK_BYTES):
            self._digest.update(chunk)
            self._file.write(chunk)
            self.bytes += len(chunk)

    def finish(self, manifest: Manifest, at: float) -> None:
        """Close the dump and add the manifest; ``at`` is the instant in Unix seconds."""
        encoded = manifest.encode()
        self._file.write(b"\0" * (-self.bytes % _BLOCK))
        self._file.write(_header(MANIFEST, len(encoded), at) + encoded + b"\0" * (-len(encoded) % _BLOCK))
        self._file.write(b"\0" * (2 * _BLOCK))
        self._file.seek(0)
        self._file.write(_header(DUMP, self.bytes, at))


def _header(name: str, size: int, at: float) -> bytes:
    member = tarfile.TarInfo(name)
    member.size, member.mtime, member.mode = size, int(at), 0o600
    return member.tobuf(tarfile.GNU_FORMAT)


@contextmanager
def new_backup_file(path: Path, *, force: bool) -> Iterator[BackupWriter]:
    """A writer; the file has its name when the block ended well, and is not there otherwise.

    Raises :class:`InvalidInputError` ``file_exists`` (unless ``force``), ``file_unwritable``.
    """
    if path.is_dir() or (path.exists() and not force):
        raise _exists(path)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        try:
            descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise InvalidInputError(
                "file_unwritable", _problem(error), where=str(path), remedy="Name a file in a folder that you may use."
            ) from None
        try:
            with os.fdopen(descriptor, "w+b") as file:
                yield BackupWriter(file)
                file.flush()
                os.fsync(file.fileno())
            if force:
                draft.replace(path)
            else:
                os.link(draft, path)  # unlike renaming, it never takes the place of a file
        except FileExistsError:
            raise _exists(path) from None
        except OSError as error:
            raise PermanentError(
                "file_unwritable", _problem(error), where=str(path), remedy="Make room, then run the command again."
            ) from None
    finally:
        draft.unlink(missing_ok=True)


def _exists(path: Path) -> InvalidInputError:
    return InvalidInputError(
        "file_exists",
        "it is there already, and is left as it is",
        where=str(path),
        remedy="Name a new file, or give --force.",
    )


def _problem(error: OSError) -> str:
    return f"the file cannot be written: {error.strerror or type(error).__name__}"


class BackupReader:
    """An open backup: its manifest, and its dump as chunks, any number of times."""

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        self.path = path
        self._file = file
        try:
            with tarfile.open(fileobj=file, mode="r:") as archive:
                members = {member.name: member for member in archive}
                if set(members) != {DUMP, MANIFEST} or members[MANIFEST].size > _MANIFEST_BYTES_MAX:
                    raise unreadable("it is no backup of this program", str(path))
                told = archive.extractfile(members[MANIFEST])
                assert told is not None
                self.manifest = Manifest.decode(told.read(), str(path))
                self._dump = members[DUMP]
        except (tarfile.TarError, OSError, AssertionError):
            raise unreadable("it is no backup of this program, or was cut off", str(path)) from None

    def chunks(self) -> Iterator[bytes]:
        """The dump from its start."""
        self._file.seek(self._dump.offset_data)
        left = self._dump.size
        while left and (chunk := self._file.read(min(CHUNK_BYTES, left))):
            left -= len(chunk)
            yield chunk

    def check(self) -> None:
        """Read the dump through. Raises :class:`InvalidInputError` ``backup_damaged`` unless it is as was written."""
        digest, size = hashlib.sha256(), 0
        for chunk in self.chunks():
            digest.update(chunk)
            size += len(chunk)
        if (size, digest.hexdigest()) != (self.manifest.dump_bytes, self.manifest.dump_sha256):
            raise InvalidInputError(
                "backup_damaged",
                "its bytes are not those that were written",
                where=str(self.path),
                remedy="Nothing was restored. Use another copy.",
            )


@contextmanager
def open_backup(path: Path) -> Iterator[BackupReader]:
    """A backup for reading. Raises :class:`InvalidInputError` ``backup_unreadable``."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise unreadable(f"the file cannot be read: {error.strerror or type(error).__name__}", str(path)) from None
    with file:
        yield BackupReader(path, file)
