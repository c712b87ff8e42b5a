"""Unusual days: days on which far more counts than is usual.

The rule: what counts on a day is held against the final days among the 28 before it, at least seven of them. Usual is
their median m; how far days are from it usually is the median of their distances, d. A day is unusual where it is above
m by more than ``factor`` × d, and by more than ``fraction`` × m, and by more than a floor in US dollars. Medians do not
move for the sake of a few odd days. A day without such a history raises nothing, nor does a cheap day.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Final

from sqlalchemy import Connection

from usage_pipeline.ledger.counted_costs import WorkspaceDate, cell_costs, days_reconciled
from usage_pipeline.pricing.rates import exact_arithmetic
from usage_pipeline.settings import Settings

HISTORY_DAYS: Final = 28
HISTORY_DAYS_MIN: Final = 7
LOOKED_AT_DAYS: Final = 4
"""Today and so many days before it are looked at: about as long as figures take to become final."""

_MODELS_MAX: Final = 3


@dataclass(frozen=True, slots=True)
class Usual:
    """What is usual, in exact US dollars: the median of the history, the median distance from it, and the amount above
    which a day is unusual. ``days`` are those of the history."""

    median: Decimal
    distance: Decimal
    limit: Decimal
    days: int


@dataclass(frozen=True, slots=True)
class UnusualDay:
    """A day of a workspace above its limit. ``models`` are those that are furthest above their own median of the same
    history, as (model, amount, median), the furthest first."""

    workspace: str
    day: date
    usd: Decimal
    provisional: bool
    usual: Usual
    models: tuple[tuple[str, Decimal, Decimal], ...]


def usual(history: Sequence[Decimal], settings: Settings) -> Usual | None:
    """What is usual after a history of days; None where it is too short, or no day shall be unusual (factor 0)."""
    if len(history) < HISTORY_DAYS_MIN or not settings.unusual_factor:
        return None
    middle = median(history)
    with exact_arithmetic():
        distance = median([abs(usd - middle) for usd in history])
        margin = max(settings.unusual_factor * distance, settings.unusual_fraction * middle, settings.unusual_floor_usd)
        return Usual(middle, distance, middle + margin, len(history))


def median(amounts: Sequence[Decimal]) -> Decimal:
    """The middle amount, exactly; of an even number the middle of the two in the middle."""
    ordered = sorted(amounts)
    low, high = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
    with exact_arithmetic():
        return (low + high) * Decimal("0.5")


def unusual_days(connection: Connection, settings: Settings, today: date) -> list[UnusualDay]:
    """The unusual days among today and those just before it, by workspace and day."""
    first_day = today - timedelta(days=LOOKED_AT_DAYS + HISTORY_DAYS)
    days = _days(connection, first_day, today + timedelta(days=1))
    found = []
    for place, of_day in sorted(days.items()):
        before = [
            days[earlier]
            for n in range(1, HISTORY_DAYS + 1)
            if (earlier := place._replace(day=place.day - timedelta(days=n))) in days
        ]
        history = [one for one in before if not one.provisional]
        if (today - place.day).days > LOOKED_AT_DAYS or (
            normal := usual([one.usd for one in history], settings)
        ) is None:
            continue
        if of_day.usd > normal.limit:
            models = _furthest(of_day.by_model, [one.by_model for one in history])
            found.append(UnusualDay(place.workspace, place.day, of_day.usd, of_day.provisional, normal, models))
    return found


@dataclass(slots=True)
class _Day:
    usd: Decimal
    provisional: bool
    by_model: dict[str, Decimal]


def _days(connection: Connection, first_day: date, end_day: date) -> Mapping[WorkspaceDate, _Day]:
    """Every reconciled day, one on which nothing counts too."""
    days = {
        place: _Day(Decimal(0), False, defaultdict(Decimal))
        for place in days_reconciled(connection, first_day, end_day, None)
    }
    with exact_arithmetic():
        for cell in cell_costs(connection, first_day, end_day, None):
            of_day = days[WorkspaceDate(cell.workspace, cell.day)]
            of_day.provisional |= cell.provisional
            if cell.usd is not None:
                of_day.usd += cell.usd
                of_day.by_model[cell.model] += cell.usd
    return days


def _furthest(
    of_day: Mapping[str, Decimal], history: Iterable[Mapping[str, Decimal]]
) -> tuple[tuple[str, Decimal, Decimal], ...]:
    before = list(history)
    told = [(model, usd, median([day.get(model, Decimal(0)) for day in before])) for model, usd in of_day.items()]
    with exact_arithmetic():
        above = sorted((one for one in told if one[1] > one[2]), key=lambda one: (one[2] - one[1], one[0]))
    return tuple(above[:_MODELS_MAX])
