"""A tick: what holds now is compared with what is kept, and what is new is told.

In: the conditions that hold, and how far was looked for them. Out: what moved and who accepted it. Each step commits by
itself: an alert is kept, together with how far was looked, before it is told, and told only when the receiver took it;
whatever breaks in between is done at the next tick.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, Engine

from usage_pipeline.alerts.conditions import Condition, bounded
from usage_pipeline.alerts.life import opened, over, still_there
from usage_pipeline.alerts.message import message_of
from usage_pipeline.alerts.receivers import Receiver, Receivers, deliver, late_answers, receivers_of
from usage_pipeline.errors import UsagePipelineError
from usage_pipeline.ledger.alerts import (
    Look,
    StoredAlert,
    alert_salt,
    keep_alert,
    living_alerts,
    name_receiver,
    note_attempt,
    note_look,
    note_no_receiver,
    note_told,
    untold_alerts,
)
from usage_pipeline.settings import Settings
from usage_pipeline.telemetry.logs import get_logger
from usage_pipeline.telemetry.redaction import Redactor

NOT_SET: Final = "[alerts_not_set] nobody is told: USAGE_ALERT_URLS is not set"

PAUSE_FIRST: Final = timedelta(seconds=30)
PAUSE_MAX: Final = timedelta(minutes=15)
"""A receiver that refused is tried again at the next tick. Then a pause is made, after each refusal more twice as long,
up to the longest."""

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Tick:
    """What a tick did: alerts opened and over, notices accepted, and by receiver why it does not know all of them."""

    opened: int = 0
    recovered: int = 0
    told: int = 0
    refused: Mapping[str, str] = field(default_factory=dict)

    def refusals(self) -> str:
        """Who refused and why, on one line; empty where nobody did."""
        return "; ".join(f"{name}: {why}" for name, why in sorted(self.refused.items()))


def run_tick(
    engine: Engine,
    conditions: Sequence[Condition],
    settings: Settings,
    environ: Mapping[str, str],
    now: datetime,
    look: Look | None = None,
) -> Tick:
    """Bring the alerts up to the conditions that hold at ``now``, and tell what is to be told.

    ``look`` is how far was looked for the conditions, and kept with them. The caller holds
    :func:`~usage_pipeline.ledger.alerts.one_tick`. Raises :class:`InvalidInputError` ``alert_url_malformed``, and what
    resolving a reference to a URL raises, after the alerts were kept and the other receivers told.
    """
    redactor = Redactor(environ)
    masked = [_masked(condition, redactor) for condition in conditions]
    with engine.begin() as connection:
        moved = _settle(connection, masked, now, settings)
        if look is not None:
            note_look(connection, look)
        salt = alert_salt(connection)
    receivers = receivers_of(settings.alert_urls, environ, salt)
    if not settings.alert_urls:
        with engine.begin() as connection:
            note_no_receiver(connection, now, NOT_SET)
        return moved
    done = _tell(engine, receivers, settings, redactor, now, moved)
    if receivers.wrong:
        raise _unusable(receivers.wrong, done)
    return done


def _unusable(wrong: Sequence[UsagePipelineError], done: Tick) -> UsagePipelineError:
    """The error of the first entry that is wrong, with the others and who refused besides."""
    first, *others = wrong
    for error in wrong:
        _log.error("alert_url_unusable", error=error.line())
    besides = [error.line() for error in others] + [f"Not accepted: {done.refusals()}."] * bool(done.refused)
    return type(first)(first.code, first.what, where=first.where, remedy=" ".join([first.remedy, *besides]))


def _masked(condition: Condition, redactor: Redactor) -> Condition:
    return replace(
        condition,
        place=bounded(redactor.text(condition.place)),
        what=bounded(redactor.text(condition.what)),
        remedy=bounded(redactor.text(condition.remedy)),
    )


def _settle(connection: Connection, conditions: Sequence[Condition], now: datetime, settings: Settings) -> Tick:
    window = timedelta(minutes=settings.alert_window_minutes)
    living = {alert.state.fingerprint: alert for alert in living_alerts(connection, now, window)}
    holding = {condition.fingerprint: condition for condition in conditions}
    new = gone = 0
    for fingerprint, condition in holding.items():
        before = living.get(fingerprint)
        if before is None:
            state = opened(condition, now)
            _log.warning("alert_opened", cause=state.cause, place=state.place, what=state.what)
            new += 1
        else:
            state = still_there(before.state, condition, now, window)
        keep_alert(connection, before, replace(state, quiet=state.severity not in settings.alert_severities))
    for fingerprint, before in living.items():
        if fingerprint not in holding and before.state.recovered_at is None:
            keep_alert(connection, before, over(before.state, now))
            _log.info("alert_recovered", cause=before.state.cause, place=before.state.place)
            gone += 1
    return Tick(opened=new, recovered=gone)


def _tell(
    engine: Engine, receivers: Receivers, settings: Settings, redactor: Redactor, now: datetime, moved: Tick
) -> Tick:
    refused: dict[str, str] = {}
    told = 0
    messages = []
    answers, waiting = late_answers(receivers.usable, redactor)
    with engine.begin() as connection:
        for receiver, notices, why in answers:
            note_attempt(connection, notices, receiver.name, receiver.digest, now, why, attempts=0)
            told += len(notices) * (why is None)
        for receiver in receivers.usable:
            name_receiver(connection, receiver.name, receiver.digest)
            untold = untold_alerts(connection, receiver.digest)
            if not untold:
                continue
            held = _held(untold, receiver, receiver.digest in waiting, now)
            if held is not None:
                refused[receiver.name] = held
                note_attempt(
                    connection, _unnoted(untold, receiver), receiver.name, receiver.digest, now, held, attempts=0
                )
                continue
            message = message_of(
                [alert.state for alert in untold],
                settings.dagster_url,
                redactor,
                receiver.characters_max,
                receiver.title_max,
            )
            messages.append((receiver, message, _notices(untold)))
    outcomes = deliver(messages, redactor)
    with engine.begin() as connection:
        for receiver, _, notices in messages:
            why = outcomes[receiver.name]
            note_attempt(connection, notices, receiver.name, receiver.digest, now, why)
            told += len(notices) * (why is None)
            if why is not None:
                refused[receiver.name] = why
                _log.error("alerts_not_accepted", receiver=receiver.name, error=why)
        # An entry that is wrong is a receiver that accepted nothing.
        if not receivers.wrong:
            note_told(connection, [receiver.digest for receiver in receivers.usable], now)
    if messages or answers:
        accepted = [*outcomes.values(), *(why for _, _, why in answers)].count(None)
        _log.info("alerts_told", notices=told, receivers=accepted)
    return replace(moved, told=told, refused=refused)


def _held(untold: Sequence[StoredAlert], receiver: Receiver, is_under_way: bool, now: datetime) -> str | None:
    """Why a receiver is not to be told now, None where it is: it has not answered yet, or refused a moment ago."""
    if is_under_way:
        return "not told anew: it has not answered the message before"
    known = [delivery for alert in untold if (delivery := alert.delivery_to(receiver.digest)) is not None]
    refused = [delivery for delivery in known if delivery.last_error is not None and delivery.attempts]
    if not refused:
        return None
    newest = max(refused, key=lambda delivery: (delivery.last_attempt_at, delivery.attempts))
    times = max(delivery.attempts for delivery in refused)
    if times == 1:
        return None
    # No more doubling than it takes to the longest: of many refusals the power is too large.
    again_at = newest.last_attempt_at + min(PAUSE_FIRST * 2 ** min(times - 2, 10), PAUSE_MAX)
    if now >= again_at:
        return None
    return f"tried again at {again_at:%H:%M:%S} UTC after {times} refusals, the last: {newest.last_error}"


def _notices(alerts: Sequence[StoredAlert]) -> list[tuple[int, int]]:
    return [(alert.alert_id, alert.state.notice) for alert in alerts]


def _unnoted(alerts: Sequence[StoredAlert], receiver: Receiver) -> list[tuple[int, int]]:
    """Those of which is not noted yet why the receiver does not know them."""
    found = [
        alert
        for alert in alerts
        if (delivery := alert.delivery_to(receiver.digest)) is None or delivery.last_error is None
    ]
    return _notices(found)
