"""What a batch says of each of its days, as digests: two batches whose digests of a day agree say the same of it.

Comes in: a parsed batch. Goes out: a digest by UTC day; a day without rows has none.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from datetime import date

import msgspec

from usage_pipeline.hermes.batch import HermesBatch, HermesRow

_DIGEST_BYTES = 12


def day_digests(batch: HermesBatch) -> dict[date, str]:
    """A hexadecimal digest of each day's rows, whatever their order, and of whether their hours are call time.

    Hours that are no call time count for nothing, and go out of a v1 or v2 batch a day later: they are left out.
    """
    rows: dict[date, list[HermesRow]] = defaultdict(list)
    for row in batch.rows:
        if row.kind != "hour" or batch.hours_are_call_time:
            rows[row.start.date()].append(row)
    return {day: _digest(of_day, batch.hours_are_call_time) for day, of_day in rows.items()}


def _digest(rows: list[HermesRow], hours_are_call_time: bool) -> str:
    told = b"\n".join(sorted(map(msgspec.json.encode, rows)))
    return hashlib.blake2b(told + bytes([hours_are_call_time]), digest_size=_DIGEST_BYTES).hexdigest()
