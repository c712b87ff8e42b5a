"""Stored reconciled rows held against their sources anew: whose rows count, none twice, and what they sum up to.

In: a connection, UTC days, and what reconciling takes. Out: :class:`Offence` records, none where all is well.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from itertools import combinations

from sqlalchemy import Connection

from usage_pipeline.ledger.offences import Offence
from usage_pipeline.ledger.reconciled import read_reconciled
from usage_pipeline.ledger.workspaces import list_workspaces
from usage_pipeline.measures import LEVELS, RECONCILED_MEASURES
from usage_pipeline.providers.contract import Provider
from usage_pipeline.reconcile.cells import CellKey
from usage_pipeline.reconcile.figures import Figures, add
from usage_pipeline.reconcile.leaders import Lead, Scope
from usage_pipeline.reconcile.sides import DaySides, load_day
from usage_pipeline.settings import Settings

_MEASURES = tuple(name for name in RECONCILED_MEASURES if name not in LEVELS)


def loaded_days(
    connection: Connection, days: Sequence[date], providers: Mapping[str, Provider], settings: Settings
) -> Iterator[DaySides]:
    """Both sides of every workspace's day, as reconciling sees them now."""
    for workspace in list_workspaces(connection):
        for day in days:
            yield load_day(connection, workspace, day, providers, settings)


def totals_unlike_sources(connection: Connection, loaded: Sequence[DaySides]) -> Iterator[Offence]:
    """Cells whose stored provider figure is not the sum of the provider's counted rows, in either direction."""
    for sides in loaded:
        stored = read_reconciled(connection, sides.day, sides.day + timedelta(days=1), sides.workspace.slug)
        cells = {
            CellKey(one.row.provider, one.row.route, one.row.family, one.row.model): one.row.figures[
                "reported_by_provider"
            ]
            for one in stored
        }
        expected = {key: add(*(row.figures for row in cell.provider_rows)) for key, cell in sides.cells.items()}
        for key in sorted({*cells, *expected}):
            for name, found, wanted in _differing(cells.get(key, {}), expected.get(key, {})):
                where = " ".join(part for part in (sides.workspace.slug, *key) if part)
                yield Offence(sides.day, where, f"{name}: stored {found}, the provider's counted rows sum to {wanted}")


def scopes_counted_twice(loaded: Sequence[DaySides]) -> Iterator[Offence]:
    """Feeds of one account and family that both count for the same scope."""
    for sides in loaded:
        for name, family in sides.families.items():
            scopes = {feed.feed_id: feed.scope for feed in family.feeds}
            for account in family.accounts.values():
                counting = [(f, lead) for f, lead in sorted(account.leads.items()) if lead.counts]
                for (one, lead), (other, other_lead) in combinations(counting, 2):
                    if _meet(scopes[one], lead, scopes[other], other_lead):
                        keys = f"{sides.keys[one].slug} and {sides.keys[other].slug}"
                        yield Offence(sides.day, keys, f"both count for the same part of {name.family}")


def _differing(stored: Figures, expected: Figures) -> Iterator[tuple[str, int, int]]:
    for name in _MEASURES:
        found, wanted = stored.get(name) or 0, expected.get(name) or 0
        if found != wanted:
            yield name, found, wanted


def _meet(one: Scope, lead: Lead, other: Scope, other_lead: Lead) -> bool:
    """Whether what two feeds count has a common part; a single key's rows cannot be told apart in projects."""
    if "key" in {one.kind, other.kind}:
        return "account" in {one.kind, other.kind}
    if one.kind == other.kind == "account":
        return True
    if one.kind == "account":
        return bool(other.projects - other_lead.excluded_projects - lead.excluded_projects)
    if other.kind == "account":
        return bool(one.projects - lead.excluded_projects - other_lead.excluded_projects)
    return bool((one.projects - lead.excluded_projects) & (other.projects - other_lead.excluded_projects))
