"""A provider's families on a day: what each account's feeds cover, which of them count, and where an open day is cut.

In come the workspace's keys, their dated settings and slices; out come :class:`FamilyDay` records, those of cost
endpoints apart, since a bill is never a cell of usage.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from usage_pipeline.hermes.routes import ACCOUNT, OFF_ACCOUNT
from usage_pipeline.ledger.feed_settings import FeedSettings
from usage_pipeline.ledger.provider_keys import ProviderKey
from usage_pipeline.ledger.reconcile_inputs import CountRule, SliceRow
from usage_pipeline.measures import CACHE_WRITES, RECONCILED_MEASURES
from usage_pipeline.providers.contract import Endpoint, Provider, Role
from usage_pipeline.reconcile.cells import CellKey, FamilyKey
from usage_pipeline.reconcile.coverage import Coverage, State, coverage_of
from usage_pipeline.reconcile.figures import CACHE_WRITE_GROUP, Figures
from usage_pipeline.reconcile.leaders import AccountDay, EndpointDay, FeedDay, Scope, provider_coverage, settle_account
from usage_pipeline.settings import Settings
from usage_pipeline.utc_days import day_end

COSTS_FAMILY = "costs"
"""The family of the slices of cost endpoints: never a cell of usage."""

_HOUR_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class Reports:
    """The compared measures that a provider declares for a family, the figures where nothing was used (0 of what every
    row has), and whether its rows can name a model at all (storage is of none)."""

    declared: frozenset[str]
    nothing_used: Figures
    by_model: bool = True


@dataclass(frozen=True, slots=True)
class FamilyDay:
    """A provider's family on a day: its accounts, their coverage together, and where the open day is cut.

    ``known`` is whether any account's figure, or a known part of one, is there. ``hourly`` is whether an open day's
    counted rows are all in hours. ``slices`` are those of its feeds by id. ``passed_on_to`` are the vendors whose own
    report shows what this proxy passed on to them: its rows of theirs are shadowed.
    """

    key: FamilyKey
    accounts: Mapping[str, AccountDay]
    coverage: Coverage
    known: bool
    feeds: tuple[FeedDay, ...]
    slices: Mapping[int, SliceRow]
    cut_at: datetime
    hourly: bool
    scoped_only: bool
    role: Role = "vendor"
    passed_on_to: frozenset[str] = frozenset()

    @property
    def route(self) -> str:
        """The route of its cells: ``account`` for a vendor's own models, else off it, billed by the provider."""
        return ACCOUNT if self.role == "vendor" else f"{OFF_ACCOUNT}{self.key.provider}"


def declared_reports(providers: Mapping[str, Provider]) -> dict[FamilyKey, Reports]:
    """What every adapter declares, also of providers that the workspace has no key of."""
    always: dict[FamilyKey, frozenset[str]] = defaultdict(frozenset)
    declared: dict[FamilyKey, frozenset[str]] = defaultdict(frozenset)
    by_model: set[FamilyKey] = set()
    for provider in providers.values():
        for endpoint in _counted_endpoints(provider):
            name = _family_of(provider.name, endpoint)
            always[name] |= endpoint.always_reports
            declared[name] |= endpoint.always_reports | endpoint.may_report
            if "model" in endpoint.dimensions:
                by_model.add(name)
    return {
        name: Reports(
            measures | ({CACHE_WRITE_GROUP} if measures & set(CACHE_WRITES) else set()),
            dict.fromkeys(sorted(always[name] & set(RECONCILED_MEASURES)), 0),
            name in by_model,
        )
        for name, measures in declared.items()
    }


def provider_families(
    day: date,
    keys: Mapping[int, ProviderKey],
    dated: Mapping[int, FeedSettings],
    slices: Iterable[SliceRow],
    providers: Mapping[str, Provider],
    settings: Settings,
) -> tuple[dict[FamilyKey, FamilyDay], dict[str, FamilyDay]]:
    """Every family of usage by its key, and the bill by provider, of the providers that the workspace has keys of."""
    by_slice = {(s.feed_id, s.endpoint): s for s in slices}
    accounts: dict[FamilyKey, dict[str, list[FeedDay]]] = defaultdict(lambda: defaultdict(list))
    found: dict[FamilyKey, dict[int, SliceRow]] = defaultdict(dict)
    for feed_id, key in keys.items():
        provider = providers.get(key.provider)
        asked: dict[FamilyKey, list[tuple[str, SliceRow | None]]] = defaultdict(list)
        for endpoint in _counted_endpoints(provider) if provider else ():
            if key.mode in endpoint.modes:
                name = _family_of(key.provider, endpoint)
                row = by_slice.get((feed_id, endpoint.name))
                asked[name].append((endpoint.name, row))
                if row is not None:
                    found[name][row.slice_id] = row
        for name, rows in asked.items():
            accounts[name][key.account].append(_feed_day(day, key, dated[feed_id], rows, settings))
    days = _shadowed_by_upstreams(
        {
            name: _family_day(day, name, by_account, found[name], providers[name.provider].role)
            for name, by_account in accounts.items()
        }
    )
    return (
        {name: one for name, one in days.items() if name.family != COSTS_FAMILY},
        {name.provider: one for name, one in days.items() if name.family == COSTS_FAMILY},
    )


def family_of_cell(families: Mapping[FamilyKey, FamilyDay], key: CellKey) -> FamilyDay | None:
    """The family whose figures are the cell's provider side; None where none of the workspace's keys tells it.

    A vendor's family is about its account alone: what somebody else bills in its name is in none of its reports.
    """
    family = families.get(key.reported_in)
    return family if family is not None and family.route == key.route else None


def count_rules(family: FamilyDay) -> list[CountRule]:
    """How much of each slice counts. Slices of feeds that were left out have no rule."""
    leads = {feed_id: lead for account in family.accounts.values() for feed_id, lead in account.leads.items()}
    return [
        CountRule(part.slice_id, lead.counts, lead.excluded_projects, family.cut_at, family.passed_on_to)
        for feed in family.feeds
        if (lead := leads.get(feed.feed_id)) is not None
        for part in feed.parts
        if part.slice_id is not None
    ]


def _counted_endpoints(provider: Provider) -> Iterator[Endpoint]:
    """The endpoints whose figures may count: what an informational one tells is another endpoint's spending."""
    return (endpoint for endpoint in provider.endpoints if not endpoint.informational)


def _shadowed_by_upstreams(days: Mapping[FamilyKey, FamilyDay]) -> dict[FamilyKey, FamilyDay]:
    """The families with what each proxy passed on to accounts whose own figures of the day are known.

    A bill has no family of its own upstream: it is left out with the usage that it is for.
    """
    upstreams: dict[FamilyKey, frozenset[str]] = {}
    for name, family in days.items():
        if family.role == "proxy" and family.accounts and name.family != COSTS_FAMILY:
            upstreams[name] = frozenset(
                other.provider
                for other, upstream in days.items()
                if other.family == name.family and upstream.role != "proxy" and upstream.known
            )
    for name, family in days.items():
        if family.role == "proxy" and name.family == COSTS_FAMILY:
            of_usage = [vendors for other, vendors in upstreams.items() if other.provider == name.provider]
            upstreams[name] = frozenset[str]().union(*of_usage)
    return {name: replace(family, passed_on_to=upstreams.get(name, frozenset())) for name, family in days.items()}


def _family_of(provider: str, endpoint: Endpoint) -> FamilyKey:
    return FamilyKey(provider, COSTS_FAMILY if endpoint.kind == "costs" else endpoint.family)


def _feed_day(
    day: date, key: ProviderKey, dated: FeedSettings, rows: Sequence[tuple[str, SliceRow | None]], settings: Settings
) -> FeedDay:
    projects = frozenset(dated.projects_on(day))
    kind = "key" if key.mode == "standard" else ("projects" if projects else "account")
    observed = [row for _, row in rows if row is not None and row.observed_at is not None]
    asked = [row.dimensions_asked for row in observed]
    settling = settings.settling_of(key.provider)
    return FeedDay(
        feed_id=key.feed_id,
        scope=Scope(kind, projects if kind == "projects" else frozenset()),
        parts=tuple(_endpoint_day(day, endpoint, row, settling) for endpoint, row in rows),
        window_seconds=max((row.window_seconds or 0 for row in observed), default=None),
        dimensions_asked=frozenset.intersection(*asked) if asked else frozenset(),
        expected=dated.enabled_on(day) and dated.enabled_on(day + timedelta(days=1)),
    )


def _endpoint_day(day: date, endpoint: str, row: SliceRow | None, settling: timedelta) -> EndpointDay:
    if row is None:
        return EndpointDay(endpoint, None, coverage_of(day, None, settling, attempted=False))
    coverage = coverage_of(day, row.observed_at, settling, attempted=row.attempted)
    return EndpointDay(endpoint, row.slice_id, coverage, row.last_attempt_error, out_of_reach=row.out_of_reach)


def _family_day(
    day: date,
    key: FamilyKey,
    by_account: Mapping[str, list[FeedDay]],
    slices: Mapping[int, SliceRow],
    role: Role,
) -> FamilyDay:
    accounts = {
        account: settle_account(feeds)
        for account, feeds in by_account.items()
        if any(feed.expected or feed.coverage.covers for feed in feeds)
    }
    feeds = tuple(feed for account in accounts for feed in by_account[account])
    counting = {f for account in accounts.values() for f, lead in account.leads.items() if lead.counts}
    coverage, known = provider_coverage([account.coverage for account in accounts.values()])
    until = coverage.until or day_end(day)
    return FamilyDay(
        key=key,
        accounts=accounts,
        coverage=coverage,
        known=known or bool(counting),
        feeds=feeds,
        slices=slices,
        cut_at=until.replace(minute=0, second=0, microsecond=0),
        hourly=coverage.state is State.PROVISIONAL
        and until < day_end(day)
        and all(feed.window_seconds == _HOUR_SECONDS for feed in feeds if feed.feed_id in counting),
        scoped_only=bool(accounts) and all(account.scoped for account in accounts.values()),
        role=role,
    )
