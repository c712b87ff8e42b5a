"""One page of an OpenAI usage or costs report: the envelope, its buckets, and what live answers add to them.

In: the query, the buckets of this page and each bucket's results. Out: the answer with its cursor, after any fault.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TypeVar

from usage_pipeline.sandbox.exchange import Answer, Document, Scene, spoil
from usage_pipeline.sandbox.openai_directory import project_name
from usage_pipeline.sandbox.openai_request import OpenAiQuery
from usage_pipeline.sandbox.organisations import OPENAI_ORGANISATION_ID, OPENAI_ORGANISATION_NAME, USER_EMAILS
from usage_pipeline.sandbox.paging import Bucket, Cursor, page_token
from usage_pipeline.sandbox.traffic import DAY_SECONDS

Key = tuple[object, ...]
Total = TypeVar("Total")


def ordered(groups: dict[Key, Total]) -> Iterable[tuple[Key, Total]]:
    """The groups of a bucket in the order in which they are answered."""
    return sorted(groups.items(), key=lambda item: str(item[0]))


def page(query: OpenAiQuery, buckets: tuple[Bucket, ...], results: list[list[Document]], scene: Scene) -> Answer:
    """The answer that holds these buckets."""
    end_s = buckets[-1].end_s
    following = (
        page_token(Cursor(query.here.end_s, end_s, query.here.page_number + 1), query.digest)
        if end_s < query.here.end_s
        else None
    )
    body: Document = {
        "object": "page",
        "data": [
            _bucket(bucket, held, scene.switches.openai_extras) for bucket, held in zip(buckets, results, strict=True)
        ],
        "has_more": following is not None,
        "next_page": scene.switches.openai_last_cursor if following is None else following,
    }
    return Answer(200, spoil(body, query.here, query.digest, scene.faults))


def extras(group: dict[str, object]) -> Document:
    """Fields that live answers carry though no document names them."""
    return {
        "organization_id": OPENAI_ORGANISATION_ID,
        "organization_name": OPENAI_ORGANISATION_NAME,
        "project_name": project_name(group.get("project_id")),
        "user_email": USER_EMAILS.get(str(group.get("user_id"))),
    }


def _bucket(bucket: Bucket, results: list[Document], with_extras: bool) -> Document:
    document: Document = {
        "object": "bucket",
        "start_time": bucket.start_s,
        "end_time": bucket.end_s,
        "results": results,
    }
    if with_extras:
        # The live answers write these sometimes with and sometimes without a zone.
        zone = "+00:00" if bucket.start_s // DAY_SECONDS % 2 else ""
        for name, at_s in (("start_time_iso", bucket.start_s), ("end_time_iso", bucket.end_s)):
            document[name] = datetime.fromtimestamp(at_s, UTC).replace(tzinfo=None).isoformat() + zone
    return document
