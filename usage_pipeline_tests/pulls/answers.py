"""Answers in OpenAI's envelope, and a source that serves them from memory as if they had been stored."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from usage_pipeline.providers.contract import Endpoint, PageQuery

Bucket = tuple[datetime, list[dict[str, Any]]]


def completion(input_tokens: int = 10, **fields: Any) -> dict[str, Any]:
    return {"input_tokens": input_tokens, "output_tokens": 1, "num_model_requests": 1, "model": "gpt-4o", **fields}


def page(buckets: Sequence[Bucket], cursor: str | None = None) -> bytes:
    """One page; its ``end_time`` is the last bucket's "now", which differs from pull to pull."""
    data = [
        {"object": "bucket", "start_time": int(start.timestamp()), "end_time": 0, "results": results}
        for start, results in buckets
    ]
    return json.dumps({"object": "page", "data": data, "has_more": cursor is not None, "next_page": cursor}).encode()


class StoredPages:
    """Serves pages in order, remembering how it was asked."""

    def __init__(self, *bodies: bytes) -> None:
        self.bodies = bodies
        self.asked: list[PageQuery] = []

    def clock(self) -> datetime:
        return datetime(2026, 11, 21, 12, 0, tzinfo=UTC)

    def fetch_page(self, endpoint: Endpoint, page: PageQuery) -> bytes:
        self.asked.append(page)
        return self.bodies[len(self.asked) - 1]


def paged(buckets: Sequence[Bucket], cuts: Sequence[int]) -> StoredPages:
    """The buckets, cut into pages at ``cuts``; equal cuts make empty pages in between."""
    edges = [0, *sorted(cuts), len(buckets)]
    parts = [buckets[low:high] for low, high in itertools.pairwise(edges)]
    return StoredPages(*(page(part, f"page_{n}" if n < len(parts) else None) for n, part in enumerate(parts, start=1)))
