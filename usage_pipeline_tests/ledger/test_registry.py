"""Workspaces, provider keys and Hermes feeds: what is kept, what is refused, and the trace that every change leaves."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy import Connection

from usage_pipeline.errors import InvalidInputError
from usage_pipeline.ledger.audit_log import list_changes
from usage_pipeline.ledger.hermes_feeds import (
    add_hermes_feed,
    bind_feed,
    find_hermes_feed,
    get_hermes_feed,
    list_hermes_feeds,
    set_counts,
)
from usage_pipeline.ledger.provider_keys import (
    account_of,
    find_provider_key,
    get_provider_key,
    list_provider_keys,
    store_secret,
)
from usage_pipeline.ledger.server import connect_engine
from usage_pipeline.ledger.workspaces import POLICIES, add_workspace, get_workspace, list_workspaces, set_policy
from usage_pipeline_tests.ledger.registering import NOW, register


@pytest.fixture
def engine(migrated_database: str) -> Iterator[sa.Engine]:
    engine = connect_engine(migrated_database)
    yield engine
    engine.dispose()


@pytest.fixture
def connection(engine: sa.Engine) -> Iterator[Connection]:
    with engine.connect() as connection:
        yield connection


def test_a_workspace_comes_back_as_it_was_added(connection: Connection) -> None:
    added = add_workspace(connection, "acme", name=" Acme Inc. ", now=NOW)
    assert (added.slug, added.name, added.policy, added.demo, added.created_at) == (
        "acme",
        "Acme Inc.",
        "provider_first",
        False,
        NOW,
    )
    assert get_workspace(connection, "acme") == added
    assert list_workspaces(connection) == (added,)


def test_a_refused_workspace_leaves_the_transaction_usable(connection: Connection) -> None:
    add_workspace(connection, "acme", name=None, now=NOW)
    with pytest.raises(InvalidInputError, match="already_registered"):
        add_workspace(connection, "acme", name=None, now=NOW)
    assert len(list_workspaces(connection)) == 1


def test_a_policy_is_set_once_and_traced(connection: Connection) -> None:
    add_workspace(connection, "acme", name=None, now=NOW)
    assert set_policy(connection, "acme", "hermes_first", NOW).policy == "hermes_first"
    set_policy(connection, "acme", "hermes_first", NOW)
    assert [change.what for change in list_changes(connection, "acme")] == ["workspace_added", "policy_set"]


def test_the_policies_are_those_of_the_table(connection: Connection) -> None:
    add_workspace(connection, "acme", name=None, now=NOW)
    for policy in reversed(POLICIES):
        assert set_policy(connection, "acme", policy, NOW).policy == policy
    with pytest.raises(InvalidInputError, match="policy_unknown"):
        set_policy(connection, "acme", "mine_first", NOW)


def test_a_key_comes_back_as_it_was_registered(connection: Connection) -> None:
    key = register(connection, organization="org-1")
    assert key.slug == "acme.openai.main"
    assert (key.workspace, key.provider, key.name) == ("acme", "openai", "main")
    assert (key.account, key.account_stated) == ("org-1", True)
    assert (key.secret_sealed, key.secret_reference, key.secret_version) == (None, "env:OPENAI_ADMIN_KEY", 1)
    assert get_provider_key(connection, key.slug) == key
    assert find_provider_key(connection, "acme.openai.none") is None


def test_unstated_keys_of_one_workspace_are_one_account(connection: Connection) -> None:
    first, second = register(connection), register(connection, "second")
    elsewhere = register(connection, workspace="globex")
    assert first.account == second.account
    assert first.account != elsewhere.account
    assert not first.account_stated


def test_no_stated_account_can_pass_for_an_unstated_one() -> None:
    with pytest.raises(InvalidInputError, match="organization_malformed"):
        account_of("globex", account_of("acme", None))


def test_keys_are_listed_in_the_order_of_registration(connection: Connection) -> None:
    keys = [register(connection, name) for name in ("b", "c", "a")]
    assert list(list_provider_keys(connection)) == keys
    assert [key.registration_order for key in keys] == sorted(key.registration_order for key in keys)
    assert list_provider_keys(connection, "globex") == ()


def test_a_key_and_a_feed_may_not_be_registered_twice(connection: Connection) -> None:
    register(connection)
    workspace = get_workspace(connection, "acme")
    add_hermes_feed(connection, workspace, "laptop", "production", days_back=None, now=NOW)
    with pytest.raises(InvalidInputError, match="already_registered"):
        register(connection)
    with pytest.raises(InvalidInputError, match="already_registered"):
        add_hermes_feed(connection, workspace, "laptop", "staging", days_back=None, now=NOW)
    assert len(list_provider_keys(connection)) == len(list_hermes_feeds(connection)) == 1


def test_a_new_secret_replaces_the_old_one_in_either_form(connection: Connection) -> None:
    key = register(connection)
    sealed = store_secret(
        connection, key, secret_sealed=b"sealed", secret_reference=None, secret_version=2, now=NOW + timedelta(hours=1)
    )
    assert (sealed.secret_sealed, sealed.secret_reference, sealed.secret_version) == (b"sealed", None, 2)
    newest = list_changes(connection, key.slug)[-1]
    assert (newest.what, newest.detail) == ("secret_rotated", {"secret": "sealed", "version": 2})


def test_a_key_does_not_show_its_sealed_secret(connection: Connection) -> None:
    key = register(connection)
    sealed = store_secret(connection, key, secret_sealed=b"SEALED", secret_reference=None, secret_version=2, now=NOW)
    assert "SEALED" not in repr(sealed)


def test_a_feed_comes_back_as_it_was_registered(connection: Connection) -> None:
    workspace = add_workspace(connection, "acme", name=None, now=NOW)
    feed = add_hermes_feed(connection, workspace, "laptop", "production", days_back=30, now=NOW)
    assert (feed.slug, feed.label, feed.environment, feed.days_back) == ("acme.laptop", "laptop", "production", 30)
    assert feed.counts
    assert get_hermes_feed(connection, "acme.laptop") == feed
    assert find_hermes_feed(connection, "acme.phone") is None
    staging = add_hermes_feed(connection, workspace, "lab", "staging", days_back=None, now=NOW)
    assert not staging.counts
    assert set_counts(connection, staging, True, NOW).counts
    assert list_hermes_feeds(connection, "acme")[0] == feed


def test_a_feed_is_bound_by_its_first_batch_alone(connection: Connection) -> None:
    workspace = add_workspace(connection, "acme", name=None, now=NOW)
    feed = add_hermes_feed(connection, workspace, "laptop", "production", days_back=None, now=NOW)
    bind_feed(connection, feed, "hermes-usage", "production")
    bind_feed(connection, feed, "another", "staging")
    bound = get_hermes_feed(connection, feed.slug)
    assert (bound.bound_workspace_slug, bound.bound_environment) == ("hermes-usage", "production")


def test_what_is_not_registered_is_an_error_with_a_remedy(connection: Connection) -> None:
    for look, slug, code in (
        (get_workspace, "acme", "workspace_unknown"),
        (get_provider_key, "acme.openai.main", "key_unknown"),
        (get_hermes_feed, "acme.laptop", "feed_unknown"),
    ):
        with pytest.raises(InvalidInputError, match=code) as caught:
            look(connection, slug)
        assert "usage-pipeline" in caught.value.remedy


def test_two_workspaces_of_one_name_at_once_are_one(engine: sa.Engine) -> None:
    outcomes: list[str] = []
    barrier = threading.Barrier(2)

    def add() -> None:
        barrier.wait()
        try:
            with engine.begin() as connection:
                add_workspace(connection, "acme", name=None, now=NOW)
            outcomes.append("added")
        except InvalidInputError as error:
            outcomes.append(error.code)

    threads = [threading.Thread(target=add) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["added", "already_registered"]
