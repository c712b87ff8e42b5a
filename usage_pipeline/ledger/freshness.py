"""Which enabled provider keys have not spoken for the newest day that should be there by now."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

from sqlalchemy import Connection, text

from usage_pipeline.ledger.feed_settings import list_settings
from usage_pipeline.ledger.offences import Offence
from usage_pipeline.ledger.provider_keys import list_provider_keys


def newest_day_expected(now: datetime, grace: timedelta) -> date:
    """The newest UTC day that ended at least ``grace`` ago."""
    return (now.astimezone(UTC) - grace).date() - timedelta(days=1)


def stale_keys(connection: Connection, now: datetime, grace: timedelta) -> Iterator[Offence]:
    """Enabled keys without a complete pull of the newest day that is expected by ``now``."""
    day = newest_day_expected(now, grace)
    keys = {key.feed_id: key for key in list_provider_keys(connection)}
    settings = list_settings(connection, list(keys))
    fresh = set(
        connection.execute(
            text("SELECT feed_id FROM slices WHERE day = :day AND observed_at IS NOT NULL"), {"day": day}
        ).scalars()
    )
    for feed_id, key in keys.items():
        if settings[feed_id].enabled_on(day) and settings[feed_id].enabled_on(now.date()) and feed_id not in fresh:
            yield Offence(day, key.slug, "no complete pull of the day is there yet", grave=False, key=key.slug)
