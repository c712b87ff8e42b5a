"""Where the PostgreSQL is, and how to open an engine on it.

Here: the data folder, the choice between a server of one's own (``USAGE_DATABASE_URL``) and the embedded default, and
the engine every part of the ledger uses. Not here: starting and stopping the embedded server
(:mod:`usage_pipeline.ledger.embedded_postgres`) and the schema (the ledger's migrations).

In: the environment, as a mapping. Out: a :class:`DatabaseServer` with its addresses, a SQLAlchemy engine.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import psycopg
import sqlalchemy as sa
from psycopg import conninfo
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.engine import URL, ExceptionContext, make_url
from sqlalchemy.exc import ArgumentError

from usage_pipeline.errors import InvalidInputError, PermanentError, TransientError, UsagePipelineError
from usage_pipeline.ledger import embedded_layout, embedded_postgres

DATABASE_NAME = "usage_pipeline"
DRIVER = "postgresql+psycopg"
OLDEST_SERVER_VERSION = 15
CONNECT_TIMEOUT_S = 10

_ACCEPTED_SCHEMES = frozenset({"postgres", "postgresql", "postgresql+psycopg2", DRIVER})
# libpq reports a refused start-up in text only, without a SQLSTATE; a server that speaks another language falls through
# to database_unavailable, which is still true.
_LOGIN_REFUSED = re.compile(
    r"password authentication failed|no password supplied|role \".*\" does not exist|no pg_hba\.conf entry"
)
_DATABASE_MISSING = re.compile(r"database \".*\" does not exist")


@dataclass(frozen=True, slots=True)
class DatabaseServer:
    """A PostgreSQL in use by this process: hold it as long as connections are open, then :meth:`close` it.

    ``url`` is for SQLAlchemy (``postgresql+psycopg://``), ``psycopg_conninfo`` for psycopg and libpq. Both may hold a
    password: print :attr:`shown` instead. ``log`` is the embedded server's log file, None for a server of one's own.
    """

    url: str = field(repr=False)
    psycopg_conninfo: str = field(repr=False)
    embedded: bool
    log: Path | None = None
    _lease: embedded_postgres.Lease | None = field(default=None, repr=False, compare=False)

    @property
    def shown(self) -> str:
        """The address for people, without the password."""
        return make_url(self.url).render_as_string(hide_password=True)

    def close(self) -> None:
        """Leaves the server; the embedded one stops when its last process has left. Calling it twice is harmless."""
        if self._lease is not None:
            self._lease.release()

    def __enter__(self) -> DatabaseServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def data_home(environ: Mapping[str, str]) -> Path:
    """The data folder, absolute and not created: ``USAGE_HOME``, else ``.usage`` in the checkout, else in the cwd.

    The checkout is the folder above this package when that folder holds a ``pyproject.toml``.
    """
    if chosen := environ.get("USAGE_HOME", "").strip():
        return Path(chosen).expanduser().resolve()
    above_package = Path(__file__).resolve().parents[2]
    checkout = above_package if (above_package / "pyproject.toml").is_file() else Path.cwd()
    return checkout / ".usage"


def acquire(environ: Mapping[str, str]) -> DatabaseServer:
    """The server to use: ``USAGE_DATABASE_URL`` when set (not contacted here), else the embedded one, started if down.

    The embedded server is shared by every process with the same data folder and has a database ``usage_pipeline``.
    Raises InvalidInputError ``database_url_malformed`` and what :func:`embedded_postgres.acquire` raises.
    """
    if given := environ.get("USAGE_DATABASE_URL", "").strip():
        url = parse_database_url(given)
        return DatabaseServer(_plain(url), _conninfo(url), embedded=False)
    home = data_home(environ)
    lease = embedded_postgres.acquire(home, DATABASE_NAME)
    url = URL.create(
        DRIVER,
        username=embedded_postgres.SUPERUSER,
        database=DATABASE_NAME,
        query={"host": str(lease.socket_folder), "port": str(embedded_layout.PORT)},
    )
    return DatabaseServer(_plain(url), _conninfo(url), embedded=True, log=lease.log, _lease=lease)


def parse_database_url(given: str) -> URL:
    """``given`` with our driver in it; it must name a database.

    Accepts ``postgres://``, ``postgresql://``, ``postgresql+psycopg2://`` and ``postgresql+psycopg://``. Raises
    InvalidInputError ``database_url_malformed``, which never repeats the URL.
    """
    scheme, separator, _ = given.partition("://")
    if not separator or scheme not in _ACCEPTED_SCHEMES:
        raise _malformed("it does not start with postgresql://")
    try:
        url = make_url(given).set(drivername=DRIVER)
        _conninfo(url)
    except (ArgumentError, ValueError, TypeError, psycopg.ProgrammingError):
        raise _malformed("it cannot be read as an address, or has a parameter that PostgreSQL does not know") from None
    if not url.database:
        raise _malformed("it names no database")
    return url


def connect_engine(
    url: str,
    *,
    application_name: str = "usage-pipeline",
    statement_timeout_s: int = 1800,
    lock_timeout_s: int = 300,
) -> sa.Engine:
    """An engine on ``url`` (psycopg 3) whose sessions are in UTC; nothing is contacted before the first connection.

    A statement runs at most ``statement_timeout_s`` seconds and waits for a lock at most ``lock_timeout_s`` seconds;
    a transaction left idle for as long as a statement may run is ended, so that a hung process frees its locks.

    Connecting raises TransientError ``database_unavailable``, PermanentError ``database_login_refused``,
    ``database_missing`` or ``database_too_old``; a connection lost on the way raises ``database_unavailable``. Bound
    parameters are kept out of SQLAlchemy's own errors, since they may hold what must not be printed.
    """
    address = parse_database_url(url)
    settings = {
        "timezone": "UTC",
        "statement_timeout": f"{statement_timeout_s}s",
        "lock_timeout": f"{lock_timeout_s}s",
        "idle_in_transaction_session_timeout": f"{statement_timeout_s}s",
    }
    asked = address.query.get("options", "")
    ours = " ".join(f"-c {name}={value}" for name, value in settings.items())
    # The address's own options come last: what an operator wrote there wins.
    options = f"{ours} {asked if isinstance(asked, str) else ' '.join(asked)}".strip()
    engine = sa.create_engine(
        address,
        pool_pre_ping=True,
        pool_recycle=1800,
        hide_parameters=True,
        connect_args={"application_name": application_name, "connect_timeout": CONNECT_TIMEOUT_S, "options": options},
    )
    place = _place(address)

    @sa.event.listens_for(engine, "do_connect")
    def _connect(
        _dialect: object, _record: object, arguments: list[object], parameters: dict[str, object]
    ) -> psycopg.Connection:
        return _open(place, address.password, arguments, parameters)

    @sa.event.listens_for(engine, "handle_error")
    def _lost(context: ExceptionContext) -> None:
        if context.is_disconnect and not context.is_pre_ping:
            raise _unavailable(place, "the connection was lost") from None

    return engine


def require_supported(server_version: int, *, where: str) -> None:
    """Refuses a server older than PostgreSQL 15; ``server_version`` as libpq tells it, 150004 for 15.4.

    Raises PermanentError ``database_too_old``.
    """
    if server_version // 10000 < OLDEST_SERVER_VERSION:
        raise PermanentError(
            "database_too_old",
            f"this server is PostgreSQL {server_version // 10000}, the ledger needs {OLDEST_SERVER_VERSION} or newer",
            where=where,
            remedy="Upgrade the server, or unset USAGE_DATABASE_URL to use the embedded one.",
        )


def _open(
    place: str, password: str | None, arguments: list[object], parameters: dict[str, object]
) -> psycopg.Connection:
    try:
        connection: psycopg.Connection = psycopg.connect(*arguments, **parameters)  # type: ignore[arg-type]
    except psycopg.OperationalError as error:
        raise _refusal(place, str(error), password) from None
    try:
        require_supported(connection.info.server_version, where=place)
    except PermanentError:
        connection.close()
        raise
    return connection


def _refusal(place: str, reason: str, password: str | None) -> UsagePipelineError:
    """What libpq said while connecting, as our error; its first line names host and cause, never the password."""
    reason = reason.strip().splitlines()[0] if reason.strip() else "no answer"
    if password:
        reason = reason.replace(password, "***")
    if _LOGIN_REFUSED.search(reason):
        return PermanentError(
            "database_login_refused",
            "the server refused the user or password",
            where=place,
            remedy="Correct USAGE_DATABASE_URL.",
        )
    if _DATABASE_MISSING.search(reason):
        return PermanentError(
            "database_missing",
            "the server has no such database",
            where=place,
            remedy="Create it with createdb, or correct USAGE_DATABASE_URL.",
        )
    return _unavailable(place, f"no connection: {reason}")


def _unavailable(place: str, what: str) -> TransientError:
    return TransientError(
        "database_unavailable", what, where=place, remedy="Check that the server runs and can be reached."
    )


def _malformed(what: str) -> InvalidInputError:
    return InvalidInputError(
        "database_url_malformed",
        what,
        where="USAGE_DATABASE_URL",
        remedy="Write postgresql://user:password@host:5432/database, with special characters percent-encoded.",
    )


def _place(url: URL) -> str:
    host = url.host or url.query.get("host") or "the local socket"
    port = f":{url.port}" if url.port else ""
    return f"database {url.database} at {host if isinstance(host, str) else ', '.join(host)}{port}"


def _plain(url: URL) -> str:
    return url.render_as_string(hide_password=False)


def _conninfo(url: URL) -> str:
    _, parameters = PGDialect_psycopg().create_connect_args(url)  # type: ignore[no-untyped-call]
    return conninfo.make_conninfo(**parameters)
