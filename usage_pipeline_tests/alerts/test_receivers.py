"""Receivers that are wrong, slow, refuse or are replaced: the others are told, and nobody is told twice or never."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from usage_pipeline.alerts import receivers
from usage_pipeline.alerts.causes import WINDOW_MISSING
from usage_pipeline.alerts.life import opened
from usage_pipeline.alerts.message import message_of
from usage_pipeline.alerts.tick import PAUSE_MAX
from usage_pipeline.credentials.secret import Secret
from usage_pipeline.errors import InvalidInputError, PermanentError
from usage_pipeline.ledger.metrics import open_alert_counts
from usage_pipeline.telemetry.redaction import Redactor
from usage_pipeline_tests.alerts.conftest import START, Desk, condition
from usage_pipeline_tests.alerts.loopback import LoopbackReceiver, receiving


def undelivered(desk: Desk) -> dict[str, int]:
    with desk.engine.connect() as connection:
        return {cause: waiting for cause, _, _, waiting in open_alert_counts(connection)}


@pytest.mark.parametrize(
    ("entry", "error", "said"),
    [
        ("nonsense://canary", InvalidInputError, r"\[alert_url_malformed\] USAGE_ALERT_URLS: entry 1 is no URL"),
        ("env:NOT_THERE", PermanentError, r"\[secret_env_missing\] USAGE_ALERT_URLS, entry 1, env:NOT_THERE: "),
    ],
)
def test_one_wrong_entry_is_named_and_the_others_are_told(
    desk: Desk, receiver: LoopbackReceiver, entry: str, error: type[Exception], said: str
) -> None:
    desk.environ["USAGE_ALERT_URLS"] = f"{entry} {receiver.url}"
    for minute in (0, 1):
        with pytest.raises(error, match=said):
            desk.tick(minute, condition())
    assert len(receiver.got) == 1
    # The one that the entry should name was not told.
    assert desk.only().state.notified_at is None
    assert undelivered(desk) == {"key_refused": 1}
    desk.environ["USAGE_ALERT_URLS"] = receiver.url
    desk.tick(2, condition())
    assert len(receiver.got) == 1
    assert desk.only().state.notified_at == START + timedelta(minutes=2)
    assert undelivered(desk) == {"key_refused": 0}


def test_every_wrong_entry_and_who_refused_besides_is_in_one_line(desk: Desk, receiver: LoopbackReceiver) -> None:
    receiver.status = 500
    desk.environ["USAGE_ALERT_URLS"] = f"nonsense://canary {receiver.url} file:/not/there"
    with pytest.raises(InvalidInputError) as raised:
        desk.tick(0, condition())
    line = str(raised.value)
    assert "entry 1 is no URL" in line
    assert "entry 3, file:/not/there" in line
    assert "Not accepted: json: " in line
    assert "canary" not in line


def test_who_has_not_answered_is_asked_nothing_until_it_did_and_its_late_answer_counts(
    desk: Desk, receiver: LoopbackReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receivers, "RECEIVER_SECONDS_MAX", 0.1)
    receiver.hold = threading.Event()
    assert desk.tick(0, condition()).refused == {"json": "no answer within 0.1 s"}
    (sending,) = receivers._under_way.values()
    again = desk.tick(60, condition(), condition("another"))
    assert again.refused == {"json": "not told anew: it has not answered the message before"}
    waiting = {alert.state.place: alert.deliveries["json"] for alert in desk.alerts()}
    assert {place: delivery.attempts for place, delivery in waiting.items()} == {"acme.openai.main": 1, "another": 0}
    assert receivers._under_way[sending.receiver.digest] is sending
    receiver.hold.set()
    assert sending.thread is not None
    sending.thread.join(10)
    receiver.hold = None
    monkeypatch.undo()
    done = desk.tick(61, condition(), condition("another"))
    assert (done.told, done.refused) == (2, {})
    assert receiver.titles == ["[error] key_refused: acme.openai.main", "[error] key_refused: another"]
    assert all(alert.state.notified_at is not None for alert in desk.alerts())


def test_what_was_never_answered_is_given_up_in_the_end(
    desk: Desk, receiver: LoopbackReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receivers, "RECEIVER_SECONDS_MAX", 0.1)
    receiver.hold = threading.Event()
    desk.tick(0, condition())
    monkeypatch.undo()
    monkeypatch.setattr(receivers, "UNDER_WAY_SECONDS_MAX", 0.0)
    hold, receiver.hold = receiver.hold, None
    assert desk.tick(10, condition()).told == 1
    hold.set()


def test_after_refusals_pauses_grow_to_the_longest_and_what_came_meanwhile_is_told(
    desk: Desk, receiver: LoopbackReceiver
) -> None:
    receiver.status = 500
    tried = []
    for minute in (0, 0.5, 1, 1.5, 2, 3.5, 4, 7.5, 8, 15.5, 16, 30.5, 31, 45.5, 46, 59.5):
        done = desk.tick(minute, condition())
        assert set(done.refused) == {"json"}
        if "tried again at" not in done.refused["json"]:
            tried.append(minute)
    assert tried == [0, 0.5, 1, 2, 4, 8, 16, 31, 46]
    assert timedelta(minutes=tried[-1] - tried[-2]) == PAUSE_MAX
    assert done.refused["json"].startswith("tried again at 03:11:00 UTC after 9 refusals, the last: ")
    assert undelivered(desk) == {"key_refused": 1}
    # One that opens and is over while nobody answers is told as over.
    desk.tick(60, condition(), condition("short", cause=WINDOW_MISSING))
    desk.tick(60.5, condition())
    receiver.status = 200
    assert desk.tick(61, condition()).refused == {}
    (text,) = receiver.texts
    assert "[error] key_refused: acme.openai.main" in text
    assert "[recovered] window_missing: short" in text


def test_one_of_the_same_kind_in_anothers_place_learns_what_is_open(desk: Desk, receiver: LoopbackReceiver) -> None:
    desk.tick(0, condition())
    with receiving() as second:
        desk.environ["USAGE_ALERT_URLS"] = second.url
        desk.tick(1, condition())
        assert second.titles == ["[error] key_refused: acme.openai.main"]
        desk.tick(2)
        assert len(second.got) == 2
    assert len(receiver.got) == 1


def test_one_that_only_moves_in_the_list_is_not_told_again(desk: Desk, receiver: LoopbackReceiver) -> None:
    with receiving() as second:
        desk.environ["USAGE_ALERT_URLS"] = f"{receiver.url} {second.url}"
        desk.tick(0, condition())
        desk.environ["USAGE_ALERT_URLS"] = f"{second.url} {receiver.url}"
        desk.tick(1, condition())
        desk.tick(2)
        assert (len(receiver.got), len(second.got)) == (2, 2)
    assert desk.only().state.recovery_notified_at is not None


def test_what_was_noted_by_name_only_is_of_the_receiver_that_has_the_name(
    desk: Desk, receiver: LoopbackReceiver
) -> None:
    desk.tick(0, condition(), condition("over"))
    with desk.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alert_deliveries SET receiver_digest = NULL")
    desk.tick(1, condition())
    assert receiver.titles == ["Usage pipeline: 2 open", "[recovered] key_refused: over"]


def test_what_tells_receivers_apart_is_the_stores_own_and_shows_nothing_of_the_url() -> None:
    entries = [Secret("json://user:nobodys-pa55@127.0.0.1:9/x"), Secret("json://127.0.0.1:9/y")]
    here, there, again = (receivers.receivers_of(entries, {}, salt).usable for salt in (b"here", b"there", b"here"))
    digests = [one.digest for one in (*here, *there)]
    assert len(set(digests)) == 4
    assert [one.digest for one in again] == [one.digest for one in here]
    assert all(len(digest) == 16 and b"nobodys-pa55" not in digest for digest in digests)


def test_a_service_with_short_messages_gets_one_that_fits(desk: Desk, receiver: LoopbackReceiver) -> None:
    many = [
        condition(f"acme.openai.key-{number:02}", what="figures " * 60, cause=WINDOW_MISSING) for number in range(9)
    ]
    desk.environ["USAGE_ALERT_URLS"] = f"mmost://127.0.0.1:{receiver.port}/token3"  # 4,000 characters at most
    assert desk.tick(0, *many).told == 9
    (text,) = [one["text"] for one in receiver.got]
    assert 3_000 < len(text) <= 4_000
    assert "window_missing: acme.openai.key-00" in text
    assert text.endswith(" more: usage-pipeline alerts list --all")


def test_a_message_is_never_longer_than_what_is_taken() -> None:
    redactor = Redactor({})
    alerts = [
        opened(condition(f"acme.openai.key-{number}", what="4 of 5 days differ. " * number), START)
        for number in range(1, 25)
    ]
    for count in (1, 2, 24):
        for most in (*range(120, 1_500, 47), 32_000):
            for title_max in (0, 40, 250):
                message = message_of(alerts[:count], "https://dagster.example", redactor, most, title_max)
                assert len(message.text) + (0 if title_max else len(message.title)) <= most
                assert len(message.title) <= (title_max or 250)
                assert message.text.startswith("[error] key_refused: ")


def test_where_not_even_one_fits_the_figures_give_way_and_not_what_to_do() -> None:
    alert = opened(condition(what="4 of 5 days differ. " * 25), START)
    message = message_of([alert], "https://dagster.example", Redactor({}), 300, 250)
    assert len(message.text) <= 300
    assert "4 of 5 days differ. 4 of" in message.text
    assert "To do: usage-pipeline keys test acme.openai.main" in message.text
    assert message.text.endswith("See: https://dagster.example/runs/r1")
    long = opened(condition("p" * 600, what="4 of 5 days differ. " * 25), START)
    shared = message_of([long], "", Redactor({}), 160, 0)
    assert len(shared.title) + len(shared.text) <= 160


def test_what_nobody_is_to_be_told_does_not_count_as_undelivered(desk: Desk, receiver: LoopbackReceiver) -> None:
    receiver.status = 500
    both = condition(), condition("quiet", cause=WINDOW_MISSING)
    desk.environ["USAGE_ALERT_SEVERITIES"] = "error"
    desk.tick(0, *both)
    assert undelivered(desk) == {"key_refused": 1, "window_missing": 0}
    del desk.environ["USAGE_ALERT_SEVERITIES"]
    desk.tick(1, *both)
    assert undelivered(desk) == {"key_refused": 1, "window_missing": 1}


def test_more_occurrences_than_anybody_counts_are_all_kept_and_told_apart(desk: Desk) -> None:
    names = [f"run-{number:04}" for number in range(700)]
    desk.tick(0, condition("many", *names))
    desk.tick(1, condition("many", *names, "run-more"))
    state = desk.only().state
    assert (state.occurrence_count, len(state.occurrences), "run-0000" in state.occurrences) == (701, 701, True)
