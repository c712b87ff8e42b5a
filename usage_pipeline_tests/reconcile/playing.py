"""How a story is played on the real ledger, and what the model is told of how it went.

In: a scenario and a :class:`histories.Story`. Out: the world after it, and the history with the digests that decide
between two arrivals of one instant.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta

from usage_pipeline.ledger.feed_settings import disable_feed, enable_feed, set_bills_to
from usage_pipeline.ledger.hermes_feeds import HermesFeed, get_hermes_feed, set_counts
from usage_pipeline_tests.reconcile.histories import FIRST, ROUTERS, Heard, Story
from usage_pipeline_tests.reconcile.naive_coverage import start_of
from usage_pipeline_tests.reconcile.naive_history import Batch, Feed, History, Key, Line, Pull
from usage_pipeline_tests.reconcile.routers import register_router
from usage_pipeline_tests.scripted.account import Bill, Use
from usage_pipeline_tests.scripted.in_memory import pull_in_memory
from usage_pipeline_tests.scripted.scenario import RegisteredAccount, Scenario, utc

HALF_A_DAY = timedelta(hours=12)


class Stage:
    """Plays a story on a scenario."""

    def __init__(self, scenario: Scenario, story: Story, workspace: str = "acme") -> None:
        self.scenario = scenario
        self.story = story
        self.workspace = workspace
        scenario.at(utc(FIRST)).workspace(workspace, policy=story.history.policy)
        self.keys = {key.name: self._register(key) for key in story.history.keys}
        self.feeds = {feed.name: self._add_feed(feed) for feed in story.history.feeds}
        self._batch_digests: dict[int, bytes] = {}
        self._pull_digests: dict[int, dict[date, bytes]] = {}

    def _register(self, key: Key) -> RegisteredAccount:
        if key.name in ROUTERS:
            return register_router(self.scenario, key.name, key.name)
        registered = self.scenario.register(
            self.story.history.provider,
            key.name,
            organization=key.account,
            projects=key.projects,
            grain=key.grain,
            mode="standard" if key.standard else "admin",
            workspace=self.workspace,
        )
        with self.scenario.runtime.engine.begin() as connection:
            for day, on in key.enabled:
                # A key that is disabled at noon is disabled from the next day on.
                switch, instant = (enable_feed, start_of(day)) if on else (disable_feed, start_of(day) - HALF_A_DAY)
                switch(connection, registered.key.feed_id, registered.slug, instant)
        return registered

    def _add_feed(self, feed: Feed) -> HermesFeed:
        added = self.scenario.hermes(
            feed.name, environment=feed.environment, days_back=feed.days_back, workspace=self.workspace
        )
        with self.scenario.runtime.engine.begin() as connection:
            if feed.counts != (feed.environment == "production"):
                set_counts(connection, get_hermes_feed(connection, added.slug), feed.counts, self.scenario.clock.now)
            for day, route in feed.bills_to:
                routes = {self.story.history.provider: route}
                set_bills_to(connection, added.feed_id, added.slug, routes, day, self.scenario.clock.now)
        return added

    def arrive(self, arrival: Pull | Heard) -> None:
        """Let a pull or a batch come in, at its own instant."""
        if isinstance(arrival, Heard):
            self._send(arrival)
        else:
            self._pull(arrival)

    def _send(self, heard: Heard) -> None:
        batch = heard.batch
        receipt = self.scenario.at(batch.generated_at).send(self.feeds[batch.feed], dict(heard.payload))
        if _is_repeated([(one.feed, one.generated_at) for one in self.story.history.batches], batch):
            (row,) = self.scenario.select("SELECT digest FROM hermes_batches WHERE batch_id = :id", id=receipt.batch_id)
            self._batch_digests[id(batch)] = bytes(row["digest"])

    def _pull(self, pull: Pull) -> None:
        registered = self.keys[pull.key]
        registered.account.uses = [_use(line) for line in pull.lines if line.at < pull.started_at]
        registered.account.bills = [
            Bill(one.day, one.usd, one.words, one.model, "output_tokens" if one.model else None) for one in pull.bills
        ]
        registered.account.heal()
        if not pull.complete:
            for endpoint in ("completions", "messages", "usage", "costs", "cost_report"):
                registered.account.refuse(endpoint)
        self.scenario.at(pull.started_at)
        kind = "costs" if pull.costs else "usage"
        pull_in_memory(self.scenario.runtime, registered.key, registered.account, pull.first_day, pull.end_day, kind)
        alike = [one for one in self.story.history.pulls if one.costs == pull.costs]
        if _is_repeated([(one.key, one.started_at) for one in alike], pull):
            rows = self.scenario.select(
                "SELECT day, digest FROM pull_days WHERE pull_id ="
                " (SELECT max(pull_id) FROM pulls WHERE feed_id = :id)",
                id=registered.key.feed_id,
            )
            self._pull_digests[id(pull)] = {row["day"]: bytes(row["digest"]) for row in rows}

    def settle(self) -> None:
        """Run every stage after the pulls, at the story's end."""
        self.scenario.at(self.story.history.now).settle(*self.story.days)

    def under(self, policy: str) -> None:
        """Change the workspace's policy."""
        self.scenario.workspace(self.workspace, policy=policy)

    @property
    def history(self) -> History:
        """The story's history with the digests that were asked for."""
        history = self.story.history

        return replace(
            history,
            pulls=tuple(replace(pull, digests=self._pull_digests.get(id(pull), {})) for pull in history.pulls),
            batches=tuple(replace(batch, digest=self._batch_digests.get(id(batch), b"")) for batch in history.batches),
        )


def _is_repeated(arrivals: Sequence[tuple[str, datetime]], arrival: Pull | Batch) -> bool:
    """Whether two arrivals of one feed are of one instant, so that their digests decide."""
    instant = arrival.started_at if isinstance(arrival, Pull) else arrival.generated_at
    feed = arrival.key if isinstance(arrival, Pull) else arrival.feed
    return arrivals.count((feed, instant)) > 1


def _use(line: Line) -> Use:
    figures = {name.replace("_unsplit", ""): value for name, value in line.figures.items()}
    return Use(line.at, line.model, project=line.project, **figures)
