"""LiteLLM's spend logs, one row a call: pages become hour buckets, calls become canonical usage rows.

The facts and their source are told in ``litellm``. Comes in: a page's body or a bucket's results. Goes out: buckets or
rows. A call falls into the bucket in which it began (``startTime``, UTC).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import msgspec

from usage_pipeline.hermes.routes import provider_slug
from usage_pipeline.providers.canonical_row import results_of, usage_row
from usage_pipeline.providers.contract import WIDTH_SECONDS, Bucket, Drift, Endpoint, Page, PageQuery, UsageRow
from usage_pipeline.providers.rows import UNREADABLE, Count, RowReader, broken, note_total_off, utc

SPEND_LOGS: Final = Endpoint(
    name="spend_logs",
    path="/spend/logs/v2",
    kind="usage",
    family="text",
    dimensions={
        "model": "model",
        "upstream_provider": "custom_llm_provider",
        "api_key_id": "api_key",
        "user_id": "user",
        "project_id": "team_id",
    },
    dimensions_max=5,
    page_limits={"1h": 24, "1d": 1},
    always_reports=frozenset({"uncached_input", "cache_read", "cache_write_unsplit", "output", "requests"}),
    may_report=frozenset({"reasoning"}),
    one_day_per_request=True,
)

COUNT_CAP: Final = 10_000
"""Up to here the proxy counts the rows of a request. Versions that do not say whether they stopped stop here too."""

FROM_CACHE: Final = "answered from the proxy's cache"
TOOL_CALLS: Final = "calls of tools"
"""Why rows are left out: words in ``drift.not_counted``."""

UNREADABLE_METADATA: Final = "metadata"
"""The name in ``drift.totals_off`` for rows whose cached tokens cannot be read: all their input is uncached then."""


# What the proxy calls a way of calling a vendor, where that is not the vendor's name.
_UPSTREAMS: Final = {"text-completion-openai": "openai"}


@dataclass(frozen=True, slots=True)
class Cursor:
    """Which page comes next, and how many rows of the pages before it are the next day's (they are in the total)."""

    page: int = 1
    at_the_end: int = 0

    @classmethod
    def read(cls, written: str | None) -> Cursor:
        """From what :meth:`written` gave; the first page for None."""
        page, _, at_the_end = (written or "1").partition("+")
        return cls(int(page), int(at_the_end or 0))

    def written(self) -> str:
        """As a page query carries it."""
        return f"{self.page}+{self.at_the_end}" if self.at_the_end else str(self.page)


class _Page(msgspec.Struct):
    data: list[msgspec.Raw]
    total: int
    page: int
    page_size: int
    total_is_capped: bool | None = None


class _DatedRow(msgspec.Struct, gc=False):
    startTime: datetime  # noqa: N815 - the proxy's own name
    team_id: str | None = None


class _PromptDetails(msgspec.Struct, gc=False):
    cached_tokens: Count | None = None
    cache_write_tokens: Count | None = None
    cache_creation_tokens: Count | None = None


class _CompletionDetails(msgspec.Struct, gc=False):
    reasoning_tokens: Count | None = None


class _Usage(msgspec.Struct, gc=False):
    cache_read_input_tokens: Count | None = None
    cache_creation_input_tokens: Count | None = None
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None


class _Metadata(msgspec.Struct, gc=False):
    usage_object: _Usage | None = None
    additional_usage_values: _Usage | None = None


class _Call(msgspec.Struct, gc=False):
    """One call. What is of no use here is named so that it is known."""

    startTime: msgspec.Raw  # noqa: N815 - the proxy's own name
    prompt_tokens: Count
    completion_tokens: Count
    model: str = ""
    api_key: str = ""
    user: str | None = None
    team_id: str | None = None
    custom_llm_provider: str | None = None
    status: str | None = None
    cache_hit: str | None = None
    mcp_namespaced_tool_name: str | None = None
    metadata: msgspec.Raw = msgspec.Raw()
    request_id: msgspec.Raw = msgspec.Raw()
    call_type: msgspec.Raw = msgspec.Raw()
    spend: msgspec.Raw = msgspec.Raw()
    total_tokens: msgspec.Raw = msgspec.Raw()
    endTime: msgspec.Raw = msgspec.Raw()  # noqa: N815
    completionStartTime: msgspec.Raw = msgspec.Raw()  # noqa: N815
    request_duration_ms: msgspec.Raw = msgspec.Raw()
    model_id: msgspec.Raw = msgspec.Raw()
    model_group: msgspec.Raw = msgspec.Raw()
    api_base: msgspec.Raw = msgspec.Raw()
    cache_key: msgspec.Raw = msgspec.Raw()
    request_tags: msgspec.Raw = msgspec.Raw()
    organization_id: msgspec.Raw = msgspec.Raw()
    end_user: msgspec.Raw = msgspec.Raw()
    requester_ip_address: msgspec.Raw = msgspec.Raw()
    messages: msgspec.Raw = msgspec.Raw()
    response: msgspec.Raw = msgspec.Raw()
    proxy_server_request: msgspec.Raw = msgspec.Raw()
    session_id: msgspec.Raw = msgspec.Raw()
    agent_id: msgspec.Raw = msgspec.Raw()
    billing_agent_id: msgspec.Raw = msgspec.Raw()
    litellm_call_id: msgspec.Raw = msgspec.Raw()
    created_at: msgspec.Raw = msgspec.Raw()
    updated_at: msgspec.Raw = msgspec.Raw()


class _StrictCall(_Call, gc=False, forbid_unknown_fields=True):
    pass


_PAGE: Final = msgspec.json.Decoder(_Page)
_DATED_ROW: Final = msgspec.json.Decoder(_DatedRow)
_CALLS: Final = RowReader[_Call](_StrictCall, _Call, nested={})
_METADATA: Final = msgspec.json.Decoder(_Metadata | None)
_METADATA_TEXT: Final = msgspec.json.Decoder(str)


def read_logs_page(body: bytes, asked: PageQuery, where: str) -> Page:
    """The page's calls by the bucket in which they began; a bucket may come again on the next page.

    Calls at the very end of what was asked for (midnight, which the next day has) and of teams outside the key's scope
    are left out. ``rows_in_all`` is known where the proxy counted to the end and nothing was narrowed. Raises
    ``ContractBrokenError`` ``page_unreadable``.
    """
    try:
        page = _PAGE.decode(body)
        buckets, at_the_end = _by_bucket(page.data, asked)
    except UNREADABLE as error:
        problem = str(error)
    else:
        at_the_end += Cursor.read(asked.cursor).at_the_end
        is_full = len(page.data) >= page.page_size
        is_capped = page.total == COUNT_CAP if page.total_is_capped is None else page.total_is_capped
        return Page(
            [Bucket(start, results_of(rows)) for start, rows in sorted(buckets.items())],
            Cursor(page.page + 1, at_the_end).written() if is_full else None,
            None if is_capped or asked.projects else page.total - at_the_end,
        )
    raise broken("page_unreadable", f"the answer is no page of spend logs: {problem}", where)


def _by_bucket(rows: list[msgspec.Raw], asked: PageQuery) -> tuple[dict[datetime, list[msgspec.Raw]], int]:
    step = timedelta(seconds=WIDTH_SECONDS[asked.width])
    buckets: dict[datetime, list[msgspec.Raw]] = defaultdict(list)
    at_the_end = 0
    for raw in rows:
        row = _DATED_ROW.decode(raw)
        start = utc(row.startTime)
        if start == asked.end:
            at_the_end += 1
        elif not asked.projects or row.team_id in asked.projects:
            buckets[asked.start + (start - asked.start) // step * step].append(raw)
    return buckets, at_the_end


def spend_log_rows(results: msgspec.Raw, drift: Drift, where: str) -> Iterator[UsageRow]:
    """Canonical rows of one bucket's calls. Raises ``ContractBrokenError``."""
    for call in _CALLS.read(results, drift, where):
        dimensions = {
            "model": call.model,
            "upstream_provider": _upstream(call.custom_llm_provider or ""),
            "api_key_id": call.api_key,
            "user_id": call.user,
            "project_id": call.team_id,
        }
        drift.answered_dimensions.update(name for name, value in dimensions.items() if value)
        why_not = _why_not_counted(call)
        if why_not:
            drift.not_counted[why_not] = drift.not_counted.get(why_not, 0) + 1
            continue
        parts = _parts(call, drift)
        yield usage_row(
            dimensions,
            {
                "uncached_input": call.prompt_tokens - parts.cache_read - parts.cache_write,
                "cache_read": parts.cache_read,
                "cache_write_unsplit": parts.cache_write,
                "output": call.completion_tokens,
                "reasoning": parts.reasoning,
                "requests": 0 if call.status == "failure" else 1,
            },
        )


def _why_not_counted(call: _Call) -> str | None:
    if (call.cache_hit or "").lower() == "true":
        return FROM_CACHE
    return TOOL_CALLS if call.mcp_namespaced_tool_name else None


@dataclass(frozen=True, slots=True)
class _Parts:
    """Tokens inside ``prompt_tokens`` (cached, written) and inside ``completion_tokens`` (reasoning)."""

    cache_read: int
    cache_write: int
    reasoning: int | None


def _parts(call: _Call, drift: Drift) -> _Parts:
    """What the call's metadata tells of its tokens, never more than the row's own totals."""
    try:
        metadata = _METADATA.decode(_unwrapped(bytes(call.metadata)))
    except UNREADABLE:
        note_total_off(drift, UNREADABLE_METADATA)
        return _Parts(0, 0, None)
    told = [] if metadata is None else [metadata.usage_object, metadata.additional_usage_values]
    usages = [usage for usage in told if usage is not None]
    cached = next((n for usage in usages if (n := _cache_read(usage))), 0)
    written = next((n for usage in usages if (n := _cache_write(usage))), 0)
    of_output = [usage.completion_tokens_details for usage in usages if usage.completion_tokens_details is not None]
    reasoning = next((details.reasoning_tokens for details in of_output), None)
    if cached + written > call.prompt_tokens:
        note_total_off(drift, "prompt_tokens")
        cached = min(cached, call.prompt_tokens)
        written = call.prompt_tokens - cached
    return _Parts(cached, written, reasoning)


def _unwrapped(metadata: bytes) -> bytes:
    """The metadata's JSON: some versions answer it as a text that holds JSON."""
    if metadata.startswith(b'"'):
        return _METADATA_TEXT.decode(metadata).encode() or b"null"
    return metadata or b"null"


def _cache_read(usage: _Usage) -> int:
    details = usage.prompt_tokens_details
    return usage.cache_read_input_tokens or (details.cached_tokens if details else None) or 0


def _cache_write(usage: _Usage) -> int:
    details = usage.prompt_tokens_details
    in_details = (details.cache_write_tokens or details.cache_creation_tokens) if details else None
    return usage.cache_creation_input_tokens or in_details or 0


def _upstream(provider: str) -> str:
    """The slug of the vendor that a call was passed on to; ``unknown`` where the log does not say."""
    slug = provider_slug(provider)
    return _UPSTREAMS.get(slug, slug)
