"""``usage-pipeline keys list|show|disable|enable|rotate``."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import sqlalchemy as sa

from usage_pipeline.credentials.key_ring import KeyRing
from usage_pipeline.credentials.sealing import key_id_of
from usage_pipeline.credentials.vault import reveal
from usage_pipeline.ledger.provider_keys import get_provider_key
from usage_pipeline_tests.cli.conftest import CommandLine
from usage_pipeline_tests.cli.test_keys_add import SECRET, add

Written = Callable[[], Mapping[str, object]]
KEY = "acme.openai.main"
OLD_RING = f"old:{base64.b64encode(b'o' * 32).decode()}"
NEW_RING = f"new:{base64.b64encode(b'n' * 32).decode()},{OLD_RING}"


def secret_of(engine: sa.Engine, ring: str) -> str:
    with engine.connect() as connection:
        return reveal(get_provider_key(connection, KEY), KeyRing.parse(ring), {}).reveal()


def test_keys_are_listed_and_shown(acme: CommandLine) -> None:
    acme.done("workspace", "add", "globex")
    acme.done(*add())
    acme.done(*add(workspace="globex", secret="env:GLOBEX"))
    assert [key["slug"] for key in acme.done("keys", "list", "--json").json] == [KEY, "globex.openai.main"]
    assert [key["slug"] for key in acme.done("keys", "list", "--workspace", "acme", "--json").json] == [KEY]
    assert KEY in acme.done("keys", "list").out
    shown = acme.done("keys", "show", KEY).out
    assert "all of the account" in shown
    assert "no --organization was given" in shown


def test_a_key_is_disabled_from_the_next_day_on(acme: CommandLine) -> None:
    acme.done(*add())
    assert "2026-11-22" in acme.done("keys", "disable", KEY).out
    shown = acme.done("keys", "show", KEY, "--json").json
    assert shown["enabled"] is True
    assert shown["enabled_from"] == {"2026-11-21": True, "2026-11-22": False}
    assert "already" in acme.done("keys", "disable", KEY).out
    acme.environ["USAGE_NOW"] = "2026-11-22T00:00:00Z"
    assert acme.done("keys", "show", KEY, "--json").json["enabled"] is False


def test_a_key_is_enabled_from_this_day_on(acme: CommandLine) -> None:
    acme.done(*add())
    acme.done("keys", "disable", KEY)
    acme.environ["USAGE_NOW"] = "2026-11-25T23:30:00-02:00"
    assert "2026-11-26" in acme.done("keys", "enable", KEY).out
    assert acme.done("keys", "show", KEY, "--json").json["enabled_from"] == {
        "2026-11-21": True,
        "2026-11-22": False,
        "2026-11-26": True,
    }


def test_enabling_takes_a_planned_end_back(acme: CommandLine) -> None:
    acme.done(*add())
    acme.done("keys", "disable", KEY)
    acme.done("keys", "enable", KEY)
    assert acme.done("keys", "show", KEY, "--json").json["enabled_from"] == {"2026-11-21": True}
    assert "already" in acme.done("keys", "enable", KEY).out


@pytest.mark.parametrize("verb", ["show", "disable", "enable"])
def test_an_unknown_key_is_refused(acme: CommandLine, written: Written, verb: str) -> None:
    before = written()
    acme.refused("key_unknown", "keys", verb, "acme.openai.none")
    acme.refused("slug_malformed", "keys", verb, "acme|openai|main")
    acme.refused("slug_malformed", "keys", verb, "acme.openai")
    assert written() == before


def test_keys_of_an_unknown_workspace_are_refused(acme: CommandLine) -> None:
    acme.refused("workspace_unknown", "keys", "list", "--workspace", "globex")


def test_a_new_secret_is_a_new_version(acme: CommandLine, engine: sa.Engine) -> None:
    acme.environ["USAGE_ENCRYPTION_KEYS"] = OLD_RING
    acme.done(*add(secret="-"), given=SECRET)
    acme.done("keys", "rotate", KEY, "--secret", "-", given="sk-admin-new")
    assert acme.done("keys", "show", KEY, "--json").json["secret_version"] == 2
    assert secret_of(engine, OLD_RING) == "sk-admin-new"


def test_a_sealed_secret_may_become_a_reference(acme: CommandLine) -> None:
    acme.done(*add(secret="-"), given=SECRET)
    acme.done("keys", "rotate", KEY, "--secret", "file:/run/secrets/openai")
    assert acme.done("keys", "show", KEY, "--json").json["secret"] == "file:/run/secrets/openai"


def test_the_same_secret_again_is_taken(acme: CommandLine) -> None:
    acme.done(*add(secret="-"), given=SECRET)
    acme.done("keys", "rotate", KEY, "--secret", "-", given=SECRET)


def test_a_newer_encryption_key_takes_over_every_sealed_secret(acme: CommandLine, engine: sa.Engine) -> None:
    acme.environ["USAGE_ENCRYPTION_KEYS"] = OLD_RING
    acme.done(*add(secret="-"), given=SECRET)
    acme.done(*add(name="referred"))
    acme.environ["USAGE_ENCRYPTION_KEYS"] = NEW_RING
    assert (
        "1 sealed secrets were put under the encryption key new" in acme.done("keys", "rotate", "--encryption-key").out
    )
    with engine.connect() as connection:
        sealed = get_provider_key(connection, KEY).secret_sealed
    assert sealed is not None
    assert key_id_of(sealed) == "new"
    assert secret_of(engine, NEW_RING.partition(",")[0]) == SECRET
    again = acme.done("keys", "rotate", "--encryption-key")
    assert "0 sealed secrets" in again.out
    assert "openssl rand" in again.err


def test_rotation_stops_whole_at_a_secret_that_does_not_open(acme: CommandLine, written: Written) -> None:
    acme.environ["USAGE_ENCRYPTION_KEYS"] = OLD_RING
    acme.done(*add(secret="-"), given=SECRET)
    acme.environ["USAGE_ENCRYPTION_KEYS"] = NEW_RING.partition(",")[0]
    before = written()
    acme.refused("encryption_key_missing", "keys", "rotate", "--encryption-key", exit_code=1)
    assert written() == before


def test_rotation_without_any_encryption_key_makes_none(acme: CommandLine, home: Path) -> None:
    acme.refused("encryption_key_missing", "keys", "rotate", "--encryption-key")
    assert not home.exists()


@pytest.mark.parametrize(
    "words", [(), (KEY,), ("--secret", "env:A"), (KEY, "--encryption-key"), ("--secret", "env:A", "--encryption-key")]
)
def test_an_unclear_rotation_is_refused(acme: CommandLine, written: Written, words: tuple[str, ...]) -> None:
    acme.done(*add())
    before = written()
    acme.refused("rotation_unclear", "keys", "rotate", *words)
    assert written() == before


def test_a_secret_as_an_argument_of_rotate_is_not_shown(acme: CommandLine) -> None:
    acme.done(*add())
    assert SECRET not in acme.refused("usage", "keys", "rotate", KEY, SECRET)
    assert SECRET not in acme.refused("secret_reference_malformed", "keys", "rotate", KEY, "--secret", SECRET)
