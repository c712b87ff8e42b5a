"""``usage-pipeline alerts``: what is open, who was told, and whether a receiver can be reached."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from usage_pipeline.alerts.causes import WINDOW_MISSING
from usage_pipeline.alerts.tick import run_tick
from usage_pipeline.settings import Settings
from usage_pipeline_tests.alerts.conftest import condition
from usage_pipeline_tests.alerts.loopback import LoopbackReceiver, receiving
from usage_pipeline_tests.cli.conftest import CommandLine

START = datetime(2026, 11, 21, 2, 10, tzinfo=UTC)


@pytest.fixture
def receiver() -> Iterator[LoopbackReceiver]:
    with receiving() as made:
        yield made


def test_open_alerts_are_listed_with_who_was_told(
    command: CommandLine, engine: sa.Engine, receiver: LoopbackReceiver
) -> None:
    assert "No alert is open." in command.done("alerts", "list").out
    told = {"USAGE_ALERT_URLS": f"{receiver.url} json://127.0.0.1:9/secret-canary"}
    for minute in (0, 1):
        run_tick(
            engine,
            [condition(since=START), condition("over", since=START)][: 2 - minute],
            Settings.from_environment(told),
            told,
            START + timedelta(minutes=minute),
        )
    table = command.done("alerts", "list").out
    assert "acme.openai.main" in table
    assert "json: 2026-11-21 02:10" in table
    assert "NOT in 2 attempts" in table
    assert "over" not in table
    assert "over 2026-11-21 02:11" in command.done("alerts", "list", "--all").out
    (listed,) = command.done("alerts", "list", "--json").json
    assert (listed["cause"], listed["where"], listed["notified_at"]) == ("key_refused", "acme.openai.main", None)
    assert {one["receiver"]: one["attempts"] for one in listed["deliveries"]} == {"json": 1, "json-2": 2}
    assert "canary" not in table + str(listed)


def test_whom_nobody_is_to_tell_and_who_is_tried_later_is_listed(command: CommandLine, engine: sa.Engine) -> None:
    told = {"USAGE_ALERT_URLS": "json://127.0.0.1:9/x", "USAGE_ALERT_SEVERITIES": "error"}
    settings = Settings.from_environment(told)
    grave, quiet = condition(since=START), condition("quiet", since=START, cause=WINDOW_MISSING)
    for seconds in (0, 1, 2):
        later = [condition("later", since=START)] * (seconds == 2)
        run_tick(engine, [grave, quiet, *later], settings, told, START + timedelta(seconds=seconds))
    listed = {one["where"]: one for one in command.done("alerts", "list", "--json").json}
    assert (listed["quiet"]["quiet"], listed["quiet"]["deliveries"]) == (True, [])
    (waiting,) = listed["later"]["deliveries"]
    assert (waiting["attempts"], waiting["accepted_at"]) == (0, None)
    table = " ".join(command.done("alerts", "list").out.split())
    assert "nobody, by" in table
    assert "json: NOT yet" in table


def test_one_wrong_entry_keeps_no_test_message_from_the_others(
    command: CommandLine, receiver: LoopbackReceiver
) -> None:
    command.environ["USAGE_ALERT_URLS"] = f"nonsense://canary {receiver.url} env:NOT_THERE"
    outcome = command("alerts", "test")
    assert outcome.exit_code != 0
    assert "json: accepted" in outcome.out
    assert "entry 1 is no URL" in outcome.err
    assert "entry 3, env:NOT_THERE" in outcome.out
    assert "canary" not in outcome.out + outcome.err
    assert len(receiver.got) == 1


def test_a_test_message_says_who_accepted_it(command: CommandLine, receiver: LoopbackReceiver) -> None:
    command.environ["USAGE_ALERT_URLS"] = receiver.url
    assert command.done("alerts", "test").out == "json: accepted\n"
    assert receiver.titles == ["[test] Usage pipeline"]


def test_a_receiver_that_does_not_accept_is_told_and_fails(command: CommandLine, receiver: LoopbackReceiver) -> None:
    receiver.status = 500
    command.environ["USAGE_ALERT_URLS"] = receiver.url
    outcome = command("alerts", "test")
    assert outcome.exit_code == 1
    assert outcome.out.startswith("json: not accepted, ")
    assert "500" in outcome.out


def test_nobody_to_tell_and_a_malformed_url_are_refused(command: CommandLine) -> None:
    command.refused("alerts_not_set", "alerts", "test")
    command.environ["USAGE_ALERT_URLS"] = "nonsense://canary"
    assert "canary" not in command.refused("alert_url_malformed", "alerts", "test")
