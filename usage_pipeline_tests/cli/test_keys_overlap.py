"""Two workspaces never answer for the same spending: overlapping scopes and shared secrets at ``keys add``."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from usage_pipeline_tests.cli.conftest import CommandLine
from usage_pipeline_tests.cli.test_keys_add import SECRET, add

Written = Callable[[], Mapping[str, object]]


@pytest.fixture
def two(acme: CommandLine) -> CommandLine:
    """The command line with two workspaces, acme and globex."""
    acme.done("workspace", "add", "globex")
    return acme


def globex(**changes: str | None) -> tuple[str, ...]:
    return add(workspace="globex", **{"secret": "env:GLOBEX", **changes})


def projects(*names: str) -> tuple[str, ...]:
    return tuple(word for name in names for word in ("--project", name))


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [((), ()), (("proj_a",), ()), ((), ("proj_a",)), (("proj_a", "proj_b"), ("proj_b", "proj_c"))],
)
def test_one_account_in_two_workspaces_is_refused_where_scopes_overlap(
    two: CommandLine, written: Written, ours: tuple[str, ...], theirs: tuple[str, ...]
) -> None:
    two.done(*add(organization="org-1"), *projects(*ours))
    before = written()
    line = two.refused("scope_overlaps", *globex(organization="org-1"), *projects(*theirs))
    assert "acme.openai.main" in line
    assert written() == before


def test_one_account_in_two_workspaces_is_taken_with_separate_projects(two: CommandLine) -> None:
    two.done(*add(organization="org-1"), *projects("proj_a"))
    two.done(*globex(organization="org-1"), *projects("proj_b"))


def test_the_same_account_id_of_another_provider_is_another_account(two: CommandLine) -> None:
    two.done(*add(organization="org-1"))
    two.done(*globex(organization="org-1", provider="anthropic"))


def test_a_project_named_in_two_workspaces_is_refused_whoever_states_the_account(
    two: CommandLine, written: Written
) -> None:
    two.done(*add(), *projects("proj_a"))
    before = written()
    two.refused("scope_overlaps", *globex(organization="org-1"), *projects("proj_a"))
    two.refused("scope_overlaps", *globex(), *projects("proj_a"))
    assert written() == before


def test_a_disabled_key_still_answers_for_its_history(two: CommandLine) -> None:
    two.done(*add(organization="org-1"))
    two.done("keys", "disable", "acme.openai.main")
    two.refused("scope_overlaps", *globex(organization="org-1"))


def test_the_same_reference_in_two_workspaces_is_refused(two: CommandLine, written: Written) -> None:
    two.done(*add())
    before = written()
    two.refused("scope_overlaps", *globex(secret="env:OPENAI_ADMIN_KEY"))
    assert written() == before


def test_the_same_plain_secret_in_two_workspaces_is_refused(two: CommandLine, written: Written) -> None:
    two.done(*add(secret="-"), given=SECRET)
    before = written()
    line = two.refused("scope_overlaps", *globex(secret="-"), given=f"{SECRET}\n")
    assert SECRET not in line
    assert written() == before


def test_a_reference_to_a_secret_that_is_sealed_elsewhere_is_refused(two: CommandLine) -> None:
    two.done(*add(secret="-"), given=SECRET)
    two.environ["GLOBEX"] = SECRET
    two.refused("scope_overlaps", *globex())


def test_a_sealed_secret_that_another_workspace_refers_to_is_refused_and_no_key_file_is_made(
    two: CommandLine, written: Written
) -> None:
    two.environ["OPENAI_ADMIN_KEY"] = SECRET
    two.done(*add())
    before = written()
    two.refused("scope_overlaps", *globex(secret="-"), given=SECRET)
    assert written() == before


def test_one_secret_with_different_stated_accounts_is_taken(two: CommandLine) -> None:
    two.done(*add(organization="org-1"))
    two.done(*globex(organization="org-2", secret="env:OPENAI_ADMIN_KEY"))


def test_one_secret_with_separate_projects_is_taken(two: CommandLine) -> None:
    two.done(*add(), *projects("proj_a"))
    two.done(*globex(secret="env:OPENAI_ADMIN_KEY"), *projects("proj_b"))


def test_different_secrets_without_stated_accounts_are_taken(two: CommandLine) -> None:
    two.done(*add(secret="-"), given=SECRET)
    two.done(*globex(secret="-"), given="sk-admin-another")


def test_one_secret_with_a_stated_and_an_unstated_account_in_one_workspace_is_refused(
    acme: CommandLine, written: Written
) -> None:
    acme.done(*add(organization="org-1"))
    before = written()
    line = acme.refused("account_unclear", *add(name="second"))
    assert "--organization org-1" in line
    assert written() == before


def test_a_key_that_cannot_be_opened_for_comparing_is_said(two: CommandLine) -> None:
    two.done(*add(secret="-"), given=SECRET)
    two.environ["USAGE_ENCRYPTION_KEYS"] = f"other:{'A' * 43}="
    assert "could not be compared with acme.openai.main" in two.done(*globex(secret="-"), given="sk-another").err


def test_a_new_secret_is_compared_as_well(two: CommandLine, written: Written) -> None:
    two.done(*add(secret="-"), given=SECRET)
    two.done(*globex(secret="-"), given="sk-admin-another")
    before = written()
    two.refused("scope_overlaps", "keys", "rotate", "globex.openai.main", "--secret", "-", given=SECRET)
    assert written() == before
