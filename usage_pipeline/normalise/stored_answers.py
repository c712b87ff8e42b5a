"""The raw pages of complete pulls, read back as buckets: those of the newest word, and those that slices stand on.

Pages are streamed, one unpacked at a time, whatever days they hold. In come pull days; out come buckets on the grid,
oldest first.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from itertools import groupby
from typing import Final

import msgspec
import zstandard
from sqlalchemy import Connection

from usage_pipeline.ledger.pulls import PullDay, StoredPage, is_pruned, pull_days_since, stream_pages
from usage_pipeline.ledger.slices import Slice
from usage_pipeline.providers.contract import WIDTH_SECONDS, Bucket, Endpoint, PageQuery, Provider
from usage_pipeline.pulls.ranges import floor_to_grid

Days = Iterator[tuple[date, Iterator[Bucket]]]

_WIDTHS: Final = {seconds: width for width, seconds in WIDTH_SECONDS.items()}
_SPLIT: Final = msgspec.json.Decoder(list[msgspec.Raw])


class StoredAnswers:
    """One endpoint's stored pages.

    The page read last is kept: where the newer and the standing pull have the same page, asked for alike, it is
    unpacked once.
    """

    def __init__(self, connection: Connection, provider: Provider, endpoint: Endpoint) -> None:
        self.connection = connection
        self.provider = provider
        self.endpoint = endpoint
        self._decompressor = zstandard.ZstdDecompressor()
        self._last: tuple[bytes, PageQuery | None, Sequence[Bucket]] = (b"", None, ())

    def days(self, words: Sequence[PullDay]) -> Days:
        """The buckets from the first to the last of the words' days, day by day. The words share one content pull.

        A day's buckets must be used before the next day is asked for.
        """
        return groupby(self._buckets(words), key=lambda bucket: bucket.start.date())

    def day(self, word: PullDay) -> Iterator[Bucket]:
        """The buckets of the word's day."""
        return (bucket for bucket in self._buckets([word]) if bucket.start.date() == word.day)

    def _buckets(self, words: Sequence[PullDay]) -> Iterator[Bucket]:
        buckets = self._as_answered(words)
        return whole_buckets(buckets) if self.endpoint.one_day_per_request else buckets

    def _as_answered(self, words: Sequence[PullDay]) -> Iterator[Bucket]:
        step = timedelta(seconds=words[0].window_seconds)
        first, last = min(word.day for word in words), max(word.day for word in words)
        for page in stream_pages(self.connection, words[0].content_pull_id, first, last):
            for bucket in self._page(words[0], page):
                yield Bucket(floor_to_grid(bucket.start, step), bucket.results)

    def _page(self, word: PullDay, stored: StoredPage) -> Sequence[Bucket]:
        asked = PageQuery(
            stored.asked_from,
            stored.asked_until,
            _WIDTHS[word.window_seconds],
            word.dimensions_asked,
            word.projects,
        )
        # One body reads otherwise under another scope, where the provider's module narrows it, or over other days.
        if (stored.body_zstd, asked) != self._last[:2]:
            page = self.provider.read_page(self.endpoint, self._decompressor.decompress(stored.body_zstd), asked)
            self._last = (stored.body_zstd, asked, page.buckets)
        return self._last[2]


def whole_buckets(parts: Iterable[Bucket]) -> Iterator[Bucket]:
    """Buckets that came in parts, put together: each start once, oldest first. Days come one after the other.

    One day is held in memory, since a part of its first bucket may come last.
    """
    for _, of_day in groupby(parts, key=lambda bucket: bucket.start.date()):
        rows: dict[datetime, list[bytes]] = defaultdict(list)
        for part in of_day:
            rows[part.start] += map(bytes, _SPLIT.decode(part.results))
        for start in sorted(rows):
            yield Bucket(start, msgspec.Raw(b"[%b]" % b",".join(rows[start])))


class StandingAnswers:
    """The answers that slices were made from, to be held against newer ones of the same shape.

    Days are asked for in their order, so that each pull's pages are streamed once.
    """

    def __init__(self, answers: StoredAnswers, words: Iterable[PullDay], slices: Mapping[date, Slice]) -> None:
        self._words = {
            word.day: standing
            for word in words
            if word.day in slices
            and (standing := _standing_word(answers, slices[word.day])) is not None
            and _shape(standing) == _shape(word)
            and not is_pruned(answers.connection, standing.content_pull_id, standing.day)
        }
        by_pull: dict[int, list[PullDay]] = defaultdict(list)
        for standing in self._words.values():
            by_pull[standing.content_pull_id].append(standing)
        self._days = {pull_id: answers.days(of_pull) for pull_id, of_pull in by_pull.items()}

    def of(self, slice_: Slice) -> Iterator[Bucket] | None:
        """The buckets that the slice, now locked, was made from; None where that is not known or kept any more."""
        standing = self._words.get(slice_.day)
        if standing is None or standing.digest != slice_.content_digest:
            return None
        return next((buckets for day, buckets in self._days[standing.content_pull_id] if day == slice_.day), None)


def _standing_word(answers: StoredAnswers, slice_: Slice) -> PullDay | None:
    if slice_.observed_at is None or slice_.row_count == 0:
        return None
    words = pull_days_since(answers.connection, slice_.feed_id, answers.endpoint.name, slice_.day, slice_.observed_at)
    return next((word for word in words if word.digest == slice_.content_digest), None)


def _shape(word: PullDay) -> tuple[int, frozenset[str]]:
    """What events' keys hang on besides the answer itself."""
    return word.window_seconds, frozenset(word.dimensions_asked)
