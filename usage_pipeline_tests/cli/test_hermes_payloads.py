"""``usage-pipeline hermes refused`` and ``usage-pipeline hermes payload``: what was kept, as it came."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from usage_pipeline.cli.app import app
from usage_pipeline_tests.cli.conftest import CommandLine
from usage_pipeline_tests.cli.test_hermes import HEARTBEAT, add_feed

FEED = "acme.laptop"


@pytest.fixture
def laptop(acme: CommandLine) -> CommandLine:
    """The command line, with the Hermes feeds acme.laptop and acme.desk."""
    acme.done(*add_feed())
    acme.done(*add_feed(label="desk"))
    return acme


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "payloads"
    made.mkdir()
    return made


def send(command: CommandLine, folder: Path, body: bytes, *, at: str = "2026-11-21T12:00:00Z", feed: str = FEED) -> int:
    """Import a payload at an instant; the exit code."""
    command.environ["USAGE_NOW"] = at
    path = folder / "payload.json"
    path.write_bytes(body)
    return command("hermes", "import", feed, str(path)).exit_code


def only_number(engine: sa.Engine) -> int:
    with engine.connect() as connection:
        number: int = connection.execute(sa.text("SELECT batch_id FROM hermes_batches")).scalar_one()
    return number


def test_it_says_so_where_nothing_was_refused(laptop: CommandLine, folder: Path) -> None:
    assert send(laptop, folder, HEARTBEAT) == 0
    assert laptop.done("hermes", "refused").out == "No refused payload is kept.\n"
    assert laptop.done("hermes", "refused", FEED).out == "No refused payload of acme.laptop is kept.\n"
    assert laptop.done("hermes", "refused", "--json").json == []


def test_refused_payloads_are_listed_newest_first(laptop: CommandLine, folder: Path) -> None:
    send(laptop, folder, b"not json", at="2026-11-21T10:00:00Z")
    send(laptop, folder, b'{"schemaVersion": 9}', at="2026-11-21T11:00:00Z", feed="acme.desk")
    send(laptop, folder, b"[]", at="2026-11-21T09:00:00Z")
    listed = laptop.done("hermes", "refused", "--json").json
    assert [batch["received_at"][11:13] for batch in listed] == ["11", "10", "09"]
    assert [batch["bytes"] for batch in listed] == [20, 8, 2]
    assert [batch["feed"] for batch in listed] == ["acme.desk", FEED, FEED]
    assert all(batch["code"].startswith("payload_") and batch["why"] for batch in listed)
    assert [batch["bytes"] for batch in laptop.done("hermes", "refused", FEED, "--json").json] == [8, 2]


def test_the_table_tells_number_time_code_and_reason(laptop: CommandLine, folder: Path, engine: sa.Engine) -> None:
    send(laptop, folder, b"not json")
    table = laptop.done("hermes", "refused").out
    (batch,) = laptop.done("hermes", "refused", "--json").json
    assert batch["number"] == only_number(engine)
    for cell in (str(batch["number"]), FEED, "2026-11-21T12:00:00Z", batch["code"], "8"):
        assert cell in table
    assert not batch["why"].startswith("[")


def test_nothing_in_a_reason_steers_the_terminal(laptop: CommandLine, folder: Path, engine: sa.Engine) -> None:
    send(laptop, folder, b"not json")
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE hermes_batches SET refused_why = :why"), {"why": "\x1b[2J\u202e[red]gone"})
    table = laptop.done("hermes", "refused").out
    assert "\x1b" not in table
    assert "\u202e" not in table
    assert "[red]gone" in table


@pytest.mark.parametrize(
    "body", [HEARTBEAT, b"not json", b"", b"\r\n\xff\xfe\x00", gzip.compress(b"{}", mtime=0), b"x" * 300_000]
)
def test_a_payload_comes_back_byte_for_byte(laptop: CommandLine, folder: Path, engine: sa.Engine, body: bytes) -> None:
    send(laptop, folder, body)
    number, out = str(only_number(engine)), folder / "out.json"
    printed = CliRunner().invoke(app, ["hermes", "payload", number], env=laptop.environ)
    assert printed.exit_code == 0
    assert printed.stdout_bytes == body
    assert f"{len(body)} bytes" in laptop.done("hermes", "payload", number, "--out", str(out)).out
    assert out.read_bytes() == body
    assert out.stat().st_mode & 0o777 == 0o600


def test_a_file_is_never_overwritten(laptop: CommandLine, folder: Path, engine: sa.Engine) -> None:
    send(laptop, folder, HEARTBEAT)
    number = str(only_number(engine))
    mine, link = folder / "mine", folder / "link"
    mine.write_text("mine")
    link.symlink_to(folder / "elsewhere")
    for path in (mine, link, folder):
        laptop.refused("file_exists", "hermes", "payload", number, "--out", str(path))
    laptop.refused("file_unwritable", "hermes", "payload", number, "--out", str(folder / "none" / "out"))
    assert mine.read_text() == "mine"
    assert not (folder / "elsewhere").exists()


@pytest.mark.parametrize("number", ["0", "7", "9223372036854775808", "9" * 400])
def test_an_unknown_number_is_refused(laptop: CommandLine, folder: Path, number: str) -> None:
    out = folder / "out.json"
    laptop.refused("payload_unknown", "hermes", "payload", number)
    laptop.refused("payload_unknown", "hermes", "payload", number, "--out", str(out))
    assert not out.exists()


@pytest.mark.parametrize("words", [("payload", "seven"), ("payload", "-1"), ("payload",), ("payload", "1.5")])
def test_what_is_no_number_is_refused(laptop: CommandLine, words: tuple[str, ...]) -> None:
    laptop.refused("usage", "hermes", *words)


def test_the_refusals_of_an_unknown_feed_are_refused(laptop: CommandLine) -> None:
    laptop.refused("feed_unknown", "hermes", "refused", "acme.other")
    laptop.refused("slug_malformed", "hermes", "refused", "acme")
