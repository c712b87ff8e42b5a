"""``usage-pipeline keys add``: what is registered, what is said, and what is refused with nothing written."""

from __future__ import annotations

import stat
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import sqlalchemy as sa

from usage_pipeline_tests.cli.conftest import CommandLine

Written = Callable[[], Mapping[str, object]]
SECRET = "sk-admin-Q7w1TESTONLY"


def add(**changes: str | None) -> tuple[str, ...]:
    options: dict[str, str | None] = {
        "workspace": "acme",
        "provider": "openai",
        "name": "main",
        "mode": "admin",
        "secret": "env:OPENAI_ADMIN_KEY",
        **{name.replace("_", "-"): value for name, value in changes.items()},
    }
    words = [word for name, value in options.items() if value is not None for word in (f"--{name}", value)]
    return ("keys", "add", *words)


def test_a_key_is_registered_by_reference(acme: CommandLine, home: Path) -> None:
    told = acme.done(*add(), "--json").json
    assert told["slug"] == "acme.openai.main"
    assert told["secret"] == "env:OPENAI_ADMIN_KEY"
    assert told["account"] == "unstated:acme"
    assert told["account_stated"] is False
    assert told["grain"] == "1h"
    assert told["base_url"] == "https://api.openai.com/v1"
    assert told["enabled"] is True
    assert told["enabled_from"] == {"2026-11-21": True}
    assert not home.exists()  # no encryption key is made for a reference


def test_every_option_is_kept(acme: CommandLine) -> None:
    told = acme.done(
        *add(organization="org-1", grain="1d", base_url="http://127.0.0.1:8123/v1/", mode="standard"),
        "--project",
        "proj_b",
        "--project",
        "proj_a",
        "--json",
    ).json
    assert told["account"] == "org-1"
    assert told["account_stated"] is True
    assert told["grain"] == "1d"
    assert told["mode"] == "standard"
    assert told["base_url"] == "http://127.0.0.1:8123/v1"
    assert told["projects"] == ["proj_a", "proj_b"]


def test_a_mode_that_the_provider_does_not_take_is_refused_with_those_that_it_takes(acme: CommandLine) -> None:
    assert "keys of the mode admin" in acme.refused("mode_unsupported", *add(provider="anthropic", mode="standard"))


def test_a_proxy_is_its_own_account(acme: CommandLine) -> None:
    address = "https://LLM.example:443/team/"
    told = acme.done(*add(provider="litellm", base_url=address, secret="env:PROXY"), "--json").json
    assert told["account"] == "llm.example/team"
    assert (told["account_known"], told["account_told"]) == ("told", "llm.example/team")
    acme.done("workspace", "add", "globex")
    acme.refused("scope_overlaps", *add(provider="litellm", base_url=address, secret="env:OTHER", workspace="globex"))


def test_a_secret_on_standard_input_is_sealed_and_never_shown(acme: CommandLine, home: Path, engine: sa.Engine) -> None:
    outcome = acme.done(*add(secret="-"), given=f"{SECRET}\n")
    shown = acme.done("keys", "show", "acme.openai.main", "--json")
    assert shown.json["secret"] == "sealed"
    with engine.connect() as connection:
        sealed = connection.execute(sa.text("SELECT secret_sealed FROM provider_keys")).scalar_one()
        log = connection.execute(sa.text("SELECT string_agg(audit_log::text, ' ') FROM audit_log")).scalar_one()
    assert SECRET.encode() not in sealed
    for text in (outcome.out, outcome.err, shown.out, log):
        assert SECRET not in text
    key_file = home / "encryption-keys"
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    assert str(key_file) in outcome.err
    assert "USAGE_ENCRYPTION_KEYS" in outcome.err


def test_the_key_file_is_told_of_only_when_it_is_made(acme: CommandLine) -> None:
    acme.done(*add(secret="-"), given=SECRET)
    assert "encryption key file" not in acme.done(*add(secret="-", provider="anthropic"), given="sk-ant-1").err


def test_without_an_organization_the_remedy_is_told(acme: CommandLine) -> None:
    assert "--organization" in acme.done(*add()).err
    assert "note: " not in acme.done(*add(provider="anthropic", organization="org-1", secret="file:/dev/null")).out


def test_a_reference_that_gives_nothing_here_is_said(acme: CommandLine) -> None:
    assert "env:OPENAI_ADMIN_KEY gives no secret here" in acme.done(*add()).err
    acme.environ["OTHER_KEY"] = SECRET
    assert "gives no secret" not in acme.done(*add(name="other", secret="env:OTHER_KEY")).err


def test_an_overlap_within_a_workspace_is_allowed_and_said(acme: CommandLine) -> None:
    acme.done(*add(organization="org-1"))
    told = acme.done(*add(name="second", organization="org-1", secret="env:SECOND"))
    assert "overlaps that of acme.openai.main" in told.err


def test_stated_and_unstated_accounts_side_by_side_are_said(acme: CommandLine) -> None:
    acme.done(*add(organization="org-1"))
    assert "only some keys" in acme.done(*add(name="second", secret="env:SECOND")).err


@pytest.mark.parametrize(
    ("code", "changes"),
    [
        ("provider_unknown", {"provider": "closedai"}),
        ("slug_malformed", {"name": "a|b"}),
        ("slug_malformed", {"name": ".."}),
        ("slug_malformed", {"name": "Main"}),
        ("slug_malformed", {"name": ""}),
        ("slug_malformed", {"workspace": "a|b"}),
        ("workspace_unknown", {"workspace": "globex"}),
        ("mode_unknown", {"mode": "root"}),
        ("mode_unsupported", {"mode": "standard", "provider": "anthropic"}),
        ("organization_not_taken", {"provider": "litellm", "organization": "org-1", "base_url": "https://llm.example"}),
        ("base_url_missing", {"provider": "litellm"}),
        ("grain_unknown", {"grain": "1m"}),
        ("base_url_malformed", {"base_url": "api.example.com"}),
        ("base_url_malformed", {"base_url": "https://user:pass@api.example.com"}),
        ("base_url_insecure", {"base_url": "http://api.example.com"}),
        ("project_malformed", {"project": "proj a"}),
        ("project_malformed", {"project": ""}),
        ("organization_malformed", {"organization": ""}),
        ("organization_malformed", {"organization": "unstated:acme"}),
        ("usage", {"secret": None}),
        ("usage", {"mode": None}),
    ],
)
def test_bad_input_is_refused_and_nothing_is_written(
    acme: CommandLine, written: Written, code: str, changes: dict[str, str | None]
) -> None:
    before = written()
    acme.refused(code, *add(**changes))
    assert written() == before


@pytest.mark.parametrize("secret", [SECRET, "sk:admin", "", " ", "env:", "env:a-b", "file:relative", f"vault:{SECRET}"])
def test_what_is_no_reference_is_refused_without_being_shown(acme: CommandLine, written: Written, secret: str) -> None:
    before = written()
    outcome = acme(*add(secret=secret))
    assert outcome.exit_code == 2
    assert "[secret_reference_" in outcome.err
    assert SECRET not in outcome.err
    assert written() == before


def test_a_secret_given_as_an_argument_is_refused_without_being_shown(acme: CommandLine, written: Written) -> None:
    before = written()
    assert SECRET not in acme.refused("usage", *add(), SECRET)
    assert SECRET not in acme.refused("usage", *add(secret=None), SECRET)
    assert written() == before


@pytest.mark.parametrize(
    ("code", "given"),
    [("secret_empty", ""), ("secret_empty", "\n"), ("secret_malformed", "a\nb\n"), ("secret_malformed", b"\xff\xfe")],
)
def test_a_bad_secret_on_standard_input_is_refused_and_nothing_is_made(
    acme: CommandLine, written: Written, code: str, given: str | bytes
) -> None:
    before = written()
    acme.refused(code, *add(secret="-"), given=given)
    assert written() == before


def test_an_overlong_secret_is_refused(acme: CommandLine, written: Written) -> None:
    before = written()
    acme.refused("secret_malformed", *add(secret="-"), given="x" * 70_000)
    assert written() == before


def test_a_key_registered_twice_is_refused(acme: CommandLine, written: Written) -> None:
    acme.done(*add())
    before = written()
    acme.refused("already_registered", *add(secret="env:ANOTHER"))
    acme.refused("already_registered", *add(secret="-"), given=SECRET)
    assert written() == before


def test_a_broken_key_ring_is_refused_and_not_replaced(acme: CommandLine, written: Written) -> None:
    acme.environ["USAGE_ENCRYPTION_KEYS"] = "not-a-ring"
    before = written()
    assert "not-a-ring" not in acme.refused("key_ring_malformed", *add(secret="-"), given=SECRET)
    assert written() == before


def test_a_real_key_is_kept_out_of_a_demo_workspace(acme: CommandLine, engine: sa.Engine, written: Written) -> None:
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE workspaces SET demo = true"))
    before = written()
    acme.refused("workspace_is_demo", *add())
    assert written() == before
    acme.done(*add(base_url="http://127.0.0.1:8123"))
