"""Promises of the place where the PostgreSQL is; the embedded one is started for real, in homes of its own."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from usage_pipeline.errors import InvalidInputError, PermanentError, TransientError
from usage_pipeline.ledger import embedded_keeper, embedded_layout, embedded_postgres, server

# Takes a lease, says so, and keeps it until its input ends.
_USER = (
    "import sys; from pathlib import Path; from usage_pipeline.ledger import embedded_postgres as e; "
    "e.acquire(Path(sys.argv[1]), 'usage_pipeline'); print('in', flush=True); sys.stdin.read()"
)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "home"
    # Root's data are outside the temporary folder.
    _wait(lambda: _erased(tmp_path / "home"), "the server's users to leave")


@pytest.fixture
def users(home: Path) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []

    def start() -> subprocess.Popen[str]:
        user = subprocess.Popen(
            [sys.executable, "-c", _USER, str(home)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        started.append(user)
        return user

    yield start
    for user in started:
        user.kill()
        user.communicate()


def _erased(home: Path) -> bool:
    try:
        embedded_postgres.erase(home)
    except InvalidInputError:
        return False
    return True


def _wait(condition: Callable[[], bool], for_what: str, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s for {for_what}"
        time.sleep(0.02)


def _runs(home: Path) -> bool:
    return embedded_keeper.listens(str(embedded_layout.find(home).socket_path))


def _is_in(user: subprocess.Popen[str]) -> bool:
    assert user.stdout is not None
    return user.stdout.readline() == "in\n"


def _postmaster(home: Path) -> int:
    return int((embedded_layout.find(home).data / "postmaster.pid").read_text().splitlines()[0])


def _acquire(home: Path) -> server.DatabaseServer:
    return server.acquire({"USAGE_HOME": str(home)})


def test_the_embedded_server_starts_with_its_database_in_utc_and_durable(home: Path) -> None:
    with _acquire(home) as embedded:
        engine = server.connect_engine(embedded.url, application_name="a-test")
        with engine.connect() as connection:
            row = connection.execute(
                sa.text(
                    "SELECT current_database(), current_setting('timezone'), current_setting('fsync'), "
                    "current_setting('max_connections')::int >= 100, current_setting('application_name')"
                )
            ).one()
        engine.dispose()
        with psycopg.connect(embedded.psycopg_conninfo) as plain:
            assert plain.info.dbname == "usage_pipeline"
    assert tuple(row) == ("usage_pipeline", "UTC", "on", True, "a-test")


def test_the_last_process_to_leave_stops_the_server_and_no_other(home: Path, users: Callable) -> None:
    first = users()
    assert _is_in(first)
    postmaster = _postmaster(home)
    with _acquire(home) as again, _acquire(home):
        assert _postmaster(home) == postmaster
        first.communicate("")
        time.sleep(0.3)
        assert _runs(home)
        again.close()
        again.close()
        time.sleep(0.1)
        assert _runs(home)
    _wait(lambda: not _runs(home), "the server to stop")


def test_a_killed_process_does_not_keep_the_server_running(home: Path, users: Callable) -> None:
    user = users()
    assert _is_in(user)
    user.kill()
    _wait(lambda: not _runs(home), "the server to stop")


def test_two_processes_that_start_at_once_share_one_server(home: Path, users: Callable) -> None:
    both = [users(), users()]
    assert all(_is_in(user) for user in both)
    assert _runs(home)


def test_rows_outlive_the_server_and_a_pid_file_from_before_a_crash_is_no_obstacle(home: Path) -> None:
    with _acquire(home) as embedded, psycopg.connect(embedded.psycopg_conninfo) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS n")
        connection.commit()
        pid_file = embedded_layout.find(home).data / "postmaster.pid"
        before = pid_file.read_text()
        os.kill(_postmaster(home), signal.SIGKILL)
        _wait(lambda: not _runs(home), "the server to die")
        # What a reboot leads to: the number now belongs to a process that lives and is no server.
        pid_file.write_text(before.replace(before.splitlines()[0], str(os.getppid()), 1))
        pid_file.chmod(0o600)
        with _acquire(home) as restarted, psycopg.connect(restarted.psycopg_conninfo) as again:
            assert again.execute("SELECT n FROM kept").fetchall() == [(7,)]


def test_a_path_longer_than_a_socket_address_works(tmp_path: Path) -> None:
    long = tmp_path / ("long" * 25) / ('it\'s $HOME, "far" ' * 6).strip()
    assert len(str(long)) > 200
    with _acquire(long) as embedded, psycopg.connect(embedded.psycopg_conninfo) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    _wait(lambda: _erased(long), "the server's users to leave")


def test_a_long_path_puts_an_ordinary_users_socket_into_a_private_short_folder(tmp_path: Path) -> None:
    layout = embedded_layout.Layout(tmp_path, tmp_path / ("a" * 100), tmp_path, owner=None)
    try:
        embedded_layout.make_socket_folder(layout)
        assert len(str(layout.socket_path)) <= embedded_layout.SOCKET_PATH_MAX_BYTES
        assert layout.socket_folder.stat().st_mode & 0o077 == 0
        layout.socket_folder.chmod(0o777)
        with pytest.raises(InvalidInputError, match="socket_folder_unsafe"):
            embedded_layout.make_socket_folder(layout)
    finally:
        shutil.rmtree(layout.socket_folder)


def test_no_folder_above_the_data_is_opened_to_others(tmp_path: Path) -> None:
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    with _acquire(private / "home"):
        assert private.stat().st_mode & 0o777 == 0o700
    _wait(lambda: _erased(private / "home"), "the server's users to leave")


def test_a_server_that_cannot_start_names_its_log(home: Path) -> None:
    with _acquire(home):
        layout = embedded_layout.find(home)
    _wait(lambda: not _runs(home), "the server to stop")
    with (layout.data / "postgresql.conf").open("a") as settings:
        settings.write("shared_buffers = 'nonsense'\n")
    with pytest.raises(TransientError) as failure:
        _acquire(home)
    assert failure.value.code == "database_unavailable"
    assert str(layout.log) in str(failure.value)
    assert "\n" not in str(failure.value)


def test_data_in_use_are_not_deleted(home: Path) -> None:
    with _acquire(home), pytest.raises(InvalidInputError, match="database_in_use"):
        embedded_postgres.erase(home)


def test_the_data_folder_is_the_one_asked_for_or_in_the_checkout(tmp_path: Path) -> None:
    assert server.data_home({"USAGE_HOME": str(tmp_path / "x")}) == tmp_path / "x"
    checkout = Path(server.__file__).parents[2]
    assert server.data_home({}) == checkout / ".usage"
    assert server.data_home({"USAGE_HOME": " "}) == checkout / ".usage"


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg2", "postgresql+psycopg"])
def test_a_server_of_ones_own_is_used_with_our_driver(scheme: str) -> None:
    own = server.acquire({"USAGE_DATABASE_URL": f"{scheme}://me:p%40ss@db.example:6432/usage?sslmode=require"})
    assert own.url == "postgresql+psycopg://me:p%40ss@db.example:6432/usage?sslmode=require"
    read = {name: str(value) for name, value in psycopg.conninfo.conninfo_to_dict(own.psycopg_conninfo).items()}
    assert read == {
        "host": "db.example",
        "port": "6432",
        "user": "me",
        "password": "p@ss",
        "dbname": "usage",
        "sslmode": "require",
    }
    assert "p@ss" not in repr(own) + own.shown
    assert "p%40ss" not in repr(own) + own.shown


@pytest.mark.parametrize(
    "malformed",
    [
        "mysql://me:hunter2@host/usage",
        "me:hunter2@host/usage",
        "postgresql://me:hunter2@host:port/usage",
        "postgresql://me:hunter2@host",
        "postgresql://me:hunter2@host/usage?no_such_parameter=hunter2",
    ],
)
def test_a_malformed_address_is_refused_without_repeating_it(malformed: str) -> None:
    with pytest.raises(InvalidInputError) as refusal:
        server.acquire({"USAGE_DATABASE_URL": malformed})
    assert refusal.value.code == "database_url_malformed"
    assert "hunter2" not in str(refusal.value)
    assert "\n" not in str(refusal.value)


@given(st.one_of(st.text(min_size=1), st.text().map("postgresql://{}".format)))
def test_any_text_is_an_address_or_a_named_error(text: str) -> None:
    with contextlib.suppress(InvalidInputError):
        assert server.parse_database_url(text).drivername == "postgresql+psycopg"


def test_a_server_that_is_down_is_one_line_without_the_password() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    engine = server.connect_engine(f"postgresql://me:hunter2@127.0.0.1:{port}/usage")
    with pytest.raises(TransientError) as failure, engine.connect():
        pass
    assert failure.value.code == "database_unavailable"
    assert f"127.0.0.1:{port}" in str(failure.value)
    assert "hunter2" not in str(failure.value)
    assert "\n" not in str(failure.value)
    assert failure.value.__cause__ is None


def test_a_database_that_is_missing_is_not_a_server_that_is_down(database_server: server.DatabaseServer) -> None:
    missing = sa.make_url(database_server.url).set(database="no_such_database").render_as_string(hide_password=False)
    with pytest.raises(PermanentError, match="database_missing"), server.connect_engine(missing).connect():
        pass


def test_a_connection_lost_on_the_way_is_transient_and_the_next_one_works(empty_database: str) -> None:
    engine = server.connect_engine(empty_database)
    with engine.connect() as doomed, engine.connect() as other:
        pid = doomed.execute(sa.text("SELECT pg_backend_pid()")).scalar_one()
        other.execute(sa.text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})
        with pytest.raises(TransientError, match="database_unavailable"):
            doomed.execute(sa.text("SELECT 1"))
    with engine.connect() as fresh:
        assert fresh.execute(sa.text("SELECT 1")).scalar_one() == 1
    engine.dispose()


def test_sessions_are_in_utc_whatever_the_server_says_and_the_addresses_own_options_win(empty_database: str) -> None:
    separator = "&" if "?" in empty_database else "?"
    engine = server.connect_engine(f"{empty_database}{separator}options=-c%20lock_timeout%3D7s", statement_timeout_s=9)
    with engine.connect() as connection:
        name = connection.execute(sa.text("SELECT current_database()")).scalar_one()
        connection.execute(sa.text(f"ALTER DATABASE {name} SET timezone = 'Asia/Tokyo'"))
        connection.commit()
    engine.dispose()
    with engine.connect() as connection:
        found = connection.execute(
            sa.text(
                "SELECT current_setting('timezone'), current_setting('lock_timeout'), "
                "current_setting('statement_timeout')"
            )
        ).one()
    engine.dispose()
    assert tuple(found) == ("UTC", "7s", "9s")


def test_an_error_does_not_print_bound_parameters(empty_database: str) -> None:
    engine = server.connect_engine(empty_database)
    with engine.connect() as connection, pytest.raises(sa.exc.ProgrammingError) as failure:
        connection.execute(sa.text("SELECT :given FROM no_such_table"), {"given": "hunter2"})
    engine.dispose()
    assert "hunter2" not in str(failure.value)


@pytest.mark.parametrize("version", [90624, 140012])
def test_a_server_older_than_15_is_refused(version: int) -> None:
    with pytest.raises(PermanentError, match="database_too_old"):
        server.require_supported(version, where="a test")


@pytest.mark.parametrize("version", [150000, 180004, 200001])
def test_a_server_from_15_on_is_accepted(version: int) -> None:
    server.require_supported(version, where="a test")
