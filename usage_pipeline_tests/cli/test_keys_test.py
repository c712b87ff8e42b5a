"""``usage-pipeline keys test``: one harmless request over real HTTP, and what works or is missing in words."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import date, timedelta

import pytest
import sqlalchemy as sa

from usage_pipeline.sandbox.faces import (
    DEFAULT_ANTHROPIC_KEY,
    DEFAULT_LITELLM_KEY,
    DEFAULT_OPENAI_KEY,
    DEFAULT_OPENAI_STANDARD_KEY,
    DEFAULT_OPENROUTER_KEY,
)
from usage_pipeline.sandbox.server import SandboxServer
from usage_pipeline.sandbox.world import World
from usage_pipeline_tests.cli.conftest import CommandLine
from usage_pipeline_tests.cli.test_keys_add import SECRET, add
from usage_pipeline_tests.providers.loopback import Answer, Loopback
from usage_pipeline_tests.providers.loopback import serving as serving_answers
from usage_pipeline_tests.scripted.account import ScriptedAccount
from usage_pipeline_tests.scripted.scenario import utc
from usage_pipeline_tests.scripted.server import ScriptedProviders, serving

Written = Callable[[], Mapping[str, object]]
KEY = "acme.openai.main"
YESTERDAY = date(2026, 11, 20)


@pytest.fixture
def served() -> Iterator[ScriptedProviders]:
    with serving() as scripted:
        yield scripted


@pytest.fixture
def account(acme: CommandLine, served: ScriptedProviders) -> ScriptedAccount:
    """The account behind the key, which is registered by reference."""
    acme.environ["OPENAI_ADMIN_KEY"] = SECRET
    acme.done(*add(base_url=served.url))
    made = served.accounts.setdefault(SECRET, ScriptedAccount("openai", SECRET))
    made.organisation = "org-Truth1"
    made.spend(utc(YESTERDAY, 0), 10)
    return made


def test_a_key_that_works_is_told_with_its_account(acme: CommandLine, account: ScriptedAccount) -> None:
    told = acme.done("keys", "test", KEY)
    assert "The key works: OpenAI answers completions of org-Truth1." in told.out
    assert "OPENAI_ADMIN_KEY, version 1, opens" in told.out
    assert "assumed" in told.out
    assert "none yet" in told.out
    assert SECRET not in told.out + told.err


@pytest.mark.parametrize(
    ("provider", "mode", "secret"),
    [
        ("openai", "admin", DEFAULT_OPENAI_KEY),
        ("openai", "standard", DEFAULT_OPENAI_STANDARD_KEY),
        ("anthropic", "admin", DEFAULT_ANTHROPIC_KEY),
        ("openrouter", "admin", DEFAULT_OPENROUTER_KEY),
        ("litellm", "admin", DEFAULT_LITELLM_KEY),
    ],
)
def test_a_key_of_every_provider_and_mode_is_asked_as_its_api_takes_it(
    acme: CommandLine, provider: str, mode: str, secret: str
) -> None:
    acme.environ["THE_KEY"] = secret
    with SandboxServer(World(7, utc(YESTERDAY + timedelta(days=1), 12))) as sandbox:
        address = sandbox.base_url(provider)
        acme.done(*add(provider=provider, mode=mode, secret="env:THE_KEY", base_url=address))
        told = acme.done("keys", "test", f"acme.{provider}.main", "--json").json
        assert (told["works"], told["error"]) == (True, None)
        assert len(sandbox.requests) == 1


def test_it_asks_once_for_the_least_and_writes_nothing(
    acme: CommandLine, account: ScriptedAccount, written: Written
) -> None:
    before = written()
    told = acme.done("keys", "test", KEY, "--json").json
    assert (told["works"], told["account_answered"], told["pulled"]) == (True, "org-Truth1", True)
    ((path, query),) = account.asked
    assert path == "/v1/organization/usage/completions"
    asked = dict(query)
    assert (asked["limit"], asked["bucket_width"]) == ("1", "1h")
    assert asked["start_time"] == str(int(utc(YESTERDAY).timestamp()))
    assert "group_by" not in asked
    assert account.looked_up == []
    assert written() == before


def test_a_missing_scope_is_told_with_its_remedy(acme: CommandLine) -> None:
    acme.environ["OPENAI_ADMIN_KEY"] = SECRET
    refusal = b'{"error": {"message": "You have insufficient permissions. Missing scopes: api.usage.read."}}'
    with serving_answers(Loopback(Answer(status=403, body=refusal))) as server:
        acme.done(*add(base_url=server.url))
        told = acme("keys", "test", KEY)
        assert told.exit_code == 1
        assert "The key does not work" in told.out
        assert "api.usage.read" in told.out
        assert told.err.startswith("error: [scope_missing] ")
        assert acme("keys", "test", KEY, "--json").json["error"]["code"] == "scope_missing"
        assert len(server.asked) == 2  # one each time


def test_a_server_that_is_down_is_asked_twice_at_most(acme: CommandLine) -> None:
    acme.environ["OPENAI_ADMIN_KEY"] = SECRET
    with serving_answers(Loopback(Answer(status=503, headers={"Retry-After": "0"}))) as server:
        acme.done(*add(base_url=server.url))
        assert acme("keys", "test", KEY).exit_code == 1
        assert len(server.asked) == 2


def test_a_secret_that_is_gone_is_told(acme: CommandLine, account: ScriptedAccount) -> None:
    acme.environ["OPENAI_ADMIN_KEY"] = None
    told = acme("keys", "test", KEY)
    assert told.exit_code == 1
    assert "[secret_env_missing]" in told.err
    assert "was not used" in told.out
    assert account.asked == []


def test_an_account_that_is_not_the_stated_one_is_told(acme: CommandLine, account: ScriptedAccount) -> None:
    acme.done("keys", "set", KEY, "--organization", "org-mistyped")
    told = acme("keys", "test", KEY, "--json")
    assert told.exit_code == 1
    assert told.json["error"]["code"] == "account_contradicted"
    assert "--organization org-Truth1" in told.json["error"]["remedy"]


def test_what_is_switched_off_is_told_though_the_key_works(acme: CommandLine, account: ScriptedAccount) -> None:
    acme.environ["USAGE_DISABLED_PROVIDERS"] = "openai"
    told = acme.done("keys", "test", KEY)
    assert "no: the provider openai is turned off" in told.out
    acme.environ["USAGE_DISABLED_PROVIDERS"] = None
    acme.done("keys", "disable", KEY)
    acme.environ["USAGE_NOW"] = "2026-11-22T00:00:00Z"
    assert acme.done("keys", "test", KEY, "--json").json["not_pulled_because"] == "the key is disabled"


def test_what_was_learned_and_the_last_pulls_are_told(
    acme: CommandLine, account: ScriptedAccount, engine: sa.Engine
) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO learned_limits (feed_id, endpoint, refused_dimensions, page_limits, said, learned_at)"
            " SELECT feed_id, 'costs', '{api_key_id}', '{}', 'not by key', now() FROM provider_keys"
        )
        for started, error in (("2026-11-19T00:00:00Z", None), ("2026-11-20T00:00:00Z", "it was down")):
            connection.execute(
                sa.text(
                    "INSERT INTO pulls (feed_id, endpoint, first_day, end_day, window_seconds, dimensions_asked,"
                    " projects, started_at, finished_at, complete, pages, requests, seconds_waited, rows_read, drift,"
                    " error_code, error) SELECT feed_id, 'completions', '2026-11-18', '2026-11-20', 3600, '{}', '{}',"
                    " :at, :at, CAST(:error AS text) IS NULL, 1, 1, 0, 7, '{}', :error, :error FROM provider_keys"
                ),
                {"at": started, "error": error},
            )
    told = acme.done("keys", "test", KEY)
    assert "costs: not by key" in told.out
    assert "completions, 2026-11-20 00:00 UTC, days 2026-11-18 to 2026-11-19: failed: it was down" in told.out
    assert "2026-11-19 00:00 UTC" not in told.out
