"""A tick: what holds now is compared with what is kept, and what is new is told.

In: the conditions that hold. Out: what moved and who accepted it. Each step commits by itself: an alert is kept before
it is told, and told only when the receiver took it; whatever breaks in between is done at the next tick.
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
from usage_pipeline.alerts.receivers import Receiver, deliver, receivers_of
from usage_pipeline.ledger.alerts import (
    StoredAlert,
    keep_alert,
    living_alerts,
    note_attempt,
    note_no_receiver,
    note_told,
    untold_alerts,
)
from usage_pipeline.settings import Settings
from usage_pipeline.telemetry.logs import get_logger
from usage_pipeline.telemetry.redaction import Redactor

NOT_SET: Final = "[alerts_not_set] nobody is told: USAGE_ALERT_URLS is not set"

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Tick:
    """What a tick did: alerts opened and over, notices accepted, and by receiver why it did not accept."""

    opened: int = 0
    recovered: int = 0
    told: int = 0
    refused: Mapping[str, str] = field(default_factory=dict)


def run_tick(
    engine: Engine, conditions: Sequence[Condition], settings: Settings, environ: Mapping[str, str], now: datetime
) -> Tick:
    """Bring the alerts up to the conditions that hold at ``now``, and tell what is to be told.

    The caller holds :func:`~usage_pipeline.ledger.alerts.one_tick`. Raises :class:`InvalidInputError`
    ``alert_url_malformed``, and what resolving a reference to a URL raises, after the alerts were kept.
    """
    redactor = Redactor(environ)
    masked = [_masked(condition, redactor) for condition in conditions]
    with engine.begin() as connection:
        moved = _settle(connection, masked, now, timedelta(minutes=settings.alert_window_minutes))
    receivers = receivers_of(settings.alert_urls, environ)
    if not receivers:
        with engine.begin() as connection:
            note_no_receiver(connection, now, NOT_SET)
        return moved
    return _tell(engine, receivers, settings, redactor, now, moved)


def _masked(condition: Condition, redactor: Redactor) -> Condition:
    return replace(
        condition,
        place=bounded(redactor.text(condition.place)),
        what=bounded(redactor.text(condition.what)),
        remedy=bounded(redactor.text(condition.remedy)),
    )


def _settle(connection: Connection, conditions: Sequence[Condition], now: datetime, window: timedelta) -> Tick:
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
        keep_alert(connection, before.alert_id if before else None, state)
    for fingerprint, before in living.items():
        if fingerprint not in holding and before.state.recovered_at is None:
            keep_alert(connection, before.alert_id, over(before.state, now))
            _log.info("alert_recovered", cause=before.state.cause, place=before.state.place)
            gone += 1
    return Tick(opened=new, recovered=gone)


def _tell(
    engine: Engine,
    receivers: Sequence[Receiver],
    settings: Settings,
    redactor: Redactor,
    now: datetime,
    moved: Tick,
) -> Tick:
    names = [receiver.name for receiver in receivers]
    with engine.begin() as connection:
        waiting = [
            alert for alert in untold_alerts(connection, names) if alert.state.severity in settings.alert_severities
        ]
    untold = {receiver: [alert for alert in waiting if _is_untold(alert, receiver.name)] for receiver in receivers}
    messages = [
        (receiver, message_of([alert.state for alert in alerts], settings.dagster_url, redactor))
        for receiver, alerts in untold.items()
        if alerts
    ]
    if not messages:
        return moved
    outcomes = deliver(messages, redactor)
    told = 0
    with engine.begin() as connection:
        for receiver, alerts in untold.items():
            for alert in alerts:
                note_attempt(connection, alert, receiver.name, now, outcomes[receiver.name])
                told += outcomes[receiver.name] is None
        note_told(connection, [alert.alert_id for alert in waiting], names, now)
    refused = {name: why for name, why in outcomes.items() if why is not None}
    for name, why in refused.items():
        _log.error("alerts_not_accepted", receiver=name, error=why)
    _log.info("alerts_told", notices=told, receivers=len(messages) - len(refused))
    return replace(moved, told=told, refused=refused)


def _is_untold(alert: StoredAlert, receiver: str) -> bool:
    known = alert.deliveries.get(receiver)
    if known is None:
        return alert.state.recovered_at is None
    return known.notice < alert.state.notice
