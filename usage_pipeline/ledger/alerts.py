"""Alerts as stored: each with its life, and what each receiver knows of it.

In: states that the domain decided, and attempts at telling them. Out: the alerts that are open or not told yet, and the
list for people. Which state follows on which is decided in ``alerts.life``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, Engine, text

NO_RECEIVER: Final = "none"
"""The name under which is noted that nobody is set to be told."""

_TICK: Final = 0x616C7274  # "alrt": the advisory lock of a tick


@dataclass(frozen=True, slots=True)
class AlertState:
    """An alert as it stands. Instants are UTC.

    ``occurrences`` are those behind it now, ``occurrence_count`` how many there ever were. ``notice`` numbers what is
    to be told of it: the newest was made at ``noticed_at``, when ``noticed_count`` occurrences were known, and said
    that it is open or (``noticed_open`` False) over; ``more_count`` came between that notice and the one before it, of
    ``more_since``. ``notified_at`` is when the first time every receiver had accepted one, None until then.
    """

    fingerprint: bytes
    cause: str
    severity: str
    place: str
    what: str
    remedy: str
    link: str
    since: datetime
    occurrences: tuple[str, ...]
    occurrence_count: int
    first_seen: datetime
    last_seen: datetime
    notice: int
    noticed_at: datetime
    noticed_count: int
    noticed_open: bool
    more_count: int = 0
    more_since: datetime | None = None
    recovered_at: datetime | None = None
    notified_at: datetime | None = None
    recovery_notified_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a receiver knows of an alert: the newest notice that it accepted, 0 for none, and the attempts since."""

    receiver: str
    notice: int
    accepted_at: datetime | None
    attempts: int
    last_attempt_at: datetime
    last_error: str | None


@dataclass(frozen=True, slots=True)
class StoredAlert:
    """An alert with its number and its deliveries by receiver."""

    alert_id: int
    state: AlertState
    deliveries: Mapping[str, Delivery]


_COLUMNS: Final = tuple(field.name for field in fields(AlertState))
_SELECT: Final = f"SELECT alert_id, {', '.join(_COLUMNS)} FROM alerts"


@contextmanager
def one_tick(engine: Engine) -> Iterator[bool]:
    """Hold the right to look at the alerts for as long as the block lasts; False where another process has it.

    The hold is the connection's, so that it goes with a process that is killed.
    """
    connection = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
    try:
        yield bool(connection.execute(text("SELECT pg_try_advisory_lock(:tick)"), {"tick": _TICK}).scalar_one())
    finally:
        connection.invalidate()  # not back into the pool, where the lock would outlive the block
        connection.close()


def living_alerts(connection: Connection, now: datetime, window: timedelta) -> list[StoredAlert]:
    """The alerts that are open, and those that were over less than ``window`` ago: one of these may open again."""
    rows = connection.execute(
        text(f"{_SELECT} WHERE recovered_at IS NULL OR recovered_at > :since ORDER BY alert_id"),
        {"since": now - window},
    )
    return _with_deliveries(connection, rows.all())


def untold_alerts(connection: Connection, receivers: Sequence[str]) -> list[StoredAlert]:
    """The alerts of which one of the receivers does not know the newest notice, oldest first.

    Of an alert that is over only a receiver that was tried while it was open is told.
    """
    rows = connection.execute(
        text(
            f"{_SELECT} WHERE EXISTS (SELECT 1 FROM unnest(CAST(:receivers AS text[])) AS r (receiver)"
            " LEFT JOIN alert_deliveries AS d ON d.alert_id = alerts.alert_id AND d.receiver = r.receiver"
            " WHERE coalesce(d.notice, 0) < alerts.notice"
            " AND (alerts.recovered_at IS NULL OR d.alert_id IS NOT NULL))"
            # Old ones are told already; this keeps the look at them short.
            " AND (recovered_at IS NULL OR recovery_notified_at IS NULL) ORDER BY alert_id"
        ),
        {"receivers": list(receivers)},
    )
    return _with_deliveries(connection, rows.all())


def list_alerts(connection: Connection, limit: int, *, open_only: bool) -> list[StoredAlert]:
    """Alerts for people: open ones first, then the newest."""
    rows = connection.execute(
        text(
            f"{_SELECT} WHERE NOT :open_only OR recovered_at IS NULL"
            " ORDER BY recovered_at IS NOT NULL, last_seen DESC, alert_id DESC LIMIT :limit"
        ),
        {"open_only": open_only, "limit": limit},
    )
    return _with_deliveries(connection, rows.all())


def keep_alert(connection: Connection, alert_id: int | None, state: AlertState) -> int:
    """Write an alert's state, as a new one where ``alert_id`` is None; its number."""
    values = {name: getattr(state, name) for name in _COLUMNS} | {"occurrences": list(state.occurrences)}
    if alert_id is None:
        placed = ", ".join(f":{name}" for name in _COLUMNS)
        made: int = connection.execute(
            text(f"INSERT INTO alerts ({', '.join(_COLUMNS)}) VALUES ({placed}) RETURNING alert_id"), values
        ).scalar_one()
        return made
    connection.execute(
        text(f"UPDATE alerts SET {', '.join(f'{name} = :{name}' for name in _COLUMNS)} WHERE alert_id = :alert_id"),
        {**values, "alert_id": alert_id},
    )
    return alert_id


def note_attempt(connection: Connection, alert: StoredAlert, receiver: str, now: datetime, error: str | None) -> None:
    """Note that a receiver was told an alert's newest notice: accepted (``error`` None), or why not."""
    connection.execute(
        text(
            "INSERT INTO alert_deliveries AS d (alert_id, receiver, notice, accepted_at, attempts, last_attempt_at,"
            " last_error) VALUES (:alert_id, :receiver, :notice, :accepted_at, 1, :now, :error)"
            " ON CONFLICT (alert_id, receiver) DO UPDATE SET notice = greatest(d.notice, excluded.notice),"
            " accepted_at = coalesce(excluded.accepted_at, d.accepted_at),"
            # Attempts at one notice: those of a notice that was accepted are over.
            " attempts = CASE WHEN d.last_error IS NULL THEN 1 ELSE d.attempts + 1 END,"
            " last_attempt_at = excluded.last_attempt_at, last_error = excluded.last_error"
        ),
        {
            "alert_id": alert.alert_id,
            "receiver": receiver,
            "notice": 0 if error else alert.state.notice,
            "accepted_at": None if error else now,
            "now": now,
            "error": error,
        },
    )


def note_no_receiver(connection: Connection, now: datetime, error: str) -> int:
    """Note once of every open alert that nobody was set to be told; how many that was."""
    return connection.execute(
        text(
            "INSERT INTO alert_deliveries (alert_id, receiver, notice, attempts, last_attempt_at, last_error)"
            " SELECT alert_id, :none, 0, 0, :now, :error FROM alerts WHERE recovered_at IS NULL"
            " ON CONFLICT (alert_id, receiver) DO NOTHING"
        ),
        {"none": NO_RECEIVER, "now": now, "error": error},
    ).rowcount


def note_told(connection: Connection, alert_ids: Sequence[int], receivers: Sequence[str], now: datetime) -> None:
    """Mark the alerts as told of which every receiver accepted a notice, and as told over where it was the newest."""
    connection.execute(
        text(
            "UPDATE alerts AS a SET notified_at = coalesce(a.notified_at, :now), recovery_notified_at ="
            " CASE WHEN a.recovered_at IS NOT NULL AND known.least >= a.notice"
            " THEN coalesce(a.recovery_notified_at, :now) END"
            " FROM (SELECT d.alert_id, min(d.notice) AS least, count(*) AS told FROM alert_deliveries AS d"
            " WHERE d.alert_id = ANY(:alert_ids) AND d.receiver = ANY(:receivers) AND d.notice > 0"
            " GROUP BY d.alert_id) AS known"
            " WHERE a.alert_id = known.alert_id AND known.told = cardinality(CAST(:receivers AS text[]))"
        ),
        {"alert_ids": list(alert_ids), "receivers": list(receivers), "now": now},
    )


def _with_deliveries(connection: Connection, rows: Sequence[Any]) -> list[StoredAlert]:
    found: dict[int, dict[str, Delivery]] = {row.alert_id: {} for row in rows}
    if not found:
        return []
    deliveries = connection.execute(
        text(
            "SELECT alert_id, receiver, notice, accepted_at, attempts, last_attempt_at, last_error"
            " FROM alert_deliveries WHERE alert_id = ANY(:ids) ORDER BY alert_id, receiver"
        ),
        {"ids": list(found)},
    )
    for alert_id, *values in deliveries:
        found[alert_id][values[0]] = Delivery(*values)
    return [StoredAlert(row.alert_id, _state(row), found[row.alert_id]) for row in rows]


def _state(row: Any) -> AlertState:
    values = {name: getattr(row, name) for name in _COLUMNS}
    return AlertState(**{**values, "fingerprint": bytes(row.fingerprint), "occurrences": tuple(row.occurrences)})
