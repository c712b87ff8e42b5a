"""Which slices a finding rests on: those of the provider's feeds that lead, and those of Hermes' feeds with a row."""

from __future__ import annotations

from collections.abc import Set

from usage_pipeline.ledger.finding_evidence import Behind
from usage_pipeline.reconcile.cells import CellKey
from usage_pipeline.reconcile.families import FamilyDay
from usage_pipeline.reconcile.sides import DaySides


def behind_cell(key: CellKey, sides: DaySides, *, with_feed: int | None = None) -> Behind:
    """What stands behind both sides of a cell, and a shadowed feed of it. Silence is told by slices too."""
    family = sides.family_of(key)
    cell = sides.cells.get(key) or sides.shadowed.get(key)
    of_hermes = {row.feed_id for row in cell.hermes_rows} if cell else set()
    hermes = [sides.hermes_slices[feed_id].slice_id for feed_id in of_hermes]
    provider = _observed(family, _counting(family) | ({with_feed} - {None})) if family else []
    return Behind(tuple(sorted([*provider, *hermes])))


def behind_feeds(family: FamilyDay, feeds: Set[int]) -> Behind:
    """What some feeds said of a family."""
    return Behind(tuple(sorted(_observed(family, set(feeds)))))


def behind_account(provider: str, account: str, sides: DaySides) -> Behind:
    """What stands behind an account's bill, and behind its usage where there is any."""
    used = {key.reported_in for key in sides.cells}
    families = [family for name, family in sides.families.items() if name.provider == provider and name in used]
    costs = sides.costs.get(provider)
    return Behind(
        tuple(
            sorted(
                slice_id
                for family in ([*families, costs] if costs else families)
                for slice_id in _observed(family, _counting(family))
                if sides.keys[family.slices[slice_id].feed_id].account == account
            )
        )
    )


def _counting(family: FamilyDay) -> set[int | None]:
    return {feed_id for one in family.accounts.values() for feed_id, lead in one.leads.items() if lead.counts}


def _observed(family: FamilyDay, feeds: Set[int | None]) -> list[int]:
    """The slices of the feeds where a complete answer stands."""
    return [slice_id for slice_id, row in family.slices.items() if row.feed_id in feeds and row.observed_at is not None]
