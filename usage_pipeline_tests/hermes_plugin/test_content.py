"""Nothing of a conversation, a person or a machine leaves, or stays in the ledger."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from usage_pipeline_hermes.cli import main
from usage_pipeline_tests.hermes_plugin.hermes_database import Call, HermesDatabase, Made
from usage_pipeline_tests.hermes_plugin.loopback import Answering
from usage_pipeline_tests.hermes_plugin.replica import moment, text_of

NINE = moment("2026-08-10T09:00:00")
SENTINEL = "SENTINEL"
FIELDS = {
    "schemaVersion", "environment", "generatedAt", "sourceLabel", "workspace", "slug", "name", "provider", "revision",
    "coverage", "start", "end", "hoursAreCallTime", "days", "hours", "usageDate", "usage", "model", "billingProvider",
    "billingBaseUrl", "billingMode", "task", "requests", "inputTokens", "cacheReadTokens", "cacheWriteTokens",
    "outputTokens", "reasoningTokens", "estimatedCostUsd", "actualCostUsd",
}  # fmt: skip


@pytest.fixture
def stuffed(tmp_path: Path) -> Iterator[HermesDatabase]:
    """A database with a telling text wherever a text fits, and a secret in its base URL."""
    database = HermesDatabase(tmp_path / "home" / "state.db")
    database.connection.execute("ALTER TABLE sessions ADD COLUMN session_key TEXT")
    texts: dict[str, Any] = dict.fromkeys(
        ("source", "user_id", "end_reason", "title", "system_prompt", "cwd", "git_repo_root", "profile_name",
         "session_key", "cost_source"), SENTINEL
    )  # fmt: skip
    database.open_session(f"{SENTINEL}-session", NINE, **texts)
    secret = Made(base_url=f"https://{SENTINEL}:{SENTINEL}@api.example.com/v1?key={SENTINEL}#{SENTINEL}")
    database.call(f"{SENTINEL}-session", NINE + 1, Call(), secret)
    database.insert("messages", {"session_id": "x", "role": SENTINEL, "content": SENTINEL, "timestamp": NINE})
    database.connection.execute("CREATE TABLE state_meta (key TEXT, value TEXT)")
    database.insert("state_meta", {"key": SENTINEL, "value": SENTINEL})
    yield database
    database.close()


def _names(value: Any) -> set[str]:
    if isinstance(value, dict):
        return set(value).union(*(_names(item) for item in value.values()))
    return set().union(*(_names(item) for item in value)) if isinstance(value, list) else set()


def test_no_text_of_the_database_is_sent_or_kept(
    stuffed: HermesDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Answering() as server:
        monkeypatch.setenv("HERMES_HOME", str(tmp_path / "home"))
        monkeypatch.setenv("USAGE_PIPELINE_ENDPOINT", server.url)
        monkeypatch.setenv("USAGE_PIPELINE_TOKEN", "uph_token")
        monkeypatch.setenv("USAGE_PIPELINE_DAYS_BACK", "365")
        assert main(["sync", "--json"]) == 0
    sent = [
        gzip.decompress(request.body) if request.headers.get("Content-Encoding") else request.body
        for request in server.requests
    ]
    assert sent
    for body, request in zip(sent, server.requests, strict=True):
        assert SENTINEL not in body.decode()
        assert SENTINEL not in str(request.headers.items())
        assert "uph_token" not in body.decode()
        assert _names(json.loads(body)) <= FIELDS
    assert any(b"https://api.example.com/v1" in body for body in sent)
    assert SENTINEL not in text_of(tmp_path / "home" / "usage-pipeline" / "ledger.db")


def test_the_page_names_every_field_that_is_sent() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "hermes-plugin.md").read_text(encoding="utf-8")
    assert {name for name in FIELDS if f"`{name}`" not in page} == set()


def test_the_table_of_messages_is_never_read() -> None:
    folder = Path(__file__).resolve().parents[2] / "hermes_plugin" / "usage_pipeline_hermes"
    for path in folder.glob("*.py"):
        assert "FROM messages" not in path.read_text(encoding="utf-8")
