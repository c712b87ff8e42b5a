"""Changes of the environment's settings, as the audit log keeps them.

In: the settings in effect. Out: an entry of ``audit_log`` where they differ from those of the newest entry. Of a secret
only that it is set.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, text

from usage_pipeline.credentials.secret import Secret
from usage_pipeline.ledger.audit_log import record_change
from usage_pipeline.settings import Settings

WHAT: Final = "settings_changed"
SUBJECT: Final = "settings"
SET: Final = "(set)"
"""What stands for a secret."""

_LOCK: Final = 0x75736174  # two processes that start at once make one entry


def settings_in_words(settings: Settings) -> dict[str, object]:
    """The settings that differ from their defaults, by variable, for the audit log: no secrets."""
    told: dict[str, object] = {}
    for item in dataclasses.fields(Settings):
        value = getattr(settings, item.name)
        if isinstance(value, Mapping):
            told.update({f"{of.upper()}_SETTLING_HOURS": hours for of, hours in value.items()})
        elif value != item.default:
            told[item.metadata["variable"]] = _in_words(value)
    return told


def record_settings(connection: Connection, settings: Settings, now: datetime) -> bool:
    """Write one entry if the settings differ from those recorded last; whether one was written.

    Before the first entry all are taken to have been on their defaults. The entry has what changed (from and to; null
    is the default) and what holds now.
    """
    current = settings_in_words(settings)
    if _recorded(connection) == current:
        return False
    connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    before = _recorded(connection)
    if before == current:
        return False
    names = sorted({name for name in (*before, *current) if before.get(name) != current.get(name)})
    changed = {name: {"from": before.get(name), "to": current.get(name)} for name in names}
    record_change(connection, now, WHAT, SUBJECT, {"changed": changed, "settings": current})
    return True


def _recorded(connection: Connection) -> dict[str, object]:
    found = connection.execute(
        text(
            "SELECT detail -> 'settings' FROM audit_log WHERE what = 'settings_changed' ORDER BY audit_id DESC LIMIT 1"
        )
    ).scalar_one_or_none()
    return dict(found or {})


def _in_words(value: object) -> object:
    if isinstance(value, Secret):
        return SET
    if isinstance(value, (list, tuple)):
        return [_in_words(one) for one in value]
    return value if isinstance(value, (bool, int, str)) else str(value)
