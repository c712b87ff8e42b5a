"""One sync: read, account, send.

Belongs here: the order of the steps and what survives a failure. In: the configuration, the time. Out: what was done.
The ledger is brought up to date before anything is sent, so a failed delivery costs nothing but time: the next sync
sends the same days again. Two syncs of a profile never run at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .accounting import Absorbed, absorb
from .config import Config
from .delivery import Delivered, UndeliveredError, Waiting, deliver
from .errors import Exit, PluginError
from .ledger import Ledger, open_ledger
from .payload import Json, Report, due_reports, encode_json, payload_of, target_of
from .state_db import read_snapshot


@dataclass(frozen=True, slots=True)
class Sent:
    """One report: its payload and, unless it was a dry run, what became of it."""

    report: Report
    payload: dict[str, Json]
    delivered: Delivered | None


@dataclass(frozen=True, slots=True)
class SyncResult:
    """What a sync did. ``read`` is None where the plugin is switched off: then nothing was looked at."""

    dry_run: bool
    generation: str | None
    read: Absorbed | None
    sent: tuple[Sent, ...]


def sync(config: Config, waiting: Waiting, *, dry_run: bool = False, full: bool = False) -> SyncResult:
    """Report the usage of this profile. A dry run sends nothing and writes nothing.

    Raises PluginError; its ``status`` is the exit status.
    """
    if config.disabled:
        return SyncResult(dry_run, None, None, ())
    if dry_run:
        with open_ledger(config.ledger_path, in_memory=True) as ledger:
            return _sync(config, ledger, waiting, dry_run=True, full=full)
    config.require_delivery()
    with only_one(config.data_folder / "sync.lock"), open_ledger(config.ledger_path) as ledger:
        return _sync(config, ledger, waiting, dry_run=False, full=full)


def _sync(config: Config, ledger: Ledger, waiting: Waiting, *, dry_run: bool, full: bool) -> SyncResult:
    now_s = waiting.now_s()
    snapshot = read_snapshot(config.db_path, config.timeout_s)
    read = absorb(snapshot, ledger, now_s)
    if not dry_run:
        _respect_wait(ledger, now_s)
    sent = []
    for report in due_reports(ledger, config, now_s, full=full):
        payload = payload_of(report, config, ledger.next_revision(now_s), now_s)
        delivered = None if dry_run else _deliver(report, encode_json(payload), config, ledger, waiting, now_s)
        sent.append(Sent(report, payload, delivered))
    if not dry_run:
        with ledger.transaction():
            ledger.set_meta("last_success_s", repr(now_s))
            ledger.set_meta("last_problem", "")
    return SyncResult(dry_run, snapshot.generation, read, tuple(sent))


def _deliver(report: Report, body: bytes, config: Config, ledger: Ledger, waiting: Waiting, now_s: float) -> Delivered:
    try:
        delivered = deliver(body, config, waiting)
    except PluginError as error:
        with ledger.transaction():
            ledger.set_meta("last_problem", str(error))
            if isinstance(error, UndeliveredError) and error.retry_after_s:
                ledger.set_meta("not_before_s", repr(waiting.now_s() + error.retry_after_s))
        raise
    ledger.put_acknowledged(target_of(config), report.digests, now_s)
    return delivered


def _respect_wait(ledger: Ledger, now_s: float) -> None:
    """Leave a server alone for as long as it asked, a day at most."""
    remaining_s = float(ledger.meta("not_before_s") or 0) - now_s
    if 0 < remaining_s <= 86_400:
        raise UndeliveredError(f"the server asked to be left alone for {remaining_s:.0f} s more", None)


@contextmanager
def only_one(path: Path) -> Iterator[None]:
    """Hold the lock file; the system frees it when the process ends, however it ends.

    Raises PluginError ``sync_running`` (exit status 6), ``data_folder_unwritable`` (2).
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    except OSError:
        raise PluginError(
            "data_folder_unwritable", f"{path.parent} cannot be written", "Check its permissions.", Exit.CONFIGURATION
        ) from None
    try:
        _lock(descriptor)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> None:
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise PluginError(
            "sync_running", "another sync of this profile is running", "It does the work; nothing to do.", Exit.BUSY
        ) from None
