"""Alerts told over real HTTP: once, counted, over, and only accepted where the receiver took them."""

from __future__ import annotations

import logging
import threading
from datetime import timedelta

import pytest

from usage_pipeline.alerts.causes import CAUSES, DATA_STALE, RUN_FAILED, WINDOW_MISSING
from usage_pipeline.alerts.message import ALERTS_MAX
from usage_pipeline.errors import InvalidInputError, PermanentError
from usage_pipeline.ledger.alerts import delete_alerts, old_alerts
from usage_pipeline_tests.alerts.conftest import START, Desk, condition
from usage_pipeline_tests.alerts.loopback import LoopbackReceiver, receiving


def test_an_alert_says_what_where_since_when_what_to_do_and_where_to_look(
    desk: Desk, receiver: LoopbackReceiver
) -> None:
    desk.tick(0, condition(what="OpenAI does not accept the key (HTTP 401)"))
    assert receiver.titles == ["[error] key_refused: acme.openai.main"]
    assert receiver.texts == [
        "[error] key_refused: acme.openai.main\n"
        "A provider key stopped working, since 2026-11-22 02:10 UTC.\n"
        "OpenAI does not accept the key (HTTP 401)\n"
        "To do: usage-pipeline keys test acme.openai.main\n"
        "See: https://dagster.acme.example/runs/r1"
    ]


@pytest.mark.parametrize("cause", list(CAUSES.values()), ids=lambda cause: cause.code)
def test_each_cause_is_told_once_while_it_lasts_and_once_when_it_is_over(
    desk: Desk, receiver: LoopbackReceiver, cause: object
) -> None:
    for minute in (0, 1, 40):
        desk.tick(minute, condition(cause=cause))
    for minute in (41, 42, 90):
        desk.tick(minute)
    assert [title.split("]")[0] for title in receiver.titles] == [f"[{cause.severity}", "[recovered"]
    assert f"{cause.title}, from 2026-11-22 02:10 UTC to 2026-11-22 02:51 UTC" in receiver.texts[1]
    alert = desk.only()
    assert alert.state.notified_at == START
    assert alert.state.recovery_notified_at == alert.state.recovered_at


def test_what_comes_within_the_window_is_told_after_it_with_its_number(desk: Desk, receiver: LoopbackReceiver) -> None:
    runs = [f"run-{number:02}" for number in range(15)]
    for minute in range(15):
        desk.tick(minute, condition("raw_provider_pulls", *runs[: minute + 1], cause=RUN_FAILED))
    assert len(receiver.got) == 1
    desk.tick(30, condition("raw_provider_pulls", *runs, cause=RUN_FAILED))
    assert len(receiver.got) == 2
    assert "A run failed, since 2026-11-22 02:10 UTC, and 14 more since 02:10." in receiver.texts[1]
    desk.tick(90, condition("raw_provider_pulls", *runs, cause=RUN_FAILED))
    assert len(receiver.got) == 2  # nothing more came
    assert desk.only().state.occurrence_count == 15


def test_the_window_is_a_setting(desk: Desk, receiver: LoopbackReceiver) -> None:
    desk.environ["USAGE_ALERT_WINDOW_MINUTES"] = "2"
    desk.tick(0, condition("a", "1"))
    desk.tick(1, condition("a", "1", "2"))
    assert len(receiver.got) == 1
    desk.tick(2, condition("a", "1", "2"))
    assert len(receiver.got) == 2


def test_one_that_comes_and_goes_is_one_alert_and_told_again_after_the_window(
    desk: Desk, receiver: LoopbackReceiver
) -> None:
    for minute in range(20):
        desk.tick(minute, *[condition()] * (minute % 2 == 0))
    assert [title.split("]")[0] for title in receiver.titles] == ["[error", "[recovered"]
    desk.tick(50, condition())
    assert receiver.titles[2:] == ["[error] key_refused: acme.openai.main"]
    desk.tick(51)
    assert len(receiver.got) == 4
    assert sum(alert.state.occurrence_count for alert in desk.alerts()) == 11


def test_one_that_comes_back_long_after_is_a_new_alert(desk: Desk, receiver: LoopbackReceiver) -> None:
    desk.tick(0, condition())
    desk.tick(1)
    desk.tick(40, condition())
    assert len(receiver.got) == 3
    assert [alert.state.recovered_at is None for alert in desk.alerts()] == [True, False]


def test_only_what_was_over_before_an_instant_is_old(desk: Desk, receiver: LoopbackReceiver) -> None:
    desk.tick(0, condition("old"), condition("newer"), condition("open"))
    desk.tick(1, condition("newer"), condition("open"))
    desk.tick(2, condition("open"))
    with desk.engine.begin() as connection:
        before = START + timedelta(minutes=2)
        rows, size = old_alerts(connection, before)
        assert (rows, size > 0) == (1, True)
        assert delete_alerts(connection, before) == 1
    assert {alert.state.place for alert in desk.alerts()} == {"newer", "open"}
    assert all(set(alert.deliveries) == {"json"} for alert in desk.alerts())


def test_a_receiver_that_refuses_is_told_again_until_it_accepts(desk: Desk, receiver: LoopbackReceiver) -> None:
    receiver.status = 500
    for minute in range(3):
        done = desk.tick(minute, condition())
        assert "500" in done.refused["json"]
    kept = desk.only()
    assert kept.state.notified_at is None
    assert (kept.deliveries["json"].attempts, kept.deliveries["json"].accepted_at) == (3, None)
    assert "500" in str(kept.deliveries["json"].last_error)
    receiver.status = 200
    assert desk.tick(3, condition()).refused == {}
    assert len(receiver.got) == 1
    told = desk.only()
    assert told.state.notified_at is not None
    assert (told.deliveries["json"].notice, told.deliveries["json"].last_error) == (1, None)


def test_a_receiver_that_is_down_learns_of_what_is_over_by_then(desk: Desk, receiver: LoopbackReceiver) -> None:
    receiver.status = 503
    desk.tick(0, condition())
    desk.tick(1)
    receiver.status = 200
    desk.tick(2)
    desk.tick(3)
    assert receiver.titles == ["[recovered] key_refused: acme.openai.main"]


def test_nobody_listening_is_a_refusal_and_not_an_error(desk: Desk) -> None:
    desk.environ["USAGE_ALERT_URLS"] = "json://127.0.0.1:9/x"
    done = desk.tick(0, condition())
    assert set(done.refused) == {"json"}
    assert "9/x" not in done.refused["json"]


def test_a_receiver_that_does_not_answer_is_not_waited_for(
    desk: Desk, receiver: LoopbackReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("usage_pipeline.alerts.receivers.RECEIVER_SECONDS_MAX", 0.2)
    receiver.hold = threading.Event()
    assert desk.tick(0, condition()).refused == {"json": "no answer within 0.2 s"}
    receiver.hold.set()


def test_of_two_receivers_the_one_that_accepted_is_not_told_again(desk: Desk, receiver: LoopbackReceiver) -> None:
    with receiving() as second:
        second.status = 500
        desk.environ["USAGE_ALERT_URLS"] = f"{receiver.url}, {second.url}"
        assert set(desk.tick(0, condition()).refused) == {"json-2"}
        assert desk.only().state.notified_at is None
        second.status = 200
        desk.tick(1, condition())
        assert (len(receiver.got), len(second.got)) == (1, 1)
        assert desk.only().state.notified_at is not None


def test_a_new_receiver_learns_what_is_open_and_nothing_of_what_is_over(desk: Desk, receiver: LoopbackReceiver) -> None:
    desk.tick(0, condition("open"), condition("over"))
    desk.tick(1, condition("open"))
    with receiving() as second:
        desk.environ["USAGE_ALERT_URLS"] += f" {second.url}"
        desk.tick(2, condition("open"))
        assert second.titles == ["[error] key_refused: open"]


def test_one_message_tells_what_a_tick_found_and_is_bounded(desk: Desk, receiver: LoopbackReceiver) -> None:
    many = [condition(f"acme.openai.key-{number:02}", cause=WINDOW_MISSING) for number in range(40)]
    desk.tick(0, condition("grave", cause=DATA_STALE), *many)
    (message,) = receiver.got
    assert message["title"] == "Usage pipeline: 41 open"
    assert message["message"].startswith("[error] data_stale: grave")
    assert message["message"].count("To do: ") == ALERTS_MAX
    assert message["message"].endswith("… and 31 more: usage-pipeline alerts list --all")
    assert desk.tick(1, condition("grave", cause=DATA_STALE), *many).told == 0


def test_without_a_url_it_is_noted_once_that_nobody_is_told(desk: Desk, receiver: LoopbackReceiver) -> None:
    url = desk.environ.pop("USAGE_ALERT_URLS")
    for minute in range(3):
        assert desk.tick(minute, condition()).refused == {}
    noted = desk.only().deliveries["none"]
    assert (noted.attempts, noted.last_attempt_at, noted.accepted_at) == (0, START, None)
    assert "USAGE_ALERT_URLS" in str(noted.last_error)
    desk.environ["USAGE_ALERT_URLS"] = url
    desk.tick(3, condition())
    assert len(receiver.got) == 1  # it is open still


def test_severities_that_are_not_told_are_kept(desk: Desk, receiver: LoopbackReceiver) -> None:
    desk.environ["USAGE_ALERT_SEVERITIES"] = "error"
    desk.tick(0, condition(), condition("quiet", cause=WINDOW_MISSING))
    assert receiver.titles == ["[error] key_refused: acme.openai.main"]
    assert {alert.state.place for alert in desk.alerts()} == {"acme.openai.main", "quiet"}


def test_no_secret_is_in_what_is_sent_kept_or_logged(
    desk: Desk, receiver: LoopbackReceiver, caplog: pytest.LogCaptureFixture
) -> None:
    canary = "canary-9f8e7d6c5b4a"
    desk.environ |= {"CRON_SECRET": canary, "OTHER_PASSWORD": "hunter22"}
    texts = f"refused {canary} hunter22 sk-ant-admin01-abcdefgh Authorization: Bearer abc.def https://u:pw@host/"
    with caplog.at_level(logging.DEBUG):
        desk.tick(0, condition(f"place {canary}", what=texts, remedy=f"use {canary}"))
        receiver.status = 500
        desk.tick(1)
    seen = f"{receiver.got} {desk.alerts()} {caplog.text}"
    for secret in (canary, "hunter22", "sk-ant", "abc.def", "u:pw"):
        assert secret not in seen
    assert "[redacted]" in receiver.texts[0]


def test_a_url_that_apprise_does_not_know_is_named_by_its_place_and_not_shown(desk: Desk) -> None:
    desk.environ["USAGE_ALERT_URLS"] = "json://127.0.0.1:9/x nonsense://canary"
    with pytest.raises(InvalidInputError, match="entry 2 is no URL") as refused:
        desk.tick(0, condition())
    assert "canary" not in str(refused.value)
    assert desk.only().state.place == "acme.openai.main"  # it is kept all the same


def test_a_url_may_be_read_from_a_file_or_a_variable(desk: Desk, receiver: LoopbackReceiver, tmp_path: object) -> None:
    path = tmp_path / "url"
    path.write_text(f"{receiver.url}\n")
    desk.environ |= {"USAGE_ALERT_URLS": f"file:{path},env:OPS_URL", "OPS_URL": receiver.url}
    desk.tick(0, condition())
    assert set(desk.only().deliveries) == {"json", "json-2"}
    desk.environ["USAGE_ALERT_URLS"] = "env:NOT_THERE"
    with pytest.raises(PermanentError, match="secret_env_missing"):
        desk.tick(1, condition())
