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
from usage_pipeline.ledger.account_bills import ComparedBill
from usage_pipeline.ledger.findings import Finding
from usage_pipeline.ledger.pull_drift import drift_of_days
from usage_pipeline.ledger.reconcile_inputs import (
    batch_findings_of_day,
    feeds_with_two_labels,
    final_figures,
)
from usage_pipeline.measures import TOKEN_CLASSES
from usage_pipeline.reconcile.account_bills import BILL_NEIGHBOUR_DAYS
from usage_pipeline.reconcile.cells import CellKey, DecidedCell
from usage_pipeline.reconcile.decision import Cell
from usage_pipeline.reconcile.drift_findings import POLICY_WITHOUT_PROVIDER
from usage_pipeline.reconcile.excess_findings import EXCESS_CODES, NEIGHBOUR_DAYS, excess_findings
from usage_pipeline.reconcile.families import COSTS_FAMILY
from usage_pipeline.reconcile.feed_findings import (
    coverage_findings,
    label_findings,
    overlap_findings,
    restatement_findings,
    source_findings,
)
from usage_pipeline.reconcile.finding_grounds import behind_account, behind_cell
from usage_pipeline.reconcile.money import DayBills
from usage_pipeline.reconcile.sides import DaySides
from usage_pipeline.reconcile.words import about_dollars, dollars, relative, units
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
    "day_boundary",
    "payload_unknown_field",
)
"""Every code that a day's reconciling can raise. docs/reconciliation.md says of each when, and what to do."""

NEIGHBOUR_REACH: Mapping[tuple[str, ...], int] = {
    EXCESS_CODES: NEIGHBOUR_DAYS,
    ("bill_differs_from_usage",): BILL_NEIGHBOUR_DAYS,
}
"""Codes that hang on the days around, and how many: a change nearby decides them anew."""

Neighbour = Callable[[CellKey, int], Cell]
"""The cell of a key some days later (earlier: negative)."""


def findings_of_day(
    connection: Connection,
    sides: DaySides,
    decided: Sequence[DecidedCell],
    bills: DayBills,
    unpriced: Mapping[CellKey, frozenset[str]],
    compared: Sequence[ComparedBill],
    settings: Settings,
    now: datetime,
    neighbour: Neighbour,
) -> list[Finding]:
    """Every finding of the day under the workspace's policy; ``compared`` are its bills beside their usage."""
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
        found.extend(bill_findings(sides, compared))
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
            words = (
                f"Neither the payload nor the feed's bills_to says who bills this model; {_tokens(one)} tokens count "
                "as Hermes reports them. Likely cause: a payload of version 1 or 2, or a provider new to Hermes."
            )
            yield _of_cell("unknown_route", one.key, sides, words)


def price_findings(one: DecidedCell, unpriced: frozenset[str], sides: DaySides, bills: DayBills) -> Iterator[Finding]:
    """Counted usage that no price is known for.

    What is of no model (storage, sessions) is priced by the bill alone, and so is what used no tokens (images, speech)
    once a final bill has it: price lists have no rates for these.
    """
    if not unpriced:
        return
    reports = sides.reports.get(one.key.reported_in)
    by_bill = any(bill.final and one.key in bill.billed for bill in bills.accounts.values())
    if by_bill and not any(one.decided.counted.get(name) for name in TOKEN_CLASSES):
        return
    if reports is None or reports.by_model:
        words = (
            f"No price for {', '.join(sorted(unpriced))}; the computed cost of {_tokens(one)} counted tokens is not "
            "known. Likely cause: the model, or this tier of it, is newer than the price list."
        )
        yield _of_cell("unpriced_model", one.key, sides, words)


def unallocated_findings(sides: DaySides, decided: Sequence[DecidedCell]) -> Iterator[Finding]:
    """Cells that hold what a Hermes bucket stated beyond the sum of its models."""
    for one in decided:
        rest = [row for row in one.sides.hermes_rows if row.model == UNALLOCATED_MODEL]
        if rest:
            tokens = sum(row.figures.get(name) or 0 for row in rest for name in TOKEN_CLASSES)
            words = (
                f"A bucket's own totals are {units(tokens)} tokens above the sum of its models; the rest is counted "
                "without a model. Likely cause: the plugin dropped a model, or counted both at different moments."
            )
            yield _of_cell("rollup_differs", one.key, sides, words)


def bill_findings(sides: DaySides, compared: Sequence[ComparedBill]) -> Iterator[Finding]:
    """Accounts whose final bill differs from what their usage costs, with the reason where it can be told."""
    for bill in compared:
        if bill.agrees is not False or bill.compared_billed_usd is None or bill.difference_usd is None:
            continue
        billed, difference = bill.compared_billed_usd, bill.difference_usd
        beside = f" ({', '.join(bill.unpriced)} left out: no price)" if bill.unpriced else ""
        words = (
            f"Billed {dollars(billed)}, computed {dollars(bill.compared_computed_usd or Decimal(0))}{beside}: computed "
            f"is {dollars(abs(difference))} {'more' if difference > 0 else 'less'}{relative(difference, billed)}, and "
            f"{about_dollars(bill.tolerance_usd or Decimal(0))} are allowed. Reason: {bill.reason}. {bill.reason_words}"
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
            behind=behind_account(bill.provider, bill.account, sides),
        )


def _tokens(one: DecidedCell) -> str:
    return units(sum(one.decided.counted.get(name) or 0 for name in TOKEN_CLASSES))


def _of_cell(code: str, key: CellKey, sides: DaySides, words: str) -> Finding:
    return Finding(
        code,
        sides.day,
        words,
        provider=key.provider,
        route=key.route,
        family=key.family,
        model=key.model,
        behind=behind_cell(key, sides),
    )
