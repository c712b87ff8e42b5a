"""Anthropic's Usage and Cost Admin API: …/v1/organizations/usage_report/messages and …/v1/organizations/cost_report.

The third report, of Claude Code, is read in ``anthropic_claude_code``.

Source of the facts: the Admin API's pages on platform.claude.com (2026) and, where they are silent, what users of the
live API report. What is read here and nowhere else:

* Array parameters carry brackets (``group_by[]=model``), and more than five ``group_by[]`` are refused with 400.
* ``limit`` counts buckets. Many dimensions with many buckets are refused for the size of their answer.
* ``speed`` may want a beta header: it is asked for only by someone who names it, and given up where it is refused.
* Times are RFC 3339; buckets are UTC. The bucket that contains now is not answered, and a range without a closed bucket
  is a 400: such a range must not be asked for.
* Token classes are disjoint as answered (the total input is their sum), and there is no count of requests.
* ``amount`` in the cost report is a decimal string in **cents**.
* A null ``workspace_id`` is the default workspace and a null ``api_key_id`` the Console, where they were asked for;
  otherwise null says nothing. The row alone cannot tell: whoever stores it keeps the asked-for set beside it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final

import msgspec

from usage_pipeline.credentials.secret import Secret
from usage_pipeline.errors import InvariantError, PermanentError, UsagePipelineError
from usage_pipeline.providers.anthropic_claude_code import (
    CLAUDE_CODE,
    claude_code_query,
    claude_code_rows,
    organisation_told,
    read_claude_code_page,
)
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
from usage_pipeline.providers.refusals import AskedTooMuchError, provider_message, refusal_of
from usage_pipeline.providers.rows import (
    UNREADABLE,
    Count,
    RowReader,
    broken,
    exact_amount,
    not_yet_answered,
    note_answered,
    page_of,
    utc,
    where_of,
)

NAME: Final = "anthropic"
TITLE: Final = "Anthropic"
API_VERSION: Final = "2023-06-01"
GROUP_BY_MAX: Final = 5

MESSAGES: Final = Endpoint(
    name="messages",
    path="/v1/organizations/usage_report/messages",
    kind="usage",
    family="text",
    # The first five are asked for by default: what prices and owners need most.
    dimensions={
        "model": "model",
        "api_key_id": "api_key_id",
        "project_id": "workspace_id",
        "service_tier": "service_tier",
        "context_window": "context_window",
        "inference_geo": "inference_geo",
        "speed": "speed",
        "user_id": "account_id",
        "service_account_id": "service_account_id",
    },
    dimensions_max=GROUP_BY_MAX,
    page_limits={"1h": 168, "1d": 31},
    always_reports=frozenset(
        {"uncached_input", "cache_read", "cache_write_5m", "cache_write_1h", "output", "searches"}
    ),
    returns_open_bucket=False,
)

COST_REPORT: Final = Endpoint(
    name="cost_report",
    path="/v1/organizations/cost_report",
    kind="costs",
    family="costs",
    dimensions={"project_id": "workspace_id", "label": "description"},
    dimensions_max=2,
    page_limits={"1d": 31},
    returns_open_bucket=False,
    narrows_to_projects=False,
)

_DIMENSIONS_MAX: Final = re.compile(r"more than (\d+) group_by")
_SPEED: Final = re.compile(r"\bspeed\b|\bfast-mode\b")
_LIMIT: Final = re.compile(r"\blimit\b", re.IGNORECASE)
_SMALLER_LIMIT: Final = re.compile(
    r"(?:less than or equal to|at most|no more than|limit to|cannot exceed) (\d+)", re.IGNORECASE
)
_TOO_LARGE: Final = re.compile(
    r"too (?:large|big|many (?:results|rows|groups|buckets))"
    r"|\b(?:results?|response|rows)\b.*\bexceed|\bexceed.*\b(?:results?|response|rows)\b",
    re.IGNORECASE,
)

_TOKEN_TYPES: Final = {
    "uncached_input_tokens": "uncached_input",
    "output_tokens": "output",
    "cache_read_input_tokens": "cache_read",
    "cache_creation.ephemeral_5m_input_tokens": "cache_write_5m",
    "cache_creation.ephemeral_1h_input_tokens": "cache_write_1h",
}


class _Bucket(msgspec.Struct):
    starting_at: datetime
    results: msgspec.Raw = msgspec.Raw()


class _Page(msgspec.Struct):
    data: list[_Bucket]
    has_more: bool = False
    next_page: str | None = None


class _CacheCreation(msgspec.Struct, gc=False):
    ephemeral_5m_input_tokens: Count = 0
    ephemeral_1h_input_tokens: Count = 0


class _StrictCacheCreation(_CacheCreation, gc=False, forbid_unknown_fields=True):
    pass


class _ServerToolUse(msgspec.Struct, gc=False):
    web_search_requests: Count = 0


class _StrictServerToolUse(_ServerToolUse, gc=False, forbid_unknown_fields=True):
    pass


class _Message(msgspec.Struct, gc=False):
    uncached_input_tokens: Count
    cache_read_input_tokens: Count
    output_tokens: Count
    # Recorded answers sometimes lack the next two: nothing was written, nothing was searched.
    cache_creation: _CacheCreation | None = None
    server_tool_use: _ServerToolUse | None = None
    model: str | None = None
    api_key_id: str | None = None
    workspace_id: str | None = None
    service_tier: str | None = None
    context_window: str | None = None
    inference_geo: str | None = None
    speed: str | None = None
    account_id: str | None = None
    service_account_id: str | None = None


class _StrictMessage(_Message, gc=False, forbid_unknown_fields=True):
    cache_creation: _StrictCacheCreation | None = None
    server_tool_use: _StrictServerToolUse | None = None


class _Cost(msgspec.Struct, gc=False):
    amount: Decimal
    currency: str
    description: str | None = None
    cost_type: str | None = None
    token_type: str | None = None
    model: str | None = None
    service_tier: str | None = None
    context_window: str | None = None
    inference_geo: str | None = None
    workspace_id: str | None = None


class _StrictCost(_Cost, gc=False, forbid_unknown_fields=True):
    pass


_PAGE: Final = msgspec.json.Decoder(_Page)
_MESSAGES: Final = RowReader[_Message](
    _StrictMessage, _Message, nested={"cache_creation": _CacheCreation, "server_tool_use": _ServerToolUse}
)
_COSTS: Final = RowReader[_Cost](_StrictCost, _Cost, nested={})


class _Organisation(msgspec.Struct):
    id: str


_ORGANISATION: Final = msgspec.json.Decoder(_Organisation)


def _organisation_of(body: bytes) -> str | None:
    try:
        return _ORGANISATION.decode(body).id or None
    except UNREADABLE:
        return None


class Anthropic:
    """Anthropic's API as a :class:`~usage_pipeline.providers.contract.Provider`."""

    name = NAME
    title = TITLE
    role: Role = "vendor"
    default_base_url = "https://api.anthropic.com"
    account_question: AccountQuestion | None = AccountQuestion("/v1/organizations/me", _organisation_of)
    endpoints = (MESSAGES, CLAUDE_CODE, COST_REPORT)

    def normalise_base_url(self, base_url: str) -> str:
        """The base URL without ``/v1`` at its end, which belongs to the paths. Raises ``InvalidInputError``."""
        parts = checked_base_url(base_url, f"{NAME} base URL")
        return parts._replace(path=parts.path.removesuffix("/v1")).geturl()

    def headers(self, secret: Secret) -> Mapping[str, str]:
        """The admin key and the API's version. The HTTP client adds a User-Agent that names this project."""
        return {"x-api-key": secret.reveal(), "anthropic-version": API_VERSION}

    def query(self, endpoint: Endpoint, page: PageQuery) -> Sequence[tuple[str, str]]:
        """Times as RFC 3339 in UTC; the same parameters on every page, since a cursor is refused beside others."""
        if endpoint.name == CLAUDE_CODE.name:
            return claude_code_query(page)
        query = [
            ("starting_at", _rfc3339(page.start)),
            ("ending_at", _rfc3339(page.end)),
            ("bucket_width", page.width),
            ("limit", str(page.limit_of(endpoint))),
        ]
        query += [("group_by[]", theirs) for ours, theirs in endpoint.dimensions.items() if ours in page.dimensions]
        if endpoint.narrows_to_projects:
            query += [("workspace_ids[]", project) for project in page.projects]
        if page.cursor is not None:
            query.append(("page", page.cursor))
        return query

    def read_page(self, endpoint: Endpoint, body: bytes, asked: PageQuery) -> Page:
        """Read the envelope. Raises ``ContractBrokenError``: ``page_unreadable`` and those of ``rows.page_of``."""
        where = where_of(NAME, endpoint)
        if endpoint.name == CLAUDE_CODE.name:
            return read_claude_code_page(body, asked, where)
        try:
            page = _PAGE.decode(body)
        except UNREADABLE as error:
            problem = str(error)
        else:
            buckets = [(utc(bucket.starting_at), bucket.results) for bucket in page.data]
            return page_of(where, buckets, page.has_more, page.next_page)
        raise broken("page_unreadable", f"the answer is no page of buckets: {problem}", where)

    def account_told(self, endpoint: Endpoint, body: bytes) -> str | None:
        """The organisation, which the Claude Code report alone names."""
        return organisation_told(body) if endpoint.name == CLAUDE_CODE.name else None

    def usage_rows(
        self, endpoint: Endpoint, results: msgspec.Raw, asked: tuple[str, ...], drift: Drift
    ) -> Iterator[UsageRow]:
        """Canonical rows of one bucket. Raises ``ContractBrokenError``."""
        if endpoint.name == CLAUDE_CODE.name:
            return claude_code_rows(results, drift, where_of(NAME, endpoint))
        if endpoint.name != MESSAGES.name:
            raise InvariantError("not_a_usage_endpoint", "this endpoint has no usage rows", where=endpoint.name)
        return _messages(results, asked, drift, where_of(NAME, endpoint))

    def billed_lines(
        self, endpoint: Endpoint, results: msgspec.Raw, asked: tuple[str, ...], drift: Drift
    ) -> Iterator[BilledLine]:
        """Billed lines of one UTC day. Raises ``ContractBrokenError``."""
        if endpoint.name != COST_REPORT.name:
            raise InvariantError("not_a_cost_endpoint", "this endpoint has no billed lines", where=endpoint.name)
        return _billed_lines(results, asked, drift, where_of(NAME, endpoint))

    def refusal(self, endpoint: Endpoint, status: int, body: bytes) -> UsagePipelineError:
        """The refusal; ``AskedTooMuchError`` where the message says what is too much, ``result_too_large`` where it
        speaks of the answer's size and says no number."""
        refused = _refused_size(endpoint, provider_message(body)) if status == 400 else None
        return refused or refusal_of(NAME, TITLE, endpoint, status, body)


PROVIDER: Final = Anthropic()


def dollars_of_cents(cents: Decimal) -> Decimal:
    """Exact US dollars of an amount in cents.

    The exponent is moved in the digits themselves: every arithmetic of ``decimal`` rounds to its context's precision,
    28 digits by default, and live amounts have had more.
    """
    sign, digits, exponent = cents.as_tuple()
    assert isinstance(exponent, int), "finite amounts only"
    return Decimal((sign, digits, exponent - 2))


def _refused_size(endpoint: Endpoint, said: str) -> UsagePipelineError | None:
    """What a 400 says is too much. The wordings are those that users of the live API report."""
    where = where_of(NAME, endpoint)
    if found := _DIMENSIONS_MAX.search(said):
        return AskedTooMuchError(f'it says "{said}"', where, dimensions_max=int(found.group(1)))
    if _SPEED.search(said):
        return AskedTooMuchError(f'it says "{said}"', where, refused_dimension="speed")
    if (found := _SMALLER_LIMIT.search(said)) and _LIMIT.search(said):
        return AskedTooMuchError(f'it says "{said}"', where, page_limit=int(found.group(1)))
    if _TOO_LARGE.search(said):
        variable = f"{NAME}_{endpoint.name}_DIMENSIONS".upper()
        return PermanentError(
            "result_too_large",
            f'the answer would be too large; it says "{said}"',
            where=where,
            remedy=f"Set {variable} to fewer dimensions, what matters most first.",
        )
    return None


def _rfc3339(moment: datetime) -> str:
    return utc(moment).strftime("%Y-%m-%dT%H:%M:%SZ")


def _messages(results: msgspec.Raw, asked: tuple[str, ...], drift: Drift, where: str) -> Iterator[UsageRow]:
    waiting = not_yet_answered(asked, drift)
    for row in _MESSAGES.read(results, drift, where):
        written, tools = row.cache_creation, row.server_tool_use
        dimensions = (
            row.workspace_id or None,
            row.account_id or None,
            row.service_account_id or None,
            row.api_key_id or None,
            row.model or None,
            row.service_tier or None,
            None,
            row.context_window or None,
            row.inference_geo or None,
            row.speed or None,
            None,
            None,
            None,
        )
        if waiting:
            waiting = note_answered(waiting, dimensions, drift)
        yield UsageRow(
            dimensions,
            (
                row.uncached_input_tokens,
                row.cache_read_input_tokens,
                written.ephemeral_5m_input_tokens if written is not None else 0,
                None,
                written.ephemeral_1h_input_tokens if written is not None else 0,
                None,
                None,
                row.output_tokens,
                None, None, None, None, None, None,
                tools.web_search_requests if tools is not None else 0,
                None,
                None, None, None, None, None, None, None, None, None,
            ),
        )  # fmt: skip


def _billed_lines(results: msgspec.Raw, asked: tuple[str, ...], drift: Drift, where: str) -> Iterator[BilledLine]:
    for row in _COSTS.read(results, drift, where):
        if row.currency.lower() != "usd":
            raise broken("currency_unknown", "an amount is not in US cents", where)
        if row.workspace_id and "project_id" in asked:
            drift.answered_dimensions.add("project_id")
        if row.description and "label" in asked:
            drift.answered_dimensions.add("label")
        yield BilledLine(
            amount_usd=dollars_of_cents(exact_amount(row.amount, where)),
            label=row.description or None,
            model=row.model or None,
            cost_type=row.cost_type or None,
            token_type=_TOKEN_TYPES.get(row.token_type, row.token_type) if row.token_type else None,
            project_id=row.workspace_id or None,
            user_id=None,
            api_key_id=None,
            service_tier=row.service_tier or None,
            context_window=row.context_window or None,
            inference_geo=row.inference_geo or None,
            quantity=None,
            quantity_unit=None,
        )
