"""From cumulative counters to usage by the hour: the rules.

Belongs here: what a counter grew by since the last look, whose growth it is, and when it happened. In: a snapshot of
state.db, the ledger, the time. Out: the ledger, brought up to date in one transaction.

**Whose.** ``session_model_usage`` says which model, route and task a call had. A session's own counters hold the main
loop's calls (tasks ``""`` and ``voice_chat``), auxiliary calls are in ``session_model_usage`` alone. What a session's
counters grew by beyond its main rows (older Hermes, or a gateway that sets totals) is the residual, and belongs to
the session's recorded route. Costs likewise.

**How much.** Never negative, never twice:

- A counter that fell has started again: all that it shows now is new. That is the gateway's way: it *sets* a
  session's counters to the totals of an agent in memory (``absolute=True``), and a new agent begins at 0. What an
  agent used between the last look and its end is lost to us; the figures are a lower bound.
- Unless the database is another file, its message numbers went back, or the row was away: then an older copy was put
  in its place, what it shows was counted before, and counting goes on from there. The rows of
  ``session_model_usage`` are only ever added to, so there a fall with the same ``first_seen`` always means a copy.
- A session with another start, or a row with a newer ``first_seen``, is a new one under an old name: all is new.
- A row that claims to be older than the last look, but was not there then, restates what the session's counters said
  (a Hermes update fills the new table from the old one): only what the session grew by is new.
- What is gone from state.db stays counted.

**When.** Between the last look and this one, narrowed by ``first_seen``, ``last_seen``, ``started_at``, ``ended_at``;
the hour is that of the last call. A single call's time is known exactly. Where the span is longer than an hour (a
first look at an old session, a machine that slept), its days are marked as not known by the hour.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from .counts import (
    Counts,
    above,
    add,
    counts_of,
    has_fallen,
    least,
    values_of,
    with_highest_costs,
)
from .ledger import KEEP_DAYS, Counter, CounterKey, HourUsage, Ledger
from .state_db import Fingerprint, Reading, Route, SessionRow, Snapshot, UsageRow

COUNTED_TASKS: Final = frozenset({"", "voice_chat"})
"""Tasks whose calls Hermes adds to the session's own counters too."""

CALL_TIME_SPAN_S: Final = 3600.0
"""How long the span of a growth may be for its hour to count as that of the call."""

_COST_NOISE_NANO_USD = 1000
_JUST_BEFORE_S = 0.001
_WRITE_DELAY_S = 60.0  # Hermes writes counters on a thread of its own


@dataclass(frozen=True, slots=True)
class Absorbed:
    """What one look found. ``undated``: sessions or rows without any time, whose past cannot be placed."""

    sessions: int
    rows: int
    changed: int
    gone: int
    undated: int
    database_replaced: bool


@dataclass(frozen=True, slots=True)
class Span:
    """When a growth happened: after ``start_s``, at the latest at ``end_s``; ``place_s`` decides the hour."""

    start_s: float
    place_s: float
    end_s: float


@dataclass(slots=True)
class _Growth:
    """What one counter grew by. ``restates``: perhaps nothing new, see the module."""

    route: Route
    task: str
    counts: Counts
    span: Span | None
    restates: bool = False


@dataclass(slots=True)
class _Look:
    """One look at the whole database."""

    ledger: Ledger
    now_s: float
    before_s: float | None
    copied: bool
    known: dict[CounterKey, Counter]


def absorb(snapshot: Snapshot, ledger: Ledger, now_s: float) -> Absorbed:
    """Bring the ledger up to ``snapshot``, which was read at ``now_s`` (seconds since 1970 UTC) or shortly after."""
    stored = ledger.fingerprint()
    copied = stored is not None and _is_another(stored, snapshot.fingerprint)
    look = _Look(ledger, now_s, ledger.last_read_s, copied, ledger.counters())
    usages: defaultdict[str, list[UsageRow]] = defaultdict(list)
    for usage in snapshot.usages:
        usages[usage.session_id].append(usage)
    sessions: dict[str, SessionRow | None] = dict.fromkeys(usages)
    sessions.update({session.session_id: session for session in snapshot.sessions})

    updates: dict[CounterKey, Counter] = {}
    growths: list[_Growth] = []
    for session_id, session in sessions.items():
        growths += _session(look, session_id, session, usages[session_id], updates)
    gone = {
        key: replace(counter, gone_after_s=look.before_s)
        for key, counter in look.known.items()
        if key not in updates and counter.gone_after_s is None
    }
    new = [growth for growth in growths if not growth.counts.is_nothing]
    changes = {key: counter for key, counter in updates.items() if look.known.get(key) != counter}
    with ledger.transaction():
        ledger.put_counters((changes | gone).items())
        for growth in new:
            _place(ledger, growth, now_s)
        _remember_since(ledger, snapshot, new, now_s, first=look.before_s is None)
        ledger.set_fingerprint(snapshot.fingerprint)
        ledger.set_meta("last_read_s", repr(now_s))
        oldest = utc_day(now_s) - timedelta(days=KEEP_DAYS)
        ledger.forget_before(oldest.strftime("%Y-%m-%d"), oldest.timestamp())
    return Absorbed(
        sessions=len(snapshot.sessions),
        rows=len(snapshot.usages),
        changed=len(new),
        gone=len(gone),
        undated=sum(growth.span is None for growth in new),
        database_replaced=copied,
    )


def utc_day(moment_s: float) -> datetime:
    """The start of the UTC day of a moment."""
    return datetime.fromtimestamp(moment_s, UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def _is_another(stored: Fingerprint, now: Fingerprint) -> bool:
    went_back = stored.sequence is not None and (now.sequence is None or now.sequence < stored.sequence)
    return went_back or stored.file != now.file


def _session(
    look: _Look, session_id: str, session: SessionRow | None, rows: list[UsageRow], updates: dict[CounterKey, Counter]
) -> Iterator[_Growth]:
    """The growths of one session; its counters are added to ``updates``."""
    key = look.ledger.key(session_id)
    counter = look.known.get(key)
    known = look.before_s is not None and counter is not None
    own = Counts()
    if session is not None:
        own, updates[key] = _grown(look, counter, session.started_s, session.reading.counts, only_added=False)
    growths = [_row(look, session_id, session, known, row, updates) for row in rows]
    main = Counts()
    for growth in growths:
        if growth.task in COUNTED_TASKS:
            main = add(main, growth.counts)
    if session is not None:
        span = _session_span(look, session, counter, rows)
        _take_back(growths, above(main, own), session.route)
        last_look_s = _last_look(look, counter) or 0.0
        for growth in growths:
            # What is new in such a row came after the last look, whatever time the update of Hermes wrote into it.
            # Seconds earlier it may be a late write, whose time is right.
            late_s = last_look_s - growth.span.place_s if growth.span is not None else math.inf
            if growth.restates and late_s > _WRITE_DELAY_S:
                growth.span = span
        residual = _stated(above(own, main), session.reading)
        if not _is_noise(residual):
            yield _Growth(session.route, "", residual, span)
    yield from growths


def _row(
    look: _Look,
    session_id: str,
    session: SessionRow | None,
    session_known: bool,
    row: UsageRow,
    updates: dict[CounterKey, Counter],
) -> _Growth:
    key = look.ledger.key(session_id, row.written_key)
    counter = look.known.get(key)
    # A key that comes twice (a table without its primary key) is one counter: both rows together.
    twin = updates.get(key)
    counts = row.reading.counts if twin is None else add(twin.counts, row.reading.counts)
    grown, stored = _grown(look, counter, row.first_seen_s, counts, only_added=True)
    if twin is not None:
        grown = above(grown, _grown(look, counter, row.first_seen_s, twin.counts, only_added=True)[0])
    updates[key] = stored
    last_look_s = _last_look(look, counter)
    is_older = row.first_seen_s is None or last_look_s is None or row.first_seen_s < last_look_s
    growth = _stated(grown, row.reading)
    span = _row_span(look, session, counter, row, growth, session_known=session_known)
    return _Growth(row.route, row.task, growth, span, restates=counter is None and session_known and is_older)


def _last_look(look: _Look, counter: Counter | None) -> float | None:
    """When the counter was last seen; where it never was, the last look at the database."""
    return look.before_s if counter is None or counter.gone_after_s is None else counter.gone_after_s


def _grown(
    look: _Look, counter: Counter | None, began_s: float | None, now: Counts, *, only_added: bool
) -> tuple[Counts, Counter]:
    """What a counter grew by, and the counter to store. ``only_added``: Hermes never lowers it."""
    if counter is None:
        return now, Counter(began_s, now, None)
    before = counter.counts
    is_new = counter.began_s is not None and began_s is not None and began_s != counter.began_s
    if is_new and only_added:
        last_look_s = _last_look(look, counter)
        is_new = began_s is not None and last_look_s is not None and began_s >= last_look_s
    if is_new:
        return now, Counter(began_s, now, None)
    if has_fallen(before, now):
        away = counter.gone_after_s is not None
        is_copy = look.copied or away or (only_added and began_s is not None)
        nothing = counts_of(tuple(None if value is None else 0 for value in values_of(now)))
        return (nothing if is_copy else now), Counter(began_s, now, None)
    grown = above(now, before)
    # A column that an update of Hermes brought: what it held at first is of unknown age: counting begins there.
    requests = None if before.requests is None else grown.requests
    reasoning = None if before.reasoning is None else grown.reasoning
    grown = replace(grown, requests=requests, reasoning=reasoning)
    return grown, Counter(began_s, with_highest_costs(before, now), None)


def _stated(growth: Counts, reading: Reading) -> Counts:
    """A cost that did not grow and that the row doesn't state as free was not observed."""
    estimated, actual = growth.estimated_nano_usd, growth.actual_nano_usd
    return replace(
        growth,
        estimated_nano_usd=estimated if estimated or reading.states_estimate else None,
        actual_nano_usd=actual if actual or reading.states_actual else None,
    )


def _take_back(growths: list[_Growth], excess: Counts, route: Route) -> None:
    """Reduce the rows that restate by ``excess``, the session's own route first."""
    restating = [growth for growth in growths if growth.restates and growth.task in COUNTED_TASKS]
    for growth in sorted(restating, key=lambda growth: (growth.route != route, growth.route, growth.task)):
        taken = least(growth.counts, excess)
        growth.counts, excess = above(growth.counts, taken), above(excess, taken)


def _is_noise(residual: Counts) -> bool:
    """Whether it is nothing but the difference of two float sums of the same costs."""
    costs = (residual.estimated_nano_usd or 0) + (residual.actual_nano_usd or 0)
    return not residual.has_calls and costs < _COST_NOISE_NANO_USD


def _row_span(
    look: _Look,
    session: SessionRow | None,
    counter: Counter | None,
    row: UsageRow,
    growth: Counts,
    *,
    session_known: bool,
) -> Span | None:
    last_s = row.last_seen_s
    if last_s is None:
        return None if session is None else _session_span(look, session, counter, [])
    place_s = min(last_s, look.now_s)
    last_look_s = _last_look(look, counter)
    start_s = row.first_seen_s if row.first_seen_s is not None else session.started_s if session else None
    if last_look_s is not None and (counter is not None or session_known):
        start_s = max(last_look_s, start_s or last_look_s)
    if start_s is None or growth.requests == 1 or start_s > place_s:
        start_s = place_s
    return Span(start_s, place_s, place_s)


def _session_span(look: _Look, session: SessionRow, counter: Counter | None, rows: list[UsageRow]) -> Span | None:
    """The span of a session's own counters, which have no time of a last call."""
    now_s, started_s, ended_s = look.now_s, session.started_s, session.ended_s
    last_look_s = _last_look(look, counter)
    began_before = started_s is None or (look.before_s is not None and started_s < look.before_s)
    if look.before_s is None or last_look_s is None or (counter is None and began_before):
        # Nobody looked before: dated as a whole, by its end as far as that is known.
        seen = [row.last_seen_s for row in rows if row.last_seen_s is not None]
        end_s = ended_s or session.last_activity_s or max(seen, default=None)
        place_s = end_s or started_s
        if place_s is None:
            return None
        place_s = min(place_s, now_s)
        return Span(min(started_s or place_s, place_s), place_s, place_s if end_s else now_s)
    start_s = last_look_s if counter is not None or started_s is None else max(last_look_s, started_s)
    end_s = ended_s if ended_s is not None and start_s < ended_s < now_s else now_s
    start_s = min(start_s, end_s)
    return Span(start_s, max(start_s, end_s - _JUST_BEFORE_S), end_s)


def _place(ledger: Ledger, growth: _Growth, now_s: float) -> None:
    span = growth.span
    if span is None:
        return
    ledger.add_usage(HourUsage(int(span.place_s // 3600) * 3600, growth.route, growth.task, growth.counts))
    if span.end_s - span.start_s > CALL_TIME_SPAN_S:
        first = max(utc_day(span.start_s), utc_day(now_s) - timedelta(days=KEEP_DAYS))
        days = (utc_day(span.end_s) - first).days
        ledger.mark_days_without_hours(f"{first + timedelta(days=day):%Y-%m-%d}" for day in range(days + 1))


def _remember_since(ledger: Ledger, snapshot: Snapshot, new: list[_Growth], now_s: float, *, first: bool) -> None:
    """Keep the first day that this ledger can speak for: before the oldest session, idle and unknown look alike."""
    days = [utc_day(growth.span.place_s) for growth in new if growth.span is not None]
    if first:
        days.append(utc_day(now_s))
        days += [utc_day(session.started_s) for session in snapshot.sessions if session.started_s is not None]
    if stored := ledger.meta("known_since"):
        days.append(datetime.fromisoformat(stored).replace(tzinfo=UTC))
    if days:
        ledger.set_meta("known_since", f"{min(days):%Y-%m-%d}")
