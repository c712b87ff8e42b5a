"""PostgreSQL's ``pg_dump`` and ``pg_restore``: where they are, which fits a server, and how they are run.

In: a connection's parameters. Out: a running program's stream, or one line that says why it failed. The password goes
to the program in its environment, never on its command line, and is taken out of what it says.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Final

from psycopg import conninfo, pq

from usage_pipeline.errors import PermanentError
from usage_pipeline.ledger.embedded_layout import packaged_programs

SAME_MAJOR_BELOW: Final = 17
"""What programs of 17 and newer write sets a parameter that older servers do not have: these need their own."""

_VERSION: Final = re.compile(r"\(PostgreSQL\) (\d+)")
_VERSION_SECONDS_MAX: Final = 30
_LINES_SHOWN_MAX: Final = 3


@dataclass(frozen=True, slots=True)
class Program:
    """A program and the major version of PostgreSQL that it is of."""

    path: Path
    major: int


def find_program(name: str, server_major: int, *, at_least: int = 0) -> Program:
    """The program that fits the server best: its own version, else the next newer one.

    Looked for beside the packaged server and on PATH. ``at_least`` is the oldest version that reads a backup.
    Raises :class:`PermanentError` ``backup_tools_missing``.
    """
    found = [program for program in _candidates(name) if program.major >= max(server_major, at_least)]
    fitting = [one for one in found if one.major == server_major or server_major >= SAME_MAJOR_BELOW]
    if not fitting:
        wanted = f"{max(server_major, at_least)}" if server_major < SAME_MAJOR_BELOW else f"{server_major} or newer"
        raise PermanentError(
            "backup_tools_missing",
            f"there is no {name} that fits this server, which is PostgreSQL {server_major}",
            where="PATH",
            remedy=f"Install the client programs of PostgreSQL {wanted} (such as postgresql-client-{server_major}), and"
            " put their folder first on PATH.",
        )
    return min(fitting, key=lambda program: program.major)


def _candidates(name: str) -> Iterator[Program]:
    places: list[Path] = []
    with suppress(PermanentError):
        places.append(packaged_programs() / name)
    if on_path := shutil.which(name):
        places.append(Path(on_path))
    for place in places:
        if (major := _major(place)) is not None:
            yield Program(place, major)


def _major(place: Path) -> int | None:
    try:
        told = subprocess.run(  # noqa: S603 - a program of PostgreSQL with a fixed argument
            [str(place), "--version"], check=False, capture_output=True, text=True, timeout=_VERSION_SECONDS_MAX
        )
    except (OSError, subprocess.SubprocessError):
        return None
    found = _VERSION.search(told.stdout)
    return int(found[1]) if found else None


@contextmanager
def running(program: Program, arguments: Sequence[str], database: str, *, reads: bool) -> Iterator[IO[bytes]]:
    """The program's standard output, or its standard input where it ``reads``, for as long as the block lasts.

    ``database`` is libpq's connection string. Raises :class:`PermanentError` ``backup_tool_failed`` with what the
    program said, after the block ended; a block that fails ends the program.
    """
    variables, rest = _as_variables(database)
    with TemporaryFile() as said:
        started = subprocess.Popen(  # noqa: S603 - a program of PostgreSQL, no shell
            [str(program.path), "--no-password", "--dbname", rest, *arguments],
            stdin=subprocess.PIPE if reads else subprocess.DEVNULL,
            stdout=subprocess.DEVNULL if reads else subprocess.PIPE,
            stderr=said,
            env={**os.environ, **variables, "LC_ALL": "C"},
        )
        stream = started.stdin if reads else started.stdout
        assert stream is not None
        try:
            # A program that ends early says why; the broken pipe does not.
            with suppress(BrokenPipeError):
                yield stream
            with suppress(BrokenPipeError):
                stream.close()
            code = started.wait()
        finally:
            if started.poll() is None:
                started.kill()
                started.wait()
        if code != 0:
            said.seek(0)
            raise _failed(program, said.read().decode(errors="replace"), variables.get("PGPASSWORD", ""))


def _as_variables(database: str) -> tuple[dict[str, str], str]:
    """The connection's parameters as libpq's variables, and those that have none as a connection string."""
    names = {one.keyword.decode(): one.envvar.decode() for one in pq.Conninfo.get_defaults() if one.envvar}
    given = {name: str(value) for name, value in conninfo.conninfo_to_dict(database).items() if value is not None}
    # The programs name themselves.
    given.pop("application_name", None)
    variables = {names[name]: value for name, value in given.items() if name in names and name != "dbname"}
    rest = {name: value for name, value in given.items() if names.get(name) not in variables}
    return variables, conninfo.make_conninfo(**rest)


def _failed(program: Program, said: str, password: str) -> PermanentError:
    lines = [line.strip() for line in said.splitlines() if line.strip()][:_LINES_SHOWN_MAX]
    words = "; ".join(lines) or "it said nothing"
    if password:
        words = words.replace(password, "***")
    return PermanentError(
        "backup_tool_failed",
        f"{program.path.name} of PostgreSQL {program.major} failed: {words}",
        where="database",
        remedy="Mend what it names; nothing was published.",
    )
