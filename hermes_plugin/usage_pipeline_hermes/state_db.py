"""Reading Hermes' state.db, whatever its generation.

Belongs here: opening the file read-only, probing which tables and columns it has, and its rows as typed records.
In: the path. Out: :class:`Snapshot`, one consistent moment. Nothing is ever written, no lock is held beyond the
reading, and only the tables ``sessions``, ``session_model_usage``, ``schema_version`` and ``sqlite_sequence`` are
looked at: never ``messages``, and of ``sessions`` only the columns named here.

| generation | what it has |
| --- | --- |
| ``sessions`` | token counters per session |
| ``sessions_billing`` | and the billing route of a session |
| ``model_usage`` | and a row per session, model and route (from July 2026, schema 20) |
| ``model_usage_task`` | and a row per auxiliary task (schema 22 and later) |
"""

from __future__ import annotations

import math
import re
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit, urlunsplit

from .counts import Counts, count_from, nano_usd_from
from .errors import Exit, PluginError

Generation = Literal["sessions", "sessions_billing", "model_usage", "model_usage_task"]

_COUNTERS: Final = (
    "api_call_count",
    "input_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "output_tokens",
    "reasoning_tokens",
    "estimated_cost_usd",
    "actual_cost_usd",
    "cost_status",
)
_ROUTE: Final = ("model", "billing_provider", "billing_base_url", "billing_mode")
_SESSION_COLUMNS: Final = ("id", "started_at", "ended_at", "last_activity_at", *_ROUTE, *_COUNTERS)
_USAGE_COLUMNS: Final = ("session_id", "first_seen", "last_seen", "task", *_ROUTE, *_COUNTERS)
_NEEDED: Final = ("input_tokens", "output_tokens")

_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]")
_PLAIN_ADDRESS = re.compile(r"[A-Za-z0-9._:/\[\]-]+")
_TEXT_CHARACTERS_MAX = 500
_EARLIEST_S = 1_577_836_800.0  # 2020: before Hermes, so a time below is no time
_LATEST_S = 4_102_444_800.0  # 2100

_STATES_ACTUAL = frozenset({"actual", "included"})
_STATES_ESTIMATE = frozenset({"actual", "included", "estimated"})


@dataclass(frozen=True, slots=True, order=True)
class Route:
    """What a call was made with, as recorded, cut to what may leave the machine."""

    model: str
    billing_provider: str
    billing_base_url: str
    billing_mode: str


@dataclass(frozen=True, slots=True)
class Reading:
    """Cumulative counters, and whether their costs are stated: a stated 0 is free, an unstated one is not observed."""

    counts: Counts
    states_estimate: bool
    states_actual: bool


@dataclass(frozen=True, slots=True)
class SessionRow:
    """One session. Times in seconds since 1970 UTC, None where not known."""

    session_id: str
    started_s: float | None
    ended_s: float | None
    last_activity_s: float | None
    route: Route
    reading: Reading


@dataclass(frozen=True, slots=True)
class UsageRow:
    """One row of session_model_usage. ``written_key`` is its identity as written, before anything was cut."""

    session_id: str
    written_key: tuple[str, ...]
    route: Route
    task: str
    first_seen_s: float | None
    last_seen_s: float | None
    reading: Reading


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Tells one database file from another. ``sequence`` (the last message number ever given) only grows in one."""

    file: str
    sequence: int | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One consistent moment of state.db."""

    generation: Generation
    schema_version: int | None
    fingerprint: Fingerprint
    sessions: tuple[SessionRow, ...]
    usages: tuple[UsageRow, ...]


def read_snapshot(path: Path, timeout_s: float) -> Snapshot:
    """Read all usage at one moment. ``timeout_s`` bounds the wait for a database that is locked.

    Raises PluginError with exit status 5: ``database_missing``, ``database_locked``, ``database_unreadable``,
    ``database_unknown`` (no table that this understands).
    """
    if not path.is_file():
        raise _trouble("database_missing", f"there is no file {path}", "Set HERMES_HOME or USAGE_PIPELINE_DB_PATH.")
    try:
        # mode=ro, never immutable: with immutable, SQLite would ignore the WAL and so the newest usage.
        uri = f"{path.resolve().as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=timeout_s, isolation_level=None)) as connection:
            connection.text_factory = _decoded
            connection.execute("BEGIN")
            return _read(connection, path)
    except sqlite3.Error as error:
        if isinstance(error, sqlite3.OperationalError) and ("locked" in str(error) or "busy" in str(error)):
            raise _trouble(
                "database_locked", f"{path} stayed locked for {timeout_s:g} s", "The next sync tries again."
            ) from None
        raise _trouble(
            "database_unreadable", f"{path} cannot be read as SQLite", "Check the file and its permissions."
        ) from None


def _decoded(written: bytes) -> str:
    return written.decode("utf-8", "replace")


def _trouble(code: str, what: str, remedy: str) -> PluginError:
    return PluginError(code, what, remedy, Exit.DATABASE)


def _read(connection: sqlite3.Connection, path: Path) -> Snapshot:
    session_columns = _columns(connection, "sessions")
    usage_columns = _columns(connection, "session_model_usage")
    if not {"id", *_NEEDED} <= session_columns:
        raise _trouble("database_unknown", f"{path} has no sessions with token counters", "Is it Hermes' state.db?")
    has_usage = {"session_id", "model", *_NEEDED} <= usage_columns
    generation: Generation = "sessions_billing" if "billing_provider" in session_columns else "sessions"
    if has_usage:
        generation = "model_usage_task" if "task" in usage_columns else "model_usage"
    sessions = tuple(_sessions(connection, session_columns))
    usages = tuple(_usages(connection, usage_columns)) if has_usage else ()
    return Snapshot(generation, _schema_version(connection), _fingerprint(connection, path), sessions, usages)


def _columns(connection: sqlite3.Connection, table: str) -> frozenset[str]:
    """The table's columns; none where there is no such table."""
    return frozenset(str(row[0]) for row in connection.execute("SELECT name FROM pragma_table_info(?)", (table,)))


def _select(
    connection: sqlite3.Connection, table: str, wanted: Sequence[str], there: frozenset[str]
) -> Iterator[Callable[[str], object]]:
    """Each row as a lookup by column; a column that the table lacks is None."""
    names = [name for name in wanted if name in there]
    place = {name: index for index, name in enumerate(names)}
    # Both names are constants of this file.
    for row in connection.execute(f"SELECT {', '.join(names)} FROM {table}"):  # noqa: S608
        yield lambda name, row=row: row[place[name]] if name in place else None  # type: ignore[misc]


def _sessions(connection: sqlite3.Connection, columns: frozenset[str]) -> Iterator[SessionRow]:
    for value in _select(connection, "sessions", _SESSION_COLUMNS, columns):
        yield SessionRow(
            session_id=_raw(value("id")),
            started_s=_time(value("started_at")),
            ended_s=_time(value("ended_at")),
            last_activity_s=_time(value("last_activity_at")),
            route=_route(value),
            reading=_reading(value),
        )


def _usages(connection: sqlite3.Connection, columns: frozenset[str]) -> Iterator[UsageRow]:
    for value in _select(connection, "session_model_usage", _USAGE_COLUMNS, columns):
        yield UsageRow(
            session_id=_raw(value("session_id")),
            # A database in the middle of its migration may have NULL for a task: the main loop, as "" is.
            written_key=tuple(_raw(value(name)) for name in (*_ROUTE, "task")),
            route=_route(value),
            task=_text(value("task")),
            first_seen_s=_time(value("first_seen")),
            last_seen_s=_time(value("last_seen")),
            reading=_reading(value),
        )


def _route(value: Callable[[str], object]) -> Route:
    return Route(
        model=_text(value("model")) or "unknown",
        billing_provider=_text(value("billing_provider")),
        billing_base_url=base_url_to_send(_raw(value("billing_base_url"))),
        billing_mode=_text(value("billing_mode")),
    )


def _reading(value: Callable[[str], object]) -> Reading:
    status = _raw(value("cost_status"))
    estimated, actual = nano_usd_from(value("estimated_cost_usd")), nano_usd_from(value("actual_cost_usd"))
    states_estimate, states_actual = status in _STATES_ESTIMATE, status in _STATES_ACTUAL
    counts = Counts(
        requests=count_from(value("api_call_count")),
        uncached_input=count_from(value("input_tokens")) or 0,
        cache_read=count_from(value("cache_read_tokens")) or 0,
        cache_write=count_from(value("cache_write_tokens")) or 0,
        output=count_from(value("output_tokens")) or 0,
        reasoning=count_from(value("reasoning_tokens")),
        # The cost columns are NOT NULL DEFAULT 0: a 0 whose status is "unknown" was never observed.
        estimated_nano_usd=estimated if estimated or states_estimate else None,
        actual_nano_usd=actual if actual or states_actual else None,
    )
    return Reading(counts, states_estimate and estimated is not None, states_actual and actual is not None)


def base_url_to_send(written: str) -> str:
    """Scheme, host, port and path alone: user, password, query and fragment may be secrets. ``""`` for no address."""
    address = _UNPRINTABLE.sub("", written).strip()[:_TEXT_CHARACTERS_MAX]
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return ""
    if parts.scheme and parts.netloc and host:
        return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
    return address if _PLAIN_ADDRESS.fullmatch(address) else ""


def _raw(value: object) -> str:
    return "" if value is None else str(value)


def _text(value: object) -> str:
    return _UNPRINTABLE.sub("", _raw(value)).strip()[:_TEXT_CHARACTERS_MAX]


def _time(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value) if _EARLIEST_S <= value <= _LATEST_S else None


def _schema_version(connection: sqlite3.Connection) -> int | None:
    if "version" not in _columns(connection, "schema_version"):
        return None
    row = connection.execute("SELECT max(version) FROM schema_version").fetchone()
    return count_from(row[0])


def _fingerprint(connection: sqlite3.Connection, path: Path) -> Fingerprint:
    sequence = None
    if _columns(connection, "sqlite_sequence"):
        row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'messages'").fetchone()
        sequence = count_from(row[0]) if row else None
    file = path.stat()
    return Fingerprint(f"{file.st_dev}:{file.st_ino}", sequence)
