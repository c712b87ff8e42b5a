"""OpenAI's organisation usage and cost API: https://api.openai.com/v1/organization/usage/… and …/costs.

Source of the facts: OpenAI's OpenAPI description (openai/openai-openapi, August 2026) and, where the description is
silent, recorded answers. What is read here and nowhere else:

* Array parameters are repeated bare names (``group_by=model&group_by=batch``), the description's default style.
* ``limit`` counts buckets. Above the largest value the API answers 400, so the largest is asked for.
* Buckets are UTC. The first one's start is clipped to the query's start, the open one is answered and keeps rising.
* Cached and cache-write tokens are inside ``input_tokens``: they are taken out to get disjoint classes.
* ``amount.value`` is US dollars, a JSON number or a string of up to 39 decimals.

Two generations of the token contract exist (the change is of July 2026); ``_split_input`` tells them apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

import msgspec
from msgspec.structs import astuple

from usage_pipeline.credentials.secret import Secret
from usage_pipeline.errors import InvariantError, UsagePipelineError
from usage_pipeline.providers.base_urls import checked_base_url
from usage_pipeline.providers.contract import BilledLine, Drift, Endpoint, Page, PageQuery, UsageRow
from usage_pipeline.providers.openai_line_items import read_line_item
from usage_pipeline.providers.refusals import LookbackExceededError, provider_code, provider_message, refusal_of
from usage_pipeline.providers.rows import (
    UNREADABLE,
    Count,
    RowReader,
    broken,
    exact_amount,
    is_missing,
    not_yet_answered,
    note_answered,
    note_total_off,
    page_of,
    where_of,
)

NAME: Final = "openai"
TITLE: Final = "OpenAI"

COMPLETIONS: Final = Endpoint(
    name="completions",
    path="/organization/usage/completions",
    kind="usage",
    family="text",
    dimensions={
        "project_id": "project_id",
        "user_id": "user_id",
        "api_key_id": "api_key_id",
        "model": "model",
        "batch": "batch",
        "service_tier": "service_tier",
        # Known to the newest SDK only, not to the published description: beyond dimensions_max, so that it is asked
        # for only by someone who names it.
        "api_source": "api_source",
    },
    dimensions_max=6,
    page_limits={"1h": 168, "1d": 31},
    always_reports=frozenset({"uncached_input", "cache_read", "cache_write_unsplit", "output", "requests"}),
    may_report=frozenset(
        {
            "cache_write_30m",
            "cache_write_12h",
            "input_text",
            "input_audio",
            "input_image",
            "cache_read_text",
            "cache_read_audio",
            "cache_read_image",
            "output_text",
            "output_audio",
            "output_image",
        }
    ),
)

# api_key_id is groupable on paper, and refused with 400 for some organisations and for days before 2025-12-06.
COSTS: Final = Endpoint(
    name="costs",
    path="/organization/costs",
    kind="costs",
    family="costs",
    dimensions={"project_id": "project_id", "label": "line_item"},
    dimensions_max=2,
    page_limits={"1d": 180},
)


class _Bucket(msgspec.Struct):
    start_time: int
    results: msgspec.Raw = msgspec.Raw()
    result: msgspec.Raw = msgspec.Raw()  # the spelling of older generated documents


class _Page(msgspec.Struct):
    data: list[_Bucket]
    has_more: bool = False
    next_page: str | None = None


class _Completion(msgspec.Struct, gc=False):
    """One completions result. The order of the first 24 fields is the order of ``_completions``."""

    input_tokens: Count
    output_tokens: Count
    num_model_requests: Count
    input_uncached_tokens: Count | None = None
    input_cached_tokens: Count | None = None
    input_cache_write_tokens: Count | None = None
    input_cache_write_30m_tokens: Count | None = None
    input_cache_write_12h_tokens: Count | None = None
    input_text_tokens: Count | None = None
    input_audio_tokens: Count | None = None
    input_image_tokens: Count | None = None
    input_cached_text_tokens: Count | None = None
    input_cached_audio_tokens: Count | None = None
    input_cached_image_tokens: Count | None = None
    output_text_tokens: Count | None = None
    output_audio_tokens: Count | None = None
    output_image_tokens: Count | None = None
    project_id: str | None = None
    user_id: str | None = None
    api_key_id: str | None = None
    model: str | None = None
    batch: bool | None = None
    service_tier: str | None = None
    api_source: str | None = None
    # Answered live though undocumented, and of no use here (names change, ids do not): named so that they are known.
    object: msgspec.Raw = msgspec.Raw()
    organization_id: msgspec.Raw = msgspec.Raw()
    organization_name: msgspec.Raw = msgspec.Raw()
    project_name: msgspec.Raw = msgspec.Raw()
    user_email: msgspec.Raw = msgspec.Raw()


class _StrictCompletion(_Completion, gc=False, forbid_unknown_fields=True):
    pass


class _Amount(msgspec.Struct, gc=False):
    value: Decimal | None = None
    currency: str | None = None


class _StrictAmount(_Amount, gc=False, forbid_unknown_fields=True):
    pass


class _Cost(msgspec.Struct, gc=False):
    amount: _Amount | None = None
    line_item: str | None = None
    quantity: Decimal | None = None
    quantity_unit: str | None = None
    project_id: str | None = None
    user_id: str | None = None
    api_key_id: str | None = None
    api_source: str | None = None
    object: msgspec.Raw = msgspec.Raw()
    organization_id: msgspec.Raw = msgspec.Raw()
    organization_name: msgspec.Raw = msgspec.Raw()
    project_name: msgspec.Raw = msgspec.Raw()
    user_email: msgspec.Raw = msgspec.Raw()


class _StrictCost(_Cost, gc=False, forbid_unknown_fields=True):
    amount: _StrictAmount | None = None


_PAGE: Final = msgspec.json.Decoder(_Page)
_COMPLETIONS: Final = RowReader[_Completion](_StrictCompletion, _Completion, nested={})
_COSTS: Final = RowReader[_Cost](_StrictCost, _Cost, nested={"amount": _Amount})


class OpenAI:
    """OpenAI's API as a :class:`~usage_pipeline.providers.contract.Provider`."""

    name = NAME
    title = TITLE
    default_base_url = "https://api.openai.com/v1"
    endpoints = (COMPLETIONS, COSTS)

    def normalise_base_url(self, base_url: str) -> str:
        """The base URL with ``/v1`` where a bare host was given. Raises ``InvalidInputError``."""
        parts = checked_base_url(base_url, f"{NAME} base URL")
        return parts._replace(path=parts.path or "/v1").geturl()

    def headers(self, secret: Secret) -> Mapping[str, str]:
        """The admin key as a bearer token."""
        return {"Authorization": f"Bearer {secret.reveal()}"}

    def query(self, endpoint: Endpoint, page: PageQuery) -> Sequence[tuple[str, str]]:
        """Times are Unix seconds; ``group_by`` follows the endpoint's own order."""
        query = [
            ("start_time", str(int(page.start.timestamp()))),
            ("end_time", str(int(page.end.timestamp()))),
            ("bucket_width", page.width),
            ("limit", str(endpoint.page_limits[page.width])),
        ]
        query += [("group_by", theirs) for ours, theirs in endpoint.dimensions.items() if ours in page.dimensions]
        query += [("project_ids", project) for project in page.projects]
        if page.cursor is not None:
            query.append(("page", page.cursor))
        return query

    def read_page(self, endpoint: Endpoint, body: bytes) -> Page:
        """Read the envelope. Raises ``ContractBrokenError``: ``page_unreadable`` and those of ``rows.page_of``."""
        where = where_of(NAME, endpoint)
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

    def usage_rows(
        self, endpoint: Endpoint, results: msgspec.Raw, asked: tuple[str, ...], drift: Drift
    ) -> Iterator[UsageRow]:
        """Canonical rows of one bucket's completions. Raises ``ContractBrokenError``."""
        if endpoint.name != COMPLETIONS.name:
            raise InvariantError("not_a_usage_endpoint", "this endpoint has no usage rows", where=endpoint.name)
        return _completions(results, asked, drift, where_of(NAME, endpoint))

    def billed_lines(
        self, endpoint: Endpoint, results: msgspec.Raw, asked: tuple[str, ...], drift: Drift
    ) -> Iterator[BilledLine]:
        """Billed lines of one UTC day. Raises ``ContractBrokenError``."""
        if endpoint.name != COSTS.name:
            raise InvariantError("not_a_cost_endpoint", "this endpoint has no billed lines", where=endpoint.name)
        return _billed_lines(results, asked, drift, where_of(NAME, endpoint))

    def refusal(self, endpoint: Endpoint, status: int, body: bytes) -> UsagePipelineError:
        """The refusal; ``lookback_exceeded`` where the range begins before the year that OpenAI keeps."""
        if status == 400 and provider_code(body) == "reporting_lookback_exceeded":
            return LookbackExceededError.from_message(where_of(NAME, endpoint), provider_message(body))
        return refusal_of(NAME, TITLE, endpoint, status, body)


PROVIDER: Final = OpenAI()


def _completions(results: msgspec.Raw, asked: tuple[str, ...], drift: Drift, where: str) -> Iterator[UsageRow]:
    waiting = not_yet_answered(asked, drift)
    for row in _COMPLETIONS.read(results, drift, where):
        (
            input_tokens, output, requests,
            uncached, cached, written, written_30m, written_12h,
            text, audio, image, cached_text, cached_audio, cached_image, output_text, output_audio, output_image,
            project_id, user_id, api_key_id, model, batch, service_tier, api_source,
        ) = astuple(row)[:24]  # fmt: skip
        if uncached is None or cached is None or written is None:
            told = uncached
            uncached, cached, written, output = _split_input(row, where)
            if told is not None and told != uncached:
                note_total_off(drift, "input_tokens")
        elif uncached + cached + written != input_tokens:
            note_total_off(drift, "input_tokens")
            uncached = _rest_of_input(input_tokens, cached + written, where)
        unsplit = written - (written_30m or 0) - (written_12h or 0)
        if unsplit < 0:
            raise broken("cache_writes_over_total", "more cache writes by lifetime than cache writes in all", where)
        if text is not None:
            if text + (audio or 0) + (image or 0) != uncached:
                note_total_off(drift, "input_uncached_tokens")
            if (cached_text or 0) + (cached_audio or 0) + (cached_image or 0) != cached and cached_text is not None:
                note_total_off(drift, "input_cached_tokens")
        if output_text is not None and output_text + (output_audio or 0) + (output_image or 0) != output:
            note_total_off(drift, "output_tokens")
        dimensions = (
            project_id or None,
            user_id or None,
            None,
            api_key_id or None,
            model or None,
            service_tier or None,
            None if batch is None else "true" if batch else "false",
            None,
            None,
            None,
            api_source or None,
            None,
        )
        if waiting:
            waiting = note_answered(waiting, dimensions, drift)
        yield UsageRow(
            dimensions,
            (
                uncached, cached, None, written_30m, None, written_12h, unsplit, output,
                None, requests, None, None, None, None, None, None,
                text, audio, image, cached_text, cached_audio, cached_image, output_text, output_audio, output_image,
            ),
        )  # fmt: skip


def _split_input(row: _Completion, where: str) -> tuple[int, int, int, int]:
    """Uncached input, cached input, cache writes and output of a row that does not spell out all of them.

    The generation is told by the row itself, since rows of both can come in one answer (old days, new days): a row that
    has any field that came with the contract of July 2026 follows it, every other row follows the one before.

    * Since then, ``input_tokens`` is everything (text, audio, image, cached, written): what is left after cached and
      written is uncached.
    * Before, ``input_tokens`` and ``output_tokens`` were text only (cached text inside), and audio stood beside them in
      ``input_audio_tokens`` (how much of it was cached was not told: it counts as uncached) and
      ``output_audio_tokens``.
    """
    cached = row.input_cached_tokens or 0
    lifetimes = (row.input_cache_write_30m_tokens or 0) + (row.input_cache_write_12h_tokens or 0)
    written = lifetimes if row.input_cache_write_tokens is None else row.input_cache_write_tokens
    uncached = _rest_of_input(row.input_tokens, cached + written, where)
    if _is_since_july_2026(row):
        return uncached, cached, written, row.output_tokens
    audio_in, audio_out = row.input_audio_tokens or 0, row.output_audio_tokens or 0
    return uncached + audio_in, cached, 0, row.output_tokens + audio_out


def _is_since_july_2026(row: _Completion) -> bool:
    return any(
        value is not None
        for value in (
            row.input_uncached_tokens,
            row.input_cache_write_tokens,
            row.input_cache_write_30m_tokens,
            row.input_cache_write_12h_tokens,
            row.input_text_tokens,
            row.input_image_tokens,
            row.input_cached_text_tokens,
            row.input_cached_audio_tokens,
            row.input_cached_image_tokens,
            row.output_text_tokens,
            row.output_image_tokens,
        )
    )


def _rest_of_input(input_tokens: int, inside: int, where: str) -> int:
    """What ``input_tokens`` leaves beside the piles inside it. The total is what is trusted: the piles that the API
    names cached and written stay, and the rest is uncached, so that the sum is never more than the API's total."""
    if inside > input_tokens:
        raise broken("cached_over_input", "a row has more cached and written tokens than input tokens", where)
    return input_tokens - inside


def _billed_lines(results: msgspec.Raw, asked: tuple[str, ...], drift: Drift, where: str) -> Iterator[BilledLine]:
    for row in _COSTS.read(results, drift, where):
        line = read_line_item(row.line_item) if row.line_item else None
        project_id = row.project_id or None
        if project_id is not None and "project_id" in asked:
            drift.answered_dimensions.add("project_id")
        if line is not None and "label" in asked:
            drift.answered_dimensions.add("label")
        yield BilledLine(
            amount_usd=_amount_usd(row.amount, drift, where),
            label=row.line_item or None,
            model=line.model if line else None,
            cost_type="tokens" if line and line.token_type else None,
            token_type=line.token_type if line else None,
            project_id=project_id,
            user_id=row.user_id or None,
            api_key_id=row.api_key_id or None,
            service_tier=line.service_tier if line else None,
            context_window=None,
            inference_geo=None,
            quantity=row.quantity,
            quantity_unit=row.quantity_unit or None,
        )


def _amount_usd(amount: _Amount | None, drift: Drift, where: str) -> Decimal:
    """The line's dollars. A line without a value is documented as possible: it is kept as 0 and counted in
    ``drift.totals_off["amount.value"]``, so that a finding tells that the day's bill is not complete."""
    if amount is None or amount.value is None:
        note_total_off(drift, "amount.value")
        return Decimal(0)
    value = exact_amount(amount.value, where)
    if value and (amount.currency or "").lower() != "usd":
        raise broken("currency_unknown", "an amount is not in US dollars", where)
    return value
