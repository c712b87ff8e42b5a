"""Whatever a Hermes does, and whenever a sync runs: what was sent is what was used, once, in its hour.

``test_every_call_is_there_once_in_its_hour`` lets a sync run before each thing that takes knowledge away (an hour's
end, a deletion, an agent's end, an older copy), so that the truth is knowable, and compares exactly.
``test_never_more_than_was_used`` lets syncs run anywhere: then usage may be missed, but never made up.
"""

from __future__ import annotations

import copy
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from usage_pipeline_hermes.counts import nano_usd_from
from usage_pipeline_tests.hermes_plugin.hermes_database import GENERATIONS, Call, HermesDatabase, Made
from usage_pipeline_tests.hermes_plugin.replica import Key, Plugin, Server, moment

# Off the full second, so that no call is made at the very instant at which an hour begins.
START = moment("2026-08-10T21:10:00") + 0.25
HOUR = 3600
MODELS = (
    Made(),
    Made("anthropic/claude-sonnet-4.6", "openrouter", "https://openrouter.ai/api/v1", "official_models_api"),
    Made("gpt-5.4-mini", "openai-codex", "https://chatgpt.com/backend-api", "subscription_included"),
)
TASKS = ("compression", "title_generation")

_tokens = st.integers(min_value=1, max_value=5000)
_calls = st.builds(
    Call,
    input=_tokens,
    output=st.integers(9, 900),  # with its reasoning
    cache_read=st.integers(0, 900),
    cache_write=st.integers(0, 90),
    reasoning=st.integers(0, 9),
    estimated_usd=st.integers(0, 10**6).map(lambda micro: micro / 10**6),
)
_session = st.integers(0, 2)
_model = st.integers(0, 2)
_steps = st.one_of(
    st.tuples(st.just("call"), _session, _model, _calls),
    st.tuples(st.just("call"), _session, _model, _calls),
    st.tuples(st.just("aux"), _session, _model, _calls),
    st.tuples(st.just("gateway"), _session, _model, _calls),
    st.tuples(st.just("gateway"), _session, _model, _calls),
    st.tuples(
        st.sampled_from(["sync", "delete", "end", "new_agent", "update", "copy", "restore"]), _session, _model, _calls
    ),
)
_histories = st.lists(st.tuples(_steps, st.integers(1, 50 * 60)), max_size=30)


@dataclass
class AgentState:
    """The open sessions by number (of calls, of a gateway), a gateway's totals, and the model of each session."""

    per_call: dict[int, str] = field(default_factory=dict)
    gateways: dict[int, str] = field(default_factory=dict)
    agents: dict[str, Call] = field(default_factory=dict)
    opened: dict[str, int] = field(default_factory=dict)


@dataclass
class History:
    """One Hermes over time, its truth, and the plugin beside it. ``knowable``: sync before knowledge is lost.
    ``counts_requests``: requests and reasoning were recorded from the beginning."""

    database: HermesDatabase
    plugin: Plugin
    knowable: bool
    counts_requests: bool
    now: float = START
    truth: dict[str, Counter[Key]] = field(default_factory=dict)
    number: int = 0
    agent_state: AgentState = field(default_factory=AgentState)
    old_file: bytes | None = None
    copied: AgentState = field(default_factory=AgentState)
    copied_level: int = 0

    def pass_time(self, seconds: int) -> None:
        later = self.now + seconds
        if self.knowable and int(later // HOUR) != int(self.now // HOUR):
            self.now = int(later // HOUR) * HOUR - 0.5
            self.sync()
        self.now = later

    def sync(self) -> None:
        before = {name: dict(self.plugin.server.figures(name)) for name in ("input", "output", "estimated")}
        self.plugin.sync(self.now)
        self.check(before)

    def check(self, before: Mapping[str, Mapping[Key, int | Decimal]]) -> None:
        server = self.plugin.server
        for measure, truth in self.truth.items():
            sent = server.figures(measure)
            used = {key: value for key, value in truth.items() if value}
            if measure == "estimated":
                sent = {key: int(value * 10**9) for key, value in sent.items()}
            if self.knowable:
                assert sent == used, measure
            else:
                _assert_at_most(sent, used, measure)
        for measure, figures in before.items():
            now = server.figures(measure)
            assert all(now.get(key, 0) >= value for key, value in figures.items()), "what was sent got less"

    def step(self, action: str, index: int, model: int, call: Call) -> None:
        made = MODELS[model]
        if action == "call":
            session = self._session(self.agent_state.per_call, index, made)
            # Before there is a row per model, a session has one model.
            made = made if self.database.level >= 2 else MODELS[self.agent_state.opened[session]]
            self.database.call(session, self.now, call, made)
            self._used(made.model, "", call)
        elif action == "aux" and self.database.level >= 3:
            session = self._session(self.agent_state.per_call, index, made)
            task = TASKS[model % 2]
            self.database.auxiliary(session, self.now, call, made, task)
            self._used(made.model, task, call)
        elif action == "gateway":
            self._gateway(index, made, call)
        elif action == "sync":
            self.sync()
        else:
            self._lose(action, index)

    def _gateway(self, index: int, made: Made, call: Call) -> None:
        session = self._session(self.agent_state.gateways, index, made)
        before = self.agent_state.agents.get(session, Call(0, 0, estimated_usd=0.0, calls=0))
        total = Call(
            input=before.input + call.input,
            output=before.output + call.output,
            cache_read=before.cache_read + call.cache_read,
            cache_write=before.cache_write + call.cache_write,
            reasoning=before.reasoning + call.reasoning,
            estimated_usd=(before.estimated_usd or 0) + (call.estimated_usd or 0),
            calls=before.calls + 1,
        )
        self.agent_state.agents[session] = total
        self.database.set_totals(session, self.now, total)
        self._used(MODELS[self.agent_state.opened[session]].model, "", call)

    def _lose(self, action: str, index: int) -> None:
        """Things after which something can no longer be read."""
        if self.knowable:
            self.sync()
        if action == "delete":
            for sessions in (self.agent_state.per_call, self.agent_state.gateways):
                if session := sessions.pop(index, None):
                    self.database.delete(session)
        elif action == "end" and (session := self.agent_state.per_call.pop(index, None)):
            self.database.end_session(session, self.now)
        elif action == "new_agent" and (session := self.agent_state.gateways.get(index)):
            self._new_agent(session)
        elif action == "update" and self.database.level < 3:
            self.database.update_to(GENERATIONS[self.database.level + 1])
            # No agent lives through an update with reasoning in its totals that was never recorded.
            if self.database.level == 1:
                agents = self.agent_state.agents
                agents.update({name: replace(total, reasoning=0) for name, total in agents.items()})
            if self.knowable:
                self.sync()
        elif action == "copy":
            self.old_file = self.database.copy()
            self.copied = copy.deepcopy(self.agent_state)
            self.copied_level = self.database.level
        elif action == "restore" and self.old_file is not None:
            self.database.restore(self.old_file)
            self.agent_state = copy.deepcopy(self.copied)
            self.database.level = self.copied_level
            self.sync()

    def _new_agent(self, session: str) -> None:
        """The gateway starts again: a new agent, whose totals begin at 0."""
        total = self.agent_state.agents.get(session)
        if total is not None and (total.calls > 1 or not self.knowable):
            self.agent_state.agents[session] = Call(0, 0, estimated_usd=0.0, calls=0)
            if self.knowable:
                # Seen at its first call, since one call is fewer than before.
                index = next(index for index, name in self.agent_state.gateways.items() if name == session)
                self._gateway(index, MODELS[0], Call(input=3, output=1, estimated_usd=0.002))
                self.sync()

    def _session(self, sessions: dict[int, str], index: int, made: Made) -> str:
        if index not in sessions:
            self.number += 1
            name = sessions[index] = f"session-{self.number}"
            self.agent_state.opened[name] = MODELS.index(made)
            self.database.open_session(name, self.now, made)
        return sessions[index]

    def _used(self, model: str, task: str, call: Call) -> None:
        hour = f"{_hour(self.now)}"
        measures = {
            "input": call.input,
            "output": call.output,
            "cache_read": call.cache_read,
            "cache_write": call.cache_write,
            "estimated": nano_usd_from(call.estimated_usd) or 0,
        }
        if self.counts_requests:
            measures |= {"reasoning": call.reasoning, "requests": call.calls}
        for measure, value in measures.items():
            self.truth.setdefault(measure, Counter())[hour, model, task] += value


def _hour(now: float) -> str:
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H")


def _assert_at_most(sent: Mapping[Key, int | Decimal], used: Mapping[Key, int], measure: str) -> None:
    total_sent: dict[tuple[str, str], int | Decimal] = {}
    total_used: Counter[tuple[str, str]] = Counter()
    for (_, model, task), value in sent.items():
        total_sent[model, task] = total_sent.get((model, task), 0) + value
    for (_, model, task), value in used.items():
        total_used[model, task] += value
    for key, value in total_sent.items():
        assert value <= total_used[key], (measure, key)


def _run(steps: list[tuple[tuple[str, int, int, Call], int]], generation: str, *, knowable: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        database = HermesDatabase(Path(folder) / "state.db", generation)
        try:
            with Plugin(database.path, Server()) as plugin:
                history = History(database, plugin, knowable, counts_requests=generation != GENERATIONS[0])
                history.sync()
                for (action, index, model, call), seconds in steps:
                    history.pass_time(seconds)
                    history.step(action, index, model, call)
                history.sync()
                history.pass_time(60)
                history.sync()
        finally:
            database.close()


_SETTINGS = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@_SETTINGS
@given(_histories, st.sampled_from(GENERATIONS))
def test_every_call_is_there_once_in_its_hour(
    steps: list[tuple[tuple[str, int, int, Call], int]], generation: str
) -> None:
    _run(steps, generation, knowable=True)


@_SETTINGS
@given(_histories, st.sampled_from(GENERATIONS))
def test_never_more_than_was_used(steps: list[tuple[tuple[str, int, int, Call], int]], generation: str) -> None:
    _run(steps, generation, knowable=False)


def test_the_driver_sees_a_double_count() -> None:
    """The check itself: a server that was told a call twice is found out."""
    steps = [(("call", 0, 0, Call(input=10)), 5), (("sync", 0, 0, Call()), 5)]
    with tempfile.TemporaryDirectory() as folder:
        database = HermesDatabase(Path(folder) / "state.db")
        try:
            with Plugin(database.path, Server()) as plugin:
                history = History(database, plugin, knowable=True, counts_requests=True)
                for (action, index, model, call), seconds in steps:
                    history.pass_time(seconds)
                    history.step(action, index, model, call)
                day = next(iter(plugin.server.days))
                plugin.server.days[day] = [
                    replace(row, uncached_input=2 * row.uncached_input) for row in plugin.server.days[day]
                ]
                try:
                    history.check({})
                except AssertionError:
                    return
                raise AssertionError("a double count went unseen")
        finally:
            database.close()
