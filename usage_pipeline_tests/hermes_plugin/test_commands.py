"""The three commands: what they print, what they leave alone, and how they end."""

from __future__ import annotations

import argparse
import json
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from usage_pipeline_hermes import register
from usage_pipeline_hermes.cli import main
from usage_pipeline_hermes.sync import only_one
from usage_pipeline_tests.hermes_plugin.hermes_database import Call, HermesDatabase
from usage_pipeline_tests.hermes_plugin.loopback import Answering, Scripted

TOKEN = "uph_very_secret"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A Hermes home with one call of a minute ago."""
    home = tmp_path / "hermes"
    now = time.time()
    database = HermesDatabase(home / "state.db")
    database.open_session("s1", now - 90)
    database.call("s1", now - 60, Call(input=123))
    monkeypatch.setenv("HERMES_HOME", str(home))
    yield home
    database.close()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Answering]:
    with Answering() as server:
        monkeypatch.setenv("USAGE_PIPELINE_ENDPOINT", server.url)
        monkeypatch.setenv("USAGE_PIPELINE_TOKEN", TOKEN)
        yield server


def _said(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def _files(home: Path) -> set[str]:
    return {str(path.relative_to(home)) for path in home.rglob("*")}


def test_sync_reports_and_says_so(home: Path, server: Answering, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sync", "--json"]) == 0
    said = _said(capsys)
    assert said["read"]["changed"] == 1
    assert len(said["reports"]) == len(server.requests) >= 1
    assert [report["rowsWritten"] for report in said["reports"]] == [3] * len(server.requests)
    assert main(["sync"]) == 0
    assert "Sent" in capsys.readouterr().out
    assert main(["sync", "--quiet"]) == 0
    assert capsys.readouterr().out == ""


def test_the_data_folder_is_for_its_owner_alone(home: Path, server: Answering) -> None:
    main(["sync"])
    folder = home / "usage-pipeline"
    assert (folder.stat().st_mode & 0o777, (folder / "ledger.db").stat().st_mode & 0o777) == (0o700, 0o600)


def test_a_dry_run_sends_nothing_and_writes_nothing(
    home: Path, server: Answering, capsys: pytest.CaptureFixture[str]
) -> None:
    before = _files(home)
    assert main(["sync", "--dry-run", "--json"]) == 0
    usage = [row for report in _said(capsys)["reports"] for day in report["payload"]["days"] for row in day["usage"]]
    assert [row["inputTokens"] for row in usage] == [123]
    assert (server.requests, _files(home)) == ([], before)


def test_a_dry_run_after_a_sync_leaves_the_ledger_alone(home: Path, server: Answering) -> None:
    main(["sync"])
    ledger = home / "usage-pipeline" / "ledger.db"
    before, sent = ledger.read_bytes(), len(server.requests)
    assert main(["sync", "--dry-run"]) == 0
    assert (ledger.read_bytes(), len(server.requests)) == (before, sent)


def test_a_dry_run_needs_no_token(home: Path) -> None:
    assert main(["sync", "--dry-run"]) == 0


def test_what_could_not_be_delivered_goes_with_the_next_sync(
    home: Path, server: Answering, capsys: pytest.CaptureFixture[str]
) -> None:
    server.answers[:] = [Scripted(503, headers={"Retry-After": "61"})]
    assert main(["sync"]) == 4
    assert "undelivered" in capsys.readouterr().err
    assert main(["sync", "--json"]) == 4
    assert "left alone" in _said(capsys)["error"]["what"]
    assert len(server.requests) == 1
    with sqlite3.connect(home / "usage-pipeline" / "ledger.db") as ledger:
        ledger.execute("UPDATE meta SET value = '0' WHERE name = 'not_before_s'")
    ledger.close()
    assert main(["sync"]) == 0
    assert any(b'"inputTokens":123' in request.body for request in server.requests[1:])


def test_a_refusal_ends_with_its_own_status(home: Path, server: Answering, capsys: pytest.CaptureFixture[str]) -> None:
    server.answers[:] = [Scripted(401, b'{"error": "unknown token"}')]
    assert main(["sync"]) == 3
    error = capsys.readouterr().err
    assert "401" in error
    assert error.count("\n") == 1
    assert TOKEN not in error


def test_two_syncs_never_run_at_once(home: Path, server: Answering, capsys: pytest.CaptureFixture[str]) -> None:
    with only_one(home / "usage-pipeline" / "sync.lock"):
        assert main(["sync"]) == 6
    assert "sync_running" in capsys.readouterr().err
    assert server.requests == []
    assert main(["sync"]) == 0


def test_switched_off_nothing_is_read_or_sent(
    home: Path, server: Answering, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("USAGE_PIPELINE_DISABLED", "1")
    before = _files(home)
    assert main(["sync"]) == 0
    assert "Switched off" in capsys.readouterr().out
    assert main(["doctor", "--send"]) == 0
    assert (server.requests, _files(home)) == ([], before)


def test_without_an_endpoint_nothing_happens(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = _files(home)
    assert main(["sync"]) == 2
    assert "endpoint_missing" in capsys.readouterr().err
    assert _files(home) == before


def test_without_a_database_it_says_where_it_looked(
    tmp_path: Path, server: Answering, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HERMES_HOME", str(tmp_path))
    assert main(["sync"]) == 5
    assert str(tmp_path / "state.db") in capsys.readouterr().err


def test_each_profile_has_its_own_ledger_and_labels(
    home: Path, server: Answering, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    profile = home / "profiles" / "work"
    database = HermesDatabase(profile / "state.db")
    database.close()
    monkeypatch.setenv("HERMES_HOME", str(profile))
    assert main(["sync"]) == 0
    assert (profile / "usage-pipeline" / "ledger.db").is_file()
    assert not (home / "usage-pipeline").exists()
    capsys.readouterr()
    assert main(["show-config", "--json"]) == 0
    shown = _said(capsys)
    assert shown["profile"] == "work"
    assert shown["settings"]["workspaceSlug"] == {"value": "hermes-usage-work", "from": "default"}


def test_a_broken_ledger_is_named_with_a_way_out(
    home: Path, server: Answering, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = home / "usage-pipeline"
    folder.mkdir()
    (folder / "ledger.db").write_bytes(b"not a ledger " * 100)
    assert main(["sync"]) == 5
    assert "ledger_unreadable" in capsys.readouterr().err


def test_a_newer_ledger_is_left_alone(home: Path, server: Answering, capsys: pytest.CaptureFixture[str]) -> None:
    main(["sync"])
    with sqlite3.connect(home / "usage-pipeline" / "ledger.db") as ledger:
        ledger.execute("PRAGMA user_version = 99")
    ledger.close()
    assert main(["sync"]) == 5
    assert "ledger_newer" in capsys.readouterr().err


def test_doctor_finds_nothing_wrong_after_a_sync(
    home: Path, server: Answering, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["sync"])
    sent = len(server.requests)
    capsys.readouterr()
    assert main(["doctor", "--json"]) == 0
    found = _said(capsys)
    assert (found["ok"], found["issues"], found["warnings"]) == (True, [], [])
    assert found["database"]["generation"] == "model_usage_task"
    assert found["database"]["sessions"] == 1
    assert found["server"] == {
        "endpoint": f"{server.url}/api/ingest/hermes-usage",
        "health": f"{server.url}/healthz",
        "reachable": True,
        "status": 200,
        "clockAheadSeconds": found["server"]["clockAheadSeconds"],
    }
    assert [request.method for request in server.requests[sent:]] == ["GET"]
    assert "Authorization" not in server.requests[-1].headers


def test_doctor_tells_no_success_yet_from_an_old_one(
    home: Path, server: Answering, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("USAGE_PIPELINE_DB_PATH", str(home / "missing.db"))
        assert main(["sync"]) == 5
    capsys.readouterr()
    assert main(["doctor", "--json"]) == 0
    (warning,) = _said(capsys)["warnings"]
    assert warning.startswith("never_synced")


def test_doctor_tries_the_token_only_when_told_to(
    home: Path, server: Answering, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", "--send", "--json"]) == 0
    assert _said(capsys)["token"] == "accepted (200)"
    heartbeat = json.loads(server.requests[-1].body)
    assert "coverage" not in heartbeat
    assert (heartbeat["days"], heartbeat["hours"]) == ([], [])
    server.answers[:] = [Scripted(401)]
    assert main(["doctor", "--send", "--json"]) == 1
    assert "401" in _said(capsys)["issues"][0]


def test_doctor_lists_everything_that_is_wrong_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HERMES_HOME", str(tmp_path))
    assert main(["doctor"]) == 1
    said = capsys.readouterr().out
    for code in ("database_missing", "never_synced", "endpoint_missing"):
        assert code in said


def test_show_config_never_shows_the_token(home: Path, server: Answering, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show-config"]) == 0
    assert main(["show-config", "--json"]) == 0
    said = capsys.readouterr().out
    assert TOKEN not in said
    assert "token: set (environment)" in said


def test_hermes_gets_one_command_whose_failure_ends_the_process(home: Path, server: Answering) -> None:
    registered: dict[str, Any] = {}

    class Context:
        def register_cli_command(self, **given: Any) -> None:
            registered.update(given)

    register(Context())
    assert registered["name"] == "usage-pipeline"
    parser = argparse.ArgumentParser()
    registered["setup_fn"](parser)
    assert registered["handler_fn"](parser.parse_args(["sync", "--quiet"])) == 0
    server.answers[:] = [Scripted(401)]
    with pytest.raises(SystemExit) as ended:
        registered["handler_fn"](parser.parse_args(["sync"]))
    assert ended.value.code == 3


def test_without_a_command_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "show-config" in capsys.readouterr().err
