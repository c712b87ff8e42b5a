"""Alerts as stored: each with its life, and what each receiver knows of it.

In: states that the domain decided, and attempts at telling them. Out: the alerts that are open or not told yet, and the
list for people. Which state follows on which is decided in ``alerts.life``. A receiver is known here by a digest of its
URL; its name (``json``, ``slack-2``) is for people.
"""

from __future__ import annotations

import secrets
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
    ``more_since``. ``notified_at`` is when the first time every receiver had accepted one, None until then. ``quiet``
    is whether nobody is to be told, by its severity.
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
    quiet: bool = False


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a receiver knows of an alert: the newest notice that it accepted, 0 for none, and the attempts since.

    Without attempts it waits: for an answer to a message before, or for the next time that a receiver is tried that
    refused; ``last_error`` says so.
    """

    receiver: str
    digest: bytes | None
    notice: int
    accepted_at: datetime | None
    attempts: int
    last_attempt_at: datetime
    last_error: str | None


@dataclass(frozen=True, slots=True)
class StoredAlert:
    """An alert with its number and its deliveries by the receiver's name."""

    alert_id: int
    state: AlertState
    deliveries: Mapping[str, Delivery]

    def delivery_to(self, digest: bytes) -> Delivery | None:
        """What the receiver of this digest knows of it, None where it was never tried."""
        return next((one for one in self.deliveries.values() if one.digest == digest), None)


@dataclass(frozen=True, slots=True)
class Look:
    """Until when (UTC) the ended runs of a storage of Dagster's runs were looked at."""

    run_storage: str
    until: datetime


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


def untold_alerts(connection: Connection, digest: bytes) -> list[StoredAlert]:
    """The alerts that are to be told of which a receiver does not know the newest notice, oldest first.

    Of an alert that is over it is told only where it was to be told while it was open.
    """
    rows = connection.execute(
        text(
            f"{_SELECT} LEFT JOIN (SELECT alert_id, notice AS known FROM alert_deliveries"
            " WHERE receiver_digest = :digest) AS d USING (alert_id)"
            " WHERE NOT quiet AND coalesce(known, 0) < notice AND (recovered_at IS NULL OR known IS NOT NULL)"
            # Old ones are told already; this keeps the look at them short.
            " AND (recovered_at IS NULL OR recovery_notified_at IS NULL) ORDER BY alert_id"
        ),
        {"digest": digest},
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


def keep_alert(connection: Connection, before: StoredAlert | None, state: AlertState) -> None:
    """Write an alert's state, as a new one where there was none before. What did not change is not written again: the
    occurrences may be many."""
    values = {name: getattr(state, name) for name in _COLUMNS} | {"occurrences": list(state.occurrences)}
    if before is None:
        placed = ", ".join(f":{name}" for name in _COLUMNS)
        connection.execute(text(f"INSERT INTO alerts ({', '.join(_COLUMNS)}) VALUES ({placed})"), values)
        return
    changed = [name for name in _COLUMNS if getattr(state, name) != getattr(before.state, name)]
    if changed:
        connection.execute(
            text(f"UPDATE alerts SET {', '.join(f'{name} = :{name}' for name in changed)} WHERE alert_id = :alert_id"),
            {**{name: values[name] for name in changed}, "alert_id": before.alert_id},
        )


def note_attempt(
    connection: Connection,
    notices: Sequence[tuple[int, int]],
    receiver: str,
    digest: bytes,
    now: datetime,
    error: str | None,
    *,
    attempts: int = 1,
) -> None:
    """Note of each (alert, notice) what became of telling it to a receiver: accepted (``error`` None), or why not.

    ``attempts`` is by how many the attempts at one notice go up: 0 where it was not tried, or the answer to an attempt
    that is counted came late. What is noted of another receiver under the same name is replaced.
    """
    values = [
        {
            "alert_id": alert_id,
            "notice": 0 if error else notice,
            "accepted_at": None if error else now,
            "receiver": receiver,
            "digest": digest,
            "now": now,
            "error": error,
            "attempts": attempts,
        }
        for alert_id, notice in notices
    ]
    for one in values:
        known = connection.execute(
            text(
                "UPDATE alert_deliveries SET notice = greatest(notice, :notice),"
                " accepted_at = coalesce(:accepted_at, accepted_at),"
                # Attempts at one notice: those of a notice that was accepted are over.
                " attempts = CASE WHEN last_error IS NULL THEN :attempts ELSE attempts + :attempts END,"
                " last_attempt_at = CASE WHEN :attempts > 0 THEN :now ELSE last_attempt_at END, last_error = :error"
                " WHERE alert_id = :alert_id AND receiver_digest = :digest"
            ),
            one,
        ).rowcount
        if not known:
            connection.execute(
                text(
                    "INSERT INTO alert_deliveries (alert_id, receiver, receiver_digest, notice, accepted_at, attempts,"
                    " last_attempt_at, last_error) SELECT alert_id, :receiver, :digest, :notice, :accepted_at,"
                    " :attempts, :now, :error FROM alerts WHERE alert_id = :alert_id"
                    " ON CONFLICT (alert_id, receiver) DO UPDATE SET receiver_digest = excluded.receiver_digest,"
                    " notice = excluded.notice, accepted_at = excluded.accepted_at, attempts = excluded.attempts,"
                    " last_attempt_at = excluded.last_attempt_at, last_error = excluded.last_error"
                ),
                one,
            )


def name_receiver(connection: Connection, receiver: str, digest: bytes) -> None:
    """Take what was noted by name only, before digests were kept, as of the receiver that has the name now."""
    connection.execute(
        text(
            "UPDATE alert_deliveries SET receiver_digest = :digest"
            " WHERE receiver_digest IS NULL AND receiver = :receiver"
        ),
        {"receiver": receiver, "digest": digest},
    )


def note_no_receiver(connection: Connection, now: datetime, error: str) -> None:
    """Note once of every open alert that is to be told that nobody was set to be told."""
    connection.execute(
        text(
            "INSERT INTO alert_deliveries (alert_id, receiver, notice, attempts, last_attempt_at, last_error)"
            " SELECT alert_id, :none, 0, 0, :now, :error FROM alerts WHERE recovered_at IS NULL AND NOT quiet"
            " ON CONFLICT (alert_id, receiver) DO NOTHING"
        ),
        {"none": NO_RECEIVER, "now": now, "error": error},
    )


def note_told(connection: Connection, digests: Sequence[bytes], now: datetime) -> None:
    """Mark the alerts as told of which every receiver accepted a notice, and as told over where it was the newest.

    A receiver that is not to be told of one that is over, since it came later, is not waited for.
    """
    connection.execute(
        text(
            "UPDATE alerts AS a SET notified_at = coalesce(a.notified_at, :now), recovery_notified_at ="
            " CASE WHEN a.recovered_at IS NOT NULL AND told.newest THEN coalesce(a.recovery_notified_at, :now) END"
            " FROM (SELECT w.alert_id, bool_and(coalesce(d.notice, 0) > 0 OR w.recovered_at IS NOT NULL"
            "   AND d.alert_id IS NULL) AS every,"
            "  bool_and(coalesce(d.notice, w.notice) >= w.notice) AS newest, bool_or(d.notice > 0) AS any"
            "  FROM alerts AS w CROSS JOIN unnest(CAST(:digests AS bytea[])) AS r (digest)"
            "  LEFT JOIN alert_deliveries AS d ON d.alert_id = w.alert_id AND d.receiver_digest = r.digest"
            "  WHERE NOT w.quiet AND (w.notified_at IS NULL"
            "   OR w.recovered_at IS NOT NULL AND w.recovery_notified_at IS NULL) GROUP BY w.alert_id) AS told"
            " WHERE a.alert_id = told.alert_id AND told.every AND told.any"
        ),
        {"digests": list(digests), "now": now},
    )


def alert_salt(connection: Connection) -> bytes:
    """The salt of receivers' digests, this store's own, made when it is first asked for."""
    connection.execute(
        text("INSERT INTO alert_salt (salt) VALUES (:salt) ON CONFLICT DO NOTHING"), {"salt": secrets.token_bytes(16)}
    )
    return bytes(connection.execute(text("SELECT salt FROM alert_salt")).scalar_one())


def looked_until(connection: Connection, run_storage: str) -> datetime | None:
    """Until when (UTC) the ended runs of a storage were looked at, None where they never were."""
    found: datetime | None = connection.execute(
        text("SELECT looked_until FROM alert_looks WHERE run_storage = :run_storage"), {"run_storage": run_storage}
    ).scalar_one_or_none()
    return found


def note_look(connection: Connection, look: Look) -> None:
    """Keep how far the runs were looked at; it never goes back."""
    connection.execute(
        text(
            "INSERT INTO alert_looks AS l (run_storage, looked_until) VALUES (:run_storage, :until)"
            " ON CONFLICT (run_storage) DO UPDATE SET looked_until = greatest(l.looked_until, excluded.looked_until)"
        ),
        {"run_storage": look.run_storage, "until": look.until},
    )


def old_alerts(connection: Connection, before: datetime) -> tuple[int, int]:
    """How many alerts were over before an instant, and their bytes."""
    rows, size = connection.execute(
        text("SELECT count(*), coalesce(sum(pg_column_size(a.*)), 0) FROM alerts AS a WHERE a.recovered_at < :before"),
        {"before": before},
    ).one()
    return int(rows), int(size)


def delete_alerts(connection: Connection, before: datetime) -> int:
    """Delete what :func:`old_alerts` counts, and what receivers knew of it."""
    return connection.execute(text("DELETE FROM alerts WHERE recovered_at < :before"), {"before": before}).rowcount


def _with_deliveries(connection: Connection, rows: Sequence[Any]) -> list[StoredAlert]:
    found: dict[int, dict[str, Delivery]] = {row.alert_id: {} for row in rows}
    if not found:
        return []
    deliveries = connection.execute(
        text(
            "SELECT alert_id, receiver, receiver_digest, notice, accepted_at, attempts, last_attempt_at, last_error"
            " FROM alert_deliveries WHERE alert_id = ANY(:ids) ORDER BY alert_id, receiver"
        ),
        {"ids": list(found)},
    )
    for alert_id, receiver, digest, *values in deliveries:
        found[alert_id][receiver] = Delivery(receiver, None if digest is None else bytes(digest), *values)
    return [StoredAlert(row.alert_id, _state(row), found[row.alert_id]) for row in rows]


def _state(row: Any) -> AlertState:
    values = {name: getattr(row, name) for name in _COLUMNS}
    return AlertState(**{**values, "fingerprint": bytes(row.fingerprint), "occurrences": tuple(row.occurrences)})
