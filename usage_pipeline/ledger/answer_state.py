"""What decides an answer about a workspace's days, as a digest of each: while it stays, the answer stays, to the byte.

In: a workspace and a range of days. Out: 16 bytes a day, or of all. They are made of the versions of the rows that
every reconciling and every observation writes (PostgreSQL's ``xmin`` changes with each, whatever the clock says), of
the prices that were stored, of the number of changes in the audit log (overrides, rules, erasures, prunings), and of
the names of projects, keys and users. It costs a few milliseconds, where the answer may cost a hundred times that.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import date
from typing import Final

from sqlalchemy import Connection, text

from usage_pipeline.utc_days import days_between

_WITHOUT_EFFECT: Final = (
    "settings_changed",  # what follows from a setting is written into the rows when they are decided
    "read_token_issued",
    "read_token_revoked",
    "feed_token_issued",
    "feed_token_ended",
)
"""Changes that alter no answer, and come often."""

_DAYS: Final = text(
    "SELECT c.day, 'c', c.reconciliation_id || ':' || c.xmin FROM reconciliations AS c"
    " WHERE c.workspace_id = :workspace_id AND c.day >= :first_day AND c.day < :end_day"
    " UNION ALL SELECT s.day, 's', string_agg(s.slice_id || ':' || s.xmin, ',' ORDER BY s.slice_id) FROM slices AS s"
    " JOIN feeds AS f USING (feed_id) WHERE f.workspace_id = :workspace_id AND s.day >= :first_day"
    " AND s.day < :end_day GROUP BY s.day"
    " UNION ALL SELECT day, 'p', count(*) || ':' || max(price_id) FROM prices WHERE day >= :first_day"
    " AND day < :end_day GROUP BY day ORDER BY 1, 2"
)
_EVERY_DAY: Final = text(
    "SELECT current_database(), (SELECT count(*) || ':' || coalesce(max(audit_id), 0) FROM audit_log"
    f" WHERE what NOT IN ({', '.join(repr(what) for what in _WITHOUT_EFFECT)})),"
    " (SELECT md5(string_agg(concat_ws(E'\\x1f', provider, account, dimension, id, name), E'\\x1e'"
    " ORDER BY provider, account, dimension, id)) FROM dimension_names)"
)


def states_by_day(connection: Connection, workspace_id: int, first_day: date, end_day: date) -> Mapping[date, bytes]:
    """The digest of each day of the half-open range. Read it in the transaction that makes the answer."""
    common = tuple(connection.execute(_EVERY_DAY).one())
    digests = {
        day: hashlib.blake2b(repr((workspace_id, day, common)).encode(), digest_size=16)
        for day in days_between(first_day, end_day)
    }
    chosen = {"workspace_id": workspace_id, "first_day": first_day, "end_day": end_day}
    for day, *told in connection.execute(_DAYS, chosen):
        digests[day].update(repr(told).encode())
    return {day: digest.digest() for day, digest in digests.items()}


def state_of_days(connection: Connection, workspace_id: int, first_day: date, end_day: date) -> bytes:
    """One digest of the whole range."""
    states = states_by_day(connection, workspace_id, first_day, end_day)
    return hashlib.blake2b(b"".join(states.values()), digest_size=16).digest()
