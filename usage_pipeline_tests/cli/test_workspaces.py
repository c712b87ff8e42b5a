"""``usage-pipeline workspace``."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from usage_pipeline_tests.cli.conftest import CommandLine

Written = Callable[[], Mapping[str, object]]


def test_a_workspace_is_added_and_listed(command: CommandLine) -> None:
    command.done("workspace", "add", "acme", "--name", "Acme Inc.")
    (listed,) = command.done("workspace", "list", "--json").json
    assert listed["slug"] == "acme"
    assert listed["name"] == "Acme Inc."
    assert listed["policy"] == "provider_first"
    assert "Acme Inc." in command.done("workspace", "list").out


def test_a_workspace_without_a_name_is_called_by_its_slug(acme: CommandLine) -> None:
    assert acme.done("workspace", "list", "--json").json[0]["name"] == "acme"


def test_an_empty_list_says_what_to_do(command: CommandLine) -> None:
    assert "workspace add" in command.done("workspace", "list").out
    assert command.done("workspace", "list", "--json").json == []


def test_a_workspace_registered_twice_is_refused(acme: CommandLine, written: Written) -> None:
    before = written()
    acme.refused("already_registered", "workspace", "add", "acme")
    assert written() == before


@pytest.mark.parametrize("slug", ["a|b", "a..b", "..", "Acme", "", "a.b", "a b", "_a", "a\n", "é", "a" * 64])
def test_a_slug_that_could_break_a_partition_key_is_refused(command: CommandLine, written: Written, slug: str) -> None:
    before = written()
    command.refused("slug_malformed", "workspace", "add", slug)
    assert written() == before


def test_a_slug_that_begins_with_a_dash_is_taken_for_an_option_and_refused(command: CommandLine) -> None:
    command.refused("usage", "workspace", "add", "-a")
    command.refused("slug_malformed", "workspace", "add", "--", "-a")


def test_a_name_with_control_characters_is_refused(command: CommandLine, written: Written) -> None:
    before = written()
    command.refused("name_malformed", "workspace", "add", "acme", "--name", "a\x1b[2J")
    assert written() == before


def test_markup_in_a_name_is_printed_as_it_is(command: CommandLine) -> None:
    command.done("workspace", "add", "acme", "--name", "[red]Acme[/red]")
    assert "[red]Acme[/red]" in command.done("workspace", "list").out


def test_the_policy_is_changed_and_said_to_need_the_past_anew(acme: CommandLine) -> None:
    assert "backfill" in acme.done("workspace", "set", "acme", "--policy", "hermes_first").out
    assert acme.done("workspace", "list", "--json").json[0]["policy"] == "hermes_first"
    assert "already" in acme.done("workspace", "set", "acme", "--policy", "hermes_first").out


def test_a_policy_or_workspace_that_is_not_known_is_refused(acme: CommandLine, written: Written) -> None:
    before = written()
    acme.refused("policy_unknown", "workspace", "set", "acme", "--policy", "both")
    acme.refused("workspace_unknown", "workspace", "set", "other", "--policy", "hermes_first")
    assert written() == before
