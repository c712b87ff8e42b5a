"""``usage-pipeline alerts``: what is open and who was told of it, and whether the receivers can be reached."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from usage_pipeline.cli.output import AsJson, print_json, print_line, print_table
from usage_pipeline.cli.store import opened
from usage_pipeline.clock import now
from usage_pipeline.errors import ExitCode, InvalidInputError
from usage_pipeline.settings import Settings

if TYPE_CHECKING:
    from usage_pipeline.ledger.alerts import StoredAlert

app = typer.Typer(help="What a person should know of, and who was told.", no_args_is_help=True)

ALERTS_MAX = 200
_COLUMNS = ("state", "severity", "cause", "where", "since", "times", "told", "what")


@app.command("list")
def list_(
    show_all: Annotated[bool, typer.Option("--all", help="Those that are over too, the newest 200.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print the alerts that are open, and whether each receiver accepted them."""
    from usage_pipeline.ledger.alerts import list_alerts

    with opened(os.environ, writes=False) as engine, engine.begin() as connection:
        alerts = list_alerts(connection, ALERTS_MAX, open_only=not show_all)
    if as_json:
        print_json([_as_json(alert) for alert in alerts])
    elif not alerts:
        print_line("No alert was ever raised." if show_all else "No alert is open.")
    else:
        print_table("Alerts", _COLUMNS, [_row(alert) for alert in alerts], right=("times",))


@app.command("test")
def test() -> None:
    """Send a test message to every receiver of USAGE_ALERT_URLS. Exit code 1 where one does not accept it."""
    from usage_pipeline.alerts.message import Message
    from usage_pipeline.alerts.receivers import deliver, receivers_of
    from usage_pipeline.telemetry.redaction import Redactor

    settings = Settings.from_environment(os.environ)
    receivers = receivers_of(settings.alert_urls, os.environ, salt=b"")
    if not settings.alert_urls:
        raise InvalidInputError(
            "alerts_not_set",
            "nobody is set to be told of alerts",
            where="USAGE_ALERT_URLS",
            remedy="Set it to one or more apprise URLs, for example mailto://user:password@example.com.",
        )
    at = f"{now(os.environ):%Y-%m-%d %H:%M} UTC"
    message = Message("[test] Usage pipeline", f"A test of {at}. Alerts will arrive here.", grave=False, good=True)
    outcomes = deliver([(receiver, message, ()) for receiver in receivers.usable], Redactor(os.environ))
    for name, refused in outcomes.items():
        print_line(f"{name}: {'accepted' if refused is None else f'not accepted, {refused}'}")
    for wrong in receivers.wrong[1:]:
        print_line(wrong.line())
    if receivers.wrong:
        raise receivers.wrong[0]
    if any(refused is not None for refused in outcomes.values()):
        raise typer.Exit(ExitCode.FAILURE)


def _row(alert: StoredAlert) -> tuple[str, ...]:
    state = alert.state
    return (
        "open" if state.recovered_at is None else f"over {_minute(state.recovered_at)}",
        state.severity,
        state.cause,
        state.place,
        _minute(state.since),
        str(state.occurrence_count),
        _told(alert),
        state.what,
    )


def _told(alert: StoredAlert) -> str:
    """Who knows the newest notice, and of whom does not, why."""
    from usage_pipeline.ledger.alerts import NO_RECEIVER

    if alert.state.quiet:
        return "nobody, by USAGE_ALERT_SEVERITIES"
    words = []
    for delivery in alert.deliveries.values():
        if delivery.receiver == NO_RECEIVER:
            words.append("nobody is set to be told")
        elif delivery.attempts == 0 and delivery.last_error is not None:
            words.append(f"{delivery.receiver}: NOT yet, {delivery.last_error}")
        elif delivery.last_error is not None:
            tried = f"{delivery.attempts} attempts" if delivery.attempts > 1 else "1 attempt"
            words.append(f"{delivery.receiver}: NOT in {tried}, {delivery.last_error}")
        elif delivery.accepted_at is not None:
            words.append(f"{delivery.receiver}: {_minute(delivery.accepted_at)}")
    told = [word for word in words if not word.startswith("nobody")]
    return "; ".join(told or words) or "not yet"


def _as_json(alert: StoredAlert) -> dict[str, Any]:
    state = alert.state
    return {
        "alert": alert.alert_id,
        "cause": state.cause,
        "severity": state.severity,
        "where": state.place,
        "what": state.what,
        "remedy": state.remedy,
        "link": state.link or None,
        "since": _instant(state.since),
        "first_seen": _instant(state.first_seen),
        "last_seen": _instant(state.last_seen),
        "recovered_at": _instant(state.recovered_at),
        "occurrences": state.occurrence_count,
        "quiet": state.quiet,
        "notified_at": _instant(state.notified_at),
        "recovery_notified_at": _instant(state.recovery_notified_at),
        "deliveries": [
            {
                "receiver": delivery.receiver,
                "accepted_at": _instant(delivery.accepted_at),
                "attempts": delivery.attempts,
                "last_attempt_at": _instant(delivery.last_attempt_at),
                "last_error": delivery.last_error,
            }
            for delivery in alert.deliveries.values()
        ],
    }


def _minute(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M}"


def _instant(at: datetime | None) -> str | None:
    return None if at is None else at.astimezone(UTC).isoformat().replace("+00:00", "Z")
