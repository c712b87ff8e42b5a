"""The provider keys that are to be pulled on a day."""

from __future__ import annotations

from datetime import date

from sqlalchemy import Connection

from usage_pipeline.ledger.feed_settings import list_settings
from usage_pipeline.ledger.provider_keys import ProviderKey, list_provider_keys


def enabled_keys(connection: Connection, day: date) -> list[ProviderKey]:
    """The keys that are enabled on the UTC day, in the order of registration."""
    keys = list_provider_keys(connection)
    settings = list_settings(connection, [key.feed_id for key in keys])
    return [key for key in keys if settings[key.feed_id].enabled_on(day)]
