"""A small world for tests: the database, scripted accounts behind real HTTP, Hermes feeds, and a clock to set.

A scenario registers what it is told, moves its clock, pulls, imports batches, runs every stage and reads the report.
Everything goes through the functions that the command line uses.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from usage_pipeline import stages
from usage_pipeline.hermes.inbox import Receipt, receive
from usage_pipeline.ledger.feed_settings import set_bills_to
from usage_pipeline.ledger.hermes_feeds import HermesFeed, add_hermes_feed, get_hermes_feed
from usage_pipeline.ledger.provider_keys import NewProviderKey, ProviderKey, add_provider_key
from usage_pipeline.ledger.server import connect_engine
from usage_pipeline.ledger.workspaces import add_workspace, find_workspace, set_policy
from usage_pipeline.pricing.price_book import PriceBook
from usage_pipeline.providers.contract import Provider
from usage_pipeline.providers.registry import providers
from usage_pipeline.reconcile.report import build_report
from usage_pipeline.settings import Settings
from usage_pipeline.stages import PullSummary, Runtime
from usage_pipeline_tests.scripted.account import ScriptedAccount
from usage_pipeline_tests.scripted.server import ScriptedProviders, serving

Json = dict[str, Any]

TELEMETRY = ("ingestion_runs", "ingestion_totals", "ingestion_issues")
"""The tables that say that a stage ran, whatever it changed."""

FIGURES = ("reported_by_provider", "reported_by_hermes", "counted", "explained", "unattributed", "excess", "stand_in")


@dataclass
class Clock:
    """Tells the instant that the test set, UTC."""

    now: datetime

    def __call__(self) -> datetime:
        return self.now


@dataclass(frozen=True)
class RegisteredAccount:
    """A registered key and the scripted account that answers it."""

    key: ProviderKey
    account: ScriptedAccount

    @property
    def slug(self) -> str:
        return self.key.slug


@dataclass
class Scenario:
    """One test's world; make it with :func:`scenario_on`."""

    runtime: Runtime
    clock: Clock
    served: ScriptedProviders
    environ: dict[str, str]
    feeds: dict[str, HermesFeed] = field(default_factory=dict)

    def at(self, instant: datetime) -> Scenario:
        """Set the clock."""
        self.clock.now = instant
        return self

    def workspace(self, slug: str = "acme", policy: str | None = None) -> None:
        """Register the workspace if it is not there; set its policy if one is given."""
        with self.runtime.engine.begin() as connection:
            if find_workspace(connection, slug) is None:
                add_workspace(connection, slug, name=None, now=self.clock.now)
            if policy is not None:
                set_policy(connection, slug, policy, self.clock.now)

    def register(
        self,
        provider: str = "openai",
        name: str = "main",
        *,
        organization: str | None = "org-acme",
        projects: Sequence[str] = (),
        grain: str = "1h",
        mode: str = "admin",
        workspace: str = "acme",
    ) -> RegisteredAccount:
        """Register a key whose secret is a reference to the scenario's environment, with an account behind it."""
        self.workspace(workspace)
        variable = f"{workspace}_{provider}_{name}".upper().replace("-", "_")
        secret = f"sk-{workspace}-{provider}-{name}"
        self.environ[variable] = secret
        with self.runtime.engine.begin() as connection:
            registered = find_workspace(connection, workspace)
            assert registered is not None
            key = add_provider_key(
                connection,
                NewProviderKey(
                    workspace=registered,
                    provider=provider,
                    name=name,
                    mode=mode,
                    organization=organization,
                    projects=tuple(projects),
                    grain=grain,
                    base_url=self.runtime.providers[provider].normalise_base_url(self.served.url),
                    secret_sealed=None,
                    secret_reference=f"env:{variable}",
                ),
                self.clock.now,
            )
        account = self.served.accounts.setdefault(secret, ScriptedAccount(provider, secret))
        return RegisteredAccount(key, account)

    def hermes(
        self,
        label: str = "laptop",
        *,
        environment: str = "production",
        days_back: int | None = None,
        bills_to: Mapping[str, str] | None = None,
        workspace: str = "acme",
    ) -> HermesFeed:
        """Register a Hermes feed; ``bills_to`` is its route by provider from the beginning."""
        self.workspace(workspace)
        with self.runtime.engine.begin() as connection:
            registered = find_workspace(connection, workspace)
            assert registered is not None
            feed = add_hermes_feed(connection, registered, label, environment, days_back=days_back, now=self.clock.now)
            if bills_to is not None:
                set_bills_to(connection, feed.feed_id, feed.slug, bills_to, date(2000, 1, 1), self.clock.now)
        return feed

    def pull(self, key: RegisteredAccount, first_day: date, end_day: date | None = None) -> PullSummary:
        """Pull over HTTP: a day, or the half-open range. Raises what the stage raises."""
        return stages.pull_days(self.runtime, key.slug, first_day, end_day or first_day + timedelta(days=1))

    def send(self, feed: HermesFeed, payload: Json) -> Receipt:
        """Give a batch to the inbox now."""
        with self.runtime.engine.begin() as connection:
            return receive(
                connection, get_hermes_feed(connection, feed.slug), json.dumps(payload).encode(), self.clock.now
            )

    def settle(self, *days: date) -> None:
        """Run every stage after the pulls for the days."""
        stages.settle_hermes_days(self.runtime, days)
        stages.normalise_usage(self.runtime, days)
        stages.normalise_bills(self.runtime, days)
        stages.reconcile_days(self.runtime, days)

    def report(
        self,
        first_day: date,
        end_day: date | None = None,
        workspace: str | None = None,
        *,
        as_of: datetime | None = None,
    ) -> Json:
        """The report of a day or of the half-open range, as ``report --json`` prints it."""
        with self.runtime.engine.begin() as connection:
            report = build_report(
                connection, first_day, end_day or first_day + timedelta(days=1), workspace, self.clock.now, as_of
            )
        return json.loads(json.dumps(report))

    def rows(self, day: date, **wanted: str) -> list[Json]:
        """The report's rows of a day that have these values."""
        return [row for row in self.report(day)["rows"] if all(row[name] == value for name, value in wanted.items())]

    def row(self, day: date, **wanted: str) -> Json:
        """The report's only row of a day that has these values."""
        rows = self.rows(day, **wanted)
        assert len(rows) == 1, f"{len(rows)} rows: {[(row['provider'], row['route'], row['model']) for row in rows]}"
        return rows[0]

    def findings(self, day: date) -> list[Json]:
        """The open findings about a day, by code."""
        return self.select("SELECT * FROM findings WHERE day = :day AND closed_at IS NULL ORDER BY code", day=day)

    def codes(self, day: date) -> list[str]:
        """The codes of the open findings about a day, each once, sorted."""
        return sorted({finding["code"] for finding in self.findings(day)})

    def select(self, statement: str, **parameters: object) -> list[Json]:
        """Rows of the database, to look into."""
        with self.runtime.engine.begin() as connection:
            return [dict(row) for row in connection.execute(sa.text(statement), parameters).mappings()]

    def count(self, table: str) -> int:
        """How many rows a table has."""
        return int(self.select(f"SELECT count(*) AS rows FROM {table}")[0]["rows"])

    def contents(self, *but: str) -> dict[str, str | None]:
        """A digest of every table's rows, those of ``but`` left out: what a stage that changes nothing leaves alone."""
        with self.runtime.engine.begin() as connection:
            return {
                table: connection.execute(
                    sa.text(f'SELECT md5(string_agg(t::text, chr(10) ORDER BY t::text)) FROM "{table}" t')
                ).scalar()
                for table in sorted(sa.inspect(connection).get_table_names())
                if table not in but
            }


@contextmanager
def scenario_on(
    database_url: str,
    home: Path,
    now: datetime,
    *,
    speaks: Sequence[Provider] | None = None,
    settings: Settings | None = None,
) -> Iterator[Scenario]:
    """A scenario on a migrated database, its data folder at ``home``; ``speaks`` replaces the built-in providers."""
    engine = connect_engine(database_url)
    clock = Clock(now)
    environ = {
        "USAGE_HOME": str(home),
        "OPENAI_ADMIN_REQUESTS_PER_MINUTE": "0",
        "ANTHROPIC_ADMIN_REQUESTS_PER_MINUTE": "0",
    }
    runtime = Runtime(
        engine=engine,
        settings=replace(settings or Settings(), http_attempts=1),
        environ=environ,
        home=home,
        clock=clock,
        providers={provider.name: provider for provider in speaks or providers()},
        prices=PriceBook(),
    )
    try:
        with serving() as served:
            yield Scenario(runtime, clock, served, environ)
    finally:
        engine.dispose()


def utc(day: date, hour: int = 0, minute: int = 0) -> datetime:
    """An instant of a UTC day."""
    return datetime.combine(day, time(hour, minute), UTC)


def figures(row: Json, measure: str = "output") -> dict[str, int | None]:
    """A row's seven figures of one measure, by the names of the report."""
    return {name: figure(row, name, measure) for name in FIGURES}


def figure(row: Json, name: str, measure: str = "output") -> int | None:
    """One figure of a row (or of a report's totals): null is None, also where the whole object is empty."""
    measures = row[name]
    found = measures.get("tokens", {}).get(measure, measures.get("other", {}).get(measure, measures.get(measure)))
    assert found is None or type(found) is int
    return found
