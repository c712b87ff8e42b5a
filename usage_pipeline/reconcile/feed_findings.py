"""What a day's feeds are worth a look for: slices missing or stale, overlaps, restatements, odd answers and batches.

These findings belong to a slice or a feed, and show also where no cell exists.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from usage_pipeline.ledger.finding_evidence import Behind
from usage_pipeline.ledger.findings import Finding
from usage_pipeline.ledger.pull_drift import SourceFinding
from usage_pipeline.ledger.reconcile_inputs import LOOKBACK_EXCEEDED, FinalFigures
from usage_pipeline.measures import LEVELS, TOKEN_CLASSES
from usage_pipeline.reconcile.aliases import canonical_model
from usage_pipeline.reconcile.cells import CellKey, CellSides, DecidedCell, FamilyKey
from usage_pipeline.reconcile.coverage import State
from usage_pipeline.reconcile.drift_findings import source_finding
from usage_pipeline.reconcile.families import FamilyDay
from usage_pipeline.reconcile.figures import COMPARED, Figures, add, compared
from usage_pipeline.reconcile.finding_grounds import behind_cell, behind_feeds
from usage_pipeline.reconcile.leaders import AccountDay, EndpointDay, FeedDay
from usage_pipeline.reconcile.sides import DaySides
from usage_pipeline.reconcile.words import relative, units
from usage_pipeline.settings import Settings
from usage_pipeline.utc_days import day_end

_MISSING_WORDS = "No complete pull of this day stands{}. Backfill it; the key's last error says what is in the way."
_OUT_OF_REACH_WORDS = (
    "The provider does not keep this day any more, and no pull of it stands; it can only be had from an export."
)
_STALE_WORDS = (
    "The day was last pulled at {}, before it had settled at {}, so its figures may have grown since. Pull it once "
    "more to make it final. Likely cause: the schedule did not run, or the pulls since then failed."
)


def coverage_findings(
    sides: DaySides, decided: Sequence[DecidedCell], settings: Settings, now: datetime
) -> Iterator[Finding]:
    """Slices that are missing or stale, once their time has passed, of feeds that should have covered the day.

    What stands in for a missing slice decides its code: Hermes (rows 7 and 10) ``provider_missing``, else
    ``window_missing``. A slice that the provider does not keep any more is ``lookback_exceeded`` instead, at once.
    """
    end = day_end(sides.day)
    cells_of = _by_family(sides, decided)
    missing_due = now >= end + timedelta(hours=settings.window_missing_hours)
    for family in [*sides.families.values(), *sides.costs.values()]:
        settled_due = now >= end + settings.settling_of(family.key.provider)
        cells = cells_of[family.key]
        rows = {one.base.row for one in cells}
        rows.discard(11)  # counted upstream, so nothing stands in for what is missing here
        codes: list[str] = []
        if rows & {7, 10} and settled_due:
            codes.append("provider_missing")
        if (not rows or rows & {8, 9}) and missing_due:
            codes.append("window_missing")
        missing = _MISSING_WORDS.format(_standing_in(cells))
        for account, settled in family.accounts.items():
            for feed in _expected_feeds(sides, family, account):
                for part in feed.parts:
                    if part.out_of_reach:
                        yield _slice_finding(LOOKBACK_EXCEEDED, sides, family, feed, part, _OUT_OF_REACH_WORDS)
                    elif not settled.coverage.covers and not part.coverage.covers:
                        for code in codes:
                            yield _slice_finding(code, sides, family, feed, part, missing)
                    if _is_stale(settled, feed, part) and settled_due:
                        words = _STALE_WORDS.format(
                            _instant(family.slices[part.slice_id or 0].observed_at),
                            _instant(end + settings.settling_of(family.key.provider)),
                        )
                        yield _slice_finding("provider_stale", sides, family, feed, part, words)


def _by_family(sides: DaySides, decided: Sequence[DecidedCell]) -> defaultdict[FamilyKey, list[DecidedCell]]:
    """The cells by the family that reports them; those that none reports are left out."""
    found: defaultdict[FamilyKey, list[DecidedCell]] = defaultdict(list)
    for one in decided:
        family = sides.family_of(one.key)
        if family is not None:
            found[family.key].append(one)
    return found


def _standing_in(cells: Sequence[DecidedCell]) -> str:
    """What Hermes stands in with in a family's cells, in words; nothing where it does not."""
    rows = [one for one in cells if one.base.row in {7, 10}]
    tokens = sum(one.base.counted.get(name) or 0 for one in rows for name in TOKEN_CLASSES)
    known = sum(one.cell.provider.get(name) or 0 for one in rows for name in TOKEN_CLASSES)
    return f"; {units(tokens - known)} tokens that Hermes reports stand in for it" if rows else ""


def _instant(at: datetime | None) -> str:
    return "no instant" if at is None else at.astimezone(UTC).strftime("%Y-%m-%dT%H:%MZ")


def _expected_feeds(sides: DaySides, family: FamilyDay, account: str) -> list[FeedDay]:
    return [feed for feed in family.feeds if feed.expected and sides.keys[feed.feed_id].account == account]


def _is_stale(settled: AccountDay, feed: FeedDay, part: EndpointDay) -> bool:
    lead = settled.leads.get(feed.feed_id)
    return lead is not None and lead.counts and part.coverage.state is State.PROVISIONAL


def _slice_finding(
    code: str, sides: DaySides, family: FamilyDay, feed: FeedDay, part: EndpointDay, words: str
) -> Finding:
    key = sides.keys[feed.feed_id]
    error = f" Last error: {part.last_error}" if part.last_error else ""
    return Finding(
        code,
        sides.day,
        f"{key.slug}: {words}{error}",
        provider=family.key.provider,
        account=key.account,
        route=family.route,
        family=family.key.family,
        feed_id=feed.feed_id,
        endpoint=part.endpoint,
    )


def overlap_findings(sides: DaySides) -> Iterator[Finding]:
    """Scopes that cross, and shadowed feeds that report more than those that lead."""
    for family in sides.families.values():
        for account, settled in family.accounts.items():
            crossed: dict[int, list[int]] = defaultdict(list)
            for one, other in settled.crossing:
                crossed[other].append(one)
            for other, ones in crossed.items():
                slugs = " and ".join(sides.keys[one].slug for one in ones)
                words = (
                    f"The scope of {sides.keys[other].slug} crosses that of {slugs}; what they share is counted once. "
                    "Likely cause: keys were registered with a project that another has too."
                )
                yield Finding(
                    "overlapping_feeds",
                    sides.day,
                    words,
                    provider=family.key.provider,
                    account=account,
                    route=family.route,
                    family=family.key.family,
                    feed_id=other,
                    behind=behind_feeds(family, {*ones, other}),
                )
            for key, cell in [*sides.cells.items(), *sides.shadowed.items()] if settled.shadowed_by else ():
                # What a proxy passed on is shadowed under each of its keys, whichever leads.
                if sides.family_of(key) is family and not sides.upstreams(key):
                    yield from _shadow_findings(sides, account, key, cell, settled.shadowed_by)


def _shadow_findings(
    sides: DaySides, account: str, key: CellKey, cell: CellSides, shadowed_by: Mapping[int, tuple[int, ...]]
) -> Iterator[Finding]:
    for feed_id, leaders in shadowed_by.items():
        shadowed = cell.shadowed_by_feed.get(feed_id, {})
        leading = add(*(cell.counted_by_feed.get(leader, {}) for leader in leaders))
        for name in COMPARED:
            more, counted = compared(shadowed, name) or 0, compared(leading, name) or 0
            if more > counted:
                slugs = " and ".join(sides.keys[leader].slug for leader in leaders)
                words = (
                    f"{sides.keys[feed_id].slug} is shadowed by {slugs} and reports {units(more)} {name}, more than "
                    f"{units(counted)} there: {units(more - counted)}{relative(more - counted, counted)}. Likely "
                    "cause: it was pulled later, or its scope is not within the other's."
                )
                yield Finding(
                    "overlapping_feeds",
                    sides.day,
                    words,
                    provider=key.provider,
                    account=account,
                    route=key.route,
                    family=key.family,
                    model=key.model,
                    feed_id=feed_id,
                    measure=name,
                    figure_provider=counted,
                    difference=more - counted,
                    behind=behind_cell(key, sides, with_feed=feed_id),
                )


def restatement_findings(sides: DaySides, kept: Sequence[FinalFigures], settings: Settings) -> Iterator[Finding]:
    """Cells whose figure in any later final pull differs from that of the first final one.

    ``kept`` are what the final pulls said, the oldest first; feeds of which nothing counts have no cell.
    """
    for family in sides.families.values():
        settled = day_end(sides.day) + settings.settling_of(family.key.provider)
        leads = {feed_id: lead for account in family.accounts.values() for feed_id, lead in account.leads.items()}
        for slice_id, row in family.slices.items():
            lead = leads.get(row.feed_id)
            if lead is None or not lead.counts:
                continue
            told = [one for one in kept if one.slice_id == slice_id and one.started_at >= settled]
            for restated in _restated(told, collapsed=family.key in sides.without_model):
                model, measure, before, later = restated.model, restated.measure, restated.first, restated.later
                key = sides.keys[row.feed_id]
                vendor = _vendor_of(sides, family, model)
                if vendor is None:
                    continue
                yield Finding(
                    "restated_after_final",
                    sides.day,
                    f"{measure}: the first final pull said {units(before)}, a later one {units(later)}: "
                    f"{units(abs(later - before))} {'more' if later > before else 'less'}"
                    f"{relative(later - before, before)}. Likely cause: the provider corrected the day after it had "
                    "settled.",
                    provider=vendor,
                    account=key.account,
                    route=family.route,
                    family=family.key.family,
                    model=model,
                    feed_id=row.feed_id,
                    endpoint=row.endpoint,
                    measure=measure,
                    figure_provider=later,
                    difference=later - before,
                    behind=Behind(pulls=restated.pulls),
                )


def _vendor_of(sides: DaySides, family: FamilyDay, model: str) -> str | None:
    """The provider of the cells that a family's figures of a model fall into; None where all of them count upstream.

    Kept figures do not name the upstream vendor: where no cell, or more than one, has the model, it is the biller.
    """
    if family.role == "vendor":
        return family.key.provider
    cells = [key for key in (*sides.cells, *sides.shadowed) if key.model == model and sides.family_of(key) is family]
    counted = {
        key.provider
        for key in cells
        if not sides.upstreams(key) or (key in sides.cells and sides.cells[key].counted_by_feed)
    }
    if cells and not counted:
        return None
    return counted.pop() if len(counted) == 1 else family.key.provider


class _Restated(NamedTuple):
    """A model's measure as the first final pull said it, and as the last one did that says otherwise."""

    model: str
    measure: str
    first: int
    later: int
    pulls: tuple[int, int]


def _restated(told: Sequence[FinalFigures], *, collapsed: bool) -> Iterator[_Restated]:
    """What one slice's final pulls, the oldest first, say differently."""
    pulls: dict[int, dict[str, Figures]] = {}
    for one in told:
        models = pulls.setdefault(one.pull_id, {})
        name = "" if collapsed else canonical_model(one.model)
        models[name] = add(models.get(name, {}), one.figures)
    if not pulls:
        return
    (first_pull, first), *later = pulls.items()
    for model in sorted({name for models in pulls.values() for name in models}):
        for measure in (*COMPARED, *sorted(LEVELS)):
            before = compared(first.get(model, {}), measure) or 0
            others = [
                (v, pull_id) for pull_id, one in later if (v := compared(one.get(model, {}), measure) or 0) != before
            ]
            if others:
                yield _Restated(model, measure, before, others[-1][0], (first_pull, others[-1][1]))


def source_findings(sides: DaySides, found: Sequence[SourceFinding]) -> Iterator[Finding]:
    """What pulls and batches themselves had that was odd."""
    return (source_finding(sides.day, sides.keys.get(one.feed_id), one) for one in found)


def label_findings(sides: DaySides, labelled: Sequence[tuple[int, list[str]]]) -> Iterator[Finding]:
    """Hermes feeds to which two installs seem to post."""
    for feed_id, labels in labelled:
        words = (
            f"Batches of {len(labels)} source labels came for one feed: {', '.join(labels)}. Likely cause: two "
            "installs post with one token. Give each its own feed."
        )
        yield Finding("overlapping_feeds", sides.day, words, feed_id=feed_id, endpoint="rollups")
