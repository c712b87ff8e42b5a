"""``usage-pipeline hermes``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from usage_pipeline.ledger.feed_tokens import slug_of_token
from usage_pipeline_tests.cli.conftest import NOW, CommandLine

AT = datetime.fromisoformat(NOW)
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
        ("plugin_label_malformed", (*add_feed(), "--plugin-workspace", " ")),
        ("plugin_label_malformed", (*add_feed(), "--plugin-environment", "a\nb")),
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


TOKEN = re.compile(r"^uph_[0-9a-f]{10}_[0-9a-f]{64}$", re.MULTILINE)


def the_token(printed: str) -> str:
    (token,) = TOKEN.findall(printed)
    return token


def opens(engine: sa.Engine, token: str, at: datetime = AT) -> str | None:
    with engine.connect() as connection:
        return slug_of_token(connection, token, at)


def test_registering_prints_a_token_once_that_opens_the_feed(acme: CommandLine, engine: sa.Engine) -> None:
    token = the_token(acme.done(*add_feed()).out)
    assert opens(engine, token) == "acme.laptop"
    for words in (("list",), ("list", "--json"), ("show", "acme.laptop"), ("show", "acme.laptop", "--json")):
        shown = acme.done("hermes", *words).out
        assert token[:14] in shown
        assert token[15:] not in shown


def test_the_json_of_a_registration_has_the_token(acme: CommandLine, engine: sa.Engine) -> None:
    assert opens(engine, acme.done(*add_feed(), "--json").json["token"]) == "acme.laptop"


def test_a_rotated_token_ends_now_or_after_the_grace(laptop: CommandLine, engine: sa.Engine) -> None:
    first = the_token(laptop.done("hermes", "rotate-token", "acme.laptop").out)
    second = laptop.done("hermes", "rotate-token", "acme.laptop", "--grace-hours", "2", "--json").json["token"]
    third = the_token(laptop.done("hermes", "rotate-token", "acme.laptop").out)
    assert [opens(engine, token) for token in (first, second, third)] == [None, None, "acme.laptop"]
    fourth = the_token(laptop.done("hermes", "rotate-token", "acme.laptop", "--grace-hours", "2").out)
    assert opens(engine, third, AT + timedelta(hours=1)) == "acme.laptop"
    assert opens(engine, third, AT + timedelta(hours=2)) is None
    assert opens(engine, fourth, AT + timedelta(days=900)) == "acme.laptop"


def test_a_revoked_feed_has_no_token_until_it_gets_another(laptop: CommandLine, engine: sa.Engine) -> None:
    token = the_token(laptop.done("hermes", "rotate-token", "acme.laptop", "--grace-hours", "700").out)
    assert "no token any more" in laptop.done("hermes", "revoke-token", "acme.laptop").out
    assert "had no token" in laptop.done("hermes", "revoke-token", "acme.laptop").out
    assert opens(engine, token) is None
    assert laptop.done("hermes", "show", "acme.laptop", "--json").json["tokens"] == []
    assert opens(engine, the_token(laptop.done("hermes", "rotate-token", "acme.laptop").out)) == "acme.laptop"


def test_labels_can_be_bound_at_the_registration(acme: CommandLine, tmp_path: Path) -> None:
    told = acme.done(*add_feed(), "--plugin-workspace", "other", "--json").json
    assert (told["plugin_workspace"], told["plugin_environment"]) == ("other", None)
    payload = tmp_path / "payload.json"
    payload.write_bytes(HEARTBEAT)
    acme.refused("payload_labels_contradict", "hermes", "import", "acme.laptop", str(payload))
    acme.done(*add_feed(label="desk"), "--plugin-workspace", "hermes-usage")
    acme.done("hermes", "import", "acme.desk", str(payload))
    told = acme.done("hermes", "show", "acme.desk", "--json").json
    assert (told["plugin_workspace"], told["plugin_environment"]) == ("hermes-usage", "production")
    assert told["newest_batch_generated_at"] == "2026-11-21T11:00:00+00:00"


def test_a_feed_is_disabled_from_tomorrow_and_enabled_from_today(laptop: CommandLine) -> None:
    assert "from 2026-11-22" in laptop.done("hermes", "disable", "acme.laptop").out
    assert "disabled already" in laptop.done("hermes", "disable", "acme.laptop").out
    assert "from 2026-11-21" in laptop.done("hermes", "enable", "acme.laptop").out


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("feed_unknown", ("show", "acme.desk")),
        ("feed_unknown", ("rotate-token", "acme.desk")),
        ("feed_unknown", ("revoke-token", "acme.desk")),
        ("feed_unknown", ("disable", "acme.desk")),
        ("slug_malformed", ("rotate-token", "acme")),
        ("grace_malformed", ("rotate-token", "acme.laptop", "--grace-hours", "721")),
        ("grace_malformed", ("rotate-token", "acme.laptop", "--grace-hours", "-1")),
        ("workspace_unknown", ("list", "--workspace", "globex")),
    ],
)
def test_bad_words_about_tokens_change_nothing(
    laptop: CommandLine, written: Written, code: str, words: tuple[str, ...]
) -> None:
    before = written()
    laptop.refused(code, "hermes", *words)
    assert written() == before
