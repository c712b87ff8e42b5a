"""The erasure of a person's ids: nothing keeps them, no figure changes, and they do not come back."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa
import zstandard

from usage_pipeline import stages
from usage_pipeline.credentials.vault import KeyRingSource, rewrap_all
from usage_pipeline.erasure import Erased, erase_person
from usage_pipeline.errors import UsagePipelineError
from usage_pipeline.ledger.audit_log import list_changes, record_change
from usage_pipeline.ledger.dimension_names import list_names
from usage_pipeline.ledger.erasure import replace_in_words
from usage_pipeline_tests.parity.conftest import DAY, NEXT, SETTLED, scenario, use_two_days
from usage_pipeline_tests.scripted.scenario import TELEMETRY, RegisteredAccount, Scenario, utc

__all__ = ["scenario"]

END = NEXT + timedelta(days=1)
PERSON = "user-2"
MAIL = "Jane.Doe@example.com"


@pytest.fixture
def registered(scenario: Scenario) -> RegisteredAccount:
    """Two days of two users, pulled, restated and reconciled, and the users' names."""
    key = scenario.register()
    key.account.lists = {
        "/v1/organization/users": [
            {"id": PERSON, "name": "Jane Doe", "email": MAIL, "role": "owner"},
            {"id": "user-1", "name": "John Roe", "email": "john@example.com", "role": "reader"},
        ]
    }
    use_two_days(key.account)
    scenario.pull(key, DAY, END)
    scenario.settle(DAY, NEXT)
    use_two_days(key.account)
    scenario.at(SETTLED + timedelta(hours=1)).pull(key, DAY, END)
    scenario.settle(DAY, NEXT)
    return key


def erase(scenario: Scenario, person: str = PERSON, *, dry_run: bool = False, account: str = "org-acme") -> Erased:
    return erase_person(scenario.runtime, "openai", account, person, dry_run=dry_run)


def everything(scenario: Scenario) -> str:
    """Every row of every table as text, and every stored body unpacked."""
    told = io.StringIO()
    with scenario.runtime.engine.begin() as connection:
        for table in sa.inspect(connection).get_table_names():
            for row in connection.execute(sa.text(f'SELECT CAST(t AS text) FROM "{table}" AS t')).scalars():
                told.write(f"{table}: {row}\n")
        for body in connection.execute(sa.text("SELECT body_zstd FROM raw_pages")).scalars():
            told.write(zstandard.decompress(bytes(body)).decode())
    return told.getvalue()


def test_nothing_keeps_the_ids_and_no_figure_changes(scenario: Scenario, registered: RegisteredAccount) -> None:
    with scenario.runtime.engine.begin() as connection:
        connection.execute(
            sa.text("UPDATE findings SET explanation = explanation || ' Mostly of user-2, not of user-22.'")
        )
    before = scenario.report(DAY, END)
    assert PERSON in everything(scenario)
    done = erase(scenario)
    left = everything(scenario)
    assert "user-22" in left
    assert PERSON not in left.replace("user-22", "")
    assert MAIL not in left
    assert "Jane Doe" not in left
    assert "user-1" in left
    assert (done.ids, done.raw_pages > 0, done.rows > 0, done.names) == (2, True, True, 1)
    after = scenario.report(DAY, END)
    assert (after["rows"], after["totals"], after["bills"]) == (before["rows"], before["totals"], before["bills"])
    with scenario.runtime.engine.begin() as connection:
        entry = list_changes(connection, "openai org-acme")[-1]
    assert (entry.what, entry.detail["pseudonym"]) == ("user_erased", done.pseudonym)


def test_an_id_that_is_a_common_word_renames_no_field_and_changes_no_number(
    scenario: Scenario, registered: RegisteredAccount
) -> None:
    words = {"user": "user", "note": "said by User, not by user-22", "deep": [{"user": ["user", 300]}], "user-id": 1.50}
    with scenario.runtime.engine.begin() as connection:
        record_change(connection, SETTLED, "made_up", "user", words)
        replace_in_words(connection, {"user": "erased-1", "300": "erased-2", "jane\\doe": "erased-3"})
        (entry,) = list_changes(connection, "erased-1")
        others = connection.execute(
            sa.text("SELECT DISTINCT jsonb_object_keys(detail) FROM audit_log WHERE what <> 'made_up'")
        ).scalars()
        assert not [name for name in others if "erased" in name]
    assert entry.detail == {
        "user": "erased-1",
        "note": "said by erased-1, not by user-22",
        "deep": [{"user": ["erased-1", 300]}],
        "user-id": 1.50,
    }


def test_a_later_pull_says_the_same_and_brings_no_id_back(scenario: Scenario, registered: RegisteredAccount) -> None:
    erase(scenario)
    codes = scenario.codes(DAY)
    before = scenario.contents()
    summary = scenario.at(SETTLED + timedelta(days=3)).pull(registered, DAY, END)
    scenario.settle(DAY, NEXT)
    assert summary.changed_days == []
    after = scenario.contents()
    same = ("usage_events", "usage_event_history", "billed_costs", "raw_pages", "reconciled_usage", "final_figures")
    for table in same:
        assert after[table] == before[table], table
    assert scenario.codes(DAY) == codes
    assert PERSON not in everything(scenario)


def test_rows_have_the_keys_that_normalising_gives_them(scenario: Scenario, registered: RegisteredAccount) -> None:
    erase(scenario)
    before = scenario.contents()
    with scenario.runtime.engine.begin() as connection:
        connection.execute(sa.text("UPDATE slices SET observed_digest = NULL, content_digest = NULL"))
    stages.normalise_usage(scenario.runtime, [DAY, NEXT])
    stages.normalise_bills(scenario.runtime, [DAY, NEXT])
    assert scenario.contents(*TELEMETRY) == {name: before[name] for name in before if name not in TELEMETRY}


def test_a_restated_day_keeps_the_pseudonym(scenario: Scenario, registered: RegisteredAccount) -> None:
    done = erase(scenario)
    registered.account.spend(utc(DAY, 9), 5, "gpt-4o-mini-2024-07-18", user=PERSON, project="proj_b", api_key="key_2")
    scenario.at(SETTLED + timedelta(days=3)).pull(registered, DAY, END)
    scenario.settle(DAY, NEXT)
    assert PERSON not in everything(scenario)
    mine = scenario.select("SELECT sum(output) AS output FROM usage_events WHERE user_id = :me", me=done.pseudonym)
    theirs = sum(use.output for use in registered.account.uses if use.user == PERSON)
    assert mine[0]["output"] == theirs


def test_names_do_not_come_back(scenario: Scenario, registered: RegisteredAccount) -> None:
    done = erase(scenario, MAIL.lower())
    stages.refresh_names(scenario.at(SETTLED + timedelta(days=3)).runtime, registered.slug)
    with scenario.runtime.engine.begin() as connection:
        named = {one.named.id: one.named for one in list_names(connection)}
    assert "user-1" in named
    assert PERSON not in named
    (erased,) = [one for one in named.values() if one.id.startswith("erased-")]
    assert (erased.name, erased.detail) == (erased.id, {})
    assert done.pseudonym != erased.id  # an address and an id have pseudonyms of their own


def test_a_dry_run_changes_nothing(scenario: Scenario, registered: RegisteredAccount) -> None:
    before = scenario.contents()
    would = erase(scenario, dry_run=True)
    assert scenario.contents() == before
    done = erase(scenario)
    assert replace(would, pseudonym=done.pseudonym) == done


def test_a_second_erasure_finds_nothing(scenario: Scenario, registered: RegisteredAccount) -> None:
    first = erase(scenario)
    again = erase(scenario)
    assert (again.pseudonym, again.raw_pages, again.rows, again.names, again.words) == (first.pseudonym, 0, 0, 0, 0)


def test_a_billed_line_of_the_person_keeps_its_amount(scenario: Scenario, registered: RegisteredAccount) -> None:
    with scenario.runtime.engine.begin() as connection:
        connection.execute(sa.text("UPDATE billed_costs SET user_id = :me WHERE project_id = 'proj_b'"), {"me": PERSON})
    before = scenario.select("SELECT sum(amount_usd) AS usd, count(*) AS n FROM billed_costs")
    done = erase(scenario)
    assert scenario.select("SELECT sum(amount_usd) AS usd, count(*) AS n FROM billed_costs") == before
    assert {row["user_id"] for row in scenario.select("SELECT user_id FROM billed_costs")} == {None, done.pseudonym}


def test_what_is_wrong_is_refused(scenario: Scenario, registered: RegisteredAccount) -> None:
    for person, account, code in (
        ("u", "org-acme", "id_malformed"),
        (" user-2", "org-acme", "id_malformed"),
        ("erased-0123", "org-acme", "id_malformed"),
        (PERSON, "org-other", "account_unknown"),
    ):
        with pytest.raises(UsagePipelineError) as refused:
            erase(scenario, person, account=account)
        assert refused.value.code == code


def test_without_the_encryption_key_no_answer_is_stored(scenario: Scenario, registered: RegisteredAccount) -> None:
    erase(scenario)
    key_file = scenario.runtime.home / "encryption-keys"
    aside = key_file.rename(key_file.with_name("elsewhere"))
    with pytest.raises(UsagePipelineError) as refused:
        scenario.pull(registered, DAY, END)
    assert refused.value.code == "encryption_key_missing"
    aside.rename(key_file)
    scenario.pull(registered, DAY, END)
    assert PERSON not in everything(scenario)


def test_the_encryption_key_can_be_rotated(scenario: Scenario, registered: RegisteredAccount) -> None:
    done = erase(scenario)
    newer = f"new:{'A' * 43}="
    former = (scenario.runtime.home / "encryption-keys").read_text()
    rings = KeyRingSource({"USAGE_ENCRYPTION_KEYS": f"{newer},{former}"}, scenario.runtime.home)
    with scenario.runtime.engine.begin() as connection:
        assert rewrap_all(connection, rings.for_sealing(connection), scenario.clock()).rewrapped == 1
    scenario.environ["USAGE_ENCRYPTION_KEYS"] = newer
    assert erase(scenario).pseudonym == done.pseudonym
