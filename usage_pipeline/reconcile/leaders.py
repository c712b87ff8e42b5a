"""Overlapping feeds of one account: which rows of which feed count, decided per account, family and day.

In come the feeds of one account that answer for one family on one day; out comes, for each, whether all, some or none
of its rows count, and how well the account as a whole is covered. Rows that don't count stay, shown as shadowed.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

from usage_pipeline.reconcile.coverage import NOT_COVERED, Coverage, State, weakest

_SCOPE_RANK = {"account": 0, "projects": 1, "key": 2}


@dataclass(frozen=True, slots=True)
class Scope:
    """What a key answers for: its ``account``, named ``projects`` of it, or one API ``key``."""

    kind: str
    projects: frozenset[str] = frozenset()

    def is_within(self, other: Scope) -> bool:
        """Whether ``other`` may contain all of this; a key of unknown project may be within any projects."""
        if self.kind == other.kind == "projects":
            return self.projects <= other.projects
        return _SCOPE_RANK[other.kind] < _SCOPE_RANK[self.kind] or self.kind == other.kind == "account"

    def meets(self, other: Scope) -> bool:
        """Whether something may be in both."""
        if self.kind == other.kind == "projects":
            return bool(self.projects & other.projects)
        return self.kind != other.kind or self.kind == "account"


@dataclass(frozen=True, slots=True)
class EndpointDay:
    """One endpoint that a feed may ask, on one UTC day: its slice (None where nothing was tried) and its coverage.

    ``out_of_reach`` is whether the provider said that it does not keep the day any more, and no answer of it stands.
    """

    endpoint: str
    slice_id: int | None
    coverage: Coverage
    last_error: str | None = None
    out_of_reach: bool = False


@dataclass(frozen=True, slots=True)
class FeedDay:
    """One provider feed, one family, one UTC day.

    ``window_seconds`` is the widest bucket of its slices, ``dimensions_asked`` what all of them asked for.
    ``expected`` is whether the feed was enabled for the whole day and stayed so; ``feed_id`` grows with registration.
    """

    feed_id: int
    scope: Scope
    parts: tuple[EndpointDay, ...]
    window_seconds: int | None
    dimensions_asked: frozenset[str]
    expected: bool

    @property
    def coverage(self) -> Coverage:
        """That of the endpoint which is covered worst: half a family is not a family."""
        return weakest([part.coverage for part in self.parts])


@dataclass(frozen=True, slots=True)
class Lead:
    """What of a feed's rows counts: all but those of ``excluded_projects``, or none at all."""

    counts: bool
    excluded_projects: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class AccountDay:
    """One account's family and day: its coverage, what counts of each feed that covers, and what overlaps.

    ``crossing`` are the pairs of feeds whose scopes cross; ``shadowed_by`` names, for a feed of which some or all rows
    are shadowed, the feeds that count instead. ``scoped`` is whether only a part of the account is answered for.
    """

    coverage: Coverage
    leads: dict[int, Lead]
    crossing: tuple[tuple[int, int], ...]
    shadowed_by: dict[int, tuple[int, ...]]
    scoped: bool


def settle_account(feeds: list[FeedDay]) -> AccountDay:
    """Decide for one account's family and day. Feeds that neither cover nor were expected to are left out."""
    relevant = [feed for feed in feeds if feed.coverage.covers or feed.expected]
    known = sorted((feed for feed in relevant if feed.coverage.covers), key=_preference)
    blockers = {feed.feed_id: _wider_that_cannot_tell(feed, known) for feed in known}
    leads: dict[int, Lead] = {}
    shadowed_by: dict[int, tuple[int, ...]] = {}
    ahead: list[FeedDay] = []
    for feed in sorted(known, key=lambda one: len(blockers[one.feed_id])):  # so that each comes after its blockers
        standing = [wider for wider in blockers[feed.feed_id] if leads[wider.feed_id].counts]
        leaders = standing or [one for one in ahead if one.scope.meets(feed.scope)]
        lead = Lead(False) if standing else _lead_behind(feed, leaders)
        leads[feed.feed_id] = lead
        if leaders:
            shadowed_by[feed.feed_id] = tuple(one.feed_id for one in leaders)
        if lead.counts:
            ahead.append(feed)
    return AccountDay(
        coverage=_account_coverage(relevant, leads),
        leads=leads,
        crossing=_crossing(known),
        shadowed_by=shadowed_by,
        scoped=bool(relevant) and all(feed.scope.kind != "account" for feed in relevant),
    )


def _preference(feed: FeedDay) -> tuple[int, float, int, int, int]:
    coverage = feed.coverage
    return (
        -int(coverage.state),
        -(coverage.until.timestamp() if coverage.until else 0.0),
        _SCOPE_RANK[feed.scope.kind],
        feed.window_seconds or 0,
        feed.feed_id,
    )


def _wider_that_cannot_tell(feed: FeedDay, known: list[FeedDay]) -> list[FeedDay]:
    """Wider feeds that cover what this one does, and whose rows do not name the dimension of this one's scope.

    They go first: of their rows, this one's part could not be left out. No row names a key's own id, since a standard
    key does not know it.
    """
    return [
        other
        for other in known
        if feed.scope.is_within(other.scope)
        and not other.scope.is_within(feed.scope)
        and not (feed.scope.kind == "projects" and "project_id" in other.dimensions_asked)
    ]


def _lead_behind(feed: FeedDay, leaders: list[FeedDay]) -> Lead:
    """What counts of a feed when these, preferred to it, count already."""
    if any(feed.scope.is_within(leader.scope) for leader in leaders):
        return Lead(False)
    led = frozenset[str]().union(*(leader.scope.projects for leader in leaders))
    excluded = led if feed.scope.kind == "account" else led & feed.scope.projects
    all_is_led = feed.scope.kind == "projects" and excluded == feed.scope.projects
    if all_is_led or (excluded and "project_id" not in feed.dimensions_asked):
        return Lead(False)
    return Lead(True, excluded)


def _account_coverage(relevant: list[FeedDay], leads: dict[int, Lead]) -> Coverage:
    """That of the best whole-account feed, where there is one; else that of the union of the scopes."""
    whole = [feed for feed in relevant if feed.scope.kind == "account"]
    if whole:
        return min(whole, key=_preference).coverage
    counting = [feed for feed in relevant if feed.feed_id in leads and leads[feed.feed_id].counts]
    told = frozenset[str]().union(*(feed.scope.projects for feed in counting))
    parts = [feed.coverage for feed in counting]
    for feed in relevant:
        if feed in counting or (feed.scope.kind == "projects" and feed.scope.projects <= told):
            continue
        if feed.coverage.covers:
            # Shadowed as a whole: a key by the projects that may contain it, or projects that cannot be told apart.
            parts += [] if feed.scope.kind == "key" else [NOT_COVERED]
        else:
            parts.append(feed.coverage)
    return weakest(parts)


def _crossing(known: list[FeedDay]) -> tuple[tuple[int, int], ...]:
    scoped = sorted((feed for feed in known if feed.scope.kind == "projects"), key=lambda feed: feed.feed_id)
    return tuple(
        (one.feed_id, other.feed_id)
        for one, other in combinations(scoped, 2)
        if one.scope.meets(other.scope)
        and not one.scope.is_within(other.scope)
        and not other.scope.is_within(one.scope)
    )


def provider_coverage(accounts: list[Coverage]) -> tuple[Coverage, bool]:
    """The coverage of a provider's family over the workspace's accounts, and whether any account is known.

    If one account is failed or has nothing, the whole is; the least ``until`` decides among provisional ones.
    """
    return weakest(accounts), any(account.state >= State.PROVISIONAL for account in accounts)
