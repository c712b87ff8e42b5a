"""What reconciling reads: slices with their coverage, sums of counted provider rows, Hermes rows, billed lines.

Sums are made by the database, one statement a kind and day, over bound parameters only. Tokens come as ints.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Connection, text

from usage_pipeline.ledger.pull_drift import SourceFinding
from usage_pipeline.ledger.room_for_sums import give_room_for_sums
from usage_pipeline.measures import EVENT_MEASURES, LEVELS, RECONCILED_MEASURES

LOOKBACK_EXCEEDED = "lookback_exceeded"
"""The code of an attempt, and of the finding about it, where the provider does not keep the day any more."""

_SEPARATOR = "\x1f"  # between project ids in one parameter; no id may hold a control character
_SUMS = ", ".join(f"sum(e.{name})::bigint" for name in EVENT_MEASURES)
_LEVELS = sorted(LEVELS)
_LEVEL_SUMS = ", ".join(f"sum(e.{name})::bigint" for name in _LEVELS)
_VARIANT = "e.service_tier, e.batch, e.context_window, e.speed, e.inference_geo"
_RULES = (
    "WITH rules AS MATERIALIZED (SELECT slice_id, NOT counts AS shadowed, cut_at,"
    " CASE WHEN excluded = '' THEN NULL ELSE string_to_array(excluded, :separator) END AS excluded,"
    " CASE WHEN upstreams = '' THEN NULL ELSE string_to_array(upstreams, :separator) END AS upstreams"
    " FROM unnest(CAST(:slice_ids AS bigint[]), CAST(:counts AS boolean[]), CAST(:excluded AS text[]),"
    " CAST(:cuts AS timestamptz[]), CAST(:upstreams AS text[])) AS r (slice_id, counts, excluded, cut_at, upstreams))"
)
_SHADOWED = (
    "(r.shadowed OR coalesce(e.project_id = ANY(r.excluded), false)"
    " OR coalesce(e.upstream_provider = ANY(r.upstreams), false))"
)


class SliceRow(NamedTuple):
    """A slice's newest observation, as reconciling needs it."""

    slice_id: int
    feed_id: int
    endpoint: str
    day: date
    observed_at: datetime | None
    window_seconds: int | None
    dimensions_asked: frozenset[str]
    hours_are_call_time: bool
    attempted: bool
    last_attempt_error: str | None
    last_attempt_error_code: str | None = None

    @property
    def out_of_reach(self) -> bool:
        """Whether the provider does not keep the day any more, and no complete answer of it stands."""
        return self.observed_at is None and self.last_attempt_error_code == LOOKBACK_EXCEEDED


@dataclass(frozen=True, slots=True)
class CountRule:
    """How much of a provider slice counts: all, none, or all but some projects; ``cut_at`` splits the day for row 5.

    ``excluded_upstreams`` are the vendors whose own report shows the same calls: rows of theirs do not count.
    """

    slice_id: int
    counts: bool
    excluded_projects: frozenset[str]
    cut_at: datetime
    excluded_upstreams: frozenset[str] = frozenset()


class ProviderSum(NamedTuple):
    """Sums of a slice's rows by model, upstream vendor and price variant. ``figures`` are by measure of
    ``measures.EVENT_MEASURES``, without those that no row has."""

    slice_id: int
    shadowed: bool
    after_cut: bool
    upstream: str | None
    model: str | None
    variant: tuple[str | None, ...]
    figures: dict[str, int]


class HermesEvent(NamedTuple):
    """One Hermes row. ``detail`` is its ``line_detail``; ``figures`` follow ``measures.RECONCILED_MEASURES``."""

    slice_id: int
    event_id: UUID
    window_start: datetime
    model: str | None
    detail: str | None
    counts: bool
    estimated_cost_usd: Decimal | None
    actual_cost_usd: Decimal | None
    figures: tuple[int | None, ...]


class BilledSum(NamedTuple):
    """A slice's billed lines that say the same of themselves, summed, in exact US dollars.

    ``quantity`` is in the line's own unit, and null where any of the lines has none.
    """

    slice_id: int
    label: str | None
    model: str | None
    cost_type: str | None
    amount_usd: Decimal
    token_type: str | None = None
    service_tier: str | None = None
    context_window: str | None = None
    inference_geo: str | None = None
    quantity_unit: str | None = None
    quantity: Decimal | None = None


def slices_of_days(connection: Connection, feed_ids: Sequence[int], days: Sequence[date]) -> list[SliceRow]:
    """Every slice of the feeds on the days."""
    rows = connection.execute(
        text(
            "SELECT slice_id, feed_id, endpoint, day, observed_at, window_seconds, dimensions_asked,"
            " hours_are_call_time, last_attempt_at IS NOT NULL AS attempted, last_attempt_error,"
            " last_attempt_error_code FROM slices WHERE feed_id = ANY(:feed_ids) AND day = ANY(:days) ORDER BY slice_id"
        ),
        {"feed_ids": list(feed_ids), "days": list(days)},
    )
    return [
        SliceRow(
            slice_id=row.slice_id,
            feed_id=row.feed_id,
            endpoint=row.endpoint,
            day=row.day,
            observed_at=row.observed_at,
            window_seconds=row.window_seconds,
            dimensions_asked=frozenset(row.dimensions_asked or ()),
            hours_are_call_time=row.hours_are_call_time,
            attempted=row.attempted,
            last_attempt_error=row.last_attempt_error,
            last_attempt_error_code=row.last_attempt_error_code,
        )
        for row in rows
    ]


def provider_sums(connection: Connection, rules: Sequence[CountRule]) -> Iterator[ProviderSum]:
    """Sum the rows of provider slices, counted and shadowed apart, before and after each slice's cut."""
    if not rules:
        return
    give_room_for_sums(connection)
    rows = connection.execute(
        text(
            # The parts that are put together are this module's own constants: column names, never input.
            f"{_RULES}"
            f" SELECT e.slice_id, {_SHADOWED},"
            f" e.window_start >= r.cut_at, e.upstream_provider, e.model, {_VARIANT}, {_SUMS}"
            " FROM rules AS r JOIN usage_events AS e ON e.slice_id = r.slice_id"
            f" GROUP BY 1, 2, 3, e.upstream_provider, e.model, {_VARIANT}"
        ),
        _rule_parameters(rules),
    )
    for row in rows:
        figures = {name: value for name, value in zip(EVENT_MEASURES, row[10:], strict=True) if value is not None}
        yield ProviderSum(row[0], row[1], row[2], row[3], row[4], tuple(row[5:10]), figures)


class LevelSum(NamedTuple):
    """What the counted rows of a slice say of a model's levels at one instant, added over projects."""

    slice_id: int
    window_start: datetime
    upstream: str | None
    model: str | None
    figures: dict[str, int | None]


def level_sums(connection: Connection, rules: Sequence[CountRule]) -> Iterator[LevelSum]:
    """Sum the counted levels of provider slices by instant and model."""
    if not rules:
        return
    rows = connection.execute(
        text(
            f"{_RULES} SELECT e.slice_id, e.window_start, e.upstream_provider, e.model, {_LEVEL_SUMS}"
            " FROM rules AS r JOIN usage_events AS e ON e.slice_id = r.slice_id"
            f" WHERE NOT {_SHADOWED} GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4"
        ),
        _rule_parameters(rules),
    )
    for row in rows:
        yield LevelSum(row[0], row[1], row[2], row[3], dict(zip(_LEVELS, row[4:], strict=True)))


def _rule_parameters(rules: Sequence[CountRule]) -> dict[str, object]:
    return {
        "slice_ids": [rule.slice_id for rule in rules],
        "counts": [rule.counts for rule in rules],
        "excluded": [_SEPARATOR.join(sorted(rule.excluded_projects)) for rule in rules],
        "cuts": [rule.cut_at for rule in rules],
        "upstreams": [_SEPARATOR.join(sorted(rule.excluded_upstreams)) for rule in rules],
        "separator": _SEPARATOR,
    }


def hermes_events(connection: Connection, slice_ids: Sequence[int]) -> list[HermesEvent]:
    """The Hermes rows of the slices, in the order of their keys."""
    measures = ", ".join(RECONCILED_MEASURES)
    rows = connection.execute(
        text(
            "SELECT slice_id, event_id, window_start, model, line_detail, counts, estimated_cost_usd,"
            f" actual_cost_usd, {measures} FROM usage_events WHERE slice_id = ANY(:slice_ids) ORDER BY event_id"
        ),
        {"slice_ids": list(slice_ids)},
    )
    return [HermesEvent(row[0], row[1], row[2], row[3], row[4], row[5], row[6], row[7], tuple(row[8:])) for row in rows]


def billed_sums(
    connection: Connection, slice_ids: Sequence[int], excluded: Mapping[int, frozenset[str]]
) -> list[BilledSum]:
    """The billed lines of the slices by what they say, without the projects that another feed leads."""
    said = "slice_id, label, model, cost_type, project_id, token_type, service_tier, context_window, inference_geo"
    rows = connection.execute(
        text(
            f"SELECT {said}, quantity_unit, sum(amount_usd) AS usd,"
            " CASE WHEN count(*) = count(quantity) THEN sum(quantity) END AS stated"
            f" FROM billed_costs WHERE slice_id = ANY(:slice_ids) GROUP BY {said}, quantity_unit"
            f" ORDER BY {said}, quantity_unit"
        ),
        {"slice_ids": list(slice_ids)},
    )
    return [
        BilledSum(
            row.slice_id,
            row.label,
            row.model,
            row.cost_type,
            row.usd,
            row.token_type,
            row.service_tier,
            row.context_window,
            row.inference_geo,
            row.quantity_unit,
            row.stated,
        )
        for row in rows
        if row.project_id not in excluded.get(row.slice_id, frozenset())
    ]


class FinalFigures(NamedTuple):
    """What one final pull said of a slice's model, by measure. ``model`` is as reported."""

    slice_id: int
    pull_id: int
    started_at: datetime
    model: str
    figures: dict[str, int]


def final_figures(connection: Connection, slice_ids: Sequence[int]) -> list[FinalFigures]:
    """The kept figures of final pulls, the oldest pull first, of two at one instant the one with the lesser digest."""
    rows = connection.execute(
        text(
            "SELECT f.slice_id, f.pull_id, d.started_at, f.model, f.figures FROM final_figures AS f"
            " JOIN slices AS s USING (slice_id) JOIN pull_days AS d ON d.pull_id = f.pull_id AND d.day = s.day"
            " WHERE f.slice_id = ANY(:slice_ids) ORDER BY f.slice_id, d.started_at, d.digest, f.pull_id, f.model"
        ),
        {"slice_ids": list(slice_ids)},
    )
    return [FinalFigures(*row) for row in rows]


def batch_findings_of_day(connection: Connection, feed_ids: Sequence[int], day: date) -> list[SourceFinding]:
    """Findings of the batches that speak for the day: those about the day, and those about the whole on its last."""
    rows = connection.execute(
        text(
            "SELECT h.feed_id, b.end_day - 1 = h.day AS is_last, f.value FROM hermes_days AS h"
            " JOIN hermes_batches AS b USING (batch_id) CROSS JOIN jsonb_array_elements(b.findings) AS f"
            " WHERE h.feed_id = ANY(:feed_ids) AND h.day = :day ORDER BY h.feed_id, f.value::text"
        ),
        {"feed_ids": list(feed_ids), "day": day},
    )
    return [
        SourceFinding(
            feed_id,
            "rollups",
            finding["code"],
            finding["words"],
            finding["measure"],
            Decimal(finding["stated"]) if finding["stated"] is not None else None,
            Decimal(finding["found"]) if finding["found"] is not None else None,
        )
        for feed_id, is_last, finding in rows
        if finding["day"] == day.isoformat() or (finding["day"] is None and is_last)
    ]


def feeds_with_two_labels(connection: Connection, feed_ids: Sequence[int], day: date) -> list[tuple[int, list[str]]]:
    """Hermes feeds to which batches of more than one source label came for the day: (feed, labels)."""
    rows = connection.execute(
        text(
            "SELECT feed_id, array_agg(DISTINCT source_label ORDER BY source_label) FROM hermes_batches"
            " WHERE accepted AND feed_id = ANY(:feed_ids) AND first_day <= :day AND :day < end_day"
            " GROUP BY feed_id HAVING count(DISTINCT source_label) > 1 ORDER BY feed_id"
        ),
        {"feed_ids": list(feed_ids), "day": day},
    )
    return [(feed_id, list(labels)) for feed_id, labels in rows]
