"""Which backfills were begun, and which of their runs are over: what one that was stopped goes on from.

In: a range of days and keys, then each run's end in a transaction of its own. Out: the backfills that are not finished,
and their steps that are done. A process holds the backfill that it is at, so that no second one goes on with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final, Literal

from sqlalchemy import Connection, Engine, text

RECONCILING: Final = ""
"""The name of the step that takes days from the newest words to reconciled usage; every other is a key's slug."""

_HELD: Final = 0x62666C6C  # "bfll": the class of the advisory locks of backfills

StepState = Literal["done", "failed"]


@dataclass(frozen=True, slots=True)
class Backfill:
    """A backfill that is not finished: its half-open range of UTC days, and the slugs of its keys in their order.

    ``steps_done`` are its runs that went through.
    """

    backfill_id: int
    first_day: date
    end_day: date
    key_slugs: tuple[str, ...]
    started_at: datetime
    steps_done: int = 0

    def same_work(self, other: Backfill) -> bool:
        """Whether both have the same days and keys."""
        return self._work() == other._work()

    def _work(self) -> tuple[date, date, frozenset[str]]:
        return self.first_day, self.end_day, frozenset(self.key_slugs)


@dataclass(frozen=True, slots=True)
class BackfillStep:
    """One run of a backfill: a key's pull of the half-open range of UTC days, or (:data:`RECONCILING`) the rest."""

    step: str
    first_day: date
    end_day: date


def start_backfill(
    connection: Connection, first_day: date, end_day: date, key_slugs: Sequence[str], now: datetime
) -> Backfill:
    """Note that a backfill of the half-open range begins."""
    backfill_id: int = connection.execute(
        text(
            "INSERT INTO backfills (first_day, end_day, key_slugs, started_at)"
            " VALUES (:first_day, :end_day, :key_slugs, :now) RETURNING backfill_id"
        ),
        {"first_day": first_day, "end_day": end_day, "key_slugs": list(key_slugs), "now": now},
    ).scalar_one()
    return Backfill(backfill_id, first_day, end_day, tuple(key_slugs), now)


def record_step(
    connection: Connection, backfill_id: int, step: BackfillStep, state: StepState, run_id: str, now: datetime
) -> None:
    """Note that a run is over. After a pull, also after one that failed, its days are to be reconciled anew."""
    days = {"backfill_id": backfill_id, "first_day": step.first_day, "end_day": step.end_day}
    connection.execute(
        text(
            "INSERT INTO backfill_steps (backfill_id, step, first_day, end_day, state, run_id, finished_at)"
            " VALUES (:backfill_id, :step, :first_day, :end_day, :state, :run_id, :now)"
            " ON CONFLICT (backfill_id, step, first_day, end_day) DO UPDATE SET"
            " state = excluded.state, run_id = excluded.run_id, finished_at = excluded.finished_at"
        ),
        {**days, "step": step.step, "state": state, "run_id": run_id, "now": now},
    )
    if step.step != RECONCILING:
        connection.execute(
            text(
                "DELETE FROM backfill_steps WHERE backfill_id = :backfill_id AND step = :reconciling"
                " AND first_day < :end_day AND end_day > :first_day"
            ),
            {**days, "reconciling": RECONCILING},
        )


def finish_backfill(connection: Connection, backfill: Backfill, now: datetime) -> None:
    """Note that nothing of the backfill is left to do, nor of earlier attempts at the same days and keys."""
    connection.execute(
        text(
            "UPDATE backfills SET finished_at = :now WHERE finished_at IS NULL AND (backfill_id = :backfill_id OR"
            " (first_day = :first_day AND end_day = :end_day"
            " AND key_slugs @> CAST(:key_slugs AS text[]) AND key_slugs <@ CAST(:key_slugs AS text[])))"
        ),
        {
            "now": now,
            "backfill_id": backfill.backfill_id,
            "first_day": backfill.first_day,
            "end_day": backfill.end_day,
            "key_slugs": list(backfill.key_slugs),
        },
    )


def unfinished_backfills(connection: Connection) -> list[Backfill]:
    """The backfills with something left to do, the newest first.

    Of several attempts at the same days and keys, those that got anywhere stand before those that did not: an attempt
    that was stopped at once does not hide an earlier one.
    """
    rows = connection.execute(
        text(
            "SELECT backfill_id, first_day, end_day, key_slugs, started_at, (SELECT count(*) FROM backfill_steps s"
            " WHERE s.backfill_id = b.backfill_id AND s.state = 'done') AS steps_done"
            " FROM backfills b WHERE finished_at IS NULL ORDER BY backfill_id DESC"
        )
    )
    attempts: list[list[Backfill]] = []
    for row in rows:
        one = Backfill(
            row.backfill_id, row.first_day, row.end_day, tuple(row.key_slugs), row.started_at, row.steps_done
        )
        same = next((group for group in attempts if group[0].same_work(one)), None)
        if same is None:
            attempts.append([one])
        else:
            same.append(one)
    return [one for group in attempts for one in sorted(group, key=lambda one: one.steps_done == 0)]


def done_steps(connection: Connection, backfill_id: int) -> frozenset[BackfillStep]:
    """The runs of a backfill that went through."""
    rows = connection.execute(
        text("SELECT step, first_day, end_day FROM backfill_steps WHERE backfill_id = :backfill_id AND state = 'done'"),
        {"backfill_id": backfill_id},
    )
    return frozenset(BackfillStep(row.step, row.first_day, row.end_day) for row in rows)


@contextmanager
def held(engine: Engine, backfill_id: int) -> Iterator[bool]:
    """Hold a backfill for as long as the block lasts; False where another process is at it.

    The hold is the connection's, so that it goes with a process that is killed.
    """
    connection = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
    try:
        yield bool(
            connection.execute(
                text("SELECT pg_try_advisory_lock(:held, :backfill_id)"), {"held": _HELD, "backfill_id": backfill_id}
            ).scalar_one()
        )
    finally:
        connection.invalidate()  # not back into the pool, where the lock would outlive the block
        connection.close()
