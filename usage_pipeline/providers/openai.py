"""OpenAI's organisation usage and cost API: https://api.openai.com/v1/organization/usage/… and …/costs.

Source of the facts: OpenAI's OpenAPI description (openai/openai-openapi, August 2026) and, where the description is
silent, recorded answers. What is read here and nowhere else:

* Array parameters are repeated bare names (``group_by=model&group_by=batch``), the description's default style.
* ``limit`` counts buckets. Above the largest value the API answers 400, so the largest is asked for.
* Buckets are UTC. The first one's start is clipped to the query's start, the open one is answered and keeps rising.

The rows are read beside: ``openai_completions``, ``openai_usage_rows`` (every other usage report), ``openai_costs``,
and ``openai_legacy`` for what a standard key may ask.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec

from usage_pipeline.credentials.secret import Secret
from usage_pipeline.errors import InvariantError, UsagePipelineError
from usage_pipeline.providers.base_urls import checked_base_url
from usage_pipeline.providers.contract import (
    AccountQuestion,
    BilledLine,
    Drift,
    Endpoint,
    Page,
    PageQuery,
    Role,
    UsageRow,
)
from usage_pipeline.providers.openai_completions import completion_rows
from usage_pipeline.providers.openai_costs import cost_lines
from usage_pipeline.providers.openai_endpoints import COMPLETIONS as COMPLETIONS
from usage_pipeline.providers.openai_endpoints import COSTS as COSTS
from usage_pipeline.providers.openai_endpoints import ENDPOINTS
from usage_pipeline.providers.openai_legacy import is_legacy, legacy_page, legacy_rows
from usage_pipeline.providers.openai_refusals import openai_refusal
from usage_pipeline.providers.openai_usage_rows import has_report, report_rows
from usage_pipeline.providers.rows import UNREADABLE, broken, is_missing, page_of, where_of

NAME: Final = "openai"
TITLE: Final = "OpenAI"

_ORGANISATION: Final = re.compile(rb'"organization_id"\s*:\s*"(org-[A-Za-z0-9_-]+)"')


class _Bucket(msgspec.Struct):
    start_time: int
    results: msgspec.Raw = msgspec.Raw()
    result: msgspec.Raw = msgspec.Raw()  # the spelling of older generated documents


class _Page(msgspec.Struct):
    data: list[_Bucket]
    has_more: bool = False
    next_page: str | None = None


_PAGE: Final = msgspec.json.Decoder(_Page)


class OpenAI:
    """OpenAI's API as a :class:`~usage_pipeline.providers.contract.Provider`."""

    name = NAME
    title = TITLE
    role: Role = "vendor"
    default_base_url = "https://api.openai.com/v1"
    account_question: AccountQuestion | None = None
    endpoints = ENDPOINTS

    def normalise_base_url(self, base_url: str) -> str:
        """The base URL with ``/v1`` where a bare host was given. Raises ``InvalidInputError``."""
        parts = checked_base_url(base_url, f"{NAME} base URL")
        return parts._replace(path=parts.path or "/v1").geturl()

    def headers(self, secret: Secret) -> Mapping[str, str]:
        """The key as a bearer token: an admin key, or a standard key for the legacy endpoints."""
        return {"Authorization": f"Bearer {secret.reveal()}"}

    def query(self, endpoint: Endpoint, page: PageQuery) -> Sequence[tuple[str, str]]:
        """Times are Unix seconds; ``group_by`` follows the endpoint's own order. A legacy request is a date alone."""
        if is_legacy(endpoint):
            return [("date", page.start.date().isoformat())]
        query = [
            ("start_time", str(int(page.start.timestamp()))),
            ("end_time", str(int(page.end.timestamp()))),
            ("bucket_width", page.width),
            ("limit", str(page.limit_of(endpoint))),
        ]
        query += [("group_by", theirs) for ours, theirs in endpoint.dimensions.items() if ours in page.dimensions]
        query += [("project_ids", project) for project in page.projects]
        if page.cursor is not None:
            query.append(("page", page.cursor))
        return query

    def read_page(self, endpoint: Endpoint, body: bytes, asked: PageQuery) -> Page:
        """Read the envelope. Raises ``ContractBrokenError``: ``page_unreadable``, and those of ``rows.page_of`` and of
        ``openai_legacy.legacy_page``."""
        where = where_of(NAME, endpoint)
        if is_legacy(endpoint):
            return legacy_page(endpoint, body, asked, where)
        try:
            page = _PAGE.decode(body)
            buckets = [
                (
                    datetime.fromtimestamp(bucket.start_time, UTC),
                    bucket.result if is_missing(bucket.results) else bucket.results,
                )
                for bucket in page.data
            ]
        except (*UNREADABLE, OverflowError, ValueError, OSError) as error:
            problem = str(error)
        else:
            return page_of(where, buckets, page.has_more, page.next_page)
        raise broken("page_unreadable", f"the answer is no page of buckets: {problem}", where)

    def account_told(self, endpoint: Endpoint, body: bytes) -> str | None:
        """The organisation that live answers name in their rows, though no document tells of it."""
        told = _ORGANISATION.search(body)
        return told.group(1).decode() if told else None

    def usage_rows(
        self, endpoint: Endpoint, results: msgspec.Raw, asked: tuple[str, ...], drift: Drift
    ) -> Iterator[UsageRow]:
        """Canonical rows of one bucket. Raises ``ContractBrokenError``."""
        where = where_of(NAME, endpoint)
        if endpoint.name == COMPLETIONS.name:
            return completion_rows(results, asked, drift, where)
        if has_report(endpoint):
            return report_rows(endpoint, results, asked, drift, where)
        if is_legacy(endpoint):
            return legacy_rows(endpoint, results, asked, drift, where)
        raise InvariantError("not_a_usage_endpoint", "this endpoint has no usage rows", where=endpoint.name)

    def billed_lines(
        self, endpoint: Endpoint, results: msgspec.Raw, asked: tuple[str, ...], drift: Drift
    ) -> Iterator[BilledLine]:
        """Billed lines of one UTC day. Raises ``ContractBrokenError``."""
        if endpoint.name != COSTS.name:
            raise InvariantError("not_a_cost_endpoint", "this endpoint has no billed lines", where=endpoint.name)
        return cost_lines(results, asked, drift, where_of(NAME, endpoint))

    def refusal(self, endpoint: Endpoint, status: int, body: bytes) -> UsagePipelineError:
        """The refusal; see ``openai_refusals.openai_refusal``."""
        return openai_refusal(NAME, TITLE, endpoint, status, body)


PROVIDER: Final = OpenAI()
