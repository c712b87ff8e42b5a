"""The store's side: which account, what covers its days, which slices count, and their sums.

In: a provider, what a person states of the account, and days. Out: :class:`StoredFamily` records. Which of several
feeds counts is decided by reconciling's own functions, so that the comparison sees what a report shows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

from sqlalchemy import Connection

from usage_pipeline.errors import InvalidInputError
from usage_pipeline.ledger.dimension_names import names_by_id
from usage_pipeline.ledger.feed_settings import list_settings
from usage_pipeline.ledger.parity_inputs import (
    FIGURES,
    LINE_DIMENSIONS,
    CountedSlice,
    billed_lines,
    counted_sums,
)
from usage_pipeline.ledger.provider_keys import ProviderKey, list_provider_keys
from usage_pipeline.ledger.reconcile_inputs import slices_of_days
from usage_pipeline.ledger.workspaces import get_workspace, list_workspaces
from usage_pipeline.measures import EVENT_DIMENSIONS
from usage_pipeline.parity.export_format import AMOUNT, MEASURES, DimensionColumn
from usage_pipeline.parity.file_reading import Number
from usage_pipeline.parity.windows import DAY_S, Window
from usage_pipeline.providers.contract import Provider
from usage_pipeline.reconcile.cells import FamilyKey
from usage_pipeline.reconcile.coverage import NOT_COVERED, Coverage, State, weakest
from usage_pipeline.reconcile.families import COSTS_FAMILY, FamilyDay, count_rules, provider_families
from usage_pipeline.settings import Settings
from usage_pipeline.utc_days import day_end

_HOUR_S: Final = 3600
_TOLD_WITH_LABEL: Final = frozenset(
    {"model", "cost_type", "token_type", "service_tier", "context_window", "inference_geo"}
)
"""What a billed line says beside its label, and only with it."""


@dataclass(frozen=True, slots=True)
class Account:
    """The account that is compared, and the workspaces whose keys answer for it."""

    provider: str
    account: str
    workspaces: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StoredDay:
    """What the store has of one family's UTC day: coverage, the slices that count, the width of their rows, what all
    of them were asked by, and the projects that they answer for (None: the whole account)."""

    coverage: Coverage = NOT_COVERED
    slices: tuple[CountedSlice, ...] = ()
    width_s: int = _HOUR_S
    asked: frozenset[str] | None = None
    projects: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class StoredFamily:
    """One family of an account over days."""

    family: str
    days: Mapping[date, StoredDay]

    def day(self, day: date) -> StoredDay:
        """The day; one that nobody ever pulled is not covered."""
        return self.days.get(day, _NEVER)

    def atom_seconds(self, day: date) -> int:
        """How wide the store's rows of a UTC day are; bills are by day."""
        return DAY_S if self.family == COSTS_FAMILY else self.day(day).width_s

    @property
    def slices(self) -> list[CountedSlice]:
        """Every slice that counts."""
        return [one for day in self.days.values() for one in day.slices]

    @property
    def covered(self) -> bool:
        """Whether any day has a complete pull."""
        return any(day.coverage.covers for day in self.days.values())

    def dimensions(self) -> frozenset[str]:
        """The dimensions that every covered day was asked by."""
        asked = [day.asked for day in self.days.values() if day.asked is not None]
        common = frozenset.intersection(*asked) if asked else frozenset[str]()
        if self.family != COSTS_FAMILY:
            return common & frozenset(EVENT_DIMENSIONS)
        return (common | (_TOLD_WITH_LABEL if "label" in common else frozenset())) & frozenset(LINE_DIMENSIONS)

    def why_not_covered(self, window: Window) -> str | None:
        """Why the store cannot say what was used in a window; None where it can."""
        for day in window.days():
            coverage = self.day(day).coverage
            if coverage.state is State.FAILED:
                return "not pulled: the last attempt failed"
            if not coverage.covers:
                return "not pulled"
            until = coverage.until or day_end(day)
            if until < min(window.end, day_end(day)):
                return f"provisional: pulled at {until:%Y-%m-%dT%H:%MZ}, before its end"
        return None

    def is_final(self, window: Window) -> bool:
        """Whether every pull behind a window was made after the settling time."""
        return all(self.day(day).coverage.final for day in window.days())


_NEVER: Final = StoredDay()


def choose_account(
    connection: Connection,
    provider: str,
    *,
    workspace: str | None,
    account: str | None,
    told: frozenset[str],
) -> Account:
    """The account that the files are about: the stated one, else the one that they name, else the only one.

    ``told`` are the accounts that the files name. Raises :class:`InvalidInputError`: ``workspace_unknown`` and
    ``no_key`` (nobody registered a key of it), ``account_unknown`` (several, and nothing tells which),
    ``account_contradicted`` (the files name another one), ``accounts_mixed``.
    """
    if len(told) > 1:
        raise InvalidInputError(
            "accounts_mixed",
            f"the files name {len(told)} accounts: {', '.join(sorted(told))}",
            remedy="Compare the files of one account at a time.",
        )
    if workspace is not None:
        get_workspace(connection, workspace)
    keys = [key for key in _chosen_keys(connection, workspace) if key.provider == provider]
    accounts = sorted({key.account for key in keys})
    wanted = account or next(iter(told & set(accounts)), None)
    if wanted is None and len(accounts) > 1:
        raise InvalidInputError(
            "account_unknown",
            f"there are keys of {len(accounts)} {provider} accounts, and nothing tells which one was exported",
            where="--account",
            remedy=f"State it: {', '.join(accounts)}.",
        )
    wanted = wanted or next(iter(accounts), None)
    of_account = [key for key in keys if key.account == wanted]
    if wanted is None or not of_account:
        place = f" in the workspace {workspace}" if workspace else ""
        raise InvalidInputError(
            "no_key",
            f"no key of {f'the {provider} account {account}' if account else provider} is registered{place}",
            where="store",
            remedy="See: usage-pipeline keys list.",
        )
    known = any(key.account_known != "assumed" for key in of_account)
    if told and wanted not in told and known:
        raise InvalidInputError(
            "account_contradicted",
            f"the files are about {next(iter(told))}, the store's account is {wanted}",
            where="--account",
            remedy="Name the account that was exported, or export the right one.",
        )
    return Account(provider, wanted, tuple(sorted({key.workspace for key in of_account})))


def load_family(
    connection: Connection,
    account: Account,
    family: str,
    days: Sequence[date],
    providers: Mapping[str, Provider],
    settings: Settings,
) -> StoredFamily:
    """Coverage and counting slices of one family of the account."""
    parts: dict[date, list[tuple[FamilyDay, frozenset[int]]]] = defaultdict(list)
    for workspace in account.workspaces:
        keys = {key.feed_id: key for key in list_provider_keys(connection, workspace)}
        feeds = frozenset(
            feed_id
            for feed_id, key in keys.items()
            if (key.provider, key.account) == (account.provider, account.account)
        )
        dated = list_settings(connection, list(keys))
        slices = defaultdict(list)
        for row in slices_of_days(connection, list(keys), days):
            slices[row.day].append(row)
        for day in days:
            families, costs = provider_families(day, keys, dated, slices[day], providers, settings)
            found = (
                costs.get(account.provider)
                if family == COSTS_FAMILY
                else families.get(FamilyKey(account.provider, family))
            )
            if found is not None and account.account in found.accounts:
                parts[day].append((found, feeds))
    return StoredFamily(family, {day: _stored_day(account.account, found) for day, found in parts.items()})


def _stored_day(account: str, parts: Sequence[tuple[FamilyDay, frozenset[int]]]) -> StoredDay:
    """The day over all workspaces that share the account: they never share a scope, so their rows add up."""
    slices: list[CountedSlice] = []
    asked: list[frozenset[str]] = []
    scopes: list[frozenset[str] | None] = []
    width = 0
    for family, feeds in parts:
        scope_of = {feed.feed_id: feed.scope for feed in family.feeds}
        for rule in count_rules(family):
            row = family.slices[rule.slice_id]
            if not rule.counts or row.feed_id not in feeds:
                continue
            slices.append(
                CountedSlice(row.slice_id, row.feed_id, row.endpoint, rule.excluded_projects, rule.excluded_upstreams)
            )
            asked.append(row.dimensions_asked)
            scope = scope_of[row.feed_id]
            scopes.append(scope.projects if scope.kind == "projects" else None)
            width = max(width, row.window_seconds or 0)
    told = frozenset().union(*(scope for scope in scopes if scope is not None))
    return StoredDay(
        coverage=weakest([family.accounts[account].coverage for family, _ in parts]),
        slices=tuple(slices),
        width_s=width or _HOUR_S,
        asked=frozenset.intersection(*asked) if asked else None,
        projects=told if scopes and None not in scopes else None,
    )


@dataclass(frozen=True, slots=True)
class StoredRow:
    """The store's sum of one atom and one combination of comparable dimensions; None: no row reports the measure."""

    start_s: int
    dimensions: tuple[str | None, ...]
    figures: Mapping[str, Number | None]


def stored_rows(
    connection: Connection, account: Account, stored: StoredFamily, columns: Mapping[str, DimensionColumn]
) -> Iterator[StoredRow]:
    """The counted rows by atom and the dimensions of ``columns``, as the file would write them."""
    rewriters = [_Rewriter(connection, account, name, column) for name, column in columns.items()]
    names = list(columns)
    if stored.family == COSTS_FAMILY:
        for line in billed_lines(connection, stored.slices, names):
            yield StoredRow(
                int(line.window_start.timestamp()), _rewritten(rewriters, line.dimensions), {AMOUNT: line.amount_usd}
            )
        return
    for row in counted_sums(connection, stored.slices, names):
        figures = dict(zip(FIGURES, row.figures, strict=True))
        yield StoredRow(int(row.window_start.timestamp()), _rewritten(rewriters, row.dimensions), figures)


def measure_of(figures: Mapping[str, Number | None], measure: str) -> Number | None:
    """A comparable measure of a stored row; None where none of the columns that it sums is reported."""
    known = [value for name in MEASURES.get(measure, (measure,)) if (value := figures.get(name)) is not None]
    return sum(known) if known else None


class _Rewriter:
    """Turns a stored value into the file's words."""

    def __init__(self, connection: Connection, account: Account, dimension: str, column: DimensionColumn) -> None:
        self._column = column
        self._names = names_by_id(connection, account.provider, account.account, dimension) if column.by_name else None

    def missing(self, values: Iterable[str]) -> int:
        """How many of the ids have no name."""
        return 0 if self._names is None else len(set(values) - self._names.keys())

    def __call__(self, value: str | None) -> str | None:
        if self._names is not None and value is not None:
            value = self._names.get(value, value)
        return self._column.stored(value)


def ids_without_name(
    connection: Connection, account: Account, stored: StoredFamily, dimension: str, column: DimensionColumn
) -> int:
    """How many ids of a dimension the store has no name of, where the file tells names."""
    if not column.by_name:
        return 0
    read = billed_lines if stored.family == COSTS_FAMILY else counted_sums
    values = {row.dimensions[0] for row in read(connection, stored.slices, [dimension])}
    return _Rewriter(connection, account, dimension, column).missing(one for one in values if one is not None)


def _rewritten(rewriters: Sequence[_Rewriter], values: Sequence[str | None]) -> tuple[str | None, ...]:
    return tuple(rewrite(value) for rewrite, value in zip(rewriters, values, strict=True))


def _chosen_keys(connection: Connection, workspace: str | None) -> list[ProviderKey]:
    """The keys that may be compared: of one workspace, else of all but a demo's where there are others."""
    if workspace is not None:
        return list(list_provider_keys(connection, workspace))
    demos = {one.slug for one in list_workspaces(connection) if one.demo}
    keys = list_provider_keys(connection)
    return [key for key in keys if key.workspace not in demos] or list(keys)
