"""What a provider must tell about its API so that everything else can be written once.

A provider is one module with one ``PROVIDER`` object that satisfies :class:`Provider`: its endpoints, how to ask for a
range of buckets, how to read a page, how a raw result becomes canonical usage or billed lines, and how its refusals
read. Fetching (``pulls``), HTTP (``http``) and storing (``ledger``) know no provider by name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
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

    ``dimensions`` are our names (``measures.EVENT_DIMENSIONS``) in the order of preference, mapped to the API's own
    names; ``page_limits`` is the largest number of buckets a page may hold, by width. ``always_reports`` are the
    measures that every row has (0 where nothing was used); ``may_report`` are those that a row may lack (null then).
    ``returns_open_bucket`` is whether the bucket that contains now is answered. ``narrows_to_projects`` is
    whether a key's scope can be asked for; where it cannot, rows of other projects are left out when they are read.
    ``modes`` are those of the keys that may ask it.
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

    @property
    def widths(self) -> tuple[str, ...]:
        """The bucket widths that the endpoint answers in."""
        return tuple(self.page_limits)


@dataclass(frozen=True, slots=True)
class PageQuery:
    """One page to ask for: buckets of ``width`` in the half-open UTC range, by ``dimensions`` (our names).

    ``projects`` narrows the answer to the key's scope (empty: the whole account). ``cursor`` is the former page's
    ``next_cursor``, None for the first page.
    """

    start: datetime
    end: datetime
    width: str
    dimensions: tuple[str, ...]
    projects: tuple[str, ...] = ()
    cursor: str | None = None


class Bucket(NamedTuple):
    """One bucket of a page: its start as answered (UTC, maybe clipped) and its results, not yet decoded."""

    start: datetime
    results: msgspec.Raw


@dataclass(frozen=True, slots=True)
class Page:
    """A page as read: buckets oldest first, and where the next page is (None at the end)."""

    buckets: Sequence[Bucket]
    next_cursor: str | None


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
    came back null in every row; ``totals_off`` counts rows whose parts do not add up to the row's own totals.
    """

    rows: int = 0
    unknown_fields: dict[str, int] = field(default_factory=dict)
    answered_dimensions: set[str] = field(default_factory=set)
    totals_off: dict[str, int] = field(default_factory=dict)


class Provider(Protocol):
    """A provider's API, told once. Implementations hold no state and no secret."""

    @property
    def name(self) -> str:
        """The provider's slug: ``openai``, ``anthropic``."""

    @property
    def title(self) -> str:
        """The provider's name for people."""

    @property
    def default_base_url(self) -> str:
        """The real host's base URL, without a slash at the end."""

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """Every endpoint, usage before costs."""

    def normalise_base_url(self, base_url: str) -> str:
        """The base URL with what belongs to every path added or taken off once (OpenAI's ``/v1``)."""

    def headers(self, secret: Secret) -> Mapping[str, str]:
        """The request headers that carry the credential and the API's version."""

    def query(self, endpoint: Endpoint, page: PageQuery) -> Sequence[tuple[str, str]]:
        """The query parameters for a page, in a stable order, limits at the largest that the API allows."""

    def read_page(self, endpoint: Endpoint, body: bytes) -> Page:
        """Read the envelope of a page. Raises :class:`ContractBrokenError`."""

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
