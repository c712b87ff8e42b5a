"""What a decided day is worth a person's look: every finding of a workspace's day, each raised by one rule.

Findings are raised by the comparison of ``provider_first`` under every policy, except that a policy that leaves a side
out raises none about it. Here: the codes, which rules a policy asks, and what is about single cells and bills. In
``excess_findings``: Hermes above the provider. In ``feed_findings``: slices and feeds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from functools import partial

from sqlalchemy import Connection

from usage_pipeline.hermes.batch import UNALLOCATED_MODEL
from usage_pipeline.hermes.routes import OFF_ACCOUNT, UNKNOWN
from usage_pipeline.ledger.findings import Finding
from usage_pipeline.ledger.pull_drift import drift_of_days
from usage_pipeline.ledger.reconcile_inputs import (
    batch_findings_of_day,
    feeds_with_two_labels,
    final_figures,
)
from usage_pipeline.measures import TOKEN_CLASSES
from usage_pipeline.pricing.rates import exact_arithmetic
from usage_pipeline.reconcile.cells import CellKey, DecidedCell
from usage_pipeline.reconcile.decision import Cell
from usage_pipeline.reconcile.drift_findings import POLICY_WITHOUT_PROVIDER
from usage_pipeline.reconcile.excess_findings import excess_findings
from usage_pipeline.reconcile.families import COSTS_FAMILY
from usage_pipeline.reconcile.feed_findings import (
    coverage_findings,
    label_findings,
    overlap_findings,
    restatement_findings,
    source_findings,
)
from usage_pipeline.reconcile.money import AccountBill, DayBills
from usage_pipeline.reconcile.sides import DaySides
from usage_pipeline.settings import Settings

FINDING_CODES: tuple[str, ...] = (
    "hermes_exceeds_provider",
    "session_boundary",
    "requests_differ",
    "scope_unknown",
    "provider_missing",
    "provider_stale",
    "window_missing",
    "bill_differs_from_usage",
    "unpriced_model",
    "unknown_route",
    "restated_after_final",
    "overlapping_feeds",
    "rollup_differs",
    "lookback_exceeded",
    "answer_unknown_field",
    "totals_off",
    "rows_not_counted",
    "dimension_unanswered",
    "model_split_missing",
    "cache_split_missing",
    "total_tokens_differ",
    "reasoning_exceeds_output",
    "payload_unknown_field",
)
"""Every code that a day's reconciling can raise. docs/reconciliation.md says of each when, and what to do."""

_BILL_FLOOR_USD = Decimal("0.01")

Neighbour = Callable[[CellKey, int], Cell]
"""The cell of a key some days later (earlier: negative)."""


def findings_of_day(
    connection: Connection,
    sides: DaySides,
    decided: Sequence[DecidedCell],
    bills: DayBills,
    unpriced: Mapping[CellKey, frozenset[str]],
    settings: Settings,
    now: datetime,
    neighbour: Neighbour,
) -> list[Finding]:
    """Every finding of the day under the workspace's policy."""
    policy = sides.workspace.policy
    found: list[Finding] = []
    for one in decided:
        if policy in {"provider_first", "hermes_first"}:
            found.extend(excess_findings(one, sides, settings, partial(neighbour, one.key)))
        found.extend(price_findings(one, unpriced[one.key], sides, bills))
    if policy != POLICY_WITHOUT_PROVIDER:
        slices = [slice_id for family in sides.families.values() for slice_id in family.slices]
        found.extend(coverage_findings(sides, decided, settings, now))
        found.extend(overlap_findings(sides))
        found.extend(restatement_findings(sides, final_figures(connection, slices), settings))
        found.extend(bill_findings(sides, bills, settings))
        drift = drift_of_days(connection, list(sides.keys), [sides.day])
        found.extend(source_findings(sides, drift.get(sides.day, ())))
    if policy != "provider_only":
        feeds = list(sides.hermes_feeds)
        found.extend(route_findings(sides, decided))
        found.extend(unallocated_findings(sides, decided))
        found.extend(source_findings(sides, batch_findings_of_day(connection, feeds, sides.day)))
        found.extend(label_findings(sides, feeds_with_two_labels(connection, feeds, sides.day)))
    return found


def route_findings(sides: DaySides, decided: Sequence[DecidedCell]) -> Iterator[Finding]:
    """Cells whose route nobody knows."""
    for one in decided:
        if one.key.route == f"{OFF_ACCOUNT}{UNKNOWN}":
            words = "Neither the payload nor the feed's bills_to says who bills this model."
            yield _of_cell("unknown_route", one.key, sides, words)


def price_findings(one: DecidedCell, unpriced: frozenset[str], sides: DaySides, bills: DayBills) -> Iterator[Finding]:
    """Counted usage that no price is known for.

    What is of no model (storage, sessions) is priced by the bill alone, and so is what used no tokens (images, speech)
    once a final bill has it: price lists have no rates for these.
    """
    reports = sides.reports.get(one.key.reported_in)
    by_bill = any(bill.final and one.key in bill.billed for bill in bills.accounts.values())
    if by_bill and not any(one.decided.counted.get(name) for name in TOKEN_CLASSES):
        return
    if unpriced and (reports is None or reports.by_model):
        words = f"No price for {', '.join(sorted(unpriced))}; its computed cost is not known."
        yield _of_cell("unpriced_model", one.key, sides, words)


def unallocated_findings(sides: DaySides, decided: Sequence[DecidedCell]) -> Iterator[Finding]:
    """Cells that hold what a Hermes bucket stated beyond the sum of its models."""
    for one in decided:
        if any(row.model == UNALLOCATED_MODEL for row in one.sides.hermes_rows):
            words = "A bucket's own totals are above the sum of its models; the rest is counted without a model."
            yield _of_cell("rollup_differs", one.key, sides, words)


def bill_findings(sides: DaySides, bills: DayBills, settings: Settings) -> Iterator[Finding]:
    """Computed against billed, per account and day, where both are final: what has a price with what was billed for it.

    Where something was used that no price list has (storage, sessions, images), lines that name no model may be its
    bill, or that of something computed (web searches): a difference between the bill with and without these lines is
    explained. Where nothing of the kind was used, they explain nothing.
    """
    for bill in bills.accounts.values():
        if not _can_be_compared(sides, bill):
            continue
        with exact_arithmetic():
            billed = sum((usd for key, usd in bill.billed.items() if key not in bill.unpriced), Decimal(0))
            computed = sum((usd for key, usd in bill.computed.items() if key not in bill.unpriced), Decimal(0))
            lines = sum((usd for key, usd in bill.billed.items() if key not in sides.cells), Decimal(0))
            least, most = sorted((billed, billed - lines if bill.unpriced else billed))
            difference = max(computed - most, Decimal(0)) + min(computed - least, Decimal(0))
            allowed = max(settings.bill_tolerance_fraction * abs(billed), _BILL_FLOOR_USD)
        if abs(difference) > allowed:
            words = (
                f"Billed {billed:f} USD, computed {computed:f} USD; {lines:f} USD of the bill names no model that was "
                "used (tools, storage, commitments)."
            )
            yield Finding(
                "bill_differs_from_usage",
                sides.day,
                words,
                provider=bill.provider,
                account=bill.account,
                route=bill.route,
                family=COSTS_FAMILY,
                figure_provider=billed,
                difference=difference,
            )


def _can_be_compared(sides: DaySides, bill: AccountBill) -> bool:
    usage = [
        family.accounts[bill.account].coverage
        for name, family in sides.families.items()
        if name.provider == bill.provider and bill.account in family.accounts
    ]
    return bill.final and bool(usage) and all(one.final for one in usage)


def _of_cell(code: str, key: CellKey, sides: DaySides, words: str) -> Finding:
    return Finding(code, sides.day, words, provider=key.provider, route=key.route, family=key.family, model=key.model)
