"""The small process that stops the embedded PostgreSQL when nobody uses it any more.

Here: waiting for the last user and stopping the server. Not here: starting it
(:mod:`usage_pipeline.ledger.embedded_postgres`, which starts this file as a script of its own).

Why a process: a user that is killed with SIGKILL cannot say goodbye, but the kernel drops its lock. Users hold a shared
lock on ``users``; this process waits for the exclusive one. It needs the standard library only, so that it stays small,
and holds the lock on ``keeper``, which it inherits, for as long as it lives.

In: its arguments, in the order of :class:`Charge`. Out: a stopped server, exit code 0.
"""

from __future__ import annotations

import dataclasses
import fcntl
import os
import socket
import subprocess
import sys

STOP_TIMEOUT_S = 60


@dataclasses.dataclass(frozen=True)
class Charge:
    """What the keeper looks after. ``uid`` and ``gid``: who runs the server, -1 for the keeper's own user."""

    users_lock: str
    control_lock: str
    socket_path: str
    pg_ctl: str
    data: str
    uid: int
    gid: int


def keep(charge: Charge) -> None:
    """Waits until no process holds ``users``, then stops the server while holding ``control``."""
    users = os.open(charge.users_lock, os.O_RDWR)
    control = os.open(charge.control_lock, os.O_RDWR)
    while True:
        fcntl.flock(users, fcntl.LOCK_EX)
        # Given back before taking control: whoever starts a server takes control first and users second.
        fcntl.flock(users, fcntl.LOCK_UN)
        fcntl.flock(control, fcntl.LOCK_EX)
        try:
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            fcntl.flock(control, fcntl.LOCK_UN)
            continue
        stop_server(charge)
        return


def stop_server(charge: Charge) -> None:
    """Stops the server if one answers on its socket; ends open sessions, commits nothing half, at most 60 s."""
    if not listens(charge.socket_path):
        # Nothing to stop, and the pid in a stale postmaster.pid may be somebody else's by now.
        return
    owner = {} if charge.uid < 0 else {"user": charge.uid, "group": charge.gid, "extra_groups": []}
    subprocess.run(  # noqa: S603 - the program is the packaged pg_ctl
        [charge.pg_ctl, "stop", "-D", charge.data, "-m", "fast", "-w", "-t", str(STOP_TIMEOUT_S)],
        check=False,
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        **owner,  # type: ignore[call-overload]
    )


def listens(socket_path: str) -> bool:
    """Whether a process accepts connections on the Unix socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(socket_path)
        except OSError:
            return False
    return True


def main(arguments: list[str]) -> None:
    """Leaves the starter's session and process group, so that its Ctrl-C stays with it, then keeps."""
    users_lock, control_lock, socket_path, pg_ctl, data, uid, gid = arguments
    charge = Charge(users_lock, control_lock, socket_path, pg_ctl, data, int(uid), int(gid))
    if os.fork() > 0:
        os._exit(0)
    os.setsid()
    keep(charge)


if __name__ == "__main__":
    main(sys.argv[1:])
