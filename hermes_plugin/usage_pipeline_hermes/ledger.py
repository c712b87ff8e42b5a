"""The plugin's own memory: what was read last, what it grew by, and what was delivered.

Belongs here: a small SQLite file in the plugin's data folder and its statements; no rule. In and out: typed records.
It holds counts, models and billing routes by UTC hour, and the last counters of each session under a salted hash of
its id, so that a session that the user deletes leaves no name behind.

A dry run works on a copy in memory.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .counts import COUNT_FIELDS, Counts, add, counts_of, values_of
from .errors import Exit, PluginError
from .state_db import Fingerprint, Route

LEDGER_VERSION: Final = 1
KEEP_DAYS: Final = 400
"""Longer than the farthest reach of a report (365 days)."""

_COUNT_COLUMNS = ", ".join(f"{name} INTEGER" for name in COUNT_FIELDS)
_COUNT_NAMES = ", ".join(COUNT_FIELDS)
_COUNT_MARKS = ", ".join("?" for _ in COUNT_FIELDS)

_SCHEMA = f"""
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE counters (
    session BLOB NOT NULL, part BLOB NOT NULL, began_s REAL, {_COUNT_COLUMNS}, gone_after_s REAL,
    PRIMARY KEY (session, part)
) WITHOUT ROWID;
CREATE TABLE usage (
    hour_s INTEGER NOT NULL, model TEXT NOT NULL, billing_provider TEXT NOT NULL, billing_base_url TEXT NOT NULL,
    billing_mode TEXT NOT NULL, task TEXT NOT NULL, {_COUNT_COLUMNS},
    PRIMARY KEY (hour_s, model, billing_provider, billing_base_url, billing_mode, task)
) WITHOUT ROWID;
CREATE TABLE days_without_hours (day TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE acknowledged (
    target TEXT NOT NULL, day TEXT NOT NULL, digest TEXT NOT NULL, generated_s REAL NOT NULL, PRIMARY KEY (target, day)
) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class CounterKey:
    """Whose counter: a session, and a part of it (empty: the session's own counters)."""

    session: bytes
    part: bytes


@dataclass(frozen=True, slots=True)
class Counter:
    """A counter as last read. ``began_s``: the start of its session, or its row's first_seen. ``gone_after_s``: when
    it was last seen, for one that is no longer in state.db; None while it is."""

    began_s: float | None
    counts: Counts
    gone_after_s: float | None


@dataclass(frozen=True, slots=True)
class HourUsage:
    """Usage of one UTC hour (``hour_s``: its start) on one route and task."""

    hour_s: int
    route: Route
    task: str
    counts: Counts


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """The digest of a day as the server took it, and when that report was made."""

    digest: str
    generated_s: float


class Ledger:
    """One profile's ledger; use :func:`open_ledger`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > LEDGER_VERSION:
            raise PluginError(
                "ledger_newer", "the ledger was written by a newer plugin", "Update this plugin.", Exit.DATABASE
            )
        if version == 0:
            connection.executescript(f"BEGIN;{_SCHEMA}PRAGMA user_version = {LEDGER_VERSION};COMMIT;")
            with self.transaction():
                self.set_meta("salt", secrets.token_hex(16))
        self._salt = bytes.fromhex(self.meta("salt") or "")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All of it or nothing."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def meta(self, name: str) -> str | None:
        row = self._connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def set_meta(self, name: str, value: str) -> None:
        self._connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))

    @property
    def last_read_s(self) -> float | None:
        """When state.db was last read, None before the first time."""
        value = self.meta("last_read_s")
        return None if value is None else float(value)

    def next_revision(self, now_s: float) -> int:
        """A number larger than all before, stored before it is given out. It starts at the clock, so that it keeps
        growing even when the ledger was lost."""
        with self.transaction():
            revision = max(int(self.meta("revision") or 0) + 1, int(now_s))
            self.set_meta("revision", str(revision))
        return revision

    def fingerprint(self) -> Fingerprint | None:
        file, sequence = self.meta("file"), self.meta("sequence")
        return None if file is None else Fingerprint(file, int(sequence) if sequence else None)

    def set_fingerprint(self, fingerprint: Fingerprint) -> None:
        self.set_meta("file", fingerprint.file)
        self.set_meta("sequence", "" if fingerprint.sequence is None else str(fingerprint.sequence))

    def key(self, session_id: str, part: tuple[str, ...] = ()) -> CounterKey:
        """The key of a session's counter, which tells nothing about the session."""
        return CounterKey(self._hash((session_id,)), self._hash(part) if part else b"")

    def _hash(self, texts: tuple[str, ...]) -> bytes:
        hashed = hashlib.blake2b(key=self._salt, digest_size=16)
        for text in texts:
            written = text.encode("utf-8", "replace")
            hashed.update(len(written).to_bytes(8, "big") + written)
        return hashed.digest()

    def counters(self) -> dict[CounterKey, Counter]:
        """Every counter known."""
        rows = self._connection.execute(f"SELECT session, part, began_s, gone_after_s, {_COUNT_NAMES} FROM counters")  # noqa: S608
        return {CounterKey(row[0], row[1]): Counter(row[2], counts_of(tuple(row[4:])), row[3]) for row in rows}

    def put_counters(self, counters: Iterable[tuple[CounterKey, Counter]]) -> None:
        self._connection.executemany(
            f"INSERT OR REPLACE INTO counters (session, part, began_s, gone_after_s, {_COUNT_NAMES})"  # noqa: S608
            f" VALUES (?, ?, ?, ?, {_COUNT_MARKS})",
            [
                (key.session, key.part, counter.began_s, counter.gone_after_s, *values_of(counter.counts))
                for key, counter in counters
            ],
        )

    def add_usage(self, usage: HourUsage) -> None:
        """Add to what the hour already has."""
        key = (usage.hour_s, *_route_values(usage.route), usage.task)
        row = self._connection.execute(
            f"SELECT {_COUNT_NAMES} FROM usage WHERE hour_s = ? AND model = ? AND billing_provider = ?"  # noqa: S608
            " AND billing_base_url = ? AND billing_mode = ? AND task = ?",
            key,
        ).fetchone()
        total = usage.counts if row is None else add(counts_of(tuple(row)), usage.counts)
        self._connection.execute(
            f"INSERT OR REPLACE INTO usage (hour_s, model, billing_provider, billing_base_url, billing_mode, task,"  # noqa: S608
            f" {_COUNT_NAMES}) VALUES (?, ?, ?, ?, ?, ?, {_COUNT_MARKS})",
            (*key, *values_of(total)),
        )

    def usage(self, start_s: int, end_s: int) -> list[HourUsage]:
        """Usage of the hours in [start, end), in order."""
        rows = self._connection.execute(
            "SELECT hour_s, model, billing_provider, billing_base_url, billing_mode, task,"  # noqa: S608
            f" {_COUNT_NAMES} FROM usage WHERE hour_s >= ? AND hour_s < ? ORDER BY 1, 2, 3, 4, 5, 6",
            (start_s, end_s),
        )
        return [HourUsage(row[0], Route(*row[1:5]), row[5], counts_of(tuple(row[6:]))) for row in rows]

    def mark_days_without_hours(self, days: Iterable[str]) -> None:
        self._connection.executemany("INSERT OR IGNORE INTO days_without_hours VALUES (?)", [(day,) for day in days])

    def days_without_hours(self) -> frozenset[str]:
        """Days (YYYY-MM-DD) on which some usage is dated by its session, not by its call."""
        return frozenset(str(row[0]) for row in self._connection.execute("SELECT day FROM days_without_hours"))

    def acknowledged(self, target: str) -> dict[str, Acknowledged]:
        """What the target last took, by day."""
        rows = self._connection.execute("SELECT day, digest, generated_s FROM acknowledged WHERE target = ?", (target,))
        return {str(day): Acknowledged(str(digest), float(generated_s)) for day, digest, generated_s in rows}

    def put_acknowledged(self, target: str, digests: Mapping[str, str], generated_s: float) -> None:
        """Remember for each day the digest that the target took. What another target took is forgotten."""
        with self.transaction():
            self._connection.execute("DELETE FROM acknowledged WHERE target <> ?", (target,))
            self._connection.executemany(
                "INSERT OR REPLACE INTO acknowledged VALUES (?, ?, ?, ?)",
                [(target, day, digest, generated_s) for day, digest in digests.items()],
            )

    def forget_before(self, day: str, day_s: float) -> None:
        """Drop what no report can reach any more. Counters stay while their row is in state.db."""
        self._connection.execute("DELETE FROM usage WHERE hour_s < ?", (int(day_s),))
        self._connection.execute("DELETE FROM days_without_hours WHERE day < ?", (day,))
        self._connection.execute("DELETE FROM acknowledged WHERE day < ?", (day,))
        self._connection.execute("DELETE FROM counters WHERE gone_after_s IS NOT NULL AND gone_after_s < ?", (day_s,))

    def sizes(self) -> dict[str, int]:
        """Rows per table, for the doctor."""
        count = "SELECT (SELECT count(*) FROM counters), (SELECT count(*) FROM usage)"
        counters, usage = self._connection.execute(count).fetchone()
        return {"counters": int(counters), "usageRows": int(usage)}


def _route_values(route: Route) -> tuple[str, str, str, str]:
    return route.model, route.billing_provider, route.billing_base_url, route.billing_mode


@contextmanager
def open_ledger(path: Path, *, in_memory: bool = False) -> Iterator[Ledger]:
    """Open the ledger, made where there is none; with ``in_memory`` a copy, so that nothing is written.

    Raises PluginError with exit status 5: ``ledger_unreadable``, ``ledger_newer``.
    """
    try:
        connection = _copy_in_memory(path) if in_memory else _open_file(path)
    except (sqlite3.Error, OSError):
        raise _unreadable(path) from None
    try:
        yield Ledger(connection)
    except sqlite3.Error:
        raise _unreadable(path) from None
    finally:
        connection.close()


def _unreadable(path: Path) -> PluginError:
    return PluginError(
        "ledger_unreadable",
        f"{path} cannot be used",
        "Check the disk and its permissions. If the file is broken, move it away: history is read anew.",
        Exit.DATABASE,
    )


def _open_file(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not path.exists():
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    # A short wait: the lock file keeps other syncs away, only a doctor may be reading.
    return sqlite3.connect(path, timeout=10, isolation_level=None)


def _copy_in_memory(path: Path) -> sqlite3.Connection:
    copy = sqlite3.connect(":memory:", isolation_level=None)
    if path.is_file() and path.stat().st_size:
        stored = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=10)
        try:
            stored.backup(copy)
        finally:
            stored.close()
    return copy
