"""The canonical schemas held against a bounded sample of stored rows: types, nulls and bounds, as a reader sees them.

Rules about figures are also checked over every row, by the database (``ledger.event_checks``); validating whole days
as frames would cost more than loading them did.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import date
from typing import Final

from sqlalchemy import Connection

from usage_pipeline.ledger.event_checks import CanonicalTable, sample_rows
from usage_pipeline.ledger.offences import Offence
from usage_pipeline.normalise.frames import BILLED_COSTS, USAGE_EVENTS, broken_rules, frame_of

SAMPLE_ROWS_MAX: Final = 2000
_SCHEMAS: Final = {"usage_events": USAGE_EVENTS, "billed_costs": BILLED_COSTS}


def sampled_rows_breaking_schema(
    connection: Connection, table: CanonicalTable, days: Sequence[date], rows_max: int = SAMPLE_ROWS_MAX
) -> Iterator[Offence]:
    """Rules of the table's schema that sampled rows of the days break, counted by feed, endpoint and day."""
    schema = _SCHEMAS[table]
    sample = sample_rows(connection, table, days, rows_max)
    if not sample:
        return
    broken = broken_rules(schema, frame_of(schema, (row for _, _, row in sample)))
    counts = Counter(
        (*(sample[rule.position][:2] if rule.position is not None else (min(days), table)), rule.column, rule.rule)
        for rule in broken
    )
    for (day, where, column, rule), count in sorted(counts.items()):
        yield Offence(day, where, f"{count} sampled rows break {column}: {rule}")
