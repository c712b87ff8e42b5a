"""Settings: which one wins, and which are refused."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from usage_pipeline_hermes.config import VARIABLES, Config, load_config
from usage_pipeline_hermes.errors import PluginError


def _write(home: Path, settings: Any, mode: int = 0o600) -> None:
    path = home / "usage-pipeline" / "config.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(settings), encoding="utf-8")
    path.chmod(mode)


def _load(home: Path, **variables: str) -> Config:
    return load_config({"HERMES_HOME": str(home)} | variables)


def test_a_variable_wins_over_the_file_and_the_file_over_the_default(tmp_path: Path) -> None:
    _write(tmp_path, {"token": "uph_file", "daysBack": 7, "environment": "staging"})
    config = _load(tmp_path, USAGE_PIPELINE_ENVIRONMENT="production")
    assert (config.token, config.days_back, config.environment, config.timeout_s) == ("uph_file", 7, "production", 30)
    assert config.origins["daysBack"] == "file"
    assert config.origins["environment"] == "environment"
    assert config.origins["timeout"] == "default"


def test_a_file_with_a_token_that_others_may_read_is_refused(tmp_path: Path) -> None:
    _write(tmp_path, {"token": "uph_file"}, mode=0o644)
    with pytest.raises(PluginError, match="config_file_open") as caught:
        _load(tmp_path)
    assert "uph_file" not in str(caught.value)


def test_a_file_without_a_token_may_be_read_by_others(tmp_path: Path) -> None:
    _write(tmp_path, {"daysBack": 7}, mode=0o644)
    assert _load(tmp_path).days_back == 7


@pytest.mark.parametrize("written", ["[", "[]", '"text"', '{"dayBack": 3}'])
def test_a_file_that_means_nothing_is_refused(written: str, tmp_path: Path) -> None:
    (tmp_path / "usage-pipeline").mkdir()
    (tmp_path / "usage-pipeline" / "config.json").write_text(written, encoding="utf-8")
    with pytest.raises(PluginError) as caught:
        _load(tmp_path)
    assert caught.value.status == 2


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://usage.example.com/api/ingest/hermes-usage",
        "ftp://usage.example.com",
        "https://user:secret@usage.example.com",
        "https://usage.example.com/?token=secret",
        "usage.example.com",
        "https://",
        "https://[broken",
    ],
)
def test_an_endpoint_that_could_leak_the_token_is_refused(endpoint: str, tmp_path: Path) -> None:
    with pytest.raises(PluginError, match="endpoint_invalid") as caught:
        _load(tmp_path, USAGE_PIPELINE_ENDPOINT=endpoint)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("written", "endpoint", "health"),
    [
        (
            "https://usage.example.com",
            "https://usage.example.com/api/ingest/hermes-usage",
            "https://usage.example.com/healthz",
        ),
        (
            "https://example.com/usage/api/ingest/hermes-usage/",
            "https://example.com/usage/api/ingest/hermes-usage",
            "https://example.com/usage/healthz",
        ),
        (
            "http://localhost:8321",
            "http://localhost:8321/api/ingest/hermes-usage",
            "http://localhost:8321/healthz",
        ),
        (
            "http://[::1]:8321/",
            "http://[::1]:8321/api/ingest/hermes-usage",
            "http://[::1]:8321/healthz",
        ),
    ],
)
def test_an_endpoint_may_be_the_server_or_the_whole_address(
    written: str, endpoint: str, health: str, tmp_path: Path
) -> None:
    config = _load(tmp_path, USAGE_PIPELINE_ENDPOINT=written)
    assert (config.endpoint, config.health_url) == (endpoint, health)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("USAGE_PIPELINE_DAYS_BACK", "0"),
        ("USAGE_PIPELINE_DAYS_BACK", "366"),
        ("USAGE_PIPELINE_DAYS_BACK", "7.5"),
        ("USAGE_PIPELINE_TIMEOUT", "nan"),
        ("USAGE_PIPELINE_TIMEOUT", "soon"),
        ("USAGE_PIPELINE_SOURCE_LABEL", "a\x07b"),
        ("USAGE_PIPELINE_WORKSPACE_SLUG", "x" * 501),
        ("USAGE_PIPELINE_WORKSPACE_NAME", "\udc80"),
        ("USAGE_PIPELINE_TOKEN", "two words"),
    ],
)
def test_a_setting_that_makes_no_sense_is_named(variable: str, value: str, tmp_path: Path) -> None:
    with pytest.raises(PluginError, match="setting_invalid") as caught:
        _load(tmp_path, **{variable: value})
    assert value not in str(caught.value)


def test_the_token_is_in_no_representation(tmp_path: Path) -> None:
    assert "uph_secret" not in repr(_load(tmp_path, USAGE_PIPELINE_TOKEN="uph_secret"))


def test_inside_hermes_its_own_home_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    constants = types.ModuleType("hermes_constants")
    constants.get_hermes_home = lambda: tmp_path / "profiles" / "work"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "hermes_constants", constants)
    assert load_config({"HERMES_HOME": "/elsewhere"}).profile == "work"


def test_the_page_names_every_setting() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "hermes-plugin.md").read_text(encoding="utf-8")
    assert {name for pair in VARIABLES.items() for name in pair if f"`{name}`" not in page} == set()
