"""The refused payloads as a person reads them, and a payload into a file of its own.

In: what the inbox kept. Out: rows, JSON, a new file. What stands in a payload comes from outside: nothing of it may
steer a terminal, except where the payload itself was asked for.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from usage_pipeline.errors import InvalidInputError, PermanentError
from usage_pipeline.ledger.hermes_batches import RefusedBatch

REFUSED_COLUMNS: Final = ("number", "feed", "received at (UTC)", "code", "why", "bytes")
REFUSED_NUMBERS: Final = ("number", "bytes")


def refused_row(batch: RefusedBatch) -> tuple[str, ...]:
    """The cells under :data:`REFUSED_COLUMNS`."""
    received_at = batch.received_at.strftime("%Y-%m-%dT%H:%M:%SZ")
    return (str(batch.batch_id), batch.feed, received_at, batch.code, _plain(_why(batch)), str(batch.body_bytes))


def refused_as_json(batch: RefusedBatch) -> dict[str, object]:
    """For a script."""
    return {
        "number": batch.batch_id,
        "feed": batch.feed,
        "received_at": batch.received_at.isoformat(),
        "code": batch.code,
        "why": _why(batch),
        "bytes": batch.body_bytes,
    }


def write_new_file(path: Path, body: bytes) -> None:
    """Write ``body`` to a file that is not there yet, readable by its owner alone.

    Raises :class:`InvalidInputError`: ``file_exists``, ``file_unwritable``; :class:`PermanentError`
    ``file_unwritable`` where writing ended before the end, and then leaves no file behind.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise InvalidInputError(
            "file_exists", "it is there already, and is left as it is", where=str(path), remedy="Name a new file."
        ) from None
    except OSError as error:
        raise InvalidInputError(
            "file_unwritable", _problem(error), where=str(path), remedy="Name a new file in a folder that you may use."
        ) from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(body)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise PermanentError(
            "file_unwritable", _problem(error), where=str(path), remedy="Make room, then run the command again."
        ) from None


def _problem(error: OSError) -> str:
    return f"the file cannot be written: {error.strerror or type(error).__name__}"


def _why(batch: RefusedBatch) -> str:
    return batch.why.removeprefix(f"[{batch.code}] ")


def _plain(text: str) -> str:
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)
