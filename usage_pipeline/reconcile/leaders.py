"""Overlapping feeds of one account: which rows of which feed count, decided per account, family and day.

In come the feeds of one account that answer for one family on one day; out comes, for each, whether all, some or none
of its rows count, and how well the account as a whole is covered. Rows that don't count stay, shown as shadowed.
"""

from __future__ import annotations

from dataclasses import dataclass

from usage_pipeline.reconcile.coverage import NOT_COVERED, Coverage, State, weakest

_SCOPE_RANK = {"account": 0, "projects": 1, "key": 2}


@dataclass(frozen=True, slots=True)
class Scope:
    """What a key answers for: its ``account``, named ``projects`` of it, or one API ``key``."""

    kind: str
    projects: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class FeedDay:
    """One provider feed, one family, one UTC day.

    ``expected`` is whether the feed was enabled for the whole day; ``feed_id`` grows with registration.
    """

    feed_id: int
    slice_id: int | None
    scope: Scope
    coverage: Coverage
    window_seconds: int | None
    dimensions_asked: frozenset[str]
    expected: bool


@dataclass(frozen=True, slots=True)
class Lead:
    """What of a feed's rows counts: all but those of ``excluded_projects``, or none at all."""

    counts: bool
    excluded_projects: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class AccountDay:
    """One account's family and day: its coverage, what counts of each feed, and the pairs whose scopes cross."""

    coverage: Coverage
    leads: dict[int, Lead]
    crossing: tuple[tuple[int, int], ...]
    shadowed_by: dict[int, int]


def settle_account(feeds: list[FeedDay]) -> AccountDay:
    """Decide for one account's family and day. Feeds that neither cover nor were expected to are left out."""
    known = sorted((feed for feed in feeds if feed.coverage.covers), key=_preference)
    leads: dict[int, Lead] = {}
    shadowed_by: dict[int, int] = {}
    led: set[str] = set()
    whole: FeedDay | None = None
    key_led = False
    ahead: list[FeedDay] = []
    for feed in known:
        wider = _wider_that_cannot_tell(feed, known)
        if wider is not None:
            leads[feed.feed_id], shadowed_by[feed.feed_id] = Lead(False), wider.feed_id
        elif whole is not None:
            leads[feed.feed_id], shadowed_by[feed.feed_id] = Lead(False), whole.feed_id
        elif feed.scope.kind == "account":
            leads[feed.feed_id], whole = Lead(True, frozenset(led)), feed
            ahead.append(feed)
        elif feed.scope.kind == "key":
            leads[feed.feed_id], key_led = Lead(True), True
            ahead.append(feed)
        elif feed.scope.projects <= led:
            leader = next(f for f in ahead if f.scope.projects & feed.scope.projects)
            leads[feed.feed_id], shadowed_by[feed.feed_id] = Lead(False), leader.feed_id
        else:
            leads[feed.feed_id] = Lead(True, feed.scope.projects & frozenset(led))
            led |= feed.scope.projects
            ahead.append(feed)
    assert not (key_led and whole), "a key's rows cannot be told apart in a whole account's"
    return AccountDay(_account_coverage(feeds, leads), leads, _crossing(known), shadowed_by)


def _preference(feed: FeedDay) -> tuple[int, float, int, int, int]:
    until = feed.coverage.until
    return (
        -int(feed.coverage.state),
        -(until.timestamp() if until else 0.0),
        _SCOPE_RANK[feed.scope.kind],
        feed.window_seconds or 0,
        feed.feed_id,
    )


def _wider_that_cannot_tell(feed: FeedDay, known: list[FeedDay]) -> FeedDay | None:
    """A wider feed that covers what this one does, and whose rows do not name the dimension of this one's scope."""
    for other in known:
        if _SCOPE_RANK[other.scope.kind] >= _SCOPE_RANK[feed.scope.kind]:
            continue
        names_it = feed.scope.kind == "projects" and "project_id" in other.dimensions_asked
        if not names_it:
            return other
    return None


def _account_coverage(feeds: list[FeedDay], leads: dict[int, Lead]) -> Coverage:
    relevant = [feed for feed in feeds if feed.coverage.covers or feed.expected]
    whole = [feed for feed in relevant if feed.scope.kind == "account"]
    if whole:
        return min(whole, key=_preference).coverage
    covered: frozenset[str] = frozenset().union(*(f.scope.projects for f in relevant if f.coverage.covers))
    parts = [
        feed.coverage
        for feed in relevant
        if (feed.coverage.covers and leads[feed.feed_id].counts)
        or (not feed.coverage.covers and not (feed.scope.projects and feed.scope.projects <= covered))
    ]
    return weakest(parts) if parts else NOT_COVERED


def _crossing(known: list[FeedDay]) -> tuple[tuple[int, int], ...]:
    pairs = []
    scoped = sorted((f for f in known if f.scope.kind == "projects"), key=lambda f: f.feed_id)
    for n, one in enumerate(scoped):
        for other in scoped[n + 1 :]:
            shared = one.scope.projects & other.scope.projects
            if shared and not (
                one.scope.projects <= other.scope.projects or other.scope.projects <= one.scope.projects
            ):
                pairs.append((one.feed_id, other.feed_id))
    return tuple(pairs)


def provider_coverage(accounts: list[Coverage]) -> tuple[Coverage, bool]:
    """The coverage of a provider's family over the workspace's accounts, and whether any account is known.

    If one account is failed or has nothing, the whole is; the least ``until`` decides among provisional ones.
    """
    return weakest(accounts), any(account.state >= State.PROVISIONAL for account in accounts)
