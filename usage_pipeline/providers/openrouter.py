"""OpenRouter's activity report: https://openrouter.ai/api/v1/activity, what passed through it by day and model.

Source of the facts: OpenRouter's OpenAPI description and its SDKs (2026); the API reference adds that a day's rows may
come some thirty minutes after its end. What is read here and nowhere else:

* A management key is needed; any other is refused with 403.
* Only the last 30 closed UTC days are answered, all in one answer without pages; ``date`` asks for one of them.
* A row is a day, a model and the endpoint that served it; ``group_by=workspace`` parts it by workspace too. No row
  names an API key: those come only from asking once a key, and such answers must never stand beside this one.
* ``prompt_tokens`` includes ``cached_tokens``, which has been seen larger than the whole. ``reasoning_tokens`` stands
  beside ``completion_tokens`` and is never added, since nothing says that it is not inside.
* ``usage`` is what OpenRouter bills, in credits, which are US dollars: a JSON number, read without rounding.

OpenRouter resells others' models on its own bill, so no vendor's report shows these calls, with one exception: calls
with the user's own key at the vendor ("byok"). Those are in the vendor's report too; the row does not say how many of
its tokens they are. ``byok_usage_inference`` is what the vendor bills for them: no part of this bill, and left out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Final

import msgspec

from usage_pipeline.credentials.secret import Secret
from usage_pipeline.errors import InvariantError, PermanentError, UsagePipelineError
from usage_pipeline.hermes.routes import vendor_of_model
from usage_pipeline.providers.base_urls import checked_base_url
from usage_pipeline.providers.canonical_row import line_detail, results_of, usage_row
from usage_pipeline.providers.contract import BilledLine, Bucket, Drift, Endpoint, Page, PageQuery, Role, UsageRow
from usage_pipeline.providers.refusals import provider_message, refusal_of
from usage_pipeline.providers.rows import UNREADABLE, Count, RowReader, broken, exact_amount, note_total_off, where_of
from usage_pipeline.utc_days import day_start

NAME: Final = "openrouter"
TITLE: Final = "OpenRouter"
REACH_DAYS: Final = 30

BYOK_NOT_COUNTED: Final = "byok_usage_inference, billed by the vendor"
"""Why a row's ``byok_usage_inference`` is in no total: in ``drift.not_counted`` of the costs."""

ACTIVITY: Final = Endpoint(
    name="activity",
    path="/activity",
    kind="usage",
    family="text",
    # The model comes unasked; the workspace is asked for only by someone who names it, or whose key has a scope.
    dimensions={"model": "model", "project_id": "workspace"},
    dimensions_max=1,
    page_limits={"1d": REACH_DAYS},
    always_reports=frozenset({"uncached_input", "output", "reasoning", "requests"}),
    may_report=frozenset({"cache_read"}),
    returns_open_bucket=False,
    reach_days=REACH_DAYS,
)

ACTIVITY_COSTS: Final = Endpoint(
    name="activity_costs",
    path="/activity",
    kind="costs",
    family="costs",
    dimensions={"label": "model", "project_id": "workspace"},
    dimensions_max=1,
    page_limits={"1d": REACH_DAYS},
    returns_open_bucket=False,
    reach_days=REACH_DAYS,
)


class _DatedRow(msgspec.Struct, gc=False):
    date: str
    workspace_id: str | None = None


class _Answer(msgspec.Struct):
    data: list[msgspec.Raw]


class _Activity(msgspec.Struct, gc=False):
    date: msgspec.Raw
    model: str
    prompt_tokens: Count
    completion_tokens: Count
    reasoning_tokens: Count
    requests: Count
    usage: Decimal
    cached_tokens: Count | None = None
    byok_usage_inference: Decimal | None = None
    model_permaslug: str | None = None
    endpoint_id: str | None = None
    provider_name: str | None = None
    workspace_id: str | None = None


class _StrictActivity(_Activity, gc=False, forbid_unknown_fields=True):
    pass


_ANSWER: Final = msgspec.json.Decoder(_Answer)
_DATED_ROW: Final = msgspec.json.Decoder(_DatedRow)
_ACTIVITY: Final = RowReader[_Activity](_StrictActivity, _Activity, nested={})


class OpenRouter:
    """OpenRouter's API as a :class:`~usage_pipeline.providers.contract.Provider`."""

    name = NAME
    title = TITLE
    role: Role = "reseller"
    account_question = None
    default_base_url = "https://openrouter.ai/api/v1"
    endpoints = (ACTIVITY, ACTIVITY_COSTS)

    def normalise_base_url(self, base_url: str) -> str:
        """The base URL with ``/api/v1`` where a bare host was given. Raises ``InvalidInputError``."""
        parts = checked_base_url(base_url, f"{NAME} base URL")
        return parts._replace(path=parts.path or "/api/v1").geturl()

    def headers(self, secret: Secret) -> Mapping[str, str]:
        """The management key as a bearer token."""
        return {"Authorization": f"Bearer {secret.reveal()}"}

    def query(self, endpoint: Endpoint, page: PageQuery) -> Sequence[tuple[str, str]]:
        """``date`` for a range of one day; a longer one is in the answer without it, as all closed days are."""
        query = []
        if page.end - page.start <= timedelta(days=1):
            query.append(("date", page.start.strftime("%Y-%m-%d")))
        if "project_id" in page.dimensions or page.projects:
            query.append(("group_by", "workspace"))
        return query

    def read_page(self, endpoint: Endpoint, body: bytes, asked: PageQuery) -> Page:
        """One bucket for each UTC day that was asked for, with its rows in the order of the answer.

        Rows of other days are left out; so are those of workspaces outside the key's scope. Raises
        ``ContractBrokenError``: ``page_unreadable``, ``workspace_missing`` (the key has a scope and a row no
        workspace).
        """
        where = where_of(NAME, endpoint)
        try:
            days = _rows_by_day(_ANSWER.decode(body).data, asked, where)
        except (*UNREADABLE, ValueError) as error:
            problem = str(error)
        else:
            first, count = asked.start.date(), -((asked.start - asked.end) // timedelta(days=1))
            wanted = [first + timedelta(days=n) for n in range(count)]
            return Page([Bucket(day_start(day), results_of(days.get(day, []))) for day in wanted], None)
        raise broken("page_unreadable", f"the answer is no list of activity: {problem}", where)

    def account_told(self, endpoint: Endpoint, body: bytes) -> str | None:
        """None: no row names the account."""
        return None

    def usage_rows(
        self, endpoint: Endpoint, results: msgspec.Raw, asked: tuple[str, ...], drift: Drift
    ) -> Iterator[UsageRow]:
        """Canonical rows of one UTC day. Raises ``ContractBrokenError``."""
        if endpoint.name != ACTIVITY.name:
            raise InvariantError("not_a_usage_endpoint", "this endpoint has no usage rows", where=endpoint.name)
        return _usage_rows(results, drift, where_of(NAME, endpoint))

    def billed_lines(
        self, endpoint: Endpoint, results: msgspec.Raw, asked: tuple[str, ...], drift: Drift
    ) -> Iterator[BilledLine]:
        """Billed lines of one UTC day. Raises ``ContractBrokenError``."""
        if endpoint.name != ACTIVITY_COSTS.name:
            raise InvariantError("not_a_cost_endpoint", "this endpoint has no billed lines", where=endpoint.name)
        return _billed_lines(results, drift, where_of(NAME, endpoint))

    def refusal(self, endpoint: Endpoint, status: int, body: bytes) -> UsagePipelineError:
        """The refusal; ``management_key_needed`` where the key is of another kind."""
        if status == 403 and "management key" in provider_message(body).lower():
            return PermanentError(
                "management_key_needed",
                "OpenRouter tells activity to management keys only (HTTP 403)",
                where=where_of(NAME, endpoint),
                remedy="Make one at openrouter.ai under Settings, and register it with keys rotate.",
            )
        return refusal_of(NAME, TITLE, endpoint, status, body)


PROVIDER: Final = OpenRouter()


def _rows_by_day(rows: list[msgspec.Raw], asked: PageQuery, where: str) -> dict[date, list[msgspec.Raw]]:
    days: dict[date, list[msgspec.Raw]] = defaultdict(list)
    for raw in rows:
        row = _DATED_ROW.decode(raw)
        if asked.projects and not row.workspace_id:
            raise broken("workspace_missing", "rows by workspace were asked for, and one names none", where)
        if not asked.projects or row.workspace_id in asked.projects:
            days[date.fromisoformat(row.date[:10])].append(raw)
    return days


def _usage_rows(results: msgspec.Raw, drift: Drift, where: str) -> Iterator[UsageRow]:
    for row in _ACTIVITY.read(results, drift, where):
        _note_dimensions(row, "model", drift)
        cached = row.cached_tokens
        if cached is not None and cached > row.prompt_tokens:
            note_total_off(drift, "cached_tokens")
            cached = row.prompt_tokens
        yield usage_row(
            {
                "project_id": row.workspace_id,
                "model": row.model,
                "upstream_provider": vendor_of_model(row.model),
                "line_detail": line_detail(
                    endpoint_id=row.endpoint_id, model_permaslug=row.model_permaslug, served_by=row.provider_name
                ),
            },
            {
                "uncached_input": row.prompt_tokens - (cached or 0),
                "cache_read": cached,
                "output": row.completion_tokens,
                "reasoning": row.reasoning_tokens,
                "requests": row.requests,
            },
        )


def _billed_lines(results: msgspec.Raw, drift: Drift, where: str) -> Iterator[BilledLine]:
    for row in _ACTIVITY.read(results, drift, where):
        _note_dimensions(row, "label", drift)
        if row.byok_usage_inference:
            drift.not_counted[BYOK_NOT_COUNTED] = drift.not_counted.get(BYOK_NOT_COUNTED, 0) + 1
        yield BilledLine(
            amount_usd=exact_amount(row.usage, where),
            label=row.model or None,
            model=row.model or None,
            cost_type="tokens",
            token_type=None,
            project_id=row.workspace_id or None,
            user_id=None,
            api_key_id=None,
            service_tier=None,
            context_window=None,
            inference_geo=None,
            quantity=None,
            quantity_unit=None,
        )


def _note_dimensions(row: _Activity, model_dimension: str, drift: Drift) -> None:
    if row.model:
        drift.answered_dimensions.add(model_dimension)
    if row.workspace_id:
        drift.answered_dimensions.add("project_id")
