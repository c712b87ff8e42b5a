"""LiteLLM's proxy, which runs on a host of the user's own: /spend/logs/v2, one row a call, and /user/daily/activity.

Source of the facts: the proxy's source code, litellm 1.109.1. What is read here and nowhere else:

* There is no host by default, so a base URL must be given; the master key (or an admin's) is the credential. Any other
  key may be answered too, with the calls of its own user alone, and no answer tells that it is only a part.
* ``/spend/logs/v2`` takes its ``end_date`` inclusive, to the second, while rows begin at milliseconds: midnight is
  asked for, and its own rows are left to the next day. It counts no more than 10,000 rows (``total_is_capped``) though
  it answers all: so it is the first page that is not full that ends a day, never the count.
* Rows come oldest first (``sort_order=asc``), so that calls that begin while pages are read come last. The order of
  calls of one same millisecond is not fixed; if a page ends between them one could come twice and another never, and
  nothing in the answer would tell.
* ``prompt_tokens`` includes cached and cache-write tokens, for every vendor: Anthropic's are added up by the proxy. The
  parts stand in ``metadata``, in ``usage_object`` or ``additional_usage_values``, under Anthropic's names or OpenAI's.
* Only a call with status ``success`` counts as a request; tokens count whatever the status (a stream that broke off).
* A call that the proxy's own cache answered (``cache_hit``) used no tokens upstream though its row has some: left out.
  So are calls of tools, which are no model's.
* ``spend`` is what the proxy computes from its price list: no bill, so there is no cost endpoint.

Everything overlaps: each call through the proxy is also in the report of the account that it was passed on to, and
``/user/daily/activity`` adds up the same calls again, in several cuts (models, providers, keys) of one total, of which
one is read. So the daily figures are informational, and those of the logs name the vendor behind them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Final

import msgspec

from usage_pipeline.credentials.secret import Secret
from usage_pipeline.errors import InvalidInputError, InvariantError, UsagePipelineError
from usage_pipeline.providers.base_urls import checked_base_url
from usage_pipeline.providers.contract import BilledLine, Drift, Endpoint, Page, PageQuery, Role, UsageRow
from usage_pipeline.providers.litellm_daily import DAILY_ACTIVITY, daily_rows, read_daily_page
from usage_pipeline.providers.litellm_spend_logs import SPEND_LOGS, Cursor, read_logs_page, spend_log_rows
from usage_pipeline.providers.refusals import AskedTooMuchError, refusal_of
from usage_pipeline.providers.rows import where_of

NAME: Final = "litellm"
TITLE: Final = "LiteLLM"
ROWS_A_PAGE: Final = 1000
"""The largest ``page_size`` of both endpoints. Older proxies take fewer, and say so in a 422."""

_SMALLER_PAGE: Final = re.compile(rb"page_size.*?less than or equal to (\d+)", re.DOTALL)
_SECOND: Final = timedelta(seconds=1)


class LiteLLM:
    """A LiteLLM proxy's API as a :class:`~usage_pipeline.providers.contract.Provider`."""

    name = NAME
    title = TITLE
    role: Role = "proxy"
    default_base_url = ""
    account_question = None
    endpoints = (SPEND_LOGS, DAILY_ACTIVITY)

    def normalise_base_url(self, base_url: str) -> str:
        """The base URL without the ``/v1`` that clients of the proxy write.

        Raises ``InvalidInputError``: ``base_url_missing`` and those of ``checked_base_url``.
        """
        if not base_url.strip():
            raise InvalidInputError(
                "base_url_missing",
                "a LiteLLM proxy runs on a host of your own, and none is given",
                where=f"{NAME} base URL",
                remedy="Give it with --base-url https://HOST.",
            )
        parts = checked_base_url(base_url, f"{NAME} base URL")
        return parts._replace(path=parts.path.removesuffix("/v1")).geturl()

    def headers(self, secret: Secret) -> Mapping[str, str]:
        """The master key as a bearer token."""
        return {"Authorization": f"Bearer {secret.reveal()}"}

    def query(self, endpoint: Endpoint, page: PageQuery) -> Sequence[tuple[str, str]]:
        """One UTC day; the cursor is the number of the page."""
        page_size = str(page.page_limit or ROWS_A_PAGE)
        number = str(Cursor.read(page.cursor).page)
        if endpoint.name == DAILY_ACTIVITY.name:
            day = page.start.strftime("%Y-%m-%d")
            return [("start_date", day), ("end_date", day), ("page", number), ("page_size", page_size)]
        # Of a day that is not over, the last second is left to the next pull: its rows are still coming.
        end = page.end if page.end - page.start == timedelta(days=1) else page.end - _SECOND
        return [
            ("start_date", page.start.strftime("%Y-%m-%d %H:%M:%S")),
            ("end_date", max(page.start, end).strftime("%Y-%m-%d %H:%M:%S")),
            ("sort_by", "startTime"),
            ("sort_order", "asc"),
            ("page", number),
            ("page_size", page_size),
        ]

    def read_page(self, endpoint: Endpoint, body: bytes, asked: PageQuery) -> Page:
        """Read the envelope. Raises ``ContractBrokenError``: ``page_unreadable``, ``bucket_unexpected``."""
        read = read_daily_page if endpoint.name == DAILY_ACTIVITY.name else read_logs_page
        return read(body, asked, where_of(NAME, endpoint))

    def account_told(self, endpoint: Endpoint, body: bytes) -> str | None:
        """None: a proxy has no id of its own."""
        return None

    def usage_rows(
        self, endpoint: Endpoint, results: msgspec.Raw, asked: tuple[str, ...], drift: Drift
    ) -> Iterator[UsageRow]:
        """Canonical rows of one bucket. Raises ``ContractBrokenError``."""
        read = daily_rows if endpoint.name == DAILY_ACTIVITY.name else spend_log_rows
        return read(results, drift, where_of(NAME, endpoint))

    def billed_lines(
        self, endpoint: Endpoint, results: msgspec.Raw, asked: tuple[str, ...], drift: Drift
    ) -> Iterator[BilledLine]:
        """There are none: a proxy bills nobody."""
        raise InvariantError("not_a_cost_endpoint", "this endpoint has no billed lines", where=endpoint.name)

    def refusal(self, endpoint: Endpoint, status: int, body: bytes) -> UsagePipelineError:
        """The refusal; ``AskedTooMuchError`` where an older proxy takes smaller pages."""
        smaller = _SMALLER_PAGE.search(body) if status in {400, 422} else None
        if smaller:
            limit = int(smaller.group(1))
            return AskedTooMuchError(
                f"this proxy gives at most {limit} rows a page", where_of(NAME, endpoint), page_limit=limit
            )
        return refusal_of(NAME, TITLE, endpoint, status, body)


PROVIDER: Final = LiteLLM()
