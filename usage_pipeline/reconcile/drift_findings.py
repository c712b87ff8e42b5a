"""Findings about what sources themselves answered; those about pulls are also made right after a pull.

A day whose pull lacks a model or a project stops before it is normalised, and is not reconciled then. Its finding must
be there nevertheless, so both ways make the same findings of the same stored pulls, and each closes what the other
opened only where the pulls say so.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Final

from sqlalchemy import Engine

from usage_pipeline.ledger.finding_replacement import replace_findings_of_feed
from usage_pipeline.ledger.findings import Finding, days_with_findings
from usage_pipeline.ledger.provider_keys import ProviderKey, get_provider_key
from usage_pipeline.ledger.pull_drift import DRIFT_CODES, SourceFinding, drift_of_days, first_drifted_day
from usage_pipeline.ledger.reconciled import lock_reconciliation
from usage_pipeline.ledger.workspaces import get_workspace
from usage_pipeline.reconcile.words import relative, units
from usage_pipeline.utc_days import days_between

POLICY_WITHOUT_PROVIDER = "hermes_only"
"""The policy that leaves the provider's side out, and raises no findings about it."""


_CAUSES: Final = {
    "answer_unknown_field": "the provider's API has grown; what the field holds is in no figure until it is known.",
    "totals_off": "the provider rounds, restates a part before its total, or left a part or an amount out.",
    "rows_not_counted": "see the reason at the beginning; these rows are nobody's usage, or another's.",
    "dimension_unanswered": "the provider lost the split for a while, or the key may no longer see it.",
    "rollup_differs": "the plugin's totals and its models were counted at different moments, or it dropped models.",
    "model_split_missing": "an old plugin, whose payload splits no model into token classes.",
    "cache_split_missing": "an old plugin, whose payload has reads and writes of the cache in one figure.",
    "total_tokens_differ": "the plugin adds its total in another way, or at another moment, than its classes.",
    "reasoning_exceeds_output": "the plugin counts reasoning beside the output, or output without it.",
    "payload_unknown_field": "the plugin is newer than this pipeline.",
}
"""What is mostly behind an odd answer or batch."""


def source_finding(day: date, key: ProviderKey | None, one: SourceFinding) -> Finding:
    """The finding about a source; ``key`` is None for a Hermes feed."""
    told = [one.words.rstrip(".")]
    difference = one.found - one.stated if one.found is not None and one.stated is not None else None
    if difference:
        told.append(f"{units(abs(difference))} {'more' if difference > 0 else 'less'}{_beside(difference, one.stated)}")
    if one.code in _CAUSES:
        told.append(f"Likely cause: {_CAUSES[one.code].rstrip('.')}")
    return Finding(
        one.code,
        day,
        f"{'. '.join(told)}.",
        provider=key.provider if key else None,
        account=key.account if key else None,
        feed_id=one.feed_id,
        endpoint=one.endpoint,
        measure=one.measure,
        figure_hermes=one.stated,
        difference=difference,
    )


def _beside(difference: Decimal, stated: Decimal | None) -> str:
    return f"{relative(difference, stated)} of what is stated" if stated else ""


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
