"""Small random histories: what was used, who was asked when, and what Hermes said of it.

In: hypothesis. Out: a :class:`Story`, a :class:`naive_history.History` for the model with what a scenario needs to play
it (``playing``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal

from hypothesis import strategies as st

from usage_pipeline_tests.reconcile.naive_coverage import is_enabled, start_of
from usage_pipeline_tests.reconcile.naive_history import Batch, Billed, Feed, History, Key, Line, Pull, Switch
from usage_pipeline_tests.reconcile.naive_model import LIFETIMES
from usage_pipeline_tests.reconcile.naive_money import price_of
from usage_pipeline_tests.scripted.payloads import Call, v2_payload, v3_payload
from usage_pipeline_tests.scripted.scenario import Json, utc

FIRST = date(2026, 3, 10)
POLICIES = ("provider_first", "hermes_first", "provider_only", "hermes_only")
MODELS = {"openai": ("gpt-5", "gpt-5-2025-08-07", "gpt-5-mini"), "anthropic": ("claude-sonnet-4-5", "claude-haiku-4-5")}
UNPRICED = {"openai": "gpt-77-unheard-of", "anthropic": "claude-77-unheard-of"}
ROUTERS = {"openrouter": "off_account:openrouter", "litellm": "off_account:litellm"}
"""A reseller of OpenAI's models and a proxy to its accounts; see ``routers``."""

_UNUSED = "gpt-4o"
PRICES = {
    model: {
        "uncached_input": Decimal(1000),
        "cache_read": Decimal(100),
        **dict.fromkeys(LIFETIMES, Decimal(1250)),
        "cache_write_1h": Decimal(2000),
        "output": Decimal(price),
    }
    for model, price in {
        "gpt-5": 10000,
        "gpt-5-2025-08-07": 10000,
        "gpt-5-mini": 2000,
        "claude-sonnet-4-5": 15000,
        "claude-haiku-4-5": 5000,
    }.items()
}
"""Round dollars per million tokens, by class; dear, so that few tokens move a cent."""

SUBSCRIPTIONS = {"openai": "openai-codex", "anthropic": "openrouter"}
HOURS = (3, 11, 12, 13, 22)
_PROJECTS = ("p1", "p2", "p3")


@dataclass(frozen=True)
class Heard:
    """A batch with the calls that it was made of."""

    batch: Batch
    payload: Json


@dataclass(frozen=True)
class Story:
    """A history with the payloads of its batches. ``first_policy`` holds until the last arrivals come in."""

    history: History
    heard: tuple[Heard, ...]
    days: tuple[date, ...]
    first_policy: str = "provider_first"

    @property
    def arrivals(self) -> list[Pull | Heard]:
        return [*self.history.pulls, *self.heard]

    @property
    def end(self) -> date:
        return self.days[-1] + timedelta(days=1)


def instants(days: Sequence[date]) -> tuple[datetime, ...]:
    """When something may come in: while the days are open, while they settle, at the edge, and after."""
    settled = [start_of(day) + timedelta(days=4) for day in days]
    end = days[-1] + timedelta(days=1)
    return (
        utc(days[0], 6),
        utc(days[0], 12),
        utc(days[0], 12, 30),
        utc(days[1]),
        utc(days[-1], 12),
        utc(days[-1], 13, 30),
        utc(end),
        utc(end, 12),
        settled[0] - timedelta(seconds=1),
        settled[0],
        settled[-1],
        settled[-1] + timedelta(hours=18),
        utc(days[0] + timedelta(days=12)),
    )


# --- what was used ---------------------------------------------------------------------------------------------------


def _cost(draw: st.DrawFn) -> Decimal | None:
    return draw(st.sampled_from((None, Decimal("0.25"), Decimal("0.5"), Decimal("1.75"))))


def _figures(draw: st.DrawFn, provider: str) -> dict[str, int]:
    output = draw(st.sampled_from((0, 5, 100, 500, 600, 1000)))
    figures = {
        "output": output,
        "uncached_input": draw(st.sampled_from((0, 2 * output))),
        "cache_read": draw(st.sampled_from((0, 0, 50))),
        "requests": draw(st.sampled_from((0, 1, 1, 20))),
    }
    written = draw(st.sampled_from((0, 0, 7, 40)))
    if provider == "openai":
        return figures | {"cache_write_unsplit": written}
    return figures | {"cache_write_5m": written, "cache_write_1h": draw(st.sampled_from((0, 0, 30)))}


def _lines(
    draw: st.DrawFn, provider: str, days: Sequence[date], keys: Sequence[Key], *, billed: bool
) -> tuple[Line, ...]:
    """What was really used: what a provider tells sooner or later, and Hermes more or less."""
    models = (*MODELS[provider], UNPRICED[provider]) if billed else MODELS[provider]
    projects = _PROJECTS if any(key.projects for key in keys) else (None,)
    api_keys = (None, *(key.name for key in keys if key.standard))
    return tuple(
        Line(
            utc(draw(st.sampled_from(days)), draw(st.sampled_from(HOURS))),
            draw(st.sampled_from(models)),
            _figures(draw, provider),
            project=draw(st.sampled_from(projects)),
            api_key=draw(st.sampled_from(api_keys)),
        )
        for _ in range(draw(st.integers(0, 4)))
    )


def _restated(draw: st.DrawFn, lines: Sequence[Line]) -> tuple[Line, ...]:
    """The same, with lines that vanished and lines that differ: within the tolerance, at its edge, and beyond."""
    told = []
    for line in lines:
        change = draw(st.sampled_from(("none", "none", "gone", "output", "requests")))
        if change == "gone":
            continue
        more = {"none": 0, "output": draw(st.sampled_from((-50, 2, 10, 11, 12, 20, 21, 300)))}.get(change, 15)
        measure = "requests" if change == "requests" else "output"
        told.append(replace(line, figures=line.figures | {measure: max(0, line.figures[measure] + more)}))
    return tuple(told)


# --- who is asked ----------------------------------------------------------------------------------------------------


def _keys(draw: st.DrawFn, provider: str, days: Sequence[date], *, billed: bool, only: str | None) -> tuple[Key, ...]:
    """No account, one or two, asked through one key or two: whole accounts, projects of them, and standard keys."""
    whole, other, one, two = ("org-a", ()), ("org-b", ()), ("org-a", ("p1",)), ("org-a", ("p2",))
    standard = ("org-a", None)
    shapes: list[tuple[tuple[str, tuple[str, ...] | None], ...]] = [
        (),
        (whole,),
        (whole,),
        (whole, other),
        (whole, whole),
        (whole, one),
        (one,),
        (one, two),
        (one, one),
        (("org-a", ("p1", "p2")), one),
        (("org-a", ("p1", "p2")), ("org-a", ("p2", "p3"))),
        (one, two, whole),
        (other, one),
    ]
    if only is not None:
        shapes = [(("org-a", (only,)),)]
    elif billed:
        shapes = shapes[:5]
    elif provider == "openai":
        shapes += [(whole, standard), (standard, whole), (standard,), (standard, standard), (other, standard)]
    shape = draw(st.sampled_from(shapes))
    keys = tuple(
        Key(
            f"key{n}",
            account,
            draw(st.sampled_from(("1h", "1h", "1d"))),
            standard=projects is None,
            projects=projects or (),
            enabled=() if billed else _enabled(draw, days),
        )
        for n, (account, projects) in enumerate(shape)
    )
    if provider == "openai" and not billed and only is None:
        routers = draw(st.sampled_from(((), (), ("openrouter",), ("litellm",), ("litellm", "openrouter"))))
        keys += tuple(Key(name, f"org-{name}", "1h", ROUTERS[name]) for name in routers)
    return keys


def _enabled(draw: st.DrawFn, days: Sequence[date]) -> Switch:
    """Mostly always; else off from a day on, and perhaps on again."""
    off = draw(st.sampled_from((None, None, None, None, days[1], days[-1] + timedelta(days=1))))
    if off is None:
        return ()
    again = draw(st.sampled_from((None, 1, 2)))
    return ((off, False),) if again is None else ((off, False), (off + timedelta(days=again), True))


def _pull(draw: st.DrawFn, key: Key, days: Sequence[date], started_at: datetime, before: tuple[Line, ...]) -> Pull:
    end = days[-1] + timedelta(days=1)
    first_day, end_day = draw(st.sampled_from(((days[0], end), (days[0], end), (days[0], days[1]), (days[-1], end))))
    lines = _restated(draw, before) if draw(st.sampled_from((True, False, False))) else before
    return Pull(key.name, started_at, first_day, end_day, draw(st.sampled_from((True, True, True, False))), lines)


def _pulls(
    draw: st.DrawFn, key: Key, days: Sequence[date], age: Sequence[datetime], used: tuple[Line, ...]
) -> list[Pull]:
    lines = used
    if key.standard:
        mine = [line for line in used if line.api_key == key.name]
        lines = tuple(replace(line, figures=line.figures | {"cache_write_unsplit": 0}) for line in mine)
    elif key.name in ROUTERS:
        lines = tuple(replace(line, project=None) for line in used)
    found: list[Pull] = []
    for started_at in _moments(draw, age, 0):
        if is_enabled(key, started_at.date()):
            found.append(_pull(draw, key, days, started_at, lines))
            lines = found[-1].lines
    return found


def _moments(draw: st.DrawFn, age: Sequence[datetime], least: int) -> list[datetime]:
    """A few instants, now and then two arrivals at one of them."""
    found = sorted(draw(st.sets(st.sampled_from(age), min_size=least, max_size=3)))
    if found and draw(st.sampled_from((False, False, False, True))):
        found.append(found[-1])
    return found


# --- what Hermes says ------------------------------------------------------------------------------------------------


def _feed(draw: st.DrawFn, name: str, provider: str, days: Sequence[date], keys: Sequence[Key]) -> Feed:
    environment = draw(st.sampled_from(("production", "production", "production", "staging")))
    counts = environment == "production" or draw(st.booleans())
    tag = next((f"account:{project}" for key in keys for project in key.projects), "account:org-a")
    biller = draw(st.sampled_from((SUBSCRIPTIONS[provider], "openrouter")))
    said = draw(st.sampled_from(("", "", "account", tag, tag, f"off_account:{biller}")))
    from_day = draw(st.sampled_from((days[0], days[1])))
    days_back = draw(st.sampled_from((None, None, 1, 2, 20)))
    return Feed(name, environment, counts, days_back, ((from_day, said),) if said else ())


def _bills(draw: st.DrawFn, used: Sequence[Line]) -> tuple[Billed, ...]:
    """A bill of what was used, nearly: what a model cost, at or off the list price, and lines that name no model."""
    found = []
    for line in used:
        usd = price_of(PRICES, line.model, line.figures)
        usd = Decimal("1.5") if usd is None else usd
        share = draw(st.sampled_from(("1", "1", "1", "1.019", "1.021", "0.5", "0")))
        found.append(Billed(line.at.date(), usd * Decimal(share), f"{line.model}, output", line.model))
    more = (("web search tool calls", None, "0.25"), ("credit", None, "-0.05"), (f"{_UNUSED}, output", _UNUSED, "0.02"))
    for words, model, usd_written in draw(st.lists(st.sampled_from(more), max_size=2, unique=True)):
        found.append(
            Billed(draw(st.sampled_from([FIRST, FIRST + timedelta(days=1)])), Decimal(usd_written), words, model)
        )
    return tuple(found)


def _cost_pulls(
    draw: st.DrawFn, key: Key, days: Sequence[date], age: Sequence[datetime], used: tuple[Line, ...]
) -> list[Pull]:
    bills = _bills(draw, used)
    found = []
    for started_at in _moments(draw, age, 0):
        bills = _bills(draw, used) if draw(st.sampled_from((True, False, False))) else bills
        found.append(replace(_pull(draw, key, days, started_at, ()), lines=(), costs=True, bills=bills))
    return found


def _heard(
    draw: st.DrawFn, feed: Feed, provider: str, days: Sequence[date], generated_at: datetime, used: Sequence[Line]
) -> Heard:
    """A batch of either version about what was used; a heartbeat where it has nothing to say."""
    version = draw(st.sampled_from((2, 3, 3)))
    reached = [day for day in days if day <= generated_at.date()]
    if version == 3:
        reached = reached[draw(st.sampled_from((0, 0, len(reached) - 1))) :]
    lines = [line for line in _noticed(draw, provider, version, days, used) if line.at.date() in reached]
    calls = [_call(line, provider) for line in lines]
    daily = tuple(replace(line, at=start_of(line.at.date())) for line in lines)
    if version == 2:
        batch = Batch(feed.name, generated_at, 2, None, daily, tuple(lines), call_time=False)
        payload = v2_payload(generated_at, calls)
    else:
        stated = (reached[0], reached[-1] + timedelta(days=1))
        call_time = draw(st.sampled_from((True, True, True, False)))
        told = lines[1:] if draw(st.sampled_from((False, False, False, True))) else lines
        batch = Batch(feed.name, generated_at, 3, stated, daily, tuple(told), call_time)
        hours = [_call(line, provider) for line in told]
        payload = v3_payload(generated_at, calls, *stated, hours=hours, call_time=call_time)
    return Heard(batch, {**payload, "environment": feed.environment})


def _noticed(draw: st.DrawFn, provider: str, version: int, days: Sequence[date], used: Sequence[Line]) -> list[Line]:
    """What Hermes says of what was used: some of it, some of it else, a session on another day, and what no account
    sees. It does not split cache writes."""
    lines = []
    for line in _restated(draw, used):
        figures = {name: value for name, value in line.figures.items() if not name.startswith("cache_write")}
        written = sum(value for name, value in line.figures.items() if name.startswith("cache_write"))
        figures["cache_write_unsplit"] = written
        at = line.at
        if version == 2 and draw(st.booleans()):
            at = utc(draw(st.sampled_from([day for day in days if day != at.date()])), at.hour)
        off_account = version == 3 and figures["output"] > 0 and draw(st.sampled_from((False, False, False, True)))
        billers = (SUBSCRIPTIONS[provider], *(ROUTERS if provider == "openai" else ()))
        route = f"off_account:{draw(st.sampled_from(billers))}" if off_account else "account"
        estimated, actual = (_cost(draw), _cost(draw)) if version == 3 else (Decimal("0.25"), None)
        told = None if version == 2 else route
        included = told == f"off_account:{SUBSCRIPTIONS[provider]}"
        lines.append(Line(at, line.model, figures, told, estimated=estimated, actual=actual, included=included))
    return lines


def _call(line: Line, provider: str) -> Call:
    billing = provider if line.route in (None, "account") else str(line.route).removeprefix("off_account:")
    return Call(
        at=line.at,
        model=line.model,
        uncached_input=line.figures["uncached_input"],
        cache_read=line.figures["cache_read"],
        cache_write=line.figures["cache_write_unsplit"],
        output=line.figures["output"],
        requests=line.figures["requests"],
        billing=billing,
        estimated_usd=None if line.estimated is None else float(line.estimated),
        actual_usd=None if line.actual is None else float(line.actual),
        billing_mode="subscription_included" if line.included else "official_models_api",
    )


# --- the whole -------------------------------------------------------------------------------------------------------


@st.composite
def stories(
    draw: st.DrawFn, *, policies: Sequence[str] = POLICIES, billed: bool = False, only: str | None = None
) -> Story:
    """A workspace with a few keys and feeds over two or three days, and a few arrivals of each.

    ``billed``: only keys of whole accounts, which are asked for their bills too. ``only``: one OpenAI key, of
    this project.
    """
    provider = draw(st.sampled_from(("openai", "openai", "anthropic"))) if only is None else "openai"
    days = tuple(FIRST + timedelta(days=n) for n in range(draw(st.sampled_from((2, 2, 3)))))
    keys = _keys(draw, provider, days, billed=billed, only=only)
    # While the days are open; at any age; while they settle; and after they did.
    moments = instants(days)
    age = draw(st.sampled_from((moments[:6], moments, moments[5:], moments[9:], moments[9:])))
    used = _lines(draw, provider, days, keys, billed=billed)
    pulls: list[Pull] = []
    for key in keys:
        of_account = key.account == "org-a" or key.name in ROUTERS
        lines = used if of_account else _lines(draw, provider, days, keys, billed=billed)
        pulls += _pulls(draw, key, days, age, lines)
        pulls += _cost_pulls(draw, key, days, age, lines) if billed else []
    policy, first_policy = draw(st.sampled_from(policies)), draw(st.sampled_from(POLICIES))
    feeds = tuple(
        Feed(name) if billed else _feed(draw, name, provider, days, keys)
        for name in ("laptop", "server")[: draw(st.integers(0, 2))]
    )
    heard = [
        _heard(draw, feed, provider, days, generated_at, used)
        for feed in feeds
        for generated_at in _moments(draw, age, 1)
    ]
    now = max(
        [draw(st.sampled_from(moments))]
        + [pull.started_at for pull in pulls]
        + [one.batch.generated_at for one in heard]
    )
    history = History(provider, keys, feeds, tuple(pulls), tuple(one.batch for one in heard), now, policy)
    return Story(history, tuple(heard), days, first_policy)
