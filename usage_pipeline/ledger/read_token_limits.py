"""How often a read token is used: a bucket of requests in the database, shared by every process that serves.

A request takes one, or learns how long to wait and takes none. The database's clock fills the bucket, so that machines
whose clocks differ share one rate.
"""

from __future__ import annotations

import math
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, text

_FILLED: Final = (
    "least(CAST(:most AS double precision),"
    " u.requests_left + extract(epoch FROM clock_timestamp() - u.filled_at) * :per_second)"
)
_TAKE: Final = text(
    "INSERT INTO read_token_uses AS u (prefix, last_used_at, requests_left, filled_at)"
    " VALUES (:prefix, :at, CAST(:most AS double precision) - 1, clock_timestamp())"
    f" ON CONFLICT (prefix) DO UPDATE SET last_used_at = excluded.last_used_at, requests_left = {_FILLED} - 1,"
    f" filled_at = clock_timestamp() WHERE {_FILLED} >= 1 RETURNING prefix"
)
_LEFT: Final = text(f"SELECT {_FILLED} FROM read_token_uses AS u WHERE prefix = :prefix")
_NOTE: Final = text(
    "INSERT INTO read_token_uses (prefix, last_used_at, requests_left, filled_at)"
    " VALUES (:prefix, :at, CAST('Infinity' AS double precision), clock_timestamp())"
    " ON CONFLICT (prefix) DO UPDATE SET last_used_at = excluded.last_used_at"
)


def take_request(connection: Connection, prefix: str, at: datetime, requests_per_minute: int) -> int:
    """Take a request of the token's bucket, which holds a minute's worth, and note the use.

    Returns 0 where it may go on, else the whole seconds until it may. 0 requests a minute is no limit.
    """
    if not requests_per_minute:
        connection.execute(_NOTE, {"prefix": prefix, "at": at})
        return 0
    per_second = requests_per_minute / 60
    rate = {"prefix": prefix, "most": requests_per_minute, "per_second": per_second}
    if connection.execute(_TAKE, {**rate, "at": at}).first() is not None:
        return 0
    left = float(connection.execute(_LEFT, rate).scalar_one())
    return max(1, math.ceil((1 - left) / per_second))
