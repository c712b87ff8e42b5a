"""Which slices of a day count, as the rules decided: what is stored beside the reconciled rows.

In come both sides of the day and every slice of its feeds; out comes one record a slice that covers the day.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from usage_pipeline.ledger.counted_slices import CountedSlice
from usage_pipeline.ledger.reconcile_inputs import SliceRow
from usage_pipeline.normalise.hermes_days import HERMES_DAYS
from usage_pipeline.reconcile.families import FamilyDay, count_rules
from usage_pipeline.reconcile.sides import DaySides


def counted_slices(sides: DaySides, slices: Iterable[SliceRow]) -> list[CountedSlice]:
    """What counts of every slice that covers the day, bills and Hermes' daily slices too.

    Slices of a provider that no family holds only inform: they are there and do not count. A Hermes feed's hours and
    repositories are other cuts of its daily slice, and are not told again.
    """
    decided = {
        one.slice_id: one
        for families in (sides.families.values(), sides.costs.values())
        for family in families
        for one in _of_family(sides, family)
    }
    found: list[CountedSlice] = []
    for row in slices:
        if row.observed_at is None:
            continue
        if row.feed_id in sides.hermes_feeds:
            if row.endpoint == HERMES_DAYS:
                found.append(CountedSlice(row.slice_id, sides.hermes_feeds[row.feed_id].counts))
        else:
            found.append(decided.get(row.slice_id) or CountedSlice(row.slice_id, counts=False))
    return found


def _of_family(sides: DaySides, family: FamilyDay) -> Iterator[CountedSlice]:
    for rule in count_rules(family):
        yield CountedSlice(
            rule.slice_id,
            rule.counts,
            family.key.family,
            family.route,
            sides.keys[family.slices[rule.slice_id].feed_id].account,
            rule.excluded_projects,
            rule.excluded_upstreams,
        )
