"""The project's processes as an operator runs them: each in a group of its own, its output in a file, none left."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import usage_pipeline

CHECKOUT = Path(usage_pipeline.__file__).parents[1]
PROGRAMS = Path(sys.executable).parent
Found = TypeVar("Found")

_LOG_SHOWN = 6_000
_END_SECONDS = 10.0


class Processes:
    """Processes with one environment; make them with :func:`processes`."""

    def __init__(self, environ: Mapping[str, str], logs: Path) -> None:
        self.environ, self._logs = dict(environ), logs
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, *words: str) -> None:
        """Start a program of the virtual environment; its output goes to a file of that name."""
        with self._log(name).open("wb") as log:
            self._running[name] = subprocess.Popen(
                [str(PROGRAMS / words[0]), *words[1:]],
                cwd=CHECKOUT,
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def command(self, *words: str, given: str = "") -> str:
        """Run ``usage-pipeline`` to its end, with a text on its standard input; what it printed."""
        done = subprocess.run(
            [str(PROGRAMS / "usage-pipeline"), *words],
            cwd=CHECKOUT,
            env=self.environ,
            input=given,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def output(self, name: str) -> str:
        """What a process has written so far."""
        return self._log(name).read_text(errors="replace")

    def eventually(self, what: str, look: Callable[[], Found | None], seconds: float = 90) -> Found:
        """Look until there is something, while every process lives; AssertionError naming ``what`` if nothing comes."""
        deadline = time.monotonic() + seconds
        while True:
            if found := look():
                return found
            for name, process in self._running.items():
                assert process.poll() is None, f"{name} ended with {process.returncode} before {what}"
            assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
            time.sleep(0.25)

    def end(self) -> None:
        """End all groups, the orderly way first."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            for process in self._running.values():
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, number)
            deadline = time.monotonic() + _END_SECONDS
            while self._left() and time.monotonic() < deadline:
                time.sleep(0.05)
        self._running.clear()

    def show(self) -> None:
        """Print the end of every process' output, for a test that failed."""
        for name in self._running:
            print(f"--- {name} ---\n{self.output(name)[-_LOG_SHOWN:]}")  # noqa: T201

    def _left(self) -> bool:
        """Whether any process of any group lives still."""
        left = False
        for process in self._running.values():
            process.poll()  # takes note of its end, else it would stay in the group
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, 0)
                left = True
        return left

    def _log(self, name: str) -> Path:
        return self._logs / f"{name}.log"


@contextmanager
def processes(environ: Mapping[str, str], logs: Path) -> Iterator[Processes]:
    """Processes for as long as the block lasts. Their output is printed if it fails."""
    logs.mkdir(parents=True, exist_ok=True)
    running = Processes(environ, logs)
    try:
        yield running
    except BaseException:
        running.show()
        raise
    finally:
        running.end()


def free_port() -> int:
    """A port of loopback that nobody listened on just now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
