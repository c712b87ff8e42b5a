"""The command line as a test runs it: the real commands, in process, on a real database of its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from usage_pipeline.cli.app import app
from usage_pipeline.ledger.server import connect_engine

NOW = "2026-11-21T12:00:00Z"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a command did: its exit code and what it printed."""

    exit_code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(slots=True)
class CommandLine:
    """Runs commands with an environment of their own; ``environ`` may be changed by a test."""

    environ: dict[str, str | None] = field(default_factory=dict)

    def __call__(self, *arguments: str, given: str | bytes | None = None) -> Outcome:
        result = CliRunner().invoke(app, arguments, input=given, env=self.environ, prog_name="usage-pipeline")
        return Outcome(result.exit_code, result.stdout, result.stderr)

    def done(self, *arguments: str, given: str | bytes | None = None) -> Outcome:
        outcome = self(*arguments, given=given)
        assert outcome.exit_code == 0, outcome.err
        return outcome

    def refused(self, code: str, *arguments: str, exit_code: int = 2, given: str | bytes | None = None) -> str:
        """Run a command that must fail with ``code`` in one line on standard error, and nothing on standard output."""
        outcome = self(*arguments, given=given)
        assert outcome.exit_code == exit_code, outcome
        assert outcome.err.startswith(f"error: [{code}] "), outcome.err
        assert outcome.err.count("\n") == 1
        assert outcome.err.endswith("\n")
        assert outcome.out == ""
        return outcome.err


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The data folder of the commands; not made."""
    return tmp_path / "home"


@pytest.fixture
def command(migrated_database: str, home: Path) -> CommandLine:
    """The command line on a new database with the schema and no rows."""
    return CommandLine(
        {
            "USAGE_DATABASE_URL": migrated_database,
            "USAGE_HOME": str(home),
            "USAGE_NOW": NOW,
            "USAGE_ENCRYPTION_KEYS": None,
            "USAGE_DEBUG": None,
            "OPENAI_ADMIN_KEY": None,
        }
    )


@pytest.fixture
def acme(command: CommandLine) -> CommandLine:
    """The command line, with a workspace acme."""
    command.done("workspace", "add", "acme")
    return command


@pytest.fixture
def engine(migrated_database: str) -> Iterator[sa.Engine]:
    """The commands' database, to look into."""
    engine = connect_engine(migrated_database)
    yield engine
    engine.dispose()


@pytest.fixture
def written(engine: sa.Engine, home: Path) -> Callable[[], Mapping[str, object]]:
    """Everything that commands write: the rows of every table, and the files in the data folder."""

    def look() -> Mapping[str, object]:
        with engine.connect() as connection:
            tables = sa.inspect(connection).get_table_names()
            rows = {
                table: connection.execute(
                    sa.text(f'SELECT md5(string_agg(t::text, chr(10) ORDER BY t::text)) FROM "{table}" t')
                ).scalar()
                for table in tables
            }
        return {**rows, "files": sorted(path.name for path in home.rglob("*")) if home.exists() else []}

    return look
