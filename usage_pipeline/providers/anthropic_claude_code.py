"""Anthropic's Claude Code report: …/v1/organizations/usage_report/claude_code, who used Claude Code and how much.

Source of the facts: the report's page on platform.claude.com (2026). What is read here and nowhere else:

* One request answers one UTC day (``starting_at=YYYY-MM-DD``); its pages cut rows, one row a person or key.
* ``model_breakdown`` holds the tokens by model: one usage row each. A row without it used no tokens.
* ``estimated_cost`` is a number in cents that Anthropic estimates: it is no bill, and is not stored as money.
* Core metrics (sessions, lines, commits) and tool actions stay in the raw answer.

The report overlaps: what people use through the organisation's API is in the messages report and on the bill too, and
what they use under a subscription is on no API bill. So its rows are informational, kept and never counted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Final

import msgspec

from usage_pipeline.providers.canonical_row import line_detail, results_of, usage_row
from usage_pipeline.providers.contract import Bucket, Drift, Endpoint, Page, PageQuery, UsageRow
from usage_pipeline.providers.rows import UNREADABLE, Count, RowReader, broken, is_missing, utc

CLAUDE_CODE: Final = Endpoint(
    name="claude_code",
    path="/v1/organizations/usage_report/claude_code",
    kind="usage",
    family="claude_code",
    dimensions={},
    dimensions_max=0,
    page_limits={"1d": 1},
    always_reports=frozenset({"uncached_input", "cache_read", "cache_write_unsplit", "output"}),
    returns_open_bucket=False,
    narrows_to_projects=False,
    one_day_per_request=True,
    informational=True,
)

ROWS_A_PAGE: Final = 1000
"""The largest page that the report takes; without a number it gives 20 rows."""

_ORGANISATION: Final = re.compile(rb'"organization_id"\s*:\s*"([A-Za-z0-9_-]+)"')


class _DatedRow(msgspec.Struct):
    date: datetime


class _Page(msgspec.Struct):
    data: list[msgspec.Raw]
    has_more: bool = False
    next_page: str | None = None


class _Actor(msgspec.Struct, gc=False):
    type: str | None = None
    email_address: str | None = None
    api_key_name: str | None = None


class _StrictActor(_Actor, gc=False, forbid_unknown_fields=True):
    pass


class _Person(msgspec.Struct, gc=False):
    """One row: what one person or key did on the day."""

    actor: _Actor
    date: msgspec.Raw = msgspec.Raw()
    organization_id: msgspec.Raw = msgspec.Raw()
    customer_type: str | None = None
    subscription_type: str | None = None
    terminal_type: str | None = None
    model_breakdown: msgspec.Raw = msgspec.Raw()
    core_metrics: msgspec.Raw = msgspec.Raw()
    tool_actions: msgspec.Raw = msgspec.Raw()


class _StrictPerson(_Person, gc=False, forbid_unknown_fields=True):
    actor: _StrictActor


class _Tokens(msgspec.Struct, gc=False):
    input: Count = 0
    output: Count = 0
    cache_read: Count = 0
    cache_creation: Count = 0


class _StrictTokens(_Tokens, gc=False, forbid_unknown_fields=True):
    pass


class _ModelShare(msgspec.Struct, gc=False):
    model: str
    tokens: _Tokens
    estimated_cost: msgspec.Raw = msgspec.Raw()


class _StrictModelShare(_ModelShare, gc=False, forbid_unknown_fields=True):
    tokens: _StrictTokens


_PAGE: Final = msgspec.json.Decoder(_Page)
_DATED_ROW: Final = msgspec.json.Decoder(_DatedRow)
_PEOPLE: Final = RowReader[_Person](_StrictPerson, _Person, nested={"actor": _Actor})
_SHARES: Final = RowReader[_ModelShare](_StrictModelShare, _ModelShare, nested={"tokens": _Tokens})


def claude_code_query(page: PageQuery) -> list[tuple[str, str]]:
    """The parameters for one day: the report takes no end, no width and no grouping."""
    query = [
        ("starting_at", page.start.strftime("%Y-%m-%d")),
        ("limit", str(page.page_limit or ROWS_A_PAGE)),
    ]
    if page.cursor is not None:
        query.append(("page", page.cursor))
    return query


def read_claude_code_page(body: bytes, asked: PageQuery, where: str) -> Page:
    """One bucket: the asked day with the page's rows.

    Raises ``ContractBrokenError``: ``page_unreadable``, ``cursor_missing``, ``bucket_unexpected`` (a row of another day
    than the one asked for).
    """
    try:
        page = _PAGE.decode(body)
        days = {utc(_DATED_ROW.decode(row).date).date() for row in page.data}
    except UNREADABLE as error:
        problem = str(error)
    else:
        if days - {asked.start.date()}:
            raise broken("bucket_unexpected", "a row is of another day than the one asked for", where)
        if page.has_more and not page.next_page:
            raise broken("cursor_missing", "the answer says that more pages follow and gives no cursor", where)
        return Page([Bucket(asked.start, results_of(page.data))], page.next_page if page.has_more else None)
    raise broken("page_unreadable", f"the answer is no page of the report: {problem}", where)


def organisation_told(body: bytes) -> str | None:
    """The organisation that the report's rows name."""
    told = _ORGANISATION.search(body)
    return told.group(1).decode() if told else None


def claude_code_rows(results: msgspec.Raw, drift: Drift, where: str) -> Iterator[UsageRow]:
    """One usage row a model and person or key. Raises ``ContractBrokenError``."""
    for person in _PEOPLE.read(results, drift, where):
        if is_missing(person.model_breakdown):
            continue
        in_shares = Drift()
        for share in _SHARES.read(person.model_breakdown, in_shares, where):
            yield _usage_row(person, share)
        for name, rows in in_shares.unknown_fields.items():
            told = f"model_breakdown.{name}"
            drift.unknown_fields[told] = drift.unknown_fields.get(told, 0) + rows


def _usage_row(person: _Person, share: _ModelShare) -> UsageRow:
    return usage_row(
        {
            "user_id": person.actor.email_address,
            "model": share.model,
            "line_detail": line_detail(
                api_key_name=person.actor.api_key_name,
                customer_type=person.customer_type,
                subscription_type=person.subscription_type,
                terminal_type=person.terminal_type,
            ),
        },
        {
            "uncached_input": share.tokens.input,
            "cache_read": share.tokens.cache_read,
            "cache_write_unsplit": share.tokens.cache_creation,
            "output": share.tokens.output,
        },
    )
