"""state.db files as Hermes writes them, in four generations, built from the documented columns.

Written from the facts about Hermes' database, not from the plugin's own reading: which columns a generation has, that
the per-call path adds to a session and to its row per model in one transaction, that auxiliary calls go to the latter
alone, that a gateway sets totals, that a deletion cascades, and how the new table is filled at an update.
"""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any

GENERATIONS = ("sessions", "sessions_billing", "model_usage", "model_usage_task")

_SESSIONS = """
CREATE TABLE sessions (
    id TEXT PRIMARY KEY, source TEXT NOT NULL, user_id TEXT, model TEXT, parent_session_id TEXT,
    started_at REAL NOT NULL, ended_at REAL, end_reason TEXT, message_count INTEGER DEFAULT 0, title TEXT,
    system_prompt TEXT, input_tokens INTEGER DEFAULT 0, output_tokens INTEGER DEFAULT 0,
    cache_read_tokens INTEGER DEFAULT 0, cache_write_tokens INTEGER DEFAULT 0, estimated_cost_usd REAL
);
CREATE TABLE messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT, session_id TEXT NOT NULL, role TEXT NOT NULL, content TEXT,
    timestamp REAL NOT NULL
);
CREATE TABLE schema_version (version INTEGER NOT NULL);
INSERT INTO schema_version VALUES (6);
"""
_BILLING = """
ALTER TABLE sessions ADD COLUMN reasoning_tokens INTEGER DEFAULT 0;
ALTER TABLE sessions ADD COLUMN api_call_count INTEGER DEFAULT 0;
ALTER TABLE sessions ADD COLUMN cwd TEXT;
ALTER TABLE sessions ADD COLUMN git_repo_root TEXT;
ALTER TABLE sessions ADD COLUMN billing_provider TEXT;
ALTER TABLE sessions ADD COLUMN billing_base_url TEXT;
ALTER TABLE sessions ADD COLUMN billing_mode TEXT;
ALTER TABLE sessions ADD COLUMN actual_cost_usd REAL;
ALTER TABLE sessions ADD COLUMN cost_status TEXT;
ALTER TABLE sessions ADD COLUMN cost_source TEXT;
UPDATE schema_version SET version = 15;
"""
_USAGE_COLUMNS = """
    session_id TEXT NOT NULL REFERENCES sessions(id) ON DELETE CASCADE, model TEXT NOT NULL,
    billing_provider TEXT NOT NULL DEFAULT '', billing_base_url TEXT NOT NULL DEFAULT '',
    billing_mode TEXT NOT NULL DEFAULT '', {task} api_call_count INTEGER NOT NULL DEFAULT 0,
    input_tokens INTEGER NOT NULL DEFAULT 0, output_tokens INTEGER NOT NULL DEFAULT 0,
    cache_read_tokens INTEGER NOT NULL DEFAULT 0, cache_write_tokens INTEGER NOT NULL DEFAULT 0,
    reasoning_tokens INTEGER NOT NULL DEFAULT 0, estimated_cost_usd REAL NOT NULL DEFAULT 0,
    actual_cost_usd REAL NOT NULL DEFAULT 0, cost_status TEXT, cost_source TEXT, first_seen REAL, last_seen REAL,
    PRIMARY KEY (session_id, model, billing_provider, billing_base_url, billing_mode{key})
"""
_MODEL_USAGE = f"""
CREATE TABLE session_model_usage ({_USAGE_COLUMNS.format(task="", key="")});
INSERT OR IGNORE INTO session_model_usage
    SELECT id, COALESCE(model, 'unknown'), COALESCE(billing_provider, ''), COALESCE(billing_base_url, ''),
        COALESCE(billing_mode, ''), COALESCE(api_call_count, 0), input_tokens, output_tokens, cache_read_tokens,
        cache_write_tokens, COALESCE(reasoning_tokens, 0), COALESCE(estimated_cost_usd, 0),
        COALESCE(actual_cost_usd, 0), cost_status, cost_source, started_at, COALESCE(ended_at, started_at)
    FROM sessions WHERE input_tokens + output_tokens > 0;
UPDATE schema_version SET version = 20;
"""
_TASK = f"""
ALTER TABLE session_model_usage RENAME TO old_usage;
CREATE TABLE session_model_usage ({_USAGE_COLUMNS.format(task="task TEXT NOT NULL DEFAULT '',", key=", task")});
INSERT INTO session_model_usage
    SELECT session_id, model, billing_provider, billing_base_url, billing_mode, '', api_call_count, input_tokens,
        output_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens, estimated_cost_usd, actual_cost_usd,
        cost_status, cost_source, first_seen, last_seen
    FROM old_usage;
DROP TABLE old_usage;
ALTER TABLE sessions ADD COLUMN last_activity_at REAL;
ALTER TABLE sessions ADD COLUMN profile_name TEXT;
UPDATE schema_version SET version = 30;
"""
_STEPS = (_SESSIONS, _BILLING, _MODEL_USAGE, _TASK)


@dataclass(frozen=True)
class Call:
    """What one call of a model used."""

    input: int = 100
    output: int = 10
    cache_read: int = 0
    cache_write: int = 0
    reasoning: int = 0
    estimated_usd: float | None = 0.001
    actual_usd: float | None = None
    status: str | None = "estimated"
    calls: int = 1


@dataclass(frozen=True)
class Made:
    """How it was made."""

    model: str = "gpt-5.4"
    provider: str = "openai"
    base_url: str = "https://api.openai.com/v1"
    mode: str = "official_docs_snapshot"


class HermesDatabase:
    """A state.db that grows as Hermes' own does."""

    def __init__(self, path: Path, generation: str = "model_usage_task", *, wal: bool = False) -> None:
        self.path = path
        self.level = -1
        path.parent.mkdir(parents=True, exist_ok=True)
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.connection.execute(f"PRAGMA journal_mode={'WAL' if wal else 'MEMORY'}")
        self.connection.execute("PRAGMA synchronous=OFF")
        self.connection.execute("PRAGMA foreign_keys=ON")
        self.update_to(generation)

    @property
    def generation(self) -> str:
        return GENERATIONS[self.level]

    def close(self) -> None:
        self.connection.close()

    def update_to(self, generation: str) -> None:
        """What Hermes does at its start after an update."""
        while self.generation != generation or self.level < 0:
            self.level += 1
            self.connection.executescript(f"BEGIN;{_STEPS[self.level]}COMMIT;")

    def open_session(self, session: str, at: float, made: Made | None = None, **columns: Any) -> None:
        values: dict[str, Any] = {"id": session, "source": "cli", "started_at": at, **columns}
        made = made or Made()
        values["model"] = made.model
        if self.level >= 1:
            values |= {
                "billing_provider": made.provider,
                "billing_base_url": made.base_url,
                "billing_mode": made.mode,
            }
        self.insert("sessions", values)

    def insert(self, table: str, values: dict[str, Any]) -> None:
        marks = ", ".join("?" for _ in values)
        self.connection.execute(f"INSERT INTO {table} ({', '.join(values)}) VALUES ({marks})", tuple(values.values()))

    def end_session(self, session: str, at: float) -> None:
        self.connection.execute("UPDATE sessions SET ended_at = ? WHERE id = ?", (at, session))

    def call(self, session: str, at: float, call: Call, made: Made | None = None, task: str = "") -> None:
        """The path of each call: adds to the session and to the model's row."""
        with self._transaction():
            self._message(session, at)
            self._add_to_session(session, call)
            if self.level >= 2:
                self._add_to_model(session, at, call, made or Made(), task)

    def auxiliary(self, session: str, at: float, call: Call, made: Made, task: str) -> None:
        """An auxiliary call, which older generations don't record."""
        if self.level >= 3:
            with self._transaction():
                self._add_to_model(session, at, call, made, task)

    def set_totals(self, session: str, at: float, total: Call) -> None:
        """The gateway's path: an agent's totals replace the session's counters."""
        with self._transaction():
            self._message(session, at)
            assignments = ", ".join(f"{name} = ?" for name in self._session_values(total))
            self.connection.execute(
                f"UPDATE sessions SET {assignments} WHERE id = ?", (*self._session_values(total).values(), session)
            )

    def delete(self, session: str) -> None:
        with self._transaction():
            self.connection.execute("DELETE FROM messages WHERE session_id = ?", (session,))
            self.connection.execute("DELETE FROM sessions WHERE id = ?", (session,))

    def copy(self) -> bytes:
        return self.path.read_bytes()

    def restore(self, copy: bytes) -> None:
        """Somebody puts an older copy in place, while Hermes is not running."""
        self.connection.close()
        self.path.write_bytes(copy)
        self.connection = sqlite3.connect(self.path, isolation_level=None)
        self.connection.execute("PRAGMA journal_mode=MEMORY")
        self.connection.execute("PRAGMA synchronous=OFF")
        self.connection.execute("PRAGMA foreign_keys=ON")

    def _transaction(self) -> contextlib.AbstractContextManager[object]:
        self.connection.execute("BEGIN IMMEDIATE")
        return self.connection

    def _message(self, session: str, at: float) -> None:
        values = (session, "assistant", "what the model said", at)
        self.connection.execute(
            "INSERT INTO messages (session_id, role, content, timestamp) VALUES (?, ?, ?, ?)", values
        )

    def _session_values(self, call: Call) -> dict[str, Any]:
        values: dict[str, Any] = {
            "input_tokens": call.input,
            "output_tokens": call.output,
            "cache_read_tokens": call.cache_read,
            "cache_write_tokens": call.cache_write,
            "estimated_cost_usd": call.estimated_usd or 0,
        }
        if self.level >= 1:
            values |= {"reasoning_tokens": call.reasoning, "api_call_count": call.calls}
        return values

    def _add_to_session(self, session: str, call: Call) -> None:
        values = self._session_values(call)
        sums = ", ".join(f"{name} = COALESCE({name}, 0) + ?" for name in values)
        self.connection.execute(f"UPDATE sessions SET {sums} WHERE id = ?", (*values.values(), session))
        if self.level >= 1:
            self.connection.execute(
                "UPDATE sessions SET cost_status = COALESCE(?, cost_status), actual_cost_usd ="
                " CASE WHEN ? IS NULL THEN actual_cost_usd ELSE COALESCE(actual_cost_usd, 0) + ? END WHERE id = ?",
                (call.status, call.actual_usd, call.actual_usd, session),
            )

    def _add_to_model(self, session: str, at: float, call: Call, made: Made, task: str) -> None:
        key = {
            "session_id": session,
            "model": made.model,
            "billing_provider": made.provider,
            "billing_base_url": made.base_url,
            "billing_mode": made.mode,
        } | ({"task": task} if self.level >= 3 else {})
        counters = self._session_values(call) | {"actual_cost_usd": call.actual_usd or 0}
        values = key | counters | {"cost_status": call.status, "first_seen": at, "last_seen": at}
        sums = ", ".join(f"{name} = {name} + excluded.{name}" for name in counters)
        self.connection.execute(
            f"INSERT INTO session_model_usage ({', '.join(values)}) VALUES ({', '.join('?' for _ in values)})"
            f" ON CONFLICT ({', '.join(key)}) DO UPDATE SET {sums}, last_seen = excluded.last_seen,"
            " cost_status = COALESCE(excluded.cost_status, cost_status)",
            tuple(values.values()),
        )
