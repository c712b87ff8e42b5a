"""What is known of a day, by the rules of coverage and of overlapping feeds, over plain lists.

In: a :class:`History`, a route and a day. Out: how well an account is covered, which provider lines count and which are
shadowed, and the words of Hermes. Written from docs/reconciliation.md alone; no code of the package.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from usage_pipeline_tests.reconcile.naive_history import Batch, Feed, History, Key, Line, Pull

ALIASES = {"gpt-5-2025-08-07": "gpt-5"}
PROXY = "off_account:litellm"
SETTLING = timedelta(hours=72)


@dataclass(frozen=True)
class Coverage:
    """How far a day is covered, by the pull of a key or for a whole account."""

    until: datetime
    final: bool


def start_of(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def end_of(day: date) -> datetime:
    return start_of(day) + timedelta(days=1)


def canonical(model: str) -> str:
    return ALIASES.get(model, model)


# --- one key ---------------------------------------------------------------------------------------------------------


def is_enabled(key: Key, day: date) -> bool:
    value = True
    for from_day, switched in key.enabled:
        if from_day <= day:
            value = switched
    return value


def is_expected(key: Key, day: date) -> bool:
    """Enabled for the whole of the day; a key's last day is not expected."""
    return is_enabled(key, day) and is_enabled(key, day + timedelta(days=1))


def asked_until(history: History, pull: Pull) -> datetime:
    """The end of what the pull asked for: its start, or for Anthropic, which answers no open bucket, the last grid line
    before it."""
    if history.provider != "anthropic":
        return pull.started_at
    grain = "1d" if pull.costs else next(key.grain for key in history.keys if key.name == pull.key)
    return pull.started_at.replace(minute=0, second=0) if grain == "1h" else start_of(pull.started_at.date())


def reaches(history: History, pull: Pull, day: date) -> bool:
    """Whether the pull asked for the day and the day had something to ask for when it started."""
    return pull.first_day <= day < pull.end_day and asked_until(history, pull) > start_of(day)


def complete_pulls(history: History, key: Key, day: date, *, costs: bool = False) -> list[Pull]:
    """The complete pulls of the day, oldest first; of two at one instant the greater digest is the newer."""
    found = [
        pull
        for pull in history.pulls
        if pull.key == key.name and pull.costs == costs and pull.complete and reaches(history, pull, day)
    ]
    return sorted(found, key=lambda pull: (pull.started_at, pull.digests.get(day, b"")))


def key_coverage(history: History, key: Key, day: date, *, costs: bool = False) -> Coverage | None:
    """That of the newest complete pull."""
    found = complete_pulls(history, key, day, costs=costs)
    if not found:
        return None
    started_at = found[-1].started_at
    return Coverage(min(started_at, end_of(day)), started_at >= end_of(day) + SETTLING)


def lines_of_pull(history: History, key: Key, pull: Pull, day: date) -> list[Line]:
    """The lines of the day that the pull answered, within the key's scope."""
    return [
        line
        for line in pull.lines
        if line.at.date() == day
        and line.at < asked_until(history, pull)
        and (not key.projects or line.project in key.projects)
        and (not key.standard or line.api_key == key.name)
    ]


def lines_of_key(history: History, key: Key, day: date) -> list[Line]:
    found = complete_pulls(history, key, day)
    return lines_of_pull(history, key, found[-1], day) if found else []


# --- one account -----------------------------------------------------------------------------------------------------


def keys_of(history: History, route: str, account: str, day: date) -> list[Key]:
    """The keys that answer for the account on the day: those that should, and those that did."""
    return [
        key
        for key in history.keys
        if key.route == route
        and key.account == account
        and (is_expected(key, day) or key_coverage(history, key, day) is not None)
    ]


def present_accounts(history: History, route: str, day: date) -> list[str]:
    return [account for account in history.accounts(route) if keys_of(history, route, account, day)]


def _rank(history: History, key: Key, day: date) -> tuple[object, ...]:
    coverage = key_coverage(history, key, day)
    assert coverage is not None
    return (
        key.standard,  # rows of a wider feed never tell one key apart, so one key never leads
        not coverage.final,
        end_of(day) - coverage.until,
        (0 if key.whole else 1),
        ("1h", "1d").index(key.grain),
        history.keys.index(key),
    )


def _contains(key: Key, line: Line, other: Key) -> bool:
    """Whether the key's scope contains another key's line."""
    if key.standard:
        return key == other
    return not key.projects or line.project in key.projects


def leads(history: History, route: str, account: str, day: date) -> list[tuple[Key, Line, tuple[Key, ...]]]:
    """Every line of every covered key of the account: by which better keys it is shadowed, by none where it counts."""
    covered = [key for key in keys_of(history, route, account, day) if key_coverage(history, key, day) is not None]
    ranked = sorted(covered, key=lambda key: _rank(history, key, day))
    return [
        (key, line, tuple(better for better in ranked[:n] if _contains(better, line, key)))
        for n, key in enumerate(ranked)
        for line in lines_of_key(history, key, day)
    ]


def leading_keys(history: History, route: str, account: str, day: date) -> list[Key]:
    """The covered keys that are not wholly inside the scope of better ones, best first."""
    covered = [key for key in keys_of(history, route, account, day) if key_coverage(history, key, day) is not None]
    ranked = sorted(covered, key=lambda key: _rank(history, key, day))
    found: list[Key] = []
    for key in ranked:
        whole_before = any(better.whole for better in found)
        held = {project for better in found for project in better.projects}
        inside = whole_before or (bool(key.projects) and set(key.projects) <= held)
        if not inside:
            found.append(key)
    return found


def account_coverage(history: History, route: str, account: str, day: date) -> Coverage | None:
    """Of the best whole-account key; without one, of the worst part of the union of the scopes."""
    keys = keys_of(history, route, account, day)
    whole = [key for key in keys if key.whole]
    parts = [whole]
    if not whole:
        projects = sorted({project for key in keys for project in key.projects})
        parts = [[key for key in keys if project in key.projects] for project in projects]
        parts += [[key] for key in keys if key.standard]
    best = []
    for part in parts:
        covers = [coverage for key in part if (coverage := key_coverage(history, key, day)) is not None]
        if not covers:
            return None
        best.append(max(covers, key=lambda one: (one.final, one.until)))
    return min(best, key=lambda one: (one.final, one.until))


def bill_leader(history: History, account: str, day: date) -> tuple[Key, Coverage] | None:
    """The key whose bill of the day counts, of keys of whole accounts."""
    found = [
        (key, coverage)
        for key in keys_of(history, "account", account, day)
        if (coverage := key_coverage(history, key, day, costs=True)) is not None
    ]
    return min(
        found,
        key=lambda one: (not one[1].final, end_of(day) - one[1].until, history.keys.index(one[0])),
        default=None,
    )


def is_scoped(history: History, route: str, day: date) -> bool:
    """Whether the workspace has only scoped keys of an account."""
    return any(
        not any(key.whole for key in keys_of(history, route, account, day))
        for account in present_accounts(history, route, day)
    )


def is_known(history: History, route: str, day: date) -> bool:
    """Whether a complete pull of any key of the route stands."""
    return any(key.route == route and key_coverage(history, key, day) is not None for key in history.keys)


def is_passed_on(history: History, route: str, day: date) -> bool:
    """Whether the route is that of a proxy with a key, and the account behind it is known."""
    return route == PROXY and any(key.route == PROXY for key in history.keys) and is_known(history, "account", day)


# --- Hermes ----------------------------------------------------------------------------------------------------------


def feed_of(history: History, name: str) -> Feed:
    return next(feed for feed in history.feeds if feed.name == name)


def covered_days(history: History, batch: Batch) -> tuple[date, date] | None:
    """The half-open days that the batch covers; a heartbeat covers none."""
    if batch.version >= 3:
        return batch.stated
    if not batch.days:
        return None
    end_day = batch.generated_at.date() + timedelta(days=1)
    days_back = feed_of(history, batch.feed).days_back
    earliest = min(line.at.date() for line in batch.days)
    return (earliest if days_back is None else end_day - timedelta(days=days_back)), end_day


def word(history: History, feed: Feed, day: date) -> Batch | None:
    """The newest batch of the feed that covers the day; of two at one instant the greater digest."""
    found = [
        batch
        for batch in history.batches
        if batch.feed == feed.name
        and (covered := covered_days(history, batch)) is not None
        and covered[0] <= day < covered[1]
    ]
    return max(found, key=lambda batch: (batch.generated_at, batch.digest), default=None)


def words(history: History, day: date) -> list[Batch]:
    """What the feeds that count say of the day."""
    found = [word(history, feed, day) for feed in history.feeds if feed.counts]
    return [one for one in found if one is not None]


def route_of(history: History, batch: Batch, line: Line) -> str:
    """As the payload says, else as the feed's ``bills_to`` has it on the day, ``account`` where it is silent."""
    if line.route is not None:
        return line.route
    said = ""
    for from_day, route in feed_of(history, batch.feed).bills_to:
        if from_day <= line.at.date():
            said = route
    return "account" if said in ("", "account") or said.startswith("account:") else said


def is_tagged(history: History, batch: Batch, day: date) -> bool:
    """Whether the feed's ``bills_to`` names an account or a project on the day."""
    said = ""
    for from_day, route in feed_of(history, batch.feed).bills_to:
        if from_day <= day:
            said = route
    return said.startswith("account:")


def daily(history: History, batch: Batch, day: date, route: str, model: str) -> list[Line]:
    return of_cell(history, batch, batch.days, day, route, model)


def hourly(history: History, batch: Batch, day: date, route: str, model: str) -> list[Line]:
    return of_cell(history, batch, batch.hours, day, route, model)


def of_cell(history: History, batch: Batch, lines: Sequence[Line], day: date, route: str, model: str) -> list[Line]:
    return [
        line
        for line in lines
        if line.at.date() == day and route_of(history, batch, line) == route and canonical(line.model) == model
    ]
