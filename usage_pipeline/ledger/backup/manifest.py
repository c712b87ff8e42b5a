"""What a backup says of itself: of which schema and instant it is, and what each table held.

A table's digest does not depend on the order of its rows, nor on the version of PostgreSQL: the sum over its rows of
60 bits of the MD5 of each row as text. It finds damage and loss; it is no proof against somebody who forges.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from sqlalchemy import Connection, text

from usage_pipeline.errors import InvalidInputError

FORMAT: Final = 1
NOT_CONTAINED: Final = (
    "the encryption keys (USAGE_ENCRYPTION_KEYS or the key file): sealed secrets open only with them",
    "secrets that are references (env:, file:): only where they are kept",
    "Dagster's own storage: its runs, events and schedules",
)


@dataclass(frozen=True, slots=True)
class TableContent:
    """How many rows a table has, and the digest of them all."""

    rows: int
    digest: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """``revision`` is the schema's, ``made_at`` an instant in UTC (RFC 3339), ``server_major`` and ``tool_major`` the
    PostgreSQL it came from and the program that wrote it; ``dump_sha256`` and ``dump_bytes`` are of the dump."""

    revision: str
    made_at: str
    server_major: int
    tool_major: int
    dump_bytes: int
    dump_sha256: str
    tables: Mapping[str, TableContent]

    def encode(self) -> bytes:
        """As JSON, with what the backup does not hold."""
        told = {"format": FORMAT, **asdict(self), "not_contained": list(NOT_CONTAINED)}
        return json.dumps(told, indent=2, sort_keys=True).encode() + b"\n"

    @classmethod
    def decode(cls, encoded: bytes, where: str) -> Manifest:
        """Raises :class:`InvalidInputError` ``backup_unreadable``."""
        try:
            told: dict[str, Any] = json.loads(encoded)
            if told["format"] != FORMAT:
                raise ValueError
            tables = {name: TableContent(int(one["rows"]), str(one["digest"])) for name, one in told["tables"].items()}
            return cls(
                revision=str(told["revision"]),
                made_at=str(told["made_at"]),
                server_major=int(told["server_major"]),
                tool_major=int(told["tool_major"]),
                dump_bytes=int(told["dump_bytes"]),
                dump_sha256=str(told["dump_sha256"]),
                tables=tables,
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            raise unreadable("its manifest cannot be read", where) from None


def table_contents(connection: Connection) -> dict[str, TableContent]:
    """What every table of the ledger holds, as the connection's transaction sees it."""
    # Rows are digested as text, so what texts depend on is the same everywhere.
    for setting in ("timezone TO 'UTC'", "datestyle TO 'ISO, YMD'", "intervalstyle TO 'iso_8601'"):
        connection.execute(text(f"SET LOCAL {setting}"))
    connection.execute(text("SET LOCAL extra_float_digits TO 1"))
    connection.execute(text("SET LOCAL bytea_output TO 'hex'"))
    names = connection.execute(
        text("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename")
    ).scalars()
    found = {}
    for name in names.all():
        quoted = '"' + name.replace('"', '""') + '"'
        rows, digest = connection.execute(
            text(
                "SELECT count(*), coalesce(sum(CAST(CAST('x' || left(md5(CAST(t AS text)), 15) AS bit(60)) AS bigint)),"
                f" 0) FROM public.{quoted} AS t"
            )
        ).one()
        found[name] = TableContent(int(rows), format(int(digest), "x"))
    return found


def unreadable(what: str, where: str) -> InvalidInputError:
    """The error of a file that is no whole backup."""
    return InvalidInputError(
        "backup_unreadable", what, where=where, remedy="Name a whole file that usage-pipeline backup wrote."
    )
