"""Checks of reconciled rows by day, over every row: sums that hold, cells that are there once, sources that exist.

In: a connection and UTC days. Out: :class:`Offence` records. What needs the rules of which feed counts is in
``reconcile.stored_totals``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, date
from decimal import Decimal
from typing import Final

from sqlalchemy import Connection, text

from usage_pipeline.ledger.finding_evidence import evidence_names
from usage_pipeline.ledger.offences import Offence
from usage_pipeline.ledger.reconciled import COSTS, GROUPS
from usage_pipeline.measures import CACHE_WRITES, LEVELS, RECONCILED_MEASURES

_CAUSE_WORDS: Final = ("Likely causes: ", "Likely cause: ", "Reason: ", "Last error: ")
_CELL: Final = "concat_ws(' ', workspace, provider, route, family, nullif(model, ''))"
_ROWS: Final = (
    "SELECT c.day, w.slug AS workspace, r.* FROM reconciliations AS c JOIN workspaces AS w USING (workspace_id)"
    " JOIN reconciled_usage AS r USING (reconciliation_id) WHERE c.day = ANY(:days)"
)
_MEASURES: Final = tuple(name for name in RECONCILED_MEASURES if name not in LEVELS)


def _listed(group: str) -> str:
    return f"ARRAY[{', '.join(f'r.{group}_{name}' for name in _MEASURES)}]"


def _figures() -> str:
    """Rows by measure (levels left out): one line per cell and measure, with the group that it is compared in."""
    names = ", ".join(f"'{name}'" for name in _MEASURES)
    writes = ", ".join(f"'{name}'" for name in CACHE_WRITES)
    return (
        f"SELECT {_CELL} AS cell, r.day, r.cell_id, r.reconciliation_id, r.route, r.decision, m.*,"
        f" CASE WHEN m.measure IN ({writes}) THEN 'cache_write' ELSE m.measure END AS compared,"
        f" m.measure = ANY(r.lower_bound) OR (m.measure IN ({writes}) AND 'cache_write' = ANY(r.lower_bound))"
        f" AS outside FROM ({_ROWS}) AS r CROSS JOIN LATERAL unnest(ARRAY[{names}],"
        f" {', '.join(_listed(group) for group in GROUPS)}) AS m (measure, {', '.join(GROUPS)})"
    )


_BY_MEASURE: Final = (
    f"SELECT day, cell, measure, counted, coalesce(explained, 0) + coalesce(unattributed, 0) + coalesce(stand_in, 0)"
    f" FROM ({_figures()}) AS f WHERE NOT outside AND (explained IS NOT NULL OR counted IS NOT NULL)"
    " AND (explained IS NULL OR counted IS DISTINCT FROM explained + unattributed + stand_in) ORDER BY 1, 2, 3"
)
_GROUPED: Final = (
    f"WITH g AS (SELECT day, cell, route, decision, compared, {', '.join(f'sum({g}) AS {g}' for g in GROUPS)}"
    f" FROM ({_figures()}) AS f WHERE NOT outside"
    " GROUP BY day, cell, reconciliation_id, cell_id, route, decision, compared)"
)
_PROVIDER_SIDE: Final = (
    f"{_GROUPED} SELECT day, cell, compared, coalesce(counted, 0),"
    " coalesce(reported_by_provider, 0) + coalesce(stand_in, 0) FROM g"
    " WHERE decision IN ('provider', 'provider_then_hermes', 'hermes_standin')"
    " AND coalesce(counted, 0) <> coalesce(reported_by_provider, 0) + coalesce(stand_in, 0) ORDER BY 1, 2, 3"
)
_HERMES_SIDE: Final = (
    f"{_GROUPED} SELECT day, cell, compared, reported_by_hermes,"
    " coalesce(explained, 0) + coalesce(excess, 0) + coalesce(stand_in, 0) FROM g"
    " WHERE reported_by_hermes IS NOT NULL AND num_nonnulls(explained, excess, stand_in) > 0"
    " AND reported_by_hermes <> coalesce(explained, 0) + coalesce(excess, 0) + coalesce(stand_in, 0) ORDER BY 1, 2, 3"
)
_EQUATIONS: Final = {
    "counted {0} is not explained + unattributed + stand-in, {1}": _BY_MEASURE,
    "counted {0} is not what the provider reports + stand-in, {1}": _PROVIDER_SIDE,
    "what Hermes reports, {0}, is not explained + excess + stand-in, {1}": _HERMES_SIDE,
}


def unconserved_totals(connection: Connection, days: Sequence[date]) -> Iterator[Offence]:
    """Cells in which a measure inside conservation does not add up; cache writes are compared as one group.

    Levels and measures that only Hermes reports (lower bounds) are outside conservation.
    """
    for words, statement in _EQUATIONS.items():
        for day, cell, measure, whole, parts in connection.execute(text(statement), {"days": list(days)}):
            yield Offence(day, cell, f"{measure}: {words.format(whole, parts)}")


def cells_or_shares_twice(connection: Connection, days: Sequence[date]) -> Iterator[Offence]:
    """Cells that are there twice, Hermes rows shared out to two cells, and rows shared out beyond their figures."""
    parameters = {"days": list(days)}
    rows = connection.execute(
        text(f"SELECT day, {_CELL}, count(*) FROM ({_ROWS}) AS r GROUP BY 1, 2 HAVING count(*) > 1 ORDER BY 1, 2"),
        parameters,
    )
    for day, cell, times in rows:
        yield Offence(day, cell, f"the cell is there {times} times")
    sums = ", ".join(f"sum({name}) AS {name}" for name in _MEASURES)
    writes = " + ".join(f"coalesce({{0}}.{name}, 0)" for name in CACHE_WRITES)
    above = [f"t.{name} > coalesce(e.{name}, 0)" for name in _MEASURES if name not in CACHE_WRITES]
    above.append(f"{writes.format('t')} > {writes.format('e')}")
    rows = connection.execute(
        text(
            "WITH t AS (SELECT c.day, w.slug AS workspace, s.event_id, count(DISTINCT s.cell_id) AS cells,"
            f" {sums} FROM reconciliations AS c JOIN workspaces AS w USING (workspace_id)"
            " JOIN reconciled_shares AS s USING (reconciliation_id) WHERE c.day = ANY(:days) GROUP BY 1, 2, 3)"
            " SELECT t.day, t.workspace, count(*) FILTER (WHERE t.cells > 1),"
            f" count(*) FILTER (WHERE {' OR '.join(above)}) FROM t"
            " LEFT JOIN (SELECT x.day, y.* FROM slices AS x JOIN usage_events AS y USING (slice_id)"
            " WHERE x.day = ANY(:days)) AS e USING (day, event_id) GROUP BY 1, 2 ORDER BY 1, 2"
        ),
        parameters,
    )
    for day, workspace, split, beyond in rows:
        if split:
            yield Offence(day, workspace, f"{split} Hermes rows are counted in more than one cell")
        if beyond:
            yield Offence(day, workspace, f"{beyond} Hermes rows are counted beyond their own figures")


def reconciled_without_source(connection: Connection, days: Sequence[date]) -> Iterator[Offence]:
    """Rows that no source and no bill stands behind, and shares of Hermes rows that are not there."""
    parameters = {"days": list(days)}
    sides = [f"r.{group}_{name}" for group in GROUPS[:2] for name in RECONCILED_MEASURES]
    amounts = [f"r.cost_{cost}_usd" for cost in COSTS]
    rows = connection.execute(
        text(
            f"SELECT day, {_CELL} FROM ({_ROWS}) AS r WHERE decision <> 'no_data'"
            f" AND num_nonnulls({', '.join([*sides, *amounts])}) = 0 ORDER BY 1, 2"
        ),
        parameters,
    )
    for day, cell in rows:
        yield Offence(day, cell, "neither a provider, nor Hermes, nor a bill stands behind the row")
    rows = connection.execute(
        text(
            "SELECT c.day, w.slug, count(*) FROM reconciliations AS c JOIN workspaces AS w USING (workspace_id)"
            " JOIN reconciled_shares AS s USING (reconciliation_id) WHERE c.day = ANY(:days) AND NOT EXISTS ("
            "SELECT 1 FROM slices AS x JOIN usage_events AS e USING (slice_id)"
            " WHERE x.day = c.day AND e.event_id = s.event_id) GROUP BY 1, 2 ORDER BY 1, 2"
        ),
        parameters,
    )
    for day, workspace, count in rows:
        yield Offence(day, workspace, f"{count} shares are of Hermes rows that are not there")


def open_findings(
    connection: Connection, days: Sequence[date], codes: Sequence[str], *, fraction_above: Decimal = Decimal(0)
) -> Iterator[Offence]:
    """Open findings of the codes: what they say, their figures, the likely cause, what stands behind, since when.

    Only those whose difference is above ``fraction_above`` of the provider's figure.
    """
    rows = connection.execute(
        text(
            "SELECT f.day, concat_ws(' ', w.slug, f.provider, f.route, f.model, f.endpoint, f.measure) AS place,"
            " f.code, f.explanation, f.figure_provider, f.figure_hermes, f.difference, f.evidence, f.first_seen"
            " FROM findings AS f JOIN workspaces AS w USING (workspace_id)"
            " WHERE f.day = ANY(:days) AND f.code = ANY(:codes) AND f.closed_at IS NULL"
            " AND coalesce(abs(f.difference) > :fraction * abs(f.figure_provider), true) ORDER BY 1, 2, 3, f.finding_id"
        ),
        {"days": list(days), "codes": list(codes), "fraction": fraction_above},
    )
    for row in rows:
        said, cause = _parted(row.explanation)
        details = (
            ("code", row.code),
            ("provider", _figure(row.figure_provider)),
            ("Hermes", _figure(row.figure_hermes)),
            ("difference", _figure(row.difference)),
            ("likely cause", cause),
            ("evidence", ", ".join(evidence_names(row.evidence))),
            ("since", f"{row.first_seen.astimezone(UTC):%Y-%m-%dT%H:%MZ}"),
        )
        yield Offence(row.day, row.place, f"{row.code}: {said}", grave=False, details=details)


def _parted(explanation: str) -> tuple[str, str]:
    """What is said, and the cause that is named at its end."""
    for word in _CAUSE_WORDS:
        said, found, cause = explanation.partition(word)
        if found:
            return said.strip(), cause.strip()
    return explanation, ""


def _figure(value: Decimal | None) -> str:
    return "" if value is None else f"{value:,f}"
