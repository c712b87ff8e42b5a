"""Registering keys and opening their secrets: the vault over a real database, and two registrations at once."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from usage_pipeline.credentials.references import SecretReference
from usage_pipeline.credentials.registration import (
    KeyRequest,
    SecretSource,
    refuse_secret_of_another_workspace,
    register_key,
    replace_secret,
)
from usage_pipeline.credentials.sealing import SealingError
from usage_pipeline.credentials.secret import Secret
from usage_pipeline.credentials.vault import KeyRingSource, reveal
from usage_pipeline.errors import InvalidInputError, PermanentError
from usage_pipeline.ledger.provider_keys import ProviderKey, list_provider_keys
from usage_pipeline.ledger.server import connect_engine
from usage_pipeline.ledger.workspaces import add_workspace
from usage_pipeline.providers.registry import provider
from usage_pipeline_tests.ledger.registering import NOW

TEXT = "sk-admin-Q7w1TESTONLY"


@pytest.fixture
def engine(migrated_database: str) -> Iterator[sa.Engine]:
    engine = connect_engine(migrated_database)
    with engine.begin() as connection:
        for slug in ("acme", "globex"):
            add_workspace(connection, slug, name=None, now=NOW)
    yield engine
    engine.dispose()


@pytest.fixture
def rings(tmp_path: Path) -> KeyRingSource:
    return KeyRingSource({}, tmp_path)


def request_for(
    source: SecretSource, *, workspace: str = "acme", name: str = "main", organization: str | None = None
) -> KeyRequest:
    return KeyRequest(workspace, provider("openai"), name, "admin", source, organization)


def registered(engine: sa.Engine, rings: KeyRingSource, request: KeyRequest) -> ProviderKey:
    with engine.begin() as connection:
        return register_key(connection, request, rings, {}, NOW).key


def test_a_sealed_secret_opens_again(engine: sa.Engine, rings: KeyRingSource) -> None:
    key = registered(engine, rings, request_for(Secret(TEXT)))
    assert reveal(key, rings.existing(), {}) == Secret(TEXT)


def test_a_referred_secret_needs_no_ring(engine: sa.Engine, rings: KeyRingSource) -> None:
    key = registered(engine, rings, request_for(SecretReference.parse("env:OPENAI_ADMIN_KEY")))
    assert reveal(key, None, {"OPENAI_ADMIN_KEY": TEXT}) == Secret(TEXT)
    assert rings.existing() is None
    with pytest.raises(PermanentError, match="secret_env_missing"):
        reveal(key, None, {})


def test_a_sealed_secret_without_a_ring_is_an_error(engine: sa.Engine, rings: KeyRingSource) -> None:
    key = registered(engine, rings, request_for(Secret(TEXT)))
    with pytest.raises(PermanentError, match="encryption_key_missing"):
        reveal(key, None, {})


@pytest.mark.parametrize(
    "changed", [{"workspace": "globex"}, {"provider": "anthropic"}, {"name": "second"}, {"secret_version": 2}]
)
def test_a_swapped_row_does_not_open(engine: sa.Engine, rings: KeyRingSource, changed: dict[str, object]) -> None:
    key = registered(engine, rings, request_for(Secret(TEXT)))
    with pytest.raises(SealingError) as caught:
        reveal(dataclasses.replace(key, **changed), rings.existing(), {})
    assert caught.value.code == "sealed_secret_moved"
    assert TEXT not in str(caught.value)


def test_a_cut_secret_does_not_open(engine: sa.Engine, rings: KeyRingSource) -> None:
    key = registered(engine, rings, request_for(Secret(TEXT)))
    assert key.secret_sealed is not None
    with pytest.raises(SealingError, match="sealed_secret_cut"):
        reveal(dataclasses.replace(key, secret_sealed=key.secret_sealed[:-1]), rings.existing(), {})


def test_no_new_key_is_made_where_it_would_not_open_what_is_sealed(engine: sa.Engine, tmp_path: Path) -> None:
    registered(engine, KeyRingSource({}, tmp_path / "home"), request_for(Secret(TEXT)))
    without = KeyRingSource({}, tmp_path / "other")
    for made in (request_for(Secret(f"{TEXT}-2"), name="second"), request_for(Secret(TEXT), workspace="globex")):
        with pytest.raises(PermanentError, match=r"encryption_key_missing.*acme\.openai\.main") as caught:
            registered(engine, without, made)
        assert "USAGE_ENCRYPTION_KEYS" in caught.value.remedy
    with engine.begin() as connection, pytest.raises(PermanentError, match="encryption_key_missing"):
        replace_secret(connection, "acme.openai.main", Secret(f"{TEXT}-2"), without, {}, NOW)
    assert not (tmp_path / "other").exists()
    registered(engine, without, request_for(SecretReference.parse("env:OPENAI_ADMIN_KEY"), name="referred"))
    assert len(list_provider_keys_of(engine)) == 2
    new_one = KeyRingSource({"USAGE_ENCRYPTION_KEYS": f"new:{'A' * 43}="}, tmp_path / "other")
    with engine.begin() as connection:
        renewed = replace_secret(connection, "acme.openai.main", Secret(f"{TEXT}-2"), new_one, {}, NOW).key
    assert reveal(renewed, new_one.existing(), {}) == Secret(f"{TEXT}-2")


def list_provider_keys_of(engine: sa.Engine) -> list[str]:
    with engine.connect() as connection:
        return [key.slug for key in list_provider_keys(connection)]


def test_a_refused_request_makes_no_key_file(engine: sa.Engine, tmp_path: Path) -> None:
    rings = KeyRingSource({}, tmp_path / "home")
    with pytest.raises(InvalidInputError, match="workspace_unknown"):
        registered(engine, rings, request_for(Secret(TEXT), workspace="initech"))
    assert not (tmp_path / "home").exists()


def test_of_two_overlapping_registrations_at_once_one_is_refused(engine: sa.Engine, rings: KeyRingSource) -> None:
    outcomes: list[str] = []
    barrier = threading.Barrier(2)

    def add(workspace: str) -> None:
        reference = SecretReference.parse(f"env:{workspace.upper()}")
        request = request_for(reference, workspace=workspace, organization="org-1")
        barrier.wait()
        try:
            registered(engine, rings, request)
            outcomes.append("registered")
        except InvalidInputError as error:
            outcomes.append(error.code)

    threads = [threading.Thread(target=add, args=(workspace,)) for workspace in ("acme", "globex")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["registered", "scope_overlaps"]
    with engine.connect() as connection:
        assert len(list_provider_keys(connection)) == 1


def test_a_request_never_shows_its_secret() -> None:
    assert TEXT not in repr(request_for(Secret(TEXT)))


def test_a_demos_key_is_no_overlap_with_a_real_workspaces(engine: sa.Engine, rings: KeyRingSource) -> None:
    with engine.begin() as connection:
        add_workspace(connection, "demo", name=None, now=NOW, demo=True)
    made_up = dataclasses.replace(request_for(Secret(TEXT), workspace="demo"), base_url="http://127.0.0.1:1")
    registered(engine, rings, made_up)
    key = registered(engine, rings, request_for(Secret(TEXT)))
    with engine.begin() as connection:
        refuse_secret_of_another_workspace(connection, key, Secret(TEXT), rings, {})
    with pytest.raises(InvalidInputError, match="scope_overlaps"):
        registered(engine, rings, request_for(Secret(TEXT), workspace="globex"))
