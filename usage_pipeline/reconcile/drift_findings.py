"""Findings about what sources themselves answered; those about pulls are also made right after a pull.

A day whose pull lacks a model or a project stops before it is normalised, and is not reconciled then. Its finding must
be there nevertheless, so both ways make the same findings of the same stored pulls, and each closes what the other
opened only where the pulls say so.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta

from sqlalchemy import Engine

from usage_pipeline.ledger.findings import Finding, days_with_findings, replace_findings_of_feed
from usage_pipeline.ledger.provider_keys import ProviderKey, get_provider_key
from usage_pipeline.ledger.pull_drift import DRIFT_CODES, SourceFinding, drift_of_days, first_drifted_day
from usage_pipeline.ledger.reconciled import lock_reconciliation
from usage_pipeline.ledger.workspaces import get_workspace
from usage_pipeline.utc_days import days_between

POLICY_WITHOUT_PROVIDER = "hermes_only"
"""The policy that leaves the provider's side out, and raises no findings about it."""


def source_finding(day: date, key: ProviderKey | None, one: SourceFinding) -> Finding:
    """The finding about a source; ``key`` is None for a Hermes feed."""
    return Finding(
        one.code,
        day,
        one.words,
        provider=key.provider if key else None,
        account=key.account if key else None,
        feed_id=one.feed_id,
        endpoint=one.endpoint,
        measure=one.measure,
        figure_hermes=one.stated,
        difference=one.found - one.stated if one.found is not None and one.stated is not None else None,
    )


def settle_drift_findings(engine: Engine, key: ProviderKey, days: Sequence[date], now: datetime) -> int:
    """Make the open findings about the key's pulls of the days equal to what the newest complete ones had.

    Returns how many were opened or closed. One transaction a day, and only for days with something to say.
    """
    if not days:
        return 0
    end_day = max(days) + timedelta(days=1)
    with engine.begin() as connection:
        # A pull that was told on one of these days may now have to be told on an earlier one that it still stands for.
        first_day = first_drifted_day(connection, key.feed_id, min(days))
        drifted = drift_of_days(connection, [key.feed_id], days_between(first_day, end_day))
        noted = days_with_findings(connection, key.workspace_id, DRIFT_CODES, first_day, end_day, key.feed_id)
    moved = 0
    for day in sorted(drifted.keys() | set(noted)):
        with engine.begin() as connection:
            lock_reconciliation(connection, key.workspace_id, day)
            policy = get_workspace(connection, key.workspace).policy
            registered = get_provider_key(connection, key.slug)  # the pull may have told its account
            found = drift_of_days(connection, [key.feed_id], [day]) if policy != POLICY_WITHOUT_PROVIDER else {}
            findings = [source_finding(day, registered, one) for one in found.get(day, ())]
            moved += replace_findings_of_feed(
                connection, key.workspace_id, day, key.feed_id, DRIFT_CODES, findings, now
            )
    return moved
