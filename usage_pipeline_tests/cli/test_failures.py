"""Every failure is one line with a code: usage, a database that is down or old, and what nobody foresaw."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from usage_pipeline.cli.app import INTERRUPTED, app
from usage_pipeline.cli.failures import describe
from usage_pipeline.ledger import server
from usage_pipeline_tests.cli.conftest import CommandLine

READERS = [("workspace", "list"), ("keys", "list"), ("report", "--from", "2026-10-01", "--to", "2026-10-31")]
WRITERS = [
    ("workspace", "add", "acme"),
    ("backfill", "--from", "2026-10-01", "--to", "2026-10-31"),
    ("keys", "disable", "acme.openai.main"),
]


def run(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("USAGE_")}
    return subprocess.run(
        [sys.executable, "-m", "usage_pipeline.cli", *arguments],
        env={**kept, **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.parametrize(
    "words",
    [
        ("--unknown",),
        ("unknown",),
        ("keys",),
        ("keys", "unknown"),
        ("keys", "list", "--unknown"),
        ("workspace", "add"),
        ("workspace", "add", "acme", "globex"),
        ("report", "--from"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_exit_code_2(command: CommandLine, words: tuple[str, ...]) -> None:
    assert "--help" in command.refused("usage", *words)


def test_no_command_at_all_prints_the_help(command: CommandLine) -> None:
    assert "Commands:" in command.done().out


@pytest.mark.parametrize("words", READERS + WRITERS)
def test_a_database_that_is_down_is_one_line_and_exit_code_1(command: CommandLine, words: tuple[str, ...]) -> None:
    command.environ["USAGE_DATABASE_URL"] = "postgresql://usage:hunter2@127.0.0.1:1/usage"
    assert "hunter2" not in command.refused("database_unavailable", *words, exit_code=1)


def test_a_malformed_database_url_is_refused_without_being_shown(command: CommandLine) -> None:
    command.environ["USAGE_DATABASE_URL"] = "mysql://usage:hunter2@127.0.0.1/usage"
    assert "hunter2" not in command.refused("database_url_malformed", "workspace", "list")


@pytest.mark.parametrize("words", READERS + WRITERS)
def test_a_database_with_an_older_schema_is_refused_and_left_as_it_is(
    command: CommandLine, empty_database: str, words: tuple[str, ...]
) -> None:
    command.environ["USAGE_DATABASE_URL"] = empty_database
    assert "usage-pipeline db upgrade" in command.refused("schema_outdated", *words, exit_code=1)
    engine = server.connect_engine(empty_database)
    assert sa.inspect(engine).get_table_names() == []
    engine.dispose()


def test_a_database_with_a_newer_schema_is_refused(command: CommandLine, engine: sa.Engine) -> None:
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    command.refused("schema_outdated", "workspace", "add", "acme", exit_code=1)
    command.refused("revision_unknown", "db", "upgrade")


def test_an_unexpected_failure_shows_its_type_alone() -> None:
    failure = describe(RuntimeError("sk-admin-secret"), {})
    assert failure.exit_code == 1
    assert failure.line.startswith("error: [internal_error] ")
    assert "RuntimeError" in failure.line
    assert "USAGE_DEBUG=1" in failure.line
    assert "sk-admin-secret" not in failure.line
    assert failure.traceback == ""


def test_a_person_who_asks_gets_the_traceback() -> None:
    try:
        raise RuntimeError("deep")
    except RuntimeError as error:
        failure = describe(error, {"USAGE_DEBUG": "1"})
    assert "Traceback" in failure.traceback


def test_a_statement_that_is_cut_off_is_one_line(migrated_database: str) -> None:
    engine = server.connect_engine(migrated_database)
    with engine.connect() as connection:
        connection.execute(sa.text("SET statement_timeout = 1"))
        with pytest.raises(sa.exc.OperationalError) as caught:
            connection.execute(sa.text("SELECT pg_sleep(5)"))
    engine.dispose()
    failure = describe(caught.value, {})
    assert failure.line.startswith("error: [database_failed] database: ")
    assert "\n" not in failure.line


def test_the_command_runs_on_the_embedded_database_without_any_setting_up(tmp_path: Path) -> None:
    # The short way of a fresh machine: no URL, no schema, no key file.
    home = str(tmp_path / "home")
    assert "No workspace" in run("workspace", "list", USAGE_HOME=home).stdout
    added = run("workspace", "add", "acme", USAGE_HOME=home)
    assert (added.returncode, added.stderr) == (0, "")
    listed = run("workspace", "list", USAGE_HOME=home)
    assert "acme" in listed.stdout
    refused = run("workspace", "add", "acme", USAGE_HOME=home)
    assert refused.returncode == 2
    assert refused.stderr.startswith("error: [already_registered] acme: ")
    assert refused.stderr.count("\n") == 1
    server.embedded_postgres.erase(Path(home))


def test_a_slug_is_refused_before_the_embedded_database_is_made(tmp_path: Path) -> None:
    home = tmp_path / "home"
    refused = run("workspace", "add", "a|b", USAGE_HOME=str(home))
    assert refused.returncode == 2
    assert refused.stderr.startswith("error: [slug_malformed] ")
    assert not home.exists()


def test_help_answers_at_once() -> None:
    started = time.monotonic()
    assert run("keys", "add", "--help").returncode == 0
    slow = {"sqlalchemy", "alembic", "dagster", "pandas", "rich", "cryptography", "httpx", "psycopg"}
    loaded = subprocess.run(
        [sys.executable, "-c", "import sys, usage_pipeline.cli.app; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert slow.isdisjoint(loaded)
    assert time.monotonic() - started < 30


def test_ctrl_c_ends_a_command_with_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object, **__: object) -> object:
        raise KeyboardInterrupt

    monkeypatch.setattr("usage_pipeline.cli.workspaces.opened", interrupted)
    with pytest.raises(SystemExit) as ended:
        app(["workspace", "list"], prog_name="usage-pipeline")
    assert ended.value.code == INTERRUPTED
    assert capsys.readouterr().err.splitlines()[-1] == "error: [aborted] usage-pipeline: stopped before the end."
