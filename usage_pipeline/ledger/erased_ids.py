"""Erased ids of persons as stored: keyed hashes, and the sealed key of these hashes.

Here also the lock between an erasure and everything that stores or reads providers' answers: an erasure has the ledger
to itself, the others share it.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, text

from usage_pipeline.errors import TransientError

_LOCK: Final = 0x75736165


def share_with_erasures(connection: Connection) -> None:
    """Let no erasure begin until the transaction ends; waits for one that is under way."""
    connection.execute(text("SELECT pg_advisory_xact_lock_shared(:lock)"), {"lock": _LOCK})


def lock_for_erasure(connection: Connection) -> None:
    """Wait until nobody stores or reads answers, and keep it so until the transaction ends."""
    connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})


def erased_hashes(connection: Connection, provider: str) -> frozenset[bytes]:
    """The hashes of every erased id of a provider, whatever the account: keys may come to be known by another."""
    rows = connection.execute(
        text("SELECT id_hash FROM erased_ids WHERE provider = :provider"), {"provider": provider}
    ).scalars()
    return frozenset(bytes(row) for row in rows)


def require_hashes(connection: Connection, provider: str, known: frozenset[bytes]) -> None:
    """Refuse to store answers that were read before an erasure ended; holds erasures off until the transaction ends.

    Raises :class:`TransientError` ``erasure_under_way``.
    """
    share_with_erasures(connection)
    if erased_hashes(connection, provider) != known:
        raise TransientError(
            "erasure_under_way",
            "a person's id was erased while the answer was read, which may still hold it",
            where=provider,
            remedy="Nothing was stored; the next pull reads it again.",
        )


def add_hashes(connection: Connection, provider: str, account: str, hashes: Iterable[bytes], now: datetime) -> None:
    """Keep hashes of erased ids; those that are there stay."""
    for one in sorted(hashes):
        connection.execute(
            text(
                "INSERT INTO erased_ids (provider, account, id_hash, erased_at)"
                " VALUES (:provider, :account, :hash, :now) ON CONFLICT DO NOTHING"
            ),
            {"provider": provider, "account": account, "hash": one, "now": now},
        )


def find_erasure_secret(connection: Connection) -> bytes | None:
    """The sealed key of the hashes, None before the first erasure."""
    found = connection.execute(text("SELECT secret_sealed FROM erasure_secret")).scalar_one_or_none()
    return None if found is None else bytes(found)


def store_erasure_secret(connection: Connection, sealed: bytes, now: datetime) -> None:
    """Keep the sealed key of the hashes, in the place of the one that was sealed otherwise."""
    connection.execute(
        text(
            "INSERT INTO erasure_secret (secret_sealed, created_at) VALUES (:sealed, :now)"
            " ON CONFLICT (is_only) DO UPDATE SET secret_sealed = excluded.secret_sealed"
        ),
        {"sealed": sealed, "now": now},
    )
