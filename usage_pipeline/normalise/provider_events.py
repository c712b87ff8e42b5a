"""One day of a provider's usage endpoint becomes events: written whole, or amended where its answer differs.

In come a locked slice and the buckets of the newest answer, for amending those of the standing one too; out come the
changes. Amending decodes and compares only the rows whose bytes differ, and says so where that cannot be done.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from sqlalchemy import Connection

from usage_pipeline.ledger.event_copy import EventEncoder, ReadRows, SliceIdentity
from usage_pipeline.ledger.pulls import PullDay
from usage_pipeline.ledger.replacement import (
    Changes,
    CopyWriter,
    StandsOtherwiseError,
    amend_slice,
    binary_copy,
    replace_slice,
)
from usage_pipeline.ledger.slices import EVENTS, Slice
from usage_pipeline.normalise.differences import BucketDifference, differing_buckets
from usage_pipeline.providers.contract import Bucket, Drift, Endpoint, Provider

AMENDED_BYTES_MAX = 64 * 1024 * 1024
"""Differing rows are held in memory until all are known; a day that differs in more is written whole."""


@dataclass(frozen=True, slots=True)
class DayOfUsage:
    """A slice and the answer that it is made equal to."""

    slice_: Slice
    feed: str
    provider: Provider
    endpoint: Endpoint
    word: PullDay

    def write(self, connection: Connection, buckets: Iterator[Bucket], now: datetime) -> tuple[Changes, int]:
        """Make the whole slice equal to the buckets; returns the changes and how many rows it has now."""
        encoder = self._encoder(now)
        changes = replace_slice(
            connection,
            EVENTS,
            self.slice_.slice_id,
            self._writer(encoder, buckets),
            binary=True,
            slice_is_empty=self.slice_.row_count == 0,
            now=now,
        )
        return changes, encoder.rows

    def amend(
        self, connection: Connection, standing: Iterator[Bucket], newer: Iterator[Bucket], now: datetime
    ) -> tuple[Changes, int] | None:
        """Make the rows equal that the newer answer tells otherwise than the standing one; as :meth:`write` does.

        None, and nothing changed, where too much differs or the bytes do not tell: rows were added up because nothing
        that was asked for tells them apart, or the slice does not hold what the standing answer says (another version
        of this program read it). The buckets are then used up.
        """
        differences: list[BucketDifference] = []
        size = 0
        for one in differing_buckets(standing, newer):
            size += one.size
            if one.repeats or size > AMENDED_BYTES_MAX:
                return None
            differences.append(one)
        encoder = self._encoder(now)
        try:
            with connection.begin_nested():
                changes = amend_slice(
                    connection,
                    EVENTS,
                    self.slice_.slice_id,
                    self._writer(encoder, [Bucket(one.start, one.gone) for one in differences]),
                    self._writer(encoder, [Bucket(one.start, one.come) for one in differences]),
                    row_count=self.slice_.row_count,
                    now=now,
                )
        except StandsOtherwiseError:
            return None
        return changes, self.slice_.row_count + changes.stored - changes.removed

    def _writer(self, encoder: EventEncoder, buckets: Iterable[Bucket]) -> CopyWriter:
        return binary_copy(encoder.chunks((bucket.start, self._reader(bucket)) for bucket in buckets))

    def _encoder(self, now: datetime) -> EventEncoder:
        identity = SliceIdentity(self.feed, self.endpoint.name, self.word.window_seconds, self.word.dimensions_asked)
        return EventEncoder(
            identity, slice_id=self.slice_.slice_id, source_id=self.word.content_pull_id, recorded_at=now
        )

    def _reader(self, bucket: Bucket) -> ReadRows:
        return partial(self.provider.usage_rows, self.endpoint, bucket.results, self.word.dimensions_asked, Drift())
