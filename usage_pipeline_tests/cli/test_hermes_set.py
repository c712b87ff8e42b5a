"""``usage-pipeline hermes set``: whether a feed counts, how far its batches reach back, and who bills."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from usage_pipeline.ledger.audit_log import AuditEntry, list_changes
from usage_pipeline.ledger.hermes_batches import settle_newest_words
from usage_pipeline_tests.cli.conftest import CommandLine
from usage_pipeline_tests.cli.test_hermes import add_feed
from usage_pipeline_tests.scripted.payloads import Call, v2_payload

Written = Callable[[], Mapping[str, object]]
FEED = "acme.laptop"
CODEX = "openai=off_account:openai-codex"


@pytest.fixture
def laptop(acme: CommandLine) -> CommandLine:
    """The command line, with a Hermes feed acme.laptop that was registered on 2026-11-01."""
    acme.environ["USAGE_NOW"] = "2026-11-01T12:00:00Z"
    acme.done(*add_feed(), "--days-back", "30")
    acme.environ["USAGE_NOW"] = "2026-11-21T12:00:00Z"
    return acme


@pytest.fixture
def told(laptop: CommandLine, engine: sa.Engine, tmp_path: Path) -> CommandLine:
    """The command line, with a batch of the feed that speaks for 2026-11-19 to 2026-11-21, as its days back say."""
    payload = tmp_path / "payload.json"
    call = Call(datetime(2026, 11, 20, 9, tzinfo=UTC), output=5, requests=1)
    payload.write_text(json.dumps(v2_payload(datetime(2026, 11, 21, 11, tzinfo=UTC), [call])))
    laptop.done("hermes", "set", FEED, "--days-back", "3")
    laptop.done("hermes", "import", FEED, str(payload))
    with engine.begin() as connection:
        settle_newest_words(connection, [date(2026, 11, 21) - timedelta(days=n) for n in range(5)])
    return laptop


def set_feed(*words: str, feed: str = FEED) -> tuple[str, ...]:
    return ("hermes", "set", feed, *words)


def shown(command: CommandLine, feed: str = FEED) -> dict[str, object]:
    found: dict[str, object] = command.done("hermes", "show", feed, "--json").json
    return found


def changes(engine: sa.Engine, feed: str = FEED) -> tuple[AuditEntry, ...]:
    """What the audit log has about the feed but its registration and its tokens."""
    with engine.connect() as connection:
        return tuple(entry for entry in list_changes(connection, feed) if entry.what.endswith("_set"))


def test_a_feed_that_counts_is_only_shown_and_counts_again(laptop: CommandLine, engine: sa.Engine) -> None:
    assert "counts: no, only shown, for every day" in laptop.done(*set_feed("--no-counts")).out
    assert shown(laptop)["counts"] is False
    assert laptop.done(*set_feed("--counts", "--json")).json["counts"] is True
    assert [(entry.what, entry.detail) for entry in changes(engine)] == [
        ("counts_set", {"from": True, "to": False}),
        ("counts_set", {"from": False, "to": True}),
    ]


def test_days_back_are_set_and_left_to_the_batch(laptop: CommandLine, engine: sa.Engine) -> None:
    assert "days back: 7, for batches from now on" in laptop.done(*set_feed("--days-back", "7")).out
    assert shown(laptop)["days_back"] == 7
    assert "days back: by batch" in laptop.done(*set_feed("--days-back-by-batch")).out
    assert shown(laptop)["days_back"] is None
    assert [(entry.what, entry.detail) for entry in changes(engine)] == [
        ("days_back_set", {"from": 30, "to": 7}),
        ("days_back_set", {"from": 7, "to": None}),
    ]


def test_a_route_holds_from_this_utc_day_on(laptop: CommandLine, engine: sa.Engine) -> None:
    out = laptop.done(*set_feed("--bills-to", CODEX)).out
    assert f"bills to: {CODEX}, from 2026-11-21 (UTC) on" in out
    assert shown(laptop)["bills_to_by_day"] == [
        {"from": "2026-11-01", "bills_to": {}},
        {"from": "2026-11-21", "bills_to": {"openai": "off_account:openai-codex"}},
    ]
    (entry,) = changes(engine)
    assert (entry.what, entry.detail["effective_from"]) == ("bills_to_set", "2026-11-21")
    assert entry.detail["value"] == {"openai": "off_account:openai-codex"}


def test_a_route_holds_from_the_day_that_is_given(laptop: CommandLine) -> None:
    laptop.done(*set_feed("--bills-to", CODEX, "--from", "2026-11-10"))
    laptop.done(*set_feed("--bills-to", "openai=account", "--from", "2026-12-01"))
    assert shown(laptop)["bills_to"] == {"openai": "off_account:openai-codex"}
    laptop.environ["USAGE_NOW"] = "2026-12-01T00:00:00Z"
    assert shown(laptop)["bills_to"] == {"openai": "account"}


@pytest.mark.parametrize("day", ["2026-10-01", "2026-11-01"])
def test_a_route_from_the_registration_or_before_holds_for_every_day(laptop: CommandLine, day: str) -> None:
    assert "for every day" in laptop.done(*set_feed("--bills-to", CODEX, "--from", day)).out
    assert [value["from"] for value in laptop.done(*set_feed("--counts", "--json")).json["bills_to_by_day"]] == [day]


def test_a_provider_that_is_not_named_keeps_its_route_also_on_later_days(laptop: CommandLine) -> None:
    laptop.done(*set_feed("--bills-to", CODEX, "--from", "2026-11-15"))
    laptop.done(*set_feed("--bills-to", "anthropic=off_account:bedrock", "--from", "2026-11-10"))
    codex, bedrock = {"openai": "off_account:openai-codex"}, {"anthropic": "off_account:bedrock"}
    assert shown(laptop)["bills_to_by_day"] == [
        {"from": "2026-11-01", "bills_to": {}},
        {"from": "2026-11-10", "bills_to": bedrock},
        {"from": "2026-11-15", "bills_to": {**bedrock, **codex}},
    ]


def test_several_settings_are_one_change(laptop: CommandLine) -> None:
    words = ("--no-counts", "--days-back", "7", "--bills-to", CODEX, "--bills-to", "anthropic=account:wrkspc_1")
    told = laptop.done(*set_feed(*words, "--json")).json
    assert told["changed"] == ["counts", "days_back", "bills_to"]
    assert (told["counts"], told["days_back"]) == (False, 7)
    assert told["bills_to"] == {"openai": "off_account:openai-codex", "anthropic": "account:wrkspc_1"}


def test_what_is_so_already_writes_nothing(laptop: CommandLine, written: Written) -> None:
    laptop.done(*set_feed("--bills-to", CODEX))
    before = written()
    outcome = laptop.done(*set_feed("--counts", "--days-back", "30", "--bills-to", CODEX))
    assert outcome.out.count("as before") == 3
    assert "backfill" not in outcome.out
    assert written() == before


def test_the_days_that_a_change_is_about_are_told(told: CommandLine) -> None:
    assert "backfill --from 2026-11-19 --to 2026-11-21" in told.done(*set_feed("--no-counts")).out
    again = told.done(*set_feed("--bills-to", CODEX, "--from", "2026-11-20", "--json")).json["reconciled_days"]
    assert again == {"from": "2026-11-20", "to": "2026-11-21"}
    assert "backfill" not in told.done(*set_feed("--bills-to", "openai=account", "--from", "2026-11-22")).out
    assert "backfill" not in told.done(*set_feed("--days-back", "9")).out


def test_a_vendor_that_no_models_name_leads_to_is_set_with_a_note(laptop: CommandLine) -> None:
    assert "the vendor opnai" in laptop.done(*set_feed("--bills-to", "opnai=account")).err
    for vendor in ("openai", "anthropic", "google", "xai", "alibaba"):
        assert laptop.done(*set_feed("--bills-to", f"{vendor}=off_account:openrouter")).err == ""


def test_list_and_show_tell_the_settings(laptop: CommandLine) -> None:
    assert values_of(laptop.done("hermes", "show", FEED).out, "bills to") == ["account"]
    laptop.done(*set_feed("--days-back-by-batch", "--no-counts", "--bills-to", CODEX))
    out = laptop.done("hermes", "show", FEED).out
    assert values_of(out, "bills to") == ["account", f"{CODEX}, from 2026-11-21 (UTC) on"]
    assert values_of(out, "counts") == ["no, only shown"]
    assert values_of(out, "days back") == ["by batch"]
    table = laptop.done("hermes", "list").out
    assert all(words in table for words in ("no, only shown", "by batch", CODEX, "bills to", "days back"))


def values_of(out: str, word: str) -> list[str]:
    """The values of the lines of ``hermes show`` that begin with ``word``."""
    return [line[20:] for line in out.splitlines() if line[:20].rstrip() == word]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("nothing_to_change", ()),
        ("from_unclear", ("--from", "2026-11-01")),
        ("from_unclear", ("--no-counts", "--from", "2026-11-01")),
        ("date_malformed", ("--bills-to", CODEX, "--from", "yesterday")),
        ("date_malformed", ("--bills-to", CODEX, "--from", "")),
        ("days_back_unclear", ("--days-back", "3", "--days-back-by-batch")),
        ("days_back_malformed", ("--days-back", "0")),
        ("days_back_malformed", ("--no-counts", "--days-back", "366")),
        ("usage", ("--days-back", "many")),
        ("bills_to_malformed", ("--no-counts", "--bills-to", "openai")),
        ("bills_to_malformed", ("--bills-to", "")),
        ("bills_to_malformed", ("--bills-to", "openai=")),
        ("bills_to_malformed", ("--bills-to", "=account")),
        ("bills_to_malformed", ("--bills-to", "openai=Account")),
        ("bills_to_malformed", ("--bills-to", "openai=openai-codex")),
        ("bills_to_malformed", ("--bills-to", "openai=account:")),
        ("bills_to_malformed", ("--bills-to", "openai=account:a b")),
        ("bills_to_malformed", ("--bills-to", "openai=off_account")),
        ("bills_to_malformed", ("--bills-to", "openai=off_account:")),
        ("bills_to_malformed", ("--bills-to", "openai=off_account:Open Router")),
        ("bills_to_malformed", ("--bills-to", "openai=off_account:a\nb")),
        ("bills_to_malformed", ("--bills-to", f"openai=off_account:{'a' * 61}")),
        ("bills_to_malformed", ("--bills-to", "OpenAI=account")),
        ("bills_to_malformed", ("--bills-to", "gemini=account")),
        ("bills_to_malformed", ("--bills-to", "unknown=account")),
        ("bills_to_malformed", ("--bills-to", CODEX, "--bills-to", "openai=account")),
    ],
)
def test_a_change_that_makes_no_sense_is_refused_and_nothing_is_written(
    laptop: CommandLine, written: Written, code: str, words: tuple[str, ...]
) -> None:
    before = written()
    laptop.refused(code, *set_feed(*words))
    assert written() == before


def test_an_unknown_feed_is_refused(laptop: CommandLine, written: Written) -> None:
    before = written()
    laptop.refused("feed_unknown", *set_feed("--no-counts", feed="acme.desk"))
    laptop.refused("slug_malformed", *set_feed("--no-counts", feed="acme"))
    assert written() == before
