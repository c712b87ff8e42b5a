"""The rules of what counts, once more: slowly, over plain lists, sharing no code with the package.

Belongs here: one workspace, one vendor, perhaps a reseller of its models and a proxy to its accounts, the family
``text``, written from docs/reconciliation.md alone and as literally as possible, so that where this and the package
differ, one of them has misread the rules. In: a :class:`History`. Out: :func:`table`, the cells by (day, route, model).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

from usage_pipeline_tests.reconcile.naive_history import Batch, Figures, History, Key, Line, Pull

ALIASES = {"gpt-5-2025-08-07": "gpt-5"}
LIFETIMES = ("cache_write_5m", "cache_write_30m", "cache_write_1h", "cache_write_12h", "cache_write_unsplit")
TOKEN_GROUPS = ("uncached_input", "cache_read", "cache_write", "output")
GROUPS = (*TOKEN_GROUPS, "requests")
"""What is compared: the cache writes as one group, every other measure for itself."""

REPORTED = {
    "openai": {"uncached_input", "cache_read", "cache_write_unsplit", "output", "requests"},
    "anthropic": {"uncached_input", "cache_read", "cache_write_5m", "cache_write_1h", "output"},
}
PROXY = "off_account:litellm"
SETTLING = timedelta(hours=72)
MISSING_AFTER = timedelta(hours=24)
TOLERANCE = Decimal("0.02")
TOLERANCE_FLOOR = 10


@dataclass
class Cell:
    """A cell's result. The figures are by group; ``lifetimes`` splits the cache writes. None: nobody reports it."""

    decision: str = ""
    provisional: bool = False
    provider: dict[str, int | None] = field(default_factory=dict)
    hermes: dict[str, int | None] = field(default_factory=dict)
    counted: dict[str, int | None] = field(default_factory=dict)
    explained: Figures = field(default_factory=dict)
    unattributed: Figures = field(default_factory=dict)
    excess: Figures = field(default_factory=dict)
    stand_in: Figures = field(default_factory=dict)
    lifetimes: dict[str, Figures] = field(default_factory=dict)
    findings: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class _Coverage:
    pull: Pull
    key: Key
    until: datetime
    final: bool


def start_of(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def end_of(day: date) -> datetime:
    return start_of(day) + timedelta(days=1)


# --- what is known ---------------------------------------------------------------------------------------------------


def _reaches(history: History, pull: Pull, day: date) -> bool:
    """Whether the pull asked for the day and the day had something to ask for when it started."""
    return pull.first_day <= day < pull.end_day and _asked_until(history, pull) > start_of(day)


def _asked_until(history: History, pull: Pull) -> datetime:
    """The end of what the pull asked for: its start, or for Anthropic, which answers no open bucket, the last grid line
    before it."""
    if history.provider != "anthropic":
        return pull.started_at
    grain = next(key.grain for key in history.keys if key.name == pull.key)
    return pull.started_at.replace(minute=0, second=0) if grain == "1h" else start_of(pull.started_at.date())


def _coverage(history: History, key: Key, day: date) -> _Coverage | None:
    """That of the newest complete pull, newest by its start."""
    found = [pull for pull in history.pulls if pull.key == key.name and pull.complete and _reaches(history, pull, day)]
    if not found:
        return None
    newest = max(found, key=lambda pull: pull.started_at)
    until = min(newest.started_at, end_of(day))
    return _Coverage(newest, key, until, newest.started_at >= end_of(day) + SETTLING)


def _leader(history: History, account: str, day: date) -> _Coverage | None:
    """Of the account's keys, final before provisional, the later until, the finer width, the earlier registration."""
    covered = [
        coverage
        for key in history.keys
        if key.account == account and (coverage := _coverage(history, key, day)) is not None
    ]
    if not covered:
        return None
    return min(
        covered,
        key=lambda one: (
            not one.final,
            end_of(day) - one.until,
            ("1h", "1d").index(one.key.grain),
            history.keys.index(one.key),
        ),
    )


def _told(history: History, pull: Pull, day: date) -> list[Line]:
    """The lines of the day that the pull answered."""
    return [line for line in pull.lines if line.at.date() == day and line.at < _asked_until(history, pull)]


def _word(history: History, feed: str, day: date) -> Batch | None:
    """The newest batch of the feed that covers the day."""
    found = [batch for batch in history.batches if batch.feed == feed and batch.first_day <= day < batch.end_day]
    return max(found, key=lambda batch: batch.generated_at, default=None)


def _words(history: History, day: date) -> list[Batch]:
    feeds = sorted({batch.feed for batch in history.batches})
    return [word for feed in feeds if (word := _word(history, feed, day)) is not None]


def _of_cell(lines: Iterable[Line], day: date, route: str, model: str) -> list[Line]:
    return [
        line
        for line in lines
        if line.at.date() == day and line.route == route and ALIASES.get(line.model, line.model) == model
    ]


def _sum(lines: Sequence[Line], group: str) -> int:
    names = LIFETIMES if group == "cache_write" else (group,)
    return sum(line.figures.get(name, 0) for line in lines for name in names)


# --- one cell --------------------------------------------------------------------------------------------------------


def table(history: History, days: Sequence[date]) -> dict[tuple[date, str, str], Cell]:
    """Every cell of the days by (day, route, model)."""
    cells: dict[tuple[date, str, str], Cell] = {}
    for day in days:
        for route, model in sorted(_cell_names(history, day)):
            cells[day, route, model] = _cell(history, day, route, model)
        for route in sorted({key.route for key in history.keys}):
            has_cell = any((cell_day, cell_route) == (day, route) for cell_day, cell_route, _ in cells)
            if not has_cell and not _known(history, day, route):
                cells[day, route, ""] = _no_data(history, day)
    return cells


def _cell(history: History, day: date, route: str, model: str) -> Cell:
    """On the account and where the biller's own report is known rows 1 to 9, else row 10, or row 11."""
    if _passed_on(history, day, route):
        return _counted_upstream(history, day, route, model)
    if route == "account" or _known(history, day, route):
        return _account_cell(_of_route(history, route), day, model)
    return _off_account(history, day, route, model)


def _of_route(history: History, route: str) -> History:
    """What is told of one route, as if it were an account of its own."""
    keys = tuple(key for key in history.keys if key.route == route)
    names = {key.name for key in keys}

    def told(lines: Iterable[Line]) -> tuple[Line, ...]:
        return tuple(replace(line, route="account" if line.route == route else "elsewhere") for line in lines)

    return replace(
        history,
        keys=keys,
        pulls=tuple(pull for pull in history.pulls if pull.key in names),
        batches=tuple(replace(batch, days=told(batch.days), hours=told(batch.hours)) for batch in history.batches),
        passed_on_days=frozenset(
            day for batch in history.batches for day in _days(batch) if _passed_on(history, day, route)
        ),
    )


def _days(batch: Batch) -> list[date]:
    return [batch.first_day + timedelta(days=n) for n in range((batch.end_day - batch.first_day).days)]


def _known(history: History, day: date, route: str) -> bool:
    """Whether a complete pull of any key of the route stands."""
    return any(key.route == route and _coverage(history, key, day) is not None for key in history.keys)


def _passed_on(history: History, day: date, route: str) -> bool:
    """Whether the route is that of a proxy with a key, and the account behind it is known."""
    return route == PROXY and any(key.route == PROXY for key in history.keys) and _known(history, day, "account")


def _counted_upstream(history: History, day: date, route: str, model: str) -> Cell:
    """Row 11: shown, and counted in the account."""
    lines = [line for word in _words(history, day) for line in _of_cell(word.days, day, route, model)]
    vendor = _of_route(history, "account")
    leaders = [_leader(vendor, account, day) for account in vendor.accounts]
    cell = Cell("provider", provisional=not all(leader is not None and leader.final for leader in leaders))
    for group in GROUPS:
        cell.provider[group] = None
        cell.hermes[group] = cell.excess[group] = _sum(lines, group)
        cell.counted[group] = cell.explained[group] = cell.unattributed[group] = cell.stand_in[group] = 0
    return cell


def _cell_names(history: History, day: date) -> set[tuple[str, str]]:
    """A cell exists when a row of either source falls into it; shadowed rows make none."""
    names = set()
    for route in {key.route for key in history.keys}:
        of_route = _of_route(history, route)
        for account in of_route.accounts if not _passed_on(history, day, route) else ():
            leader = _leader(of_route, account, day)
            for line in _told(of_route, leader.pull, day) if leader else []:
                names.add((route, ALIASES.get(line.model, line.model)))
    for word in _words(history, day):
        for line in word.days:
            if line.at.date() == day:
                names.add((line.route, ALIASES.get(line.model, line.model)))
    return names


def _account_cell(history: History, day: date, model: str) -> Cell:
    leaders = [_leader(history, account, day) for account in history.accounts]
    known = [leader for leader in leaders if leader is not None]
    provider_lines = [
        line for leader in known for line in _of_cell(_told(history, leader.pull, day), day, "account", model)
    ]
    words = _words(history, day)
    speaking = [word for word in words if _of_cell(word.days, day, "account", model)]
    hermes_lines = [line for word in words for line in _of_cell(word.days, day, "account", model)]
    hermes_is_null = not words
    hermes_is_something = any(_sum(hermes_lines, group) > 0 for group in (*GROUPS, "reasoning"))

    cell = Cell()
    for group in GROUPS:
        reported = group == "cache_write" or group in REPORTED[history.provider]
        cell.provider[group] = _sum(provider_lines, group) if known and reported else None
        cell.hermes[group] = None if hermes_is_null else _sum(hermes_lines, group)

    hours_count = all(_hours_are_of_calls(word, day, model) for word in speaking)
    cut: datetime | None = None
    stands_in = True
    if len(known) < len(leaders) or not leaders:
        if hermes_is_something:  # row 7
            cell.decision, cell.provisional = "hermes_standin", True
        elif known:  # row 8
            cell.decision, cell.provisional = "provider", True
        else:  # row 9
            return _no_data(history, day, cell)
    elif all(leader.final for leader in known):  # rows 1 to 3
        cell.decision, stands_in = "provider", False
    else:
        cell.provisional = True
        until = min(leader.until for leader in known)
        if until == end_of(day):  # row 4
            stands_in = hours_count
        elif hours_count and all(leader.key.grain == "1h" for leader in known):  # row 5
            cut = until.replace(minute=0, second=0, microsecond=0)

    for group in GROUPS:
        _arithmetic(cell, group, provider_lines, speaking, day, model, cut, stands_in)
    if not cell.decision:
        cell.decision = "provider_then_hermes" if any(cell.stand_in.values()) else "provider"
    _split_lifetimes(cell, provider_lines)
    if cell.decision == "provider" and not cell.provisional:
        cell.findings |= _comparison(history, day, model, cell)
    cell.findings |= _restated(history, day, model)
    cell.findings |= _overlapping(history, day, model)
    return cell


def _arithmetic(
    cell: Cell,
    group: str,
    provider_lines: Sequence[Line],
    speaking: Sequence[Batch],
    day: date,
    model: str,
    cut: datetime | None,
    stands_in: bool,
) -> None:
    """Fill in one group's figures. Without ``cut`` the day is compared whole, with it each half for itself."""
    p, h = cell.provider[group], cell.hermes[group]
    if p is None and group == "requests" and cell.provider["output"] is not None:
        # Never reported by the provider: outside of the arithmetic, Hermes' figure where there is one.
        cell.counted[group] = h
        return
    halves = [(p or 0, h or 0)]
    if cut is not None:
        hours = [line for word in speaking for line in _of_cell(word.hours, day, "account", model)]
        halves = [
            (
                _sum([line for line in provider_lines if (line.at < cut) == before], group),
                _sum([line for line in hours if (line.at < cut) == before], group),
            )
            for before in (True, False)
        ]
    cell.explained[group] = sum(min(p, h) for p, h in halves)
    cell.stand_in[group] = sum(max(0, h - p) for p, h in halves) if stands_in else 0
    cell.unattributed[group] = (p or 0) - cell.explained[group]
    cell.excess[group] = (h or 0) - cell.explained[group] - cell.stand_in[group]
    cell.counted[group] = None if p is None and h is None else (p or 0) + cell.stand_in[group]


def _hours_are_of_calls(word: Batch, day: date, model: str) -> bool:
    """Whether the batch's hours may be calculated with: call-time hours that add up to its daily rows."""
    if word.version < 3 or not word.call_time:
        return False
    daily, hourly = (_of_cell(lines, day, "account", model) for lines in (word.days, word.hours))
    return all(_sum(daily, group) == _sum(hourly, group) for group in (*GROUPS, "reasoning"))


def _split_lifetimes(cell: Cell, provider_lines: Sequence[Line]) -> None:
    left = cell.explained["cache_write"]
    cell.lifetimes = {"counted": {}, "explained": {}, "unattributed": {}}
    for name in LIFETIMES:
        p = sum(line.figures.get(name, 0) for line in provider_lines)
        explained = min(left, p)
        left -= explained
        cell.lifetimes["explained"][name] = explained
        cell.lifetimes["unattributed"][name] = p - explained
        cell.lifetimes["counted"][name] = p + (cell.stand_in["cache_write"] if name == "cache_write_unsplit" else 0)
    assert left == 0


def _off_account(history: History, day: date, route: str, model: str) -> Cell:
    """Row 10: what no account sees counts as Hermes says."""
    words = _words(history, day)
    speaking = [word for word in words if _of_cell(word.days, day, route, model)]
    lines = [line for word in words for line in _of_cell(word.days, day, route, model)]
    cell = Cell("hermes_only", provisional=not _is_final(speaking, day))
    for group in GROUPS:
        cell.provider[group] = None
        cell.hermes[group] = cell.counted[group] = cell.explained[group] = _sum(lines, group)
        cell.unattributed[group] = cell.excess[group] = cell.stand_in[group] = 0
    return cell


def _no_data(history: History, day: date, cell: Cell | None = None) -> Cell:
    cell = cell or Cell()
    cell.decision = "no_data"
    for group in GROUPS:
        cell.provider[group] = None
        cell.hermes[group] = 0 if _words(history, day) else None
        cell.counted[group] = None
        cell.explained[group] = cell.unattributed[group] = cell.excess[group] = cell.stand_in[group] = 0
    return cell


# --- findings --------------------------------------------------------------------------------------------------------


def slice_findings(history: History, days: Sequence[date]) -> set[tuple[date, str, str]]:
    """Findings about coverage, by (day, key, code). Only for accounts that have a single key."""
    found = set()
    cells = table(history, days)
    for key in history.keys:
        if sum(other.account == key.account for other in history.keys) > 1:
            continue
        for day in days:
            decisions = {
                cell.decision for (cell_day, route, _), cell in cells.items() if (cell_day, route) == (day, key.route)
            }
            coverage = _coverage(history, key, day)
            settled = history.now >= end_of(day) + SETTLING
            if coverage is not None:
                if settled and not coverage.final:
                    found.add((day, key.name, "provider_stale"))
                continue
            by_hermes = {"hermes_standin", "hermes_only"}  # rows 7 and 10
            if settled and decisions & by_hermes:
                found.add((day, key.name, "provider_missing"))
            nothing_stands_in = not decisions or decisions - by_hermes  # rows 8, 9 and 11, or no cell
            if history.now >= end_of(day) + MISSING_AFTER and nothing_stands_in:
                found.add((day, key.name, "window_missing"))
    return found


def _is_final(words: Sequence[Batch], day: date) -> bool:
    return all(word.generated_at >= end_of(day) + SETTLING for word in words)


def _exceeds(p: int, h: int) -> bool:
    return h - p > max(TOLERANCE * p, TOLERANCE_FLOOR)


def _comparison(history: History, day: date, model: str, cell: Cell) -> set[str]:
    """Row 3, and which of its names the excess gets."""
    found = set()
    for group in TOKEN_GROUPS:
        if _exceeds(cell.provider[group] or 0, cell.hermes[group] or 0):
            boundary = _vanishes_nearby(history, day, model, group)
            found.add("session_boundary" if boundary else "hermes_exceeds_provider")
    requests = cell.provider["requests"]
    if not found and requests is not None and _exceeds(requests, cell.hermes["requests"] or 0):
        found.add("requests_differ")
    return found


def _vanishes_nearby(history: History, day: date, model: str, group: str) -> bool:
    """Whether the excess is gone in the sum of D-1…D+1 or of the 7 days around D: a session dated by its end."""
    speaking = [word for word in _words(history, day) if _of_cell(word.days, day, "account", model)]
    if any(word.version >= 3 for word in speaking) or _both_final(history, day, model, group) is None:
        return False
    for reach in (1, 3):
        pairs = [
            pair
            for n in range(-reach, reach + 1)
            if (pair := _both_final(history, day + timedelta(days=n), model, group)) is not None
        ]
        if not _exceeds(sum(p for p, _ in pairs), sum(h for _, h in pairs)):
            return True
    return False


def _both_final(history: History, day: date, model: str, group: str) -> tuple[int, int] | None:
    """Both figures of a day on which both sides are known and final."""
    leaders = [_leader(history, account, day) for account in history.accounts]
    words = _words(history, day)
    speaking = [word for word in words if _of_cell(word.days, day, "account", model)]
    # Where none has a figure, nothing was said by all that cover the day, and each of them must have settled.
    if (
        day in history.passed_on_days
        or not words
        or not _is_final(speaking or words, day)
        or not all(leader is not None and leader.final for leader in leaders)
    ):
        return None
    told = [
        line
        for leader in leaders
        if leader
        for line in _of_cell(_told(history, leader.pull, day), day, "account", model)
    ]
    said = [line for word in speaking for line in _of_cell(word.days, day, "account", model)]
    return _sum(told, group), _sum(said, group)


def _restated(history: History, day: date, model: str) -> set[str]:
    """Whether any pull newer than a leading key's first final one says something else of the cell."""
    for account in history.accounts:
        leader = _leader(history, account, day)
        final = sorted(
            (
                pull
                for pull in history.pulls
                if leader is not None
                and pull.key == leader.key.name
                and pull.complete
                and _reaches(history, pull, day)
                and pull.started_at >= end_of(day) + SETTLING
            ),
            key=lambda pull: pull.started_at,
        )
        told = [_of_cell(_told(history, pull, day), day, "account", model) for pull in final]
        figures = [[_sum(lines, name) for name in REPORTED[history.provider]] for lines in told]
        if any(one != figures[0] for one in figures):
            return {"restated_after_final"}
    return set()


def _overlapping(history: History, day: date, model: str) -> set[str]:
    """Whether a shadowed key reports more in the cell than the leader of its account."""
    for account in history.accounts:
        leader = _leader(history, account, day)
        if leader is None:
            continue
        led = _of_cell(_told(history, leader.pull, day), day, "account", model)
        for key in history.keys:
            coverage = _coverage(history, key, day) if key.account == account and key != leader.key else None
            lines = _of_cell(_told(history, coverage.pull, day), day, "account", model) if coverage else []
            if any(_sum(lines, name) > _sum(led, name) for name in REPORTED[history.provider]):
                return {"overlapping_feeds"}
    return set()
