"""After any history of pulls, faults and restatements that ends with a complete pull, the store equals the truth.

Hypothesis writes the histories: what is spent, restated and vanishes upstream, when which days are pulled in which
grain and by which dimensions, in pages of which size, and what goes wrong with which request. Everything goes over HTTP
to a server that knows nothing of the reading code, and into the real database.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from usage_pipeline.credentials.secret import Secret
from usage_pipeline.ledger.learned_limits import LearnedLimits, keep_learned_limits
from usage_pipeline.ledger.provider_keys import get_provider_key
from usage_pipeline.normalise.provider_days import normalise_provider_days
from usage_pipeline.providers.http import HttpLimits, ProviderClient
from usage_pipeline.providers.openai import COMPLETIONS, OpenAI
from usage_pipeline.pulls.pull import PullResult, pull_key
from usage_pipeline.utc_days import day_end, day_start, days_between
from usage_pipeline_tests.providers.loopback import Loopback, serving
from usage_pipeline_tests.pulls.faulty_openai import WIDTH_S, Fault, FaultyOpenAi, Key, Use
from usage_pipeline_tests.scripted.scenario import Scenario, scenario_on

MONDAY = date(2026, 11, 2)
BEGINNING = day_start(MONDAY)
DAYS = 4
LAST = MONDAY + timedelta(days=DAYS)
SETTLED = day_end(LAST) + timedelta(days=5)
SETTLING = timedelta(days=3)
NAMES = itertools.count()


class OnlyCompletions(OpenAI):
    """The built-in provider, asked for one endpoint."""

    endpoints = (COMPLETIONS,)


PROVIDER = OnlyCompletions()


@dataclass(frozen=True)
class Spend:
    use: Use


@dataclass(frozen=True)
class Restate:
    percent: int


@dataclass(frozen=True)
class Vanish:
    user_id: str | None


@dataclass(frozen=True)
class Pull:
    """Days (offset and number) pulled some hours after the pull before; ``page_limit`` buckets a page."""

    first: int
    days: int
    hours_later: int
    grain: str
    dimensions: tuple[str, ...]
    page_limit: int
    faults: dict[int, Fault]


Step = Spend | Restate | Vanish | Pull

users = st.sampled_from(["user_anna", "user_ben", None])
uses = st.builds(
    lambda minute, project, user, model, tokens, cached, output: Use(
        int(day_start(MONDAY).timestamp()) + minute * 60, project, user, model, tokens, min(cached, tokens), output
    ),
    st.integers(0, DAYS * 1440 - 1),
    st.sampled_from(["proj_a", "proj_b"]),
    users,
    st.sampled_from(["gpt-5", "o3"]),
    st.integers(0, 2**40),
    st.integers(0, 1000),
    st.integers(0, 2**40),
)
faults = st.dictionaries(st.integers(0, 2), st.sampled_from(Fault), min_size=1, max_size=2)
pulls = st.builds(
    Pull,
    first=st.integers(0, DAYS - 1),
    days=st.integers(1, DAYS),
    hours_later=st.integers(1, 40),
    grain=st.sampled_from(["1h", "1h", "1d"]),
    dimensions=st.sampled_from([("project_id", "user_id", "model"), ("model",), ("project_id", "model"), ("user_id",)]),
    page_limit=st.sampled_from([3, 24, 31]),
    faults=st.one_of(st.just({}), faults, faults),
)
steps = st.lists(
    st.one_of(st.builds(Spend, uses), st.builds(Restate, st.integers(0, 200)), st.builds(Vanish, users), pulls, pulls),
    max_size=9,
)


@pytest.fixture(scope="module")
def account() -> Iterator[tuple[FaultyOpenAi, str]]:
    truth = FaultyOpenAi()
    with serving(Loopback(by_path=truth.answer)) as loopback:
        yield truth, loopback.url


@dataclass
class Watched:
    """One key's store beside the truth it is pulled from."""

    scenario: Scenario
    truth: FaultyOpenAi
    slug: str
    url: str
    now: datetime = BEGINNING

    def pull(self, pull: Pull) -> PullResult:
        """Pull and normalise, as the stages do."""
        at = self.now = self.now + timedelta(hours=pull.hours_later)
        first = MONDAY + timedelta(days=pull.first)
        end = min(first + timedelta(days=pull.days), LAST)
        engine = self.scenario.runtime.engine
        with engine.begin() as connection:
            key = replace(get_provider_key(connection, self.slug), grain=pull.grain)
            limits = LearnedLimits(page_limits={"1h": pull.page_limit, "1d": pull.page_limit})
            keep_learned_limits(connection, key.feed_id, COMPLETIONS.name, limits, "the test says so", at)
        self.truth.begin(at, pull.faults)
        chosen = {"OPENAI_COMPLETIONS_DIMENSIONS": ",".join(pull.dimensions)}
        with ProviderClient(
            PROVIDER,
            Secret("sk-admin-test"),
            base_url=self.url,
            limits=HttpLimits(attempts_max=2, circuit_failures_max=100),
            sleep=lambda _: None,
            clock=lambda: at,
        ) as client:
            (result,) = pull_key(engine, key, PROVIDER, client, (), first, end, lambda: at, environ=chosen)
        days = days_between(first, end)
        normalise_provider_days(engine, key, PROVIDER, COMPLETIONS, days, at, SETTLING)
        return result

    def stored(self, first: date, end: date) -> dict[Key, tuple[int, int, int]]:
        """The events of the days by window and dimensions."""
        rows = self.scenario.select(
            "SELECT e.* FROM usage_events AS e JOIN slices AS s USING (slice_id) JOIN feeds AS f USING (feed_id)"
            " WHERE f.slug = :slug AND s.day >= :first AND s.day < :end",
            slug=self.slug,
            first=first,
            end=end,
        )
        found: dict[Key, tuple[int, int, int]] = {}
        for row in rows:
            key: Key = (int(row["window_start"].timestamp()), row["project_id"], row["user_id"], row["model"])
            assert key not in found, "two events of one window and the same dimensions"
            found[key] = (row["uncached_input"], row["cache_read"], row["output"])
        return found

    def everything(self) -> dict[str, str | None]:
        """A digest of what the key's figures rest on."""
        return {
            table: self.scenario.select(
                f"SELECT md5(string_agg(t::text, chr(10) ORDER BY t::text)) AS digest FROM {table} AS t JOIN {owner}"
                " WHERE o.feed_id = (SELECT feed_id FROM feeds WHERE slug = :slug)",
                slug=self.slug,
            )[0]["digest"]
            for table, owner in {
                "usage_events": "slices AS o USING (slice_id)",
                "usage_event_history": "slices AS o USING (slice_id)",
                "raw_pages": "pulls AS o USING (pull_id)",
            }.items()
        }


@pytest.fixture(scope="module")
def scenario(
    database_server: object, migrated_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scenario]:
    from usage_pipeline_tests.conftest import _database

    with (
        _database(database_server, template=migrated_template) as url,  # type: ignore[arg-type]
        scenario_on(url, tmp_path_factory.mktemp("home"), SETTLED) as made,
    ):
        yield made


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
@given(spent=st.lists(uses, min_size=1, max_size=12), history=steps)
def test_a_history_that_ends_with_a_complete_pull_leaves_the_truth(
    scenario: Scenario, account: tuple[FaultyOpenAi, str], spent: list[Use], history: list[Step]
) -> None:
    truth, url = account
    truth.uses = list(spent)
    watched = Watched(scenario, truth, scenario.register(name=f"n{next(NAMES)}").slug, url)
    for step in history:
        match step:
            case Spend(use):
                truth.uses.append(use)
            case Restate(percent):
                truth.uses = [
                    replace(use, output=use.output * percent // 100, cached=use.cached * percent // 200)
                    for use in truth.uses
                ]
            case Vanish(user_id):
                truth.uses = [use for use in truth.uses if use.user_id != user_id]
            case Pull():
                _watch(watched, step)
    _watch(watched, Pull(0, DAYS, DAYS * 24, "1h", ("project_id", "user_id", "model"), 31, {}))
    before = watched.everything()
    _watch(watched, Pull(0, DAYS, 1, "1h", ("project_id", "user_id", "model"), 96, {}))
    assert watched.everything() == before, "the same answer in other pages was written again"


def _watch(watched: Watched, pull: Pull) -> None:
    """Pull; a complete answer stands exactly, a failed one moved nothing."""
    before = watched.everything()
    result = watched.pull(pull)
    fatal = [fault for fault in watched.truth.faults_met if not fault.passes]
    if result.error is not None:
        assert watched.truth.faults_met, result.error
        assert watched.everything() == before, "a pull that failed moved something"
        return
    assert not [fault for fault in fatal if fault in {Fault.HTML, Fault.FORBIDDEN}], "a refused request went unnoticed"
    asked_until = min(day_end(LAST), watched.truth.now)
    first = MONDAY + timedelta(days=pull.first)
    end = min(first + timedelta(days=pull.days), LAST)
    if asked_until <= day_start(first):
        assert watched.everything() == before
        return
    covered_end = min(end, (asked_until - timedelta(microseconds=1)).date() + timedelta(days=1))
    expected = watched.truth.sums(
        int(day_start(first).timestamp()),
        int(datetime.combine(covered_end, datetime.min.time(), UTC).timestamp()),
        WIDTH_S[pull.grain],
        pull.dimensions,
    )
    assert watched.stored(first, covered_end) == expected


@pytest.mark.parametrize("fault", Fault)
@pytest.mark.parametrize("request_number", [0, 1])
def test_a_fault_is_sent_again_or_fails_the_range_and_moves_nothing(
    scenario: Scenario, account: tuple[FaultyOpenAi, str], fault: Fault, request_number: int
) -> None:
    truth, url = account
    start_s = int(day_start(MONDAY).timestamp())
    truth.uses = [Use(start_s + hour * 3600, "proj_a", "user_anna", "gpt-5", 10, 1, hour) for hour in range(DAYS * 24)]
    watched = Watched(scenario, truth, scenario.register(name=f"n{next(NAMES)}").slug, url)
    whole = Pull(0, DAYS, DAYS * 24 + 1, "1h", ("user_id", "model"), 31, {})
    _watch(watched, whole)
    truth.uses = [replace(use, output=use.output + 1) for use in truth.uses]
    before = watched.everything()
    result = watched.pull(replace(whole, hours_later=1, faults={request_number: fault}))
    assert (result.error is None) is fault.passes
    assert (watched.everything() == before) is not fault.passes
