"""What a decided day is worth a person's look: the findings, each raised by one rule, with figures and words.

Findings about coverage belong to a slice and show also where no cell exists; the others belong to a cell. They are
raised by the comparison of ``provider_first`` under every policy, except that a policy that leaves a side out raises
none about it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from usage_pipeline.hermes.batch import UNALLOCATED_MODEL
from usage_pipeline.hermes.routes import ACCOUNT, OFF_ACCOUNT, UNKNOWN
from usage_pipeline.ledger.findings import Finding
from usage_pipeline.ledger.reconcile_inputs import SourceFinding
from usage_pipeline.reconcile.aliases import canonical_model
from usage_pipeline.reconcile.coverage import State, day_end
from usage_pipeline.reconcile.decision import Cell, Decided, tolerance
from usage_pipeline.reconcile.figures import COMPARED, COMPARED_TOKENS, NOTHING, Figures, add, compared
from usage_pipeline.reconcile.leaders import FeedDay
from usage_pipeline.reconcile.money import DayBills
from usage_pipeline.reconcile.sides import COSTS_FAMILY, CellKey, CellSides, DaySides, FamilyDay
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
    "answer_unknown_field",
    "totals_off",
    "model_split_missing",
    "cache_split_missing",
    "total_tokens_differ",
    "reasoning_exceeds_output",
    "payload_unknown_field",
)
"""Every code that a day's reconciling can raise. docs/reconciliation.md says of each when, and what to do."""

NEIGHBOUR_CODES = ("hermes_exceeds_provider", "session_boundary")
"""Codes that hang on the days around, so that a change nearby decides them anew."""

NEIGHBOUR_DAYS = 3
_BILL_FLOOR_USD = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class Exceeding:
    """A measure in which Hermes exceeds the provider by more than the tolerance."""

    measure: str
    provider: int
    hermes: int


@dataclass(frozen=True, slots=True)
class DecidedCell:
    """A cell with its rows and its decision under ``provider_first`` (``base``) and under the workspace's policy."""

    key: CellKey
    sides: CellSides
    cell: Cell
    base: Decided
    decided: Decided


def exceeding(cell: Cell, settings: Settings, names: Sequence[str] = COMPARED) -> list[Exceeding]:
    """The compared measures in which H is above P by more than the tolerance."""
    found = []
    for name in names:
        provider, hermes = compared(cell.provider, name), compared(cell.hermes or NOTHING, name)
        reported = cell.provider_reports is None or name in cell.provider_reports
        if hermes is None or not reported:
            continue
        allowed = tolerance(provider or 0, settings.tolerance_fraction, settings.tolerance_floor)
        if hermes - (provider or 0) > allowed:
            found.append(Exceeding(name, provider or 0, hermes))
    return found


def excess_findings(
    one: DecidedCell, sides: DaySides, settings: Settings, neighbour: Callable[[int], Cell]
) -> Iterator[Finding]:
    """Row 3's finding: the excess, or that it is only a session that ended on another day, or that it can't be told."""
    if one.base.row not in {1, 2, 3}:
        return
    tokens = exceeding(one.cell, settings, COMPARED_TOKENS)
    others = exceeding(one.cell, settings, ("requests",))
    if not tokens and not others:
        return
    family = next(f for name, f in sides.families.items() if name == (one.key.provider, one.key.family))
    if family.scoped_only and not _tagged(one, sides):
        for found in tokens or others:
            yield _cell_finding("scope_unknown", one, sides, found, _SCOPE_WORDS)
        return
    if not tokens:
        for found in others:
            yield _cell_finding("requests_differ", one, sides, found, "Only requests differ; every token class agrees.")
        return
    boundary = _is_session_boundary(one, sides, settings, neighbour)
    for found in tokens:
        if boundary:
            words = "The excess vanishes in the sum of the days around: a session counted on the day when it ended."
            yield _cell_finding("session_boundary", one, sides, found, words)
        else:
            yield _cell_finding("hermes_exceeds_provider", one, sides, found, _EXCESS_WORDS)


_SCOPE_WORDS = (
    "The workspace's keys answer for some projects only, and Hermes does not say which projects it billed to. "
    "Set the feed's bills_to."
)
_EXCESS_WORDS = (
    "Likely causes: calls through another account, subscription or router that Hermes took for this account, a day "
    "reported by local time, or a payload that counts a call twice."
)


def _tagged(one: DecidedCell, sides: DaySides) -> bool:
    """Whether every Hermes feed of the cell names the account or the projects that it bills to."""
    return all(
        sides.bills_to[row.feed_id].get(one.key.provider, "").startswith(f"{ACCOUNT}:") for row in one.sides.hermes_rows
    )


def _is_session_boundary(
    one: DecidedCell, sides: DaySides, settings: Settings, neighbour: Callable[[int], Cell]
) -> bool:
    """Row 3's test on the sum of D−1…D+1 or of the 7 days around D, over days known and final on both sides."""
    settled = one.cell.coverage.final and one.cell.hermes is not None and one.cell.hermes_final
    call_time = any(sides.hermes_slices[row.feed_id].hours_are_call_time for row in one.sides.hermes_rows)
    if not settled or call_time:
        return False
    around = {offset: neighbour(offset) for offset in range(-NEIGHBOUR_DAYS, NEIGHBOUR_DAYS + 1) if offset}
    around[0] = one.cell
    for reach in (1, NEIGHBOUR_DAYS):
        known = [
            cell
            for offset, cell in around.items()
            if abs(offset) <= reach and cell.coverage.final and cell.hermes is not None and cell.hermes_final
        ]
        summed = Cell(
            on_account=True,
            coverage=one.cell.coverage,
            provider_known=True,
            day_end=one.cell.day_end,
            provider=add(*(cell.provider for cell in known)),
            hermes=add(*(cell.hermes for cell in known if cell.hermes is not None)),
            hermes_final=True,
            hermes_until=None,
            hermes_call_time=False,
            provider_reports=one.cell.provider_reports,
        )
        if not exceeding(summed, settings, COMPARED_TOKENS):
            return True
    return False


def coverage_findings(
    sides: DaySides, decided: Sequence[DecidedCell], settings: Settings, now: datetime
) -> Iterator[Finding]:
    """Slices that are missing or stale, once their time has passed."""
    end = day_end(sides.day)
    missing_due = now >= end + timedelta(hours=settings.window_missing_hours)
    settled_due = now >= end + settings.settling_provider
    for name, family in [*sides.families.items(), *((c.key, c) for c in sides.costs.values())]:
        rows = {
            one.base.row for one in decided if (one.key.provider, one.key.family) == name and one.key.route == ACCOUNT
        }
        for account, settled in family.accounts.items():
            for feed in _feeds_of(sides, family, account):
                if settled.coverage.state < State.PROVISIONAL and feed.expected and not feed.coverage.covers:
                    if 7 in rows and settled_due:
                        yield _slice_finding("provider_missing", sides, family, account, feed, _MISSING_WORDS)
                    if (rows & {8, 9} or not rows) and missing_due:
                        yield _slice_finding("window_missing", sides, family, account, feed, _MISSING_WORDS)
                lead = settled.leads.get(feed.feed_id)
                stale = settled.coverage.state is State.PROVISIONAL and not feed.coverage.final
                if stale and settled_due and lead and lead.counts:
                    yield _slice_finding("provider_stale", sides, family, account, feed, _STALE_WORDS)


_MISSING_WORDS = "No complete pull of this day stands. Backfill it; the key's last error says what is in the way."
_STALE_WORDS = "The day was pulled before it had settled and never again. Pull it once more to make it final."


def _feeds_of(sides: DaySides, family: FamilyDay, account: str) -> list[FeedDay]:
    return [feed for feed in family.feeds if sides.keys[feed.feed_id].account == account]


def overlap_findings(sides: DaySides, decided: Sequence[DecidedCell]) -> Iterator[Finding]:
    """Scopes that cross, and shadowed feeds that report more than the one that leads."""
    for family in sides.families.values():
        for account, settled in family.accounts.items():
            for one, other in settled.crossing:
                words = (
                    f"The scopes of {sides.keys[one].slug} and {sides.keys[other].slug} cross; what both contain is "
                    "counted once."
                )
                yield Finding(
                    "overlapping_feeds",
                    sides.day,
                    words,
                    family.key.provider,
                    account,
                    ACCOUNT,
                    family.key.family,
                    feed_id=other,
                )
            for cell in decided:
                if (cell.key.provider, cell.key.family) == family.key and cell.key.route == ACCOUNT:
                    yield from _shadow_findings(sides, family, account, cell, settled.shadowed_by)


def _shadow_findings(
    sides: DaySides, family: FamilyDay, account: str, cell: DecidedCell, shadowed_by: Mapping[int, int]
) -> Iterator[Finding]:
    for feed_id, leader in shadowed_by.items():
        shadowed, leading = cell.sides.shadowed_by_feed.get(feed_id, {}), cell.sides.counted_by_feed.get(leader, {})
        for name in COMPARED_TOKENS:
            more, counted = compared(shadowed, name) or 0, compared(leading, name) or 0
            if more > counted:
                words = f"{sides.keys[feed_id].slug} is shadowed by {sides.keys[leader].slug} and reports more than it."
                yield Finding(
                    "overlapping_feeds",
                    sides.day,
                    words,
                    cell.key.provider,
                    account,
                    ACCOUNT,
                    family.key.family,
                    cell.key.model,
                    feed_id,
                    measure=name,
                    figure_provider=counted,
                    difference=more - counted,
                )


def restatement_findings(
    sides: DaySides, kept: Sequence[tuple[int, datetime, str, Mapping[str, int]]]
) -> Iterator[Finding]:
    """Cells whose figure in any later final pull differs from that of the first final one."""
    by_slice: dict[int, dict[datetime, dict[str, Figures]]] = {}
    for slice_id, started_at, model, figures in kept:
        models = by_slice.setdefault(slice_id, {}).setdefault(started_at, {})
        name = canonical_model(model)
        models[name] = add(models.get(name, {}), figures)
    for family in sides.families.values():
        for slice_id, row in family.slices.items():
            pulls = by_slice.get(slice_id)
            if not pulls:
                continue
            first, *later = (pulls[started] for started in sorted(pulls))
            for model in sorted({name for models in (first, *later) for name in models if name or models[name]}):
                for measure in COMPARED_TOKENS:
                    before = compared(first.get(model, {}), measure) or 0
                    other = next(
                        (v for one in later if (v := compared(one.get(model, {}), measure) or 0) != before), None
                    )
                    if other is not None:
                        yield Finding(
                            "restated_after_final",
                            sides.day,
                            f"The first final pull said {before}, a later one {other}.",
                            family.key.provider,
                            sides.keys[row.feed_id].account,
                            ACCOUNT,
                            family.key.family,
                            model,
                            row.feed_id,
                            row.endpoint,
                            measure,
                            figure_provider=other,
                            difference=other - before,
                        )


def route_findings(sides: DaySides, decided: Sequence[DecidedCell]) -> Iterator[Finding]:
    """Hermes rows whose route nobody knows, and rows that a bucket had beyond its models."""
    for one in decided:
        if one.key.route == f"{OFF_ACCOUNT}{UNKNOWN}":
            words = "Neither the payload nor the feed's bills_to says who bills this model."
            yield _key_finding("unknown_route", one.key, sides, words)


def price_findings(one: DecidedCell, unpriced: set[str], sides: DaySides) -> Iterator[Finding]:
    """Counted usage that no price is known for."""
    if unpriced:
        words = f"No price for {', '.join(sorted(unpriced))}; its computed cost is not known."
        yield _key_finding("unpriced_model", one.key, sides, words)


def bill_findings(sides: DaySides, bills: DayBills, settings: Settings) -> Iterator[Finding]:
    """Computed against billed, per account and day, where both are final and everything has a price."""
    for bill in bills.accounts.values():
        families = [f for name, f in sides.families.items() if name.provider == bill.provider]
        final = bill.final and all(
            f.accounts[bill.account].coverage.final for f in families if bill.account in f.accounts
        )
        if not final or any(bill.unpriced.values()):
            continue
        billed = sum(bill.billed.values(), Decimal(0))
        computed = sum(bill.computed.values(), Decimal(0))
        lines = sum((usd for key, usd in bill.billed.items() if key not in sides.cells), Decimal(0))
        if abs(billed - computed) > max(settings.bill_tolerance_fraction * abs(billed), _BILL_FLOOR_USD):
            words = (
                f"Billed {billed:f} USD, computed {computed:f} USD; {lines:f} USD of the bill names no model that was "
                "used (tools, storage, commitments)."
            )
            yield Finding(
                "bill_differs_from_usage",
                sides.day,
                words,
                bill.provider,
                bill.account,
                ACCOUNT,
                COSTS_FAMILY,
                figure_provider=billed,
                difference=computed - billed,
            )


def source_findings(sides: DaySides, found: Sequence[SourceFinding]) -> Iterator[Finding]:
    """What pulls and batches themselves had that was odd."""
    for one in found:
        key = sides.keys.get(one.feed_id)
        yield Finding(
            one.code,
            sides.day,
            one.words,
            key.provider if key else None,
            key.account if key else None,
            feed_id=one.feed_id,
            endpoint=one.endpoint,
            measure=one.measure,
            figure_hermes=one.stated,
            difference=one.found - one.stated if one.found is not None and one.stated is not None else None,
        )


def label_findings(sides: DaySides, labelled: Sequence[tuple[int, list[str]]]) -> Iterator[Finding]:
    """Hermes feeds to which two installs seem to post."""
    for feed_id, labels in labelled:
        words = (
            f"Batches of {len(labels)} source labels came for one feed: {', '.join(labels)}. Give each its own feed."
        )
        yield Finding("overlapping_feeds", sides.day, words, feed_id=feed_id, endpoint="rollups")


def _cell_finding(code: str, one: DecidedCell, sides: DaySides, found: Exceeding, words: str) -> Finding:
    key = one.key
    return Finding(
        code,
        sides.day,
        f"{found.measure}: Hermes reports {found.hermes}, the provider {found.provider}. {words}",
        key.provider,
        None,
        key.route,
        key.family,
        key.model,
        measure=found.measure,
        figure_provider=found.provider,
        figure_hermes=found.hermes,
        difference=found.hermes - found.provider,
    )


def _key_finding(code: str, key: CellKey, sides: DaySides, words: str) -> Finding:
    return Finding(code, sides.day, words, key.provider, None, key.route, key.family, key.model)


def _slice_finding(code: str, sides: DaySides, family: FamilyDay, account: str, feed: FeedDay, words: str) -> Finding:
    row = family.slices.get(feed.slice_id) if feed.slice_id is not None else None
    error = f" Last error: {row.last_attempt_error}" if row and row.last_attempt_error else ""
    return Finding(
        code,
        sides.day,
        f"{sides.keys[feed.feed_id].slug}: {words}{error}",
        family.key.provider,
        account,
        ACCOUNT,
        family.key.family,
        feed_id=feed.feed_id,
        endpoint=row.endpoint if row else None,
    )


def unallocated_findings(decided: Sequence[DecidedCell], sides: DaySides) -> Iterator[Finding]:
    """Cells that hold what a Hermes bucket stated beyond the sum of its models."""
    for one in decided:
        if one.key.model == UNALLOCATED_MODEL:
            words = "A bucket's own totals are above the sum of its models; the rest is counted without a model."
            yield _key_finding("rollup_differs", one.key, sides, words)
