"""Small random histories, and how one is played on the real ledger.

In: hypothesis. Out: a :class:`naive_history.History` for the model, and the same as arrivals (pulls and batches) that a
scenario plays in any order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from hypothesis import strategies as st

from usage_pipeline_tests.reconcile.naive_history import Batch, History, Key, Line, Pull
from usage_pipeline_tests.reconcile.naive_model import start_of
from usage_pipeline_tests.reconcile.routers import register_router
from usage_pipeline_tests.scripted.account import Use
from usage_pipeline_tests.scripted.in_memory import pull_in_memory
from usage_pipeline_tests.scripted.payloads import Call, v2_payload, v3_payload
from usage_pipeline_tests.scripted.scenario import RegisteredAccount, Scenario, utc

FIRST = date(2026, 3, 10)
DAYS = (FIRST, FIRST + timedelta(days=1))
END = FIRST + timedelta(days=2)
MODELS = {"openai": ("gpt-5", "gpt-5-2025-08-07", "gpt-5-mini"), "anthropic": ("claude-sonnet-4-5", "claude-haiku-4-5")}
ROUTERS = {"openrouter": "off_account:openrouter", "litellm": "off_account:litellm"}
"""A reseller of OpenAI's models and a proxy to its accounts; see ``routers``."""

SUBSCRIPTIONS = {"openai": "openai-codex", "anthropic": "openrouter"}

_SETTLED = [start_of(day) + timedelta(days=4) for day in DAYS]
INSTANTS = (
    utc(DAYS[0], 6),
    utc(DAYS[0], 12),
    utc(DAYS[0], 12, 30),
    utc(DAYS[1]),
    utc(DAYS[1], 12),
    utc(DAYS[1], 13, 30),
    utc(END),
    utc(END, 12),
    _SETTLED[0] - timedelta(seconds=1),
    _SETTLED[0],
    _SETTLED[1],
    _SETTLED[1] + timedelta(hours=18),
    utc(FIRST + timedelta(days=12)),
)
HOURS = (3, 11, 12, 13, 22)


@dataclass(frozen=True)
class Heard:
    """A batch with the calls that it was made of."""

    batch: Batch
    payload: dict[str, object]


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


def _lines(draw: st.DrawFn, provider: str) -> tuple[Line, ...]:
    """What was really used: what a provider tells sooner or later, and Hermes more or less."""
    return tuple(
        Line(
            utc(draw(st.sampled_from(DAYS)), draw(st.sampled_from(HOURS))),
            draw(st.sampled_from(MODELS[provider])),
            _figures(draw, provider),
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


def _pull(draw: st.DrawFn, key: Key, started_at: datetime, before: tuple[Line, ...]) -> Pull:
    whole = ((DAYS[0], END), (DAYS[0], END))
    first_day, end_day = draw(st.sampled_from((*whole, (DAYS[0], DAYS[1]), (DAYS[1], END))))
    lines = _restated(draw, before) if draw(st.sampled_from((True, False, False))) else before
    complete = draw(st.sampled_from((True, True, True, False)))
    return Pull(key.name, started_at, first_day, end_day, complete, lines)


def _heard(draw: st.DrawFn, feed: str, provider: str, generated_at: datetime, used: Sequence[Line]) -> Heard | None:
    """A batch of either version about what was used, None for one that would be a heartbeat."""
    version = draw(st.sampled_from((2, 3, 3)))
    days = [day for day in DAYS if day <= generated_at.date()]
    if version == 3:
        days = days[draw(st.sampled_from((0, 0, len(days) - 1))) :]
    lines = [line for line in _noticed(draw, provider, version, used) if line.at.date() in days]
    calls = [_call(line, provider) for line in lines]
    daily = tuple(replace(line, at=start_of(line.at.date())) for line in lines)
    if version == 2:
        if not lines:
            return None
        first_day = min(line.at.date() for line in lines)
        end_day = generated_at.date() + timedelta(days=1)
        batch = Batch(feed, generated_at, 2, first_day, end_day, daily, tuple(lines), call_time=False)
        return Heard(batch, v2_payload(generated_at, calls))
    end_day = days[-1] + timedelta(days=1)
    call_time = draw(st.sampled_from((True, True, True, False)))
    told = lines[1:] if draw(st.sampled_from((False, False, False, True))) else lines
    batch = Batch(feed, generated_at, 3, days[0], end_day, daily, tuple(told), call_time)
    hours = [_call(line, provider) for line in told]
    return Heard(batch, v3_payload(generated_at, calls, days[0], end_day, hours=hours, call_time=call_time))


def _noticed(draw: st.DrawFn, provider: str, version: int, used: Sequence[Line]) -> list[Line]:
    """What Hermes says of what was used: some of it, some of it else, a session on the other day, and what no account
    sees. It does not split cache writes."""
    lines = []
    for line in _restated(draw, used):
        figures = {name: value for name, value in line.figures.items() if not name.startswith("cache_write")}
        written = sum(value for name, value in line.figures.items() if name.startswith("cache_write"))
        figures["cache_write_unsplit"] = written
        at = line.at
        if version == 2 and draw(st.booleans()):
            at = utc(DAYS[1 - DAYS.index(at.date())], at.hour)
        off_account = version == 3 and figures["output"] > 0 and draw(st.sampled_from((False, False, False, True)))
        billers = (SUBSCRIPTIONS[provider], *(ROUTERS if provider == "openai" else ()))
        route = f"off_account:{draw(st.sampled_from(billers))}" if off_account else "account"
        lines.append(Line(at, line.model, figures, route))
    return lines


def _call(line: Line, provider: str) -> Call:
    billing = provider if line.route == "account" else line.route.removeprefix("off_account:")
    return Call(
        at=line.at,
        model=line.model,
        uncached_input=line.figures["uncached_input"],
        cache_read=line.figures["cache_read"],
        cache_write=line.figures["cache_write_unsplit"],
        output=line.figures["output"],
        requests=line.figures["requests"],
        billing=billing,
        billing_mode="subscription_included" if billing == SUBSCRIPTIONS[provider] else "official_models_api",
    )


@dataclass(frozen=True)
class Story:
    """A history with the payloads of its batches, in the order of its instants."""

    history: History
    heard: tuple[Heard, ...]

    @property
    def arrivals(self) -> list[Pull | Heard]:
        return [*self.history.pulls, *self.heard]


def _moments(draw: st.DrawFn, age: Sequence[datetime], least: int) -> list[datetime]:
    return sorted(draw(st.sets(st.sampled_from(age), min_size=least, max_size=3)))


@st.composite
def stories(draw: st.DrawFn) -> Story:
    """One or two accounts, the first of them perhaps with two keys; one or two Hermes feeds; a few arrivals of each."""
    provider = draw(st.sampled_from(("openai", "openai", "anthropic")))
    accounts = draw(st.sampled_from((("org-a",), ("org-a",), ("org-a", "org-b"), ("org-a", "org-a"), ())))
    keys = tuple(
        Key(f"key{n}", account, draw(st.sampled_from(("1h", "1h", "1d")))) for n, account in enumerate(accounts)
    )
    if provider == "openai":
        routers = draw(st.sampled_from(((), (), ("openrouter",), ("litellm",), ("litellm", "openrouter"))))
        keys += tuple(Key(name, f"org-{name}", "1h", ROUTERS[name]) for name in routers)
    # While the days are open; at any age; while they settle; and after they did.
    age = draw(st.sampled_from((INSTANTS[:6], INSTANTS, INSTANTS[5:], INSTANTS[9:], INSTANTS[9:])))
    used = _lines(draw, provider)
    pulls: list[Pull] = []
    for key in keys:
        lines = used if key.account == "org-a" or key.name in ROUTERS else _lines(draw, provider)
        for started_at in _moments(draw, age, 0):
            pulls.append(_pull(draw, key, started_at, lines))
            lines = pulls[-1].lines
    heard = [
        one
        for feed in ("laptop", "server")[: draw(st.integers(0, 2))]
        for generated_at in _moments(draw, age, 1)
        if (one := _heard(draw, feed, provider, generated_at, used)) is not None
    ]
    now = max(
        [draw(st.sampled_from(INSTANTS))]
        + [pull.started_at for pull in pulls]
        + [one.batch.generated_at for one in heard]
    )
    batches = tuple(one.batch for one in heard)
    return Story(History(provider, keys, tuple(pulls), batches, now), tuple(heard))


class Stage:
    """Plays a story on a scenario."""

    def __init__(self, scenario: Scenario, story: Story) -> None:
        self.scenario = scenario
        self.story = story
        scenario.at(utc(FIRST))
        scenario.workspace()
        self.keys: dict[str, RegisteredAccount] = {
            key.name: register_router(scenario, key.name, key.name)
            if key.name in ROUTERS
            else scenario.register(story.history.provider, key.name, organization=key.account, grain=key.grain)
            for key in story.history.keys
        }
        self.feeds = {feed: scenario.hermes(feed) for feed in sorted({one.batch.feed for one in story.heard})}

    def arrive(self, arrival: Pull | Heard) -> None:
        """Let a pull or a batch come in, at its own instant."""
        if isinstance(arrival, Heard):
            self.scenario.at(arrival.batch.generated_at).send(self.feeds[arrival.batch.feed], dict(arrival.payload))
            return
        registered = self.keys[arrival.key]
        registered.account.uses = [_use(line) for line in arrival.lines]
        registered.account.heal()
        if not arrival.complete:
            registered.account.refuse("completions")
            registered.account.refuse("messages")
        self.scenario.at(arrival.started_at)
        pull_in_memory(self.scenario.runtime, registered.key, registered.account, arrival.first_day, arrival.end_day)

    def settle(self) -> None:
        """Run every stage after the pulls, at the story's end."""
        self.scenario.at(self.story.history.now).settle(*DAYS)


def _use(line: Line) -> Use:
    figures = {name.replace("_unsplit", ""): value for name, value in line.figures.items()}
    return Use(line.at, line.model, **figures)
