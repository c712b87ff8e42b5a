"""Checks of canonical rows by day: well-formed, once each, adding up, each with its source.

In: a connection and UTC days. Out: :class:`Offence` records, one per slice and rule with the number of rows; every row
of the days is looked at, by the database.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any, Final, Literal

from sqlalchemy import Connection, text

from usage_pipeline.ledger.event_copy import EVENT_COLUMNS
from usage_pipeline.ledger.offences import Offence
from usage_pipeline.ledger.slices import BILL_COLUMNS
from usage_pipeline.measures import EVENT_DIMENSIONS, EVENT_MEASURES

CanonicalTable = Literal["usage_events", "billed_costs"]
_COLUMNS: Final[Mapping[CanonicalTable, Sequence[str]]] = {"usage_events": EVENT_COLUMNS, "billed_costs": BILL_COLUMNS}
_KEYS: Final[Mapping[CanonicalTable, str]] = {"usage_events": "event_id", "billed_costs": "line_id"}
_OTHER: Final[Mapping[CanonicalTable, CanonicalTable]] = {
    "usage_events": "billed_costs",
    "billed_costs": "usage_events",
}

_FROM: Final = " FROM slices AS s JOIN feeds AS f USING (feed_id) JOIN usage_events AS e USING (slice_id)"
_WHERE: Final = " WHERE s.day = ANY(:days)"
_DAY_START: Final = "s.day::timestamp AT TIME ZONE 'UTC'"


def malformed_events(connection: Connection, days: Sequence[date]) -> Iterator[Offence]:
    """Rows with a negative figure, with no figure at all, outside their slice's day, or off its grid of windows."""
    measures = ", ".join(f"e.{name}" for name in EVENT_MEASURES)
    yield from _counted(
        connection,
        {
            "have a negative figure": f"least({measures}) < 0",
            "have no figure": f"num_nonnulls({measures}) = 0",
            "lie outside their slice's day": f"e.window_start < {_DAY_START}"
            f" OR e.window_start >= {_DAY_START} + interval '1 day'",
            "do not start on the grid of their slice's windows": "s.window_seconds IS NULL OR mod(extract("
            f"epoch FROM e.window_start - {_DAY_START}), s.window_seconds) <> 0",
        },
        days,
    )


def parts_above_their_class(connection: Connection, days: Sequence[date]) -> Iterator[Offence]:
    """Rows whose parts by modality exceed their token class; vendors' rows whose reasoning exceeds their output.

    A Hermes row with more reasoning than output is a finding of its own already, and reasoning is never added.
    Resellers and proxies do not say whether their reasoning lies inside their output.
    """

    def parts(token_class: str, prefix: str) -> str:
        names = [f"e.{prefix}_{modality}" for modality in ("text", "audio", "image")]
        total = " + ".join(f"coalesce({name}, 0)" for name in names)
        return f"num_nonnulls({', '.join(names)}) > 0 AND {total} > coalesce(e.{token_class}, 0)"

    yield from _counted(
        connection,
        {
            "have input by modality above uncached_input": parts("uncached_input", "input"),
            "have cache reads by modality above cache_read": parts("cache_read", "cache_read"),
            "have output by modality above output": parts("output", "output"),
            "have reasoning above output": "e.reasoning > coalesce(e.output, 0) AND f.source = 'provider_api_key'"
            " AND e.upstream_provider IS NULL",
        },
        days,
    )


def duplicate_events(connection: Connection, days: Sequence[date]) -> Iterator[Offence]:
    """Rows of one slice with the same window and dimensions under different keys."""
    dimensions = ", ".join(f"e.{name}" for name in EVENT_DIMENSIONS)
    rows = connection.execute(
        text(
            "SELECT day, slug, endpoint, count(*), sum(times) FROM ("
            f"SELECT s.day, f.slug, s.endpoint, count(*) AS times{_FROM}{_WHERE}"
            f" GROUP BY s.day, f.slug, s.endpoint, e.slice_id, e.window_start, {dimensions} HAVING count(*) > 1)"
            " AS twice GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
        ),
        {"days": list(days)},
    )
    for day, slug, endpoint, groups, times in rows:
        yield Offence(day, f"{slug} {endpoint}", f"{times} rows share {groups} windows and dimensions")


def rows_without_source(connection: Connection, table: CanonicalTable, days: Sequence[date]) -> Iterator[Offence]:
    """Rows whose pull or batch is not there or is another feed's, and slices with more or fewer rows than they say."""
    rows = connection.execute(
        text(
            "SELECT s.day, f.slug, s.endpoint, sum(e.rows) FROM slices AS s JOIN feeds AS f USING (feed_id)"
            " CROSS JOIN LATERAL (SELECT source_id, count(*) AS rows"
            f" FROM {table} WHERE slice_id = s.slice_id GROUP BY 1) AS e"
            f"{_WHERE} AND NOT CASE f.source WHEN 'hermes_plugin' THEN EXISTS (SELECT 1 FROM hermes_batches AS b"
            " WHERE b.batch_id = e.source_id AND b.feed_id = s.feed_id AND b.accepted)"
            " ELSE EXISTS (SELECT 1 FROM pulls AS p WHERE p.pull_id = e.source_id AND p.feed_id = s.feed_id"
            " AND p.endpoint = s.endpoint AND p.complete) END GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
        ),
        {"days": list(days)},
    )
    for day, slug, endpoint, count in rows:
        yield Offence(day, f"{slug} {endpoint}", f"{count} rows name a source that is not there")
    rows = connection.execute(
        text(
            "SELECT s.day, f.slug, s.endpoint, s.row_count, e.rows FROM slices AS s JOIN feeds AS f USING (feed_id)"
            f" CROSS JOIN LATERAL (SELECT count(*) AS rows FROM {table} WHERE slice_id = s.slice_id) AS e"
            f"{_WHERE} AND s.row_count <> e.rows"
            f" AND NOT EXISTS (SELECT 1 FROM {_OTHER[table]} AS o WHERE o.slice_id = s.slice_id) ORDER BY 1, 2, 3"
        ),
        {"days": list(days)},
    )
    for day, slug, endpoint, stated, found in rows:
        yield Offence(day, f"{slug} {endpoint}", f"{found} rows are there where {stated} were stored")


def sample_rows(
    connection: Connection, table: CanonicalTable, days: Sequence[date], rows_max: int
) -> list[tuple[date, str, tuple[Any, ...]]]:
    """At most ``rows_max`` rows of the days, spread over their slices: (day, feed and endpoint, the table's columns).

    Keys are hashes, so that the first ones of a slice are a fair sample, the same one each time.
    """
    columns = ", ".join(f"e.{name}" for name in _COLUMNS[table])
    rows = connection.execute(
        text(
            f"SELECT s.day, f.slug || ' ' || s.endpoint, {columns} FROM slices AS s JOIN feeds AS f USING (feed_id)"
            f" CROSS JOIN LATERAL (SELECT * FROM {table} WHERE slice_id = s.slice_id ORDER BY {_KEYS[table]} LIMIT"
            " greatest(1, :rows_max / greatest(1, (SELECT count(*) FROM slices WHERE day = ANY(:days))))) AS e"
            f"{_WHERE} ORDER BY s.day, s.slice_id, e.{_KEYS[table]} LIMIT :rows_max"
        ),
        {"days": list(days), "rows_max": rows_max},
    )
    return [(row[0], row[1], tuple(row[2:])) for row in rows]


def _counted(connection: Connection, rules: Mapping[str, str], days: Sequence[date]) -> Iterator[Offence]:
    """One pass over the days' events: rows that break each rule, by slice."""
    counts = ", ".join(f"count(*) FILTER (WHERE {rule})" for rule in rules.values())
    rows = connection.execute(
        text(f"SELECT s.day, f.slug, s.endpoint, {counts}{_FROM}{_WHERE} GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"),
        {"days": list(days)},
    )
    for day, slug, endpoint, *found in rows:
        for words, count in zip(rules, found, strict=True):
            if count:
                yield Offence(day, f"{slug} {endpoint}", f"{count} rows {words}")
