"""Which rows of a newer answer differ from the answer that stands, told from their bytes, before anything is decoded.

In come the buckets of both answers of one day; out come the buckets that differ, each with the rows that only one of
the two has. A restated day usually differs in a few rows of a few hours: only these are then decoded and compared in
the database.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import msgspec

from usage_pipeline.providers.contract import Bucket

_SPLIT: Final = msgspec.json.Decoder(list[msgspec.Raw])
_NOTHING: Final = msgspec.Raw(b"[]")


@dataclass(frozen=True, slots=True)
class BucketDifference:
    """A bucket that two answers tell differently.

    ``gone`` and ``come`` are JSON lists of the rows that only the standing and only the newer answer have; a row that
    changed is in both. ``repeats`` tells that one of the answers has two rows of the same bytes: they were added up
    then, and the lists do not say how often each came.
    """

    start: datetime
    gone: msgspec.Raw
    come: msgspec.Raw
    repeats: bool

    @property
    def size(self) -> int:
        """Bytes of both lists."""
        return memoryview(self.gone).nbytes + memoryview(self.come).nbytes


def differing_buckets(standing: Iterator[Bucket], newer: Iterator[Bucket]) -> Iterator[BucketDifference]:
    """The buckets that differ, oldest first. Both answers' buckets come oldest first, each start once."""
    old, new = next(standing, None), next(newer, None)
    while old is not None or new is not None:
        if new is None or (old is not None and old.start < new.start):
            assert old is not None
            yield _difference(old.start, old.results, _NOTHING)
            old = next(standing, None)
        elif old is None or new.start < old.start:
            yield _difference(new.start, _NOTHING, new.results)
            new = next(newer, None)
        else:
            if old.results != new.results:
                yield _difference(new.start, old.results, new.results)
            old, new = next(standing, None), next(newer, None)


def _difference(start: datetime, standing: msgspec.Raw, newer: msgspec.Raw) -> BucketDifference:
    old_rows, new_rows = _SPLIT.decode(standing), _SPLIT.decode(newer)
    if len(old_rows) == len(new_rows):
        # Most rows are where they were: comparing them in place spares hashing them.
        unlike = [at for at, old in enumerate(old_rows) if old != new_rows[at]]
        old, new = [bytes(old_rows[at]) for at in unlike], [bytes(new_rows[at]) for at in unlike]
    else:
        old, new = list(map(bytes, old_rows)), list(map(bytes, new_rows))
    had, has = frozenset(old), frozenset(new)
    return BucketDifference(
        start=start,
        gone=_list_of([row for row in old if row not in has]),
        come=_list_of([row for row in new if row not in had]),
        repeats=len(had) < len(old) or len(has) < len(new),
    )


def _list_of(rows: list[bytes]) -> msgspec.Raw:
    return msgspec.Raw(b"[%b]" % b",".join(rows))
