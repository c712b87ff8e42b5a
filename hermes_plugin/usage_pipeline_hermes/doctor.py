"""What a person wants to know when no figures arrive.

Belongs here: checks, each of which changes nothing. In: the configuration. Out: :class:`Diagnosis`. Only with
``send`` is anything sent that needs the token: a heartbeat, which says that the plugin runs and speaks for no day.
"""

from __future__ import annotations

import http.client
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

from .config import Config
from .delivery import Waiting, ask, deliver
from .errors import PluginError
from .ledger import LEDGER_VERSION, open_ledger
from .payload import Json, encode_json, payload_of
from .state_db import read_snapshot

CLOCK_TOLERANCE_S: Final = 300.0
"""A server refuses reports from further in the future."""
STALE_AFTER_S: Final = 2 * 3600.0


@dataclass(slots=True)
class Diagnosis:
    """``issues`` keep figures from arriving; ``warnings`` don't. ``facts`` are for people and JSON."""

    issues: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    facts: dict[str, Json] = field(default_factory=dict)

    def as_json(self) -> dict[str, Json]:
        return {"ok": not self.issues, "issues": self.issues, "warnings": self.warnings, **self.facts}


def diagnose(config: Config, waiting: Waiting, *, send: bool = False) -> Diagnosis:
    """Check everything that a sync needs; never raises PluginError."""
    found = Diagnosis()
    found.facts["hermesHome"] = str(config.home)
    found.facts["profile"] = config.profile
    if config.disabled:
        found.warnings.append("disabled: USAGE_PIPELINE_DISABLED is set; nothing is read or sent.")
    _attempt(found, lambda: _database(found, config))
    _attempt(found, lambda: _ledger(found, config, waiting.now_s()))
    _attempt(found, config.require_delivery)
    if config.endpoint and not config.disabled:
        _server(found, config, waiting.now_s)
        if send and config.token:
            _attempt(found, lambda: _heartbeat(found, config, waiting))
        elif config.token:
            found.facts["token"] = "set; not tried (doctor --send sends a heartbeat)"  # noqa: S105  no secret
    return found


def _attempt(found: Diagnosis, check: Callable[[], None]) -> None:
    try:
        check()
    except PluginError as error:
        found.issues.append(str(error))


def _database(found: Diagnosis, config: Config) -> None:
    facts: dict[str, Json] = {"path": str(config.db_path), "exists": config.db_path.is_file(), "readable": False}
    found.facts["database"] = facts
    snapshot = read_snapshot(config.db_path, config.timeout_s)
    starts = [session.started_s for session in snapshot.sessions if session.started_s is not None]
    ends = [session.ended_s for session in snapshot.sessions if session.ended_s is not None]
    seen = [usage.last_seen_s for usage in snapshot.usages if usage.last_seen_s is not None]
    facts |= {
        "readable": True,
        "generation": snapshot.generation,
        "schemaVersion": snapshot.schema_version,
        "sessions": len(snapshot.sessions),
        "usageRows": len(snapshot.usages),
        "oldest": _instant(min(starts, default=None)),
        "newest": _instant(max([*starts, *ends, *seen], default=None)),
    }
    if snapshot.generation in ("sessions", "sessions_billing"):
        found.warnings.append("auxiliary_calls_missing: this Hermes records no auxiliary calls; updating it adds them.")
    if not snapshot.sessions:
        found.warnings.append("no_sessions: there is no session yet.")


def _ledger(found: Diagnosis, config: Config, now_s: float) -> None:
    facts: dict[str, Json] = {"path": str(config.ledger_path), "exists": config.ledger_path.is_file()}
    found.facts["ledger"] = facts
    if not config.ledger_path.is_file():
        found.warnings.append("never_synced: there has been no sync yet.")
        return
    with open_ledger(config.ledger_path, in_memory=True) as ledger:
        success_s = float(ledger.meta("last_success_s") or 0) or None
        read_s, problem = ledger.last_read_s, ledger.meta("last_problem") or None
        facts |= {
            "version": LEDGER_VERSION,
            **ledger.sizes(),
            "knownSince": ledger.meta("known_since"),
            "lastRead": _instant(read_s),
            "lastSuccess": _instant(success_s),
            "lastProblem": problem,
        }
    if problem:
        found.warnings.append(f"last_sync_failed: {problem}")
    elif success_s is None:
        found.warnings.append("never_synced: no sync has succeeded yet.")
    elif now_s - success_s > STALE_AFTER_S:
        found.warnings.append("sync_stale: the last success is over two hours ago; is the cron job running?")
    if read_s is not None and read_s > now_s + CLOCK_TOLERANCE_S:
        found.issues.append("clock_behind: the last sync lies in the future by this machine's clock. Set the clock.")


def _server(found: Diagnosis, config: Config, now_s: Callable[[], float]) -> None:
    facts: dict[str, Json] = {"endpoint": config.endpoint, "health": config.health_url, "reachable": False}
    found.facts["server"] = facts
    try:
        answer = ask(config.health_url, config.timeout_s)
    except (OSError, http.client.HTTPException) as error:
        found.issues.append(f"server_unreachable: {config.health_url} does not answer ({type(error).__name__}).")
        return
    facts |= {"reachable": True, "status": answer.status}
    if answer.status != 200:
        found.warnings.append(f"server_unhealthy: {config.health_url} answers {answer.status}.")
    try:
        ahead_s = now_s() - parsedate_to_datetime(answer.headers.get("Date") or "").timestamp()
    except (ValueError, OverflowError):
        return
    facts["clockAheadSeconds"] = round(ahead_s)
    if abs(ahead_s) > CLOCK_TOLERANCE_S:
        found.issues.append(
            f"clock_differs: this clock and the server's differ by {abs(ahead_s):.0f} s. Set the clock."
        )


def _heartbeat(found: Diagnosis, config: Config, waiting: Waiting) -> None:
    now_s = waiting.now_s()
    with open_ledger(config.ledger_path) as ledger:
        body = encode_json(payload_of(None, config, ledger.next_revision(now_s), now_s))
    found.facts["token"] = "refused or not delivered"  # noqa: S105  no secret
    delivered = deliver(body, config, waiting)
    found.facts["token"] = f"accepted ({delivered.status})"


def _instant(moment_s: float | None) -> str | None:
    return None if moment_s is None else f"{datetime.fromtimestamp(moment_s, UTC):%Y-%m-%dT%H:%M:%SZ}"
