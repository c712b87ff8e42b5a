"""A raw page as it came: the provider's answer, verbatim, and the request that it answers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import zstandard
from sqlalchemy import Connection, text

from usage_pipeline.errors import PermanentError

_NUMBER_MAX = 2**31 - 1
_PULL_ID_MAX = 2**63 - 1


@dataclass(frozen=True, slots=True)
class RawPage:
    """One answer. ``query`` is what was asked, never the secret; ``body`` is byte for byte what came."""

    pull_id: int
    page_number: int
    key: str
    endpoint: str
    query: dict[str, Any]
    fetched_at: datetime
    body: bytes


def find_raw_page(connection: Connection, pull_id: int, page_number: int) -> RawPage | None:
    """The page of that number of that pull; None where there is none.

    Raises :class:`PermanentError` ``raw_page_pruned`` where retention took its body.
    """
    if not (0 < pull_id <= _PULL_ID_MAX and 0 <= page_number <= _NUMBER_MAX):
        return None
    row = connection.execute(
        text(
            "SELECT f.slug, p.endpoint, r.query, r.fetched_at, r.body_zstd, r.body_bytes, r.digest FROM raw_pages AS r"
            " JOIN pulls AS p USING (pull_id) JOIN feeds AS f USING (feed_id)"
            " WHERE r.pull_id = :pull_id AND r.page_number = :page_number"
        ),
        {"pull_id": pull_id, "page_number": page_number},
    ).one_or_none()
    if row is None:
        return None
    if not row.body_zstd:
        raise PermanentError(
            "raw_page_pruned",
            f"its body ({row.body_bytes:,} bytes, SHA-256 {bytes(row.digest).hex()}) was pruned by retention",
            where=f"{pull_id}/{page_number}",
            remedy="Its digest proves a copy, such as one in a backup of before.",
        )
    body = zstandard.decompress(bytes(row.body_zstd))
    return RawPage(pull_id, page_number, row.slug, row.endpoint, row.query, row.fetched_at, body)
