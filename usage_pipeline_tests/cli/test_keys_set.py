"""``usage-pipeline keys set``: grain, scope and stated account of a registered key."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
import sqlalchemy as sa

from usage_pipeline_tests.cli.conftest import CommandLine
from usage_pipeline_tests.cli.test_keys_add import add

Written = Callable[[], Mapping[str, object]]
KEY = "acme.openai.main"


def set_key(*words: str, key: str = KEY) -> tuple[str, ...]:
    return ("keys", "set", key, *words)


def read_a_day(engine: sa.Engine) -> None:
    """As after a pull: a day of the first key is covered."""
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO slices (feed_id, endpoint, day, observed_at)"
            " SELECT min(feed_id), 'completions', '2026-11-20', '2026-11-21T01:00:00Z' FROM provider_keys"
        )


def test_another_grain_holds_from_the_next_pull_on(acme: CommandLine, engine: sa.Engine) -> None:
    acme.done(*add())
    read_a_day(engine)
    told = acme.done(*set_key("--grain", "1d", "--json"))
    assert told.json["grain"] == "1d"
    assert "are replaced then" in told.err
    assert "note: " not in acme.done(*set_key("--grain", "1d")).err
    with engine.connect() as connection:
        changes = connection.execute(sa.text("SELECT count(*) FROM audit_log WHERE what = 'grain_changed'"))
        assert changes.scalar_one() == 1


def test_a_scope_holds_from_the_next_utc_day_on(acme: CommandLine, engine: sa.Engine) -> None:
    acme.done(*add(), "--project", "proj_a")
    read_a_day(engine)
    told = acme.done(*set_key("--project", "proj_c", "--project", "proj_b", "--json"))
    assert told.json["projects"] == ["proj_a"]
    assert "from 2026-11-22" in told.err
    acme.environ["USAGE_NOW"] = "2026-11-22T00:00:00Z"
    assert acme.done("keys", "show", KEY, "--json").json["projects"] == ["proj_b", "proj_c"]
    acme.done(*set_key("--whole-account"))
    acme.environ["USAGE_NOW"] = "2026-11-23T00:00:00Z"
    assert acme.done("keys", "show", KEY, "--json").json["projects"] == []


def test_a_scope_of_a_key_that_was_never_read_holds_for_every_day(acme: CommandLine) -> None:
    acme.done(*add(), "--project", "proj_mistyped")
    acme.environ["USAGE_NOW"] = "2026-11-25T00:00:00Z"
    assert acme.done(*set_key("--project", "proj_a", "--json")).json["projects"] == ["proj_a"]
    acme.done("workspace", "add", "globex")
    acme.done(*add(workspace="globex", secret="env:GLOBEX"), "--project", "proj_mistyped")


def test_a_stated_account_takes_the_place_of_the_assumed_one(acme: CommandLine) -> None:
    acme.done(*add())
    told = acme.done(*set_key("--organization", "org-1", "--json")).json
    assert (told["account"], told["account_known"], told["account_stated"]) == ("org-1", "stated", True)
    assert "org-1 (stated; the provider has not told it)" in acme.done("keys", "show", KEY).out


def test_an_account_that_the_provider_told_is_not_stated_otherwise(
    acme: CommandLine, engine: sa.Engine, written: Written
) -> None:
    acme.done(*add())
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE provider_keys SET account = 'org-1', account_told = 'org-1', account_told_version = 1"
        )
    before = written()
    assert "org-1" in acme.refused("account_contradicted", *set_key("--organization", "org-2"))
    assert written() == before
    assert acme.done(*set_key("--organization", "org-1", "--json")).json["account_stated"] is True
    assert "told by the provider, as stated" in acme.done("keys", "show", KEY).out


def test_a_change_that_makes_workspaces_overlap_is_refused(acme: CommandLine, written: Written) -> None:
    acme.done(*add(organization="org-1"), "--project", "proj_a")
    acme.done("workspace", "add", "globex")
    acme.done(*add(workspace="globex", secret="env:GLOBEX", organization="org-1"), "--project", "proj_b")
    acme.done(*add(workspace="globex", name="unstated", secret="env:OTHER"))
    before = written()
    for words in (("--whole-account",), ("--project", "proj_a")):
        assert KEY in acme.refused("scope_overlaps", *set_key(*words, key="globex.openai.main"))
    acme.refused("scope_overlaps", *set_key("--organization", "org-1", key="globex.openai.unstated"))
    assert written() == before
    acme.done(*set_key("--project", "proj_c", key="globex.openai.main"))


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("nothing_to_change", ()),
        ("grain_unknown", ("--grain", "1m")),
        ("project_malformed", ("--project", "proj a")),
        ("organization_malformed", ("--organization", "unstated:acme")),
        ("scope_unclear", ("--project", "proj_a", "--whole-account")),
    ],
)
def test_a_change_that_makes_no_sense_is_refused_and_nothing_is_written(
    acme: CommandLine, written: Written, code: str, words: tuple[str, ...]
) -> None:
    acme.done(*add())
    before = written()
    acme.refused(code, *set_key(*words))
    assert written() == before


def test_an_unknown_key_is_refused(acme: CommandLine) -> None:
    acme.refused("key_unknown", *set_key("--grain", "1d"))
    acme.refused("key_unknown", "keys", "test", KEY)


def test_a_proxys_account_is_not_stated(acme: CommandLine) -> None:
    acme.done(*add(provider="litellm", base_url="https://llm.example"))
    acme.refused("organization_not_taken", *set_key("--organization", "org-1", key="acme.litellm.main"))


def test_a_new_secret_forgets_what_refusals_taught_of_the_former(acme: CommandLine, engine: sa.Engine) -> None:
    acme.done(*add())
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO learned_limits (feed_id, endpoint, refused_dimensions, page_limits, said, learned_at)"
            " SELECT feed_id, 'costs', '{api_key_id}', '{}', 'not by key', now() FROM provider_keys"
        )
    acme.done("keys", "rotate", KEY, "--secret", "env:ANOTHER")
    with engine.connect() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM learned_limits")).scalar_one() == 0


def test_days_that_were_reconciled_under_a_former_account_are_shown(acme: CommandLine, engine: sa.Engine) -> None:
    acme.done(*add())
    read_a_day(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO reconciliations (workspace_id, day, now)"
            " SELECT workspace_id, '2026-11-20', '2026-11-21T02:00:00Z' FROM workspaces"
        )
    assert "backfill --from 2026-11-20 --to 2026-11-20" in acme.done(*set_key("--organization", "org-1")).err
    assert "backfill --from 2026-11-20 --to 2026-11-20" in acme.done("keys", "show", KEY).out
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE reconciliations SET now = '2026-11-21T13:00:00Z'")
    assert acme.done("keys", "show", KEY, "--json").json["note"] is None
