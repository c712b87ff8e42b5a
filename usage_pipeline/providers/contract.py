"""What a provider must tell about its API so that everything else can be written once.

A provider is one module with one ``PROVIDER`` object that satisfies :class:`Provider`: its endpoints, how to ask for a
range of buckets, how to read a page, how a raw result becomes canonical usage or billed lines, and how its refusals
read. Fetching (``pulls``), HTTP (``http``) and storing (``ledger``) know no provider by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Literal, NamedTuple, Protocol

import msgspec

from usage_pipeline.credentials.secret import Secret
from usage_pipeline.errors import PermanentError, UsagePipelineError

WIDTH_SECONDS: Mapping[str, int] = {"1h": 3600, "1d": 86400}


class ContractBrokenError(PermanentError):
    """A provider's answer is not what its contract says: HTML, a cut body, a negative count, a repeated cursor."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One usage or cost endpoint of a provider.

    ``dimensions`` are our names in the order of preference, mapped to the API's own: those of
    ``measures.EVENT_DIMENSIONS``, or names of this endpoint alone, which a row carries in its ``line_detail``.
    ``dimension_since`` holds the first day of a range that may be asked by a dimension. ``page_limits`` is the largest
    number of buckets a page may hold, by width. ``always_reports`` are the measures that every row has (0 where nothing
    was used); ``may_report`` are those that a row may lack (null then).

    ``returns_open_bucket`` is whether the bucket that contains now is answered. ``narrows_to_projects`` is
    whether a key's scope can be asked for; where it cannot, rows of other projects are left out when they are read.
    ``modes`` are those of the keys that may ask it. ``one_day_per_request``: the API answers one UTC day a request, and
    its pages cut rows, not buckets, so that a bucket may come in parts on several pages. ``reach_days`` is how many
    closed days before today it answers, None where it tells itself in a refusal. ``informational``: kept and shown
    beside the others, and never counted, since another endpoint reports the same spending.
    """

    name: str
    path: str
    kind: Literal["usage", "costs"]
    family: str
    dimensions: Mapping[str, str]
    dimensions_max: int
    page_limits: Mapping[str, int]
    always_reports: frozenset[str] = frozenset()
    may_report: frozenset[str] = frozenset()
    returns_open_bucket: bool = True
    narrows_to_projects: bool = True
    modes: frozenset[str] = frozenset({"admin"})
    dimension_since: Mapping[str, date] = field(default_factory=dict)
    one_day_per_request: bool = False
    reach_days: int | None = None
    informational: bool = False

    @property
    def widths(self) -> tuple[str, ...]:
        """The bucket widths that the endpoint answers in."""
        return tuple(self.page_limits)

    def width_of(self, grain: str) -> str:
        """The bucket width to ask for with a key of this grain: the grain itself, or days where there is no such."""
        return grain if grain in self.page_limits else "1d"

    def earliest_day(self, today: date) -> date | None:
        """The first UTC day that is in reach, where the endpoint states its reach."""
        return None if self.reach_days is None else today - timedelta(days=self.reach_days)


@dataclass(frozen=True, slots=True)
class PageQuery:
    """One page to ask for: buckets of ``width`` in the half-open UTC range, by ``dimensions`` (our names).

    ``projects`` narrows the answer to the key's scope (empty: the whole account). ``cursor`` is the former page's
    ``next_cursor``, None for the first page. ``page_limit`` is the number of buckets to ask for where the API took
    less than its documented limit, else None.
    """

    start: datetime
    end: datetime
    width: str
    dimensions: tuple[str, ...]
    projects: tuple[str, ...] = ()
    cursor: str | None = None
    page_limit: int | None = None

    def limit_of(self, endpoint: Endpoint) -> int:
        """How many buckets to ask for: the endpoint's largest page, or less where the API took less."""
        return self.page_limit or endpoint.page_limits[self.width]


class Bucket(NamedTuple):
    """One bucket of a page: its start as answered (UTC, maybe clipped) and its results, not yet decoded."""

    start: datetime
    results: msgspec.Raw


@dataclass(frozen=True, slots=True)
class Page:
    """A page as read: buckets oldest first, and where the next page is (None at the end).

    ``rows_in_all`` is how many rows the answer says that all pages of the request hold together, where it says so.
    """

    buckets: Sequence[Bucket]
    next_cursor: str | None
    rows_in_all: int | None = None


class UsageRow(NamedTuple):
    """One canonical usage row inside a bucket.

    ``dimensions`` follow ``measures.EVENT_DIMENSIONS`` (None: null or not asked for), ``measures`` follow
    ``measures.EVENT_MEASURES`` (None: the source does not report it; tokens and counts are never negative).
    """

    dimensions: tuple[str | None, ...]
    measures: tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class BilledLine:
    """One billed line of a UTC day. ``amount_usd`` is exact US dollars, never rounded.

    ``model`` is the model that the line names, read from it where it says so, else None; ``label`` is the provider's
    own words for the line (OpenAI's line item, Anthropic's description), None where not asked for.
    """

    amount_usd: Decimal
    label: str | None
    model: str | None
    cost_type: str | None
    token_type: str | None
    project_id: str | None
    user_id: str | None
    api_key_id: str | None
    service_tier: str | None
    context_window: str | None
    inference_geo: str | None
    quantity: Decimal | None
    quantity_unit: str | None


@dataclass(slots=True)
class Drift:
    """What an answer had that its contract does not tell: collected while results are read, raised as findings.

    ``unknown_fields`` counts rows by field name; ``unanswered_dimensions`` holds dimensions that were asked for and
    came back null in every row; ``totals_off`` counts rows whose parts do not add up to the row's own totals;
    ``not_counted`` counts rows that were answered and are left out, by a word for why.
    """

    rows: int = 0
    unknown_fields: dict[str, int] = field(default_factory=dict)
    answered_dimensions: set[str] = field(default_factory=set)
    totals_off: dict[str, int] = field(default_factory=dict)
    not_counted: dict[str, int] = field(default_factory=dict)


Role = Literal["vendor", "reseller", "proxy"]
"""``vendor``: the provider's own models on its own bill. ``reseller``: others' models on its own bill (OpenRouter).
``proxy``: passes calls on to accounts that the user has with others, whose reports show the same calls (LiteLLM)."""


@dataclass(frozen=True, slots=True)
class AccountQuestion:
    """A GET of ``path`` whose answer names the account that the key belongs to, where reports do not.

    ``read`` gets the answer's body and returns the provider's own id of the account, None where it is not there.
    """

    path: str
    read: Callable[[bytes], str | None]


class Provider(Protocol):
    """A provider's API, told once. Implementations hold no state and no secret."""

    @property
    def name(self) -> str:
        """The provider's slug: ``openai``, ``anthropic``."""

    @property
    def title(self) -> str:
        """The provider's name for people."""

    @property
    def role(self) -> Role:
        """Whose models and whose bill its figures are about. Rows of a reseller or a proxy name the vendor in the
        dimension ``upstream_provider``."""

    @property
    def default_base_url(self) -> str:
        """The real host's base URL, without a slash at the end; empty where there is none (a proxy of the user's)."""

    @property
    def account_question(self) -> AccountQuestion | None:
        """How to ask which account a key belongs to; None where reports tell it (``account_told``) or nothing does."""

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """Every endpoint, usage before costs."""

    def normalise_base_url(self, base_url: str) -> str:
        """The base URL with what belongs to every path added or taken off once (OpenAI's ``/v1``)."""

    def headers(self, secret: Secret) -> Mapping[str, str]:
        """The request headers that carry the credential and the API's version."""

    def query(self, endpoint: Endpoint, page: PageQuery) -> Sequence[tuple[str, str]]:
        """The query parameters for a page, in a stable order, limits at the largest that the API allows."""

    def read_page(self, endpoint: Endpoint, body: bytes, asked: PageQuery) -> Page:
        """Read the envelope of a page that was asked for with ``asked``. Raises :class:`ContractBrokenError`."""

    def account_told(self, endpoint: Endpoint, body: bytes) -> str | None:
        """The provider's own id of the account that a page is about, where the page tells it."""

    def usage_rows(
        self, endpoint: Endpoint, results: msgspec.Raw, asked: tuple[str, ...], drift: Drift
    ) -> Iterator[UsageRow]:
        """Canonical usage rows of one bucket's results. Raises :class:`ContractBrokenError`."""

    def billed_lines(
        self, endpoint: Endpoint, results: msgspec.Raw, asked: tuple[str, ...], drift: Drift
    ) -> Iterator[BilledLine]:
        """Billed lines of one bucket's results. Raises :class:`ContractBrokenError`."""

    def refusal(self, endpoint: Endpoint, status: int, body: bytes) -> UsagePipelineError:
        """What a refusal means: Permanent (401, 403, 400) or Transient (429, 5xx), with which scope is missing."""
