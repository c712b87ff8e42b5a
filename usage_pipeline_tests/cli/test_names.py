"""``usage-pipeline names``: asked for again over real HTTP, and listed for people and scripts."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from usage_pipeline.sandbox.faces import DEFAULT_ANTHROPIC_KEY, DEFAULT_OPENAI_USAGE_ONLY_KEY
from usage_pipeline.sandbox.server import SandboxServer
from usage_pipeline.sandbox.world import World
from usage_pipeline_tests.cli.conftest import CommandLine
from usage_pipeline_tests.cli.test_keys_add import add


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxServer]:
    with SandboxServer(World(7, datetime(2026, 11, 21, 12, tzinfo=UTC))) as server:
        yield server


@pytest.fixture
def anthropic(acme: CommandLine, sandbox: SandboxServer) -> CommandLine:
    """The command line with a key of the sandbox's Anthropic organisation."""
    acme.environ["ANTHROPIC_ADMIN_KEY"] = DEFAULT_ANTHROPIC_KEY
    address = sandbox.base_url("anthropic")
    acme.done(*add(provider="anthropic", secret="env:ANTHROPIC_ADMIN_KEY", base_url=address))
    return acme


def test_names_are_asked_for_and_listed(anthropic: CommandLine) -> None:
    assert "No name is known" in anthropic.done("names", "list").out
    told = anthropic.done("names", "refresh")
    assert "acme.anthropic.main: 3 workspaces, 6 keys, 3 users of unstated:acme, in 3 requests" in told.out
    table = anthropic.done("names", "list").out
    for word in ("Research", "apikey_01SandboxHermes", "ana@sandbox.example"):
        assert word in table


def test_anthropics_default_workspace_is_listed_without_an_id(anthropic: CommandLine) -> None:
    anthropic.done("names", "refresh", "--key", "acme.anthropic.main")
    unnamed = [name for name in anthropic.done("names", "list", "--json").json if name["id"] is None]
    assert [(name["dimension"], name["name"]) for name in unnamed] == [("project_id", "Default")]
    assert "Default" in anthropic.done("names", "list", "--workspace", "acme").out


def test_the_projects_of_a_key_are_shown_with_their_names(anthropic: CommandLine) -> None:
    anthropic.done("keys", "set", "acme.anthropic.main", "--project", "wrkspc_01SandboxResearch")
    anthropic.done("names", "refresh")
    assert "wrkspc_01SandboxResearch (Research)" in anthropic.done("keys", "show", "acme.anthropic.main").out


def test_a_key_that_may_not_list_is_told_and_fails(acme: CommandLine, sandbox: SandboxServer) -> None:
    acme.environ["OPENAI_ADMIN_KEY"] = DEFAULT_OPENAI_USAGE_ONLY_KEY
    acme.done(*add(base_url=sandbox.base_url("openai")))
    told = acme("names", "refresh")
    assert told.exit_code == 1
    assert "its projects have no new names: [scope_missing]" in told.err
    (summary,) = acme("names", "refresh", "--json").json
    assert {failure["list"] for failure in summary["failures"]} == {"projects", "users", "keys"}


def test_a_key_without_lists_is_not_asked(acme: CommandLine) -> None:
    acme.done(*add(provider="openrouter"))
    assert "not asked" in acme.done("names", "refresh").out


def test_unknown_keys_and_workspaces_are_refused(acme: CommandLine) -> None:
    acme.refused("key_unknown", "names", "refresh", "--key", "acme.openai.none")
    acme.refused("workspace_unknown", "names", "list", "--workspace", "globex")
