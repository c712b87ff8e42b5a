"""``usage-pipeline hermes``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import sqlalchemy as sa

from usage_pipeline_tests.cli.conftest import CommandLine

Written = Callable[[], Mapping[str, object]]
HEARTBEAT = (
    b'{"schemaVersion": 2, "environment": "production", "generatedAt": "2026-11-21T11:00:00Z", "sourceLabel": "laptop",'
    b' "workspace": {"slug": "hermes-usage", "name": "Hermes Usage", "provider": "Hermes"},'
    b' "rollups": [], "repositoryRollups": []}'
)


def add_feed(**changes: str | None) -> tuple[str, ...]:
    options = {"workspace": "acme", "label": "laptop", "environment": "production", **changes}
    words = [word for name, value in options.items() if value is not None for word in (f"--{name}", value)]
    return ("hermes", "add-feed", *words)


@pytest.fixture
def laptop(acme: CommandLine) -> CommandLine:
    """The command line, with a Hermes feed acme.laptop."""
    acme.done(*add_feed())
    return acme


def test_a_feed_is_registered(acme: CommandLine) -> None:
    told = acme.done(*add_feed(), "--days-back", "30", "--json").json
    assert told["slug"] == "acme.laptop"
    assert told["days_back"] == 30
    assert told["counts"] is True


def test_only_production_counts_by_itself(acme: CommandLine) -> None:
    told = acme.done(*add_feed(environment="staging"), "--json").json
    assert told["counts"] is False
    assert told["days_back"] is None


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("slug_malformed", add_feed(label="a|b")),
        ("slug_malformed", add_feed(label="..")),
        ("slug_malformed", add_feed(environment="Production")),
        ("slug_malformed", add_feed(workspace="a..b")),
        ("workspace_unknown", add_feed(workspace="globex")),
        ("days_back_malformed", (*add_feed(), "--days-back", "0")),
        ("days_back_malformed", (*add_feed(), "--days-back", "366")),
        ("usage", (*add_feed(), "--days-back", "many")),
        ("usage", add_feed(environment=None)),
    ],
)
def test_bad_input_is_refused_and_nothing_is_written(
    acme: CommandLine, written: Written, code: str, words: tuple[str, ...]
) -> None:
    before = written()
    acme.refused(code, *words)
    assert written() == before


def test_a_feed_registered_twice_is_refused(laptop: CommandLine, written: Written) -> None:
    before = written()
    laptop.refused("already_registered", *add_feed(environment="staging"))
    assert written() == before


def test_a_payload_is_taken_in_once(laptop: CommandLine, tmp_path: Path) -> None:
    payload = tmp_path / "payload.json"
    payload.write_bytes(HEARTBEAT)
    assert "taken in" in laptop.done("hermes", "import", "acme.laptop", str(payload)).out
    assert "known already" in laptop.done("hermes", "import", "acme.laptop", str(payload)).out


@pytest.mark.parametrize("body", [b"not json", b"", b"<html></html>", HEARTBEAT[:-1], b'{"schemaVersion": 2}'])
def test_a_refused_payload_is_kept_with_its_reason_and_nothing_else(
    laptop: CommandLine, tmp_path: Path, engine: sa.Engine, written: Written, body: bytes
) -> None:
    payload = tmp_path / "payload.json"
    payload.write_bytes(body)
    before = written()
    outcome = laptop("hermes", "import", "acme.laptop", str(payload))
    assert outcome.exit_code == 2
    assert outcome.err.startswith("error: [payload_")
    assert outcome.err.count("\n") == 1
    after = written()
    assert {name for name in after if after[name] != before[name]} == {"hermes_batches"}
    with engine.connect() as connection:
        accepted, code = connection.execute(sa.text("SELECT accepted, refused_code FROM hermes_batches")).one()
    assert accepted is False
    assert f"[{code}]" in outcome.err


def test_payloads_before_a_refused_one_are_taken_in(laptop: CommandLine, tmp_path: Path, engine: sa.Engine) -> None:
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_bytes(HEARTBEAT)
    bad.write_bytes(b"not json")
    outcome = laptop("hermes", "import", "acme.laptop", str(good), str(bad))
    assert outcome.exit_code == 2
    assert "good.json: taken in" in outcome.out
    with engine.connect() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM hermes_batches WHERE accepted")).scalar_one() == 1


def test_unreadable_files_are_refused_before_any_is_taken_in(
    laptop: CommandLine, tmp_path: Path, written: Written
) -> None:
    good = tmp_path / "good.json"
    good.write_bytes(HEARTBEAT)
    before = written()
    laptop.refused("file_unreadable", "hermes", "import", "acme.laptop", str(good), str(tmp_path / "none.json"))
    laptop.refused("file_unreadable", "hermes", "import", "acme.laptop", str(tmp_path))
    assert written() == before


def test_an_unknown_feed_is_refused(acme: CommandLine, tmp_path: Path, written: Written) -> None:
    payload = tmp_path / "payload.json"
    payload.write_bytes(HEARTBEAT)
    before = written()
    acme.refused("feed_unknown", "hermes", "import", "acme.laptop", str(payload))
    acme.refused("slug_malformed", "hermes", "import", "acme..laptop", str(payload))
    assert written() == before
