"""Reading a small file that a secret or a key lives in: regular files only, never more than a limit.

Comes in: a path and a limit in bytes. Goes out: the bytes and the permissions of the very file that was read. What a
failure means is the caller's to say, so ``OSError`` passes through.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class RegularFile:
    """A file's bytes and its permission bits (``0o600``), both taken from one open descriptor."""

    content: bytes = field(repr=False)
    permissions: int


def read_regular_file(path: Path, *, bytes_max: int) -> RegularFile:
    """Read a regular file of at most ``bytes_max`` bytes.

    Raises ``OSError``: what the system says, ``EINVAL`` if it is no regular file, ``EFBIG`` if it is too long.
    """
    # Without O_NONBLOCK, a named pipe in the file's place would hang the process.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        content = file.read(bytes_max + 1)
    if len(content) > bytes_max:
        raise OSError(errno.EFBIG, f"longer than {bytes_max} bytes")
    return RegularFile(content, stat.S_IMODE(status.st_mode))
