"""A provider as somebody else would bring it: one module that imports nothing but the contract and its helpers.

AcmeAI is made up. Its API answers ``GET /v2/tokens`` and ``GET /v2/charges`` with ``from`` and ``days``, one entry a
UTC day; the key travels in ``X-Acme-Token``; charges are dollars as text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated

import msgspec

from usage_pipeline.credentials.secret import Secret
from usage_pipeline.errors import UsagePipelineError
from usage_pipeline.providers.base_urls import checked_base_url
from usage_pipeline.providers.canonical_row import usage_row
from usage_pipeline.providers.contract import BilledLine, Bucket, Drift, Endpoint, Page, PageQuery, Role, UsageRow
from usage_pipeline.providers.refusals import refusal_of
from usage_pipeline.providers.rows import UNREADABLE, RowReader, broken, exact_amount, where_of

Count = Annotated[int, msgspec.Meta(ge=0)]

TOKENS = Endpoint(
    name="tokens",
    path="/v2/tokens",
    kind="usage",
    family="text",
    dimensions={"model": "engine"},
    dimensions_max=1,
    page_limits={"1d": 10},
    always_reports=frozenset({"uncached_input", "output", "requests"}),
    returns_open_bucket=False,
)
CHARGES = Endpoint(
    name="charges",
    path="/v2/charges",
    kind="costs",
    family="costs",
    dimensions={"label": "engine"},
    dimensions_max=1,
    page_limits={"1d": 10},
    returns_open_bucket=False,
)


class _Day(msgspec.Struct):
    day: str
    entries: msgspec.Raw


class _Answer(msgspec.Struct):
    days: list[_Day]
    go_on_at: str | None = None


class _Tokens(msgspec.Struct, forbid_unknown_fields=True):
    engine: str
    tokens_in: Count
    tokens_out: Count
    calls: Count


class _Charge(msgspec.Struct, forbid_unknown_fields=True):
    engine: str
    dollars: Decimal


_ANSWER = msgspec.json.Decoder(_Answer)
_TOKENS = RowReader[_Tokens](_Tokens, _Tokens, nested={})
_CHARGES = RowReader[_Charge](_Charge, _Charge, nested={})


class AcmeAI:
    """AcmeAI's API as a provider."""

    name = "acmeai"
    title = "AcmeAI"
    role: Role = "vendor"
    default_base_url = "https://api.acmeai.example"
    account_question = None
    endpoints = (TOKENS, CHARGES)

    def normalise_base_url(self, base_url: str) -> str:
        return checked_base_url(base_url, "acmeai base URL").geturl()

    def headers(self, secret: Secret) -> Mapping[str, str]:
        return {"X-Acme-Token": secret.reveal()}

    def query(self, endpoint: Endpoint, page: PageQuery) -> Sequence[tuple[str, str]]:
        first = page.cursor or page.start.strftime("%Y-%m-%d")
        left = (page.end - datetime.fromisoformat(first).replace(tzinfo=UTC)) // timedelta(days=1)
        return [("from", first), ("days", str(min(left, page.limit_of(endpoint))))]

    def read_page(self, endpoint: Endpoint, body: bytes, asked: PageQuery) -> Page:
        try:
            answer = _ANSWER.decode(body)
            buckets = [Bucket(datetime.fromisoformat(one.day).replace(tzinfo=UTC), one.entries) for one in answer.days]
        except (*UNREADABLE, ValueError):
            pass
        else:
            return Page(buckets, answer.go_on_at)
        raise broken("page_unreadable", "the answer is no list of days", where_of(self.name, endpoint))

    def account_told(self, endpoint: Endpoint, body: bytes) -> str | None:
        return None

    def usage_rows(
        self, endpoint: Endpoint, results: msgspec.Raw, asked: tuple[str, ...], drift: Drift
    ) -> Iterator[UsageRow]:
        for row in _TOKENS.read(results, drift, where_of(self.name, endpoint)):
            drift.answered_dimensions.add("model")
            yield usage_row(
                {"model": row.engine},
                {"uncached_input": row.tokens_in, "output": row.tokens_out, "requests": row.calls},
            )

    def billed_lines(
        self, endpoint: Endpoint, results: msgspec.Raw, asked: tuple[str, ...], drift: Drift
    ) -> Iterator[BilledLine]:
        where = where_of(self.name, endpoint)
        for row in _CHARGES.read(results, drift, where):
            drift.answered_dimensions.add("label")
            yield BilledLine(
                amount_usd=exact_amount(row.dollars, where),
                label=row.engine,
                model=row.engine,
                cost_type="tokens",
                token_type=None,
                project_id=None,
                user_id=None,
                api_key_id=None,
                service_tier=None,
                context_window=None,
                inference_geo=None,
                quantity=None,
                quantity_unit=None,
            )

    def refusal(self, endpoint: Endpoint, status: int, body: bytes) -> UsagePipelineError:
        return refusal_of(self.name, self.title, endpoint, status, body)


PROVIDER = AcmeAI()
