"""``usage-pipeline backup`` and ``restore``: a whole ledger in a file, and back, verified."""

from __future__ import annotations

import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from usage_pipeline.ledger import migrate
from usage_pipeline.ledger.backup.aside import set_aside
from usage_pipeline.ledger.backup.manifest import TableContent, table_contents
from usage_pipeline.ledger.server import connect_engine
from usage_pipeline_tests.cli.conftest import CommandLine
from usage_pipeline_tests.parity.conftest import DAY, SETTLED, use_two_days
from usage_pipeline_tests.scripted.scenario import Scenario, scenario_on

CANARY = "sk-canary-77aa1100"


@pytest.fixture
def filled(migrated_database: str, tmp_path: Path) -> Iterator[Scenario]:
    """A ledger with two days of a scripted account, pulled and reconciled."""
    with scenario_on(migrated_database, tmp_path / "home", SETTLED) as made:
        key = made.register()
        use_two_days(key.account)
        made.pull(key, DAY, DAY.replace(day=DAY.day + 2))
        made.settle(DAY, DAY.replace(day=DAY.day + 1))
        yield made


@pytest.fixture
def saved(command: CommandLine, filled: Scenario, tmp_path: Path) -> Path:
    """A backup of it."""
    path = tmp_path / "ledger.backup"
    command.done("backup", str(path))
    filled.runtime.engine.dispose()
    return path


def held(url: str) -> dict[str, TableContent]:
    engine = connect_engine(url)
    with engine.begin() as connection:
        found = table_contents(connection)
    engine.dispose()
    return found


def test_a_backup_restores_every_table_to_an_empty_database(
    command: CommandLine, saved: Path, migrated_database: str, empty_database: str
) -> None:
    before = held(migrated_database)
    assert before["usage_events"].rows == 5
    command.environ["USAGE_DATABASE_URL"] = empty_database
    told = command.done("restore", str(saved))
    assert "restored and verified" in told.out
    after = held(empty_database)
    audited = after.pop("audit_log")
    assert audited.rows == before.pop("audit_log").rows + 1
    assert after == before
    assert stat.S_IMODE(saved.stat().st_mode) == 0o600
    with tarfile.open(saved) as archive:
        assert archive.getnames() == ["ledger.dump", "manifest.json"]


def test_a_file_that_is_there_is_left_as_it_is_unless_forced(command: CommandLine, tmp_path: Path) -> None:
    path = tmp_path / "mine"
    path.write_text("mine")
    command.refused("file_exists", "backup", str(path))
    assert path.read_text() == "mine"
    command.done("backup", str(path), "--force")
    assert tarfile.is_tarfile(path)
    assert [one.name for one in tmp_path.iterdir() if one.name.startswith(".")] == []


def test_rows_are_only_replaced_when_it_is_said_and_confirmed(
    command: CommandLine, saved: Path, migrated_database: str
) -> None:
    command.done("workspace", "add", "later")
    command.refused("database_not_empty", "restore", str(saved))
    refused = command("restore", str(saved), "--replace", given="no\n")
    assert (refused.exit_code, "[not_confirmed]" in refused.err) == (2, True)
    assert held(migrated_database)["workspaces"].rows == 2
    command.done("restore", str(saved), "--replace", "--yes")
    assert held(migrated_database)["workspaces"].rows == 1


def test_a_damaged_backup_changes_nothing(command: CommandLine, saved: Path, migrated_database: str) -> None:
    before = held(migrated_database)
    written = bytearray(saved.read_bytes())
    written[4000] ^= 1
    saved.write_bytes(written)
    command.refused("backup_damaged", "restore", str(saved), "--replace", "--yes")
    saved.write_bytes(written[:9000])
    command.refused("backup_unreadable", "restore", str(saved), "--replace", "--yes")
    assert held(migrated_database) == before


def test_what_does_not_verify_puts_back_what_was_there(
    command: CommandLine, saved: Path, migrated_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = held(migrated_database)
    monkeypatch.setattr("usage_pipeline.ledger.backup.restore.table_contents", lambda _: {})
    told = command.refused("restore_differs", "restore", str(saved), "--replace", "--yes", exit_code=1)
    assert "usage_events" in told
    assert held(migrated_database) == before


def killed(url: str, *then: str) -> None:
    """Leave the database as a restore does that was killed: after it put aside what was there, and ``then``."""
    engine = connect_engine(url)
    with engine.begin() as connection:
        set_aside(connection)
        for statement in then:
            connection.execute(sa.text(statement))
    engine.dispose()


def test_a_restore_that_was_killed_before_anything_came_is_undone_by_the_next(
    command: CommandLine, saved: Path, migrated_database: str
) -> None:
    before = held(migrated_database)
    killed(migrated_database)
    for words in (["workspace", "add", "later"], ["db", "upgrade"], ["backup", str(saved.with_name("other"))]):
        command.refused("restore_cut_off", *words, exit_code=1)
    command.refused("nothing_restored", "restore", "--keep", "--yes")
    command.refused("database_not_empty", "restore", str(saved))
    assert held(migrated_database) == before
    command.refused("no_restore_cut_off", "restore", "--undo", "--yes")


def test_after_a_restore_that_was_killed_a_person_says_which_rows_stay(
    command: CommandLine, saved: Path, migrated_database: str
) -> None:
    before = held(migrated_database)
    came = ("CREATE TABLE public.later (id int)", "INSERT INTO public.later VALUES (1)")
    killed(migrated_database, *came)
    told = command.refused("restore_cut_off", "restore", str(saved), "--replace", "--yes", exit_code=1)
    assert "restore --undo" in told
    assert "restore --keep" in told
    assert command("restore", "--undo", given="no\n").exit_code == 2
    assert set(held(migrated_database)) == {"later"}
    command.done("restore", "--undo", "--yes")
    assert held(migrated_database) == before
    killed(migrated_database, *came)
    command.done("restore", "--keep", "--yes")
    kept = held(migrated_database)
    assert (kept["later"].rows, kept["workspaces"].rows, kept["audit_log"].rows) == (1, 0, 1)
    command.refused("restore_unclear", "restore", str(saved), "--undo")


def test_a_restore_disturbs_nobody(command: CommandLine, saved: Path, migrated_database: str) -> None:
    engine = connect_engine(migrated_database)
    with engine.connect() as other:
        other.execute(sa.text("SELECT 1"))
        command.refused("database_in_use", "restore", str(saved), "--replace", "--yes")
    engine.dispose()


def test_a_backup_of_an_older_schema_is_brought_up(
    command: CommandLine, migrated_database: str, empty_database: str, tmp_path: Path
) -> None:
    command.done("workspace", "add", "acme")
    command.done("db", "downgrade", "0011", "--yes")
    command.done("backup", str(tmp_path / "old"))
    command.environ["USAGE_DATABASE_URL"] = empty_database
    command.done("restore", str(tmp_path / "old"))
    assert command.done("db", "revision", "--json").json["current"] == migrate.head_revision()
    assert "acme" in command.done("workspace", "list").out


def test_a_backup_of_a_newer_schema_is_refused(
    command: CommandLine, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("usage_pipeline.ledger.backup.restore.known_revisions", lambda: ("0001",))
    command.refused("backup_newer", "restore", str(saved), "--replace", "--yes")


def test_no_password_is_on_a_command_line_or_in_an_error(
    command: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    program = tools / "pg_dump"
    program.write_text(
        '#!/bin/sh\nif [ "$1" = --version ]; then echo "pg_dump (PostgreSQL) 18.0"; exit 0; fi\n'
        f'echo "$@" > {tmp_path}/arguments\necho "$PGPASSWORD" > {tmp_path}/password\n'
        'echo "pg_dump: error: no way in with $PGPASSWORD" >&2\nexit 1\n'
    )
    program.chmod(0o755)
    monkeypatch.setattr("usage_pipeline.ledger.backup.programs.packaged_programs", lambda: tools)
    url = sa.engine.make_url(str(command.environ["USAGE_DATABASE_URL"])).set(password=CANARY)
    command.environ["USAGE_DATABASE_URL"] = url.render_as_string(hide_password=False)
    told = command.refused("backup_tool_failed", "backup", str(tmp_path / "ledger"), exit_code=1)
    assert (tmp_path / "password").read_text().strip() == CANARY
    assert CANARY not in (tmp_path / "arguments").read_text()
    assert "no way in with ***" in told
    assert not (tmp_path / "ledger").exists()


def test_without_programs_it_is_said_what_to_install(
    command: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("usage_pipeline.ledger.backup.programs.packaged_programs", lambda: tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    told = command.refused("backup_tools_missing", "backup", str(tmp_path / "ledger"), exit_code=1)
    assert "postgresql-client-" in told
