"""What a LiteLLM proxy accepts: keys, parameters, and its three shapes of refusal.

In: an :class:`ApiRequest`. Out: checked values, or a :class:`Refusal`. Everything is from the source of version
1.109.1: a proxy error is ``{"error": {message, type, param, code}}`` with the code in text, a management endpoint's own
refusal is ``{"detail": {"error": ...}}``, and a value that does not fit its type is FastAPI's 422. An unknown
parameter is ignored, and of a parameter that is given twice the last value counts.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from usage_pipeline.sandbox.exchange import ApiRequest, Document, Refusal, Scene

PROXY_ADMIN = "proxy_admin"
"""The grant of the master key. Any other grant is the user that a key belongs to, who sees only what is theirs."""
OPEN_PATHS = frozenset({"/litellm/health/liveliness", "/litellm/health/liveness"})
PAGE_SIZE_MAX = 1000
_PAGE_SIZE = 50
_INTEGER = re.compile(r"[+-]?\d+", re.ASCII)
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_DATE_FORMATS = ("%Y-%m-%d %H:%M:%S", "%Y-%m-%d")
SORT_FIELDS = ("endTime", "model", "request_duration_ms", "spend", "startTime", "total_tokens", "ttft_ms")
_UNSPOKEN = (
    "error_code",
    "error_message",
    "exclude_internal_health_checks",
    "group_by_session",
    "search",
    "session_id",
    "span_type",
    "used_client_oauth_token",
)
"""Filters that the proxy knows and the sandbox does not speak; ignoring one would be a wrong answer."""


@dataclass(frozen=True, slots=True)
class LogQuery:
    """Which rows of the spend log are asked for. Times are milliseconds since 1970 UTC, both ends included."""

    first_ms: int
    last_ms: int
    page: int
    page_size: int
    sort_by: str
    descending: bool
    filters: Mapping[str, str]
    min_spend: float | None
    max_spend: float | None
    user_id: str | None


@dataclass(frozen=True, slots=True)
class DailyQuery:
    """Which daily rows are asked for; both days included."""

    first: date
    last: date
    page: int
    page_size: int
    model: str | None
    api_key: str | None
    user_id: str | None


def refuse(status: int, message: str, kind: str = "bad_request", param: str | None = None) -> Refusal:
    """A proxy error."""
    return Refusal(status, {"error": {"message": message, "type": kind, "param": param, "code": str(status)}})


def not_served(status: int, _message: str) -> Refusal:
    """FastAPI's own answer to an unknown path or method, which does not repeat the path."""
    return Refusal(status, {"detail": "Not Found" if status == 404 else "Method Not Allowed"})


def fault_body(status: int) -> Document:
    """The body of a status that a fault forces."""
    if status == 429:
        return refuse(429, "Rate limit exceeded", "throttling_error").body
    return refuse(status, "Internal Server Error", "internal_server_error").body


def page_number(request: ApiRequest) -> int:
    """The page, from 1, that a listing is asked for."""
    text = _last(request, "page") or "1"
    return int(text) if _INTEGER.fullmatch(text) and len(text) <= 9 else 1


def authenticate(request: ApiRequest, grants: Mapping[str, Collection[str]]) -> str | None:
    """Returns ``proxy_admin`` or the key's user. Raises a 401, but for the health paths, which are open."""
    if request.path in OPEN_PATHS:
        return None
    header = request.headers.get("authorization") or request.headers.get("x-litellm-api-key")
    if not header:
        raise refuse(401, "Authentication Error, No api key passed in.", "auth_error")
    kind, _, key = header.partition(" ")
    if kind.lower() != "bearer" or not key:
        message = "Authentication Error, Malformed API Key passed in. Ensure Key has `Bearer ` prefix."
        raise refuse(401, message, "auth_error")
    if key not in grants:
        raise refuse(401, "Authentication Error, Invalid API key provided.", "token_not_found_in_db", "key")
    return next(iter(grants[key]), None)


def read_log_query(request: ApiRequest, scene: Scene) -> LogQuery:
    """GET /spend/logs/v2. Raises Refusal."""
    page, page_size, min_spend, max_spend = _numbers(request)
    sort_by = _last(request, "sort_by") or "startTime"
    sort_order = (_last(request, "sort_order") or "desc").lower()
    if sort_by not in SORT_FIELDS:
        message = f"Invalid sort_by: {sort_by}. Must be one of: {', '.join(SORT_FIELDS)}"
        raise refuse(400, message, param="sort_by")
    if sort_order not in ("asc", "desc"):
        raise refuse(400, f"Invalid sort_order: {sort_order}. Must be one of: asc, desc", param="sort_order")
    for name in _UNSPOKEN:
        if request.value(name) is not None:
            raise refuse(400, f"the sandbox does not speak {name}", param=name)
    start, end = _last(request, "start_date"), _last(request, "end_date")
    if start is None or end is None:
        raise refuse(400, "Start date and end date are required")
    names = ("api_key", "end_user", "key_alias", "model", "model_group", "model_id", "request_id", "status_filter")
    given = {name: value for name in (*names, "team_id") if (value := _last(request, name)) is not None}
    return LogQuery(
        _instant_ms(start),
        _instant_ms(end),
        page,
        page_size,
        sort_by,
        sort_order == "desc",
        given,
        min_spend,
        max_spend,
        _last(request, "user_id") if scene.caller == PROXY_ADMIN else scene.caller,
    )


def read_daily_query(request: ApiRequest, scene: Scene) -> DailyQuery:
    """GET /user/daily/activity. Raises Refusal."""
    page, page_size, _, _ = _numbers(request)
    start, end = _last(request, "start_date"), _last(request, "end_date")
    if start is None or end is None:
        raise detail(400, "Please provide start_date and end_date")
    first, last = _canonical_day(start), _canonical_day(end)
    if first is None or last is None:
        raise detail(400, "start_date and end_date must be valid YYYY-MM-DD dates")
    if last < first:
        raise detail(400, "end_date must be on or after start_date")
    user_id = _last(request, "user_id")
    if scene.caller != PROXY_ADMIN and user_id not in (None, scene.caller):
        raise detail(403, "Non-admin users can only view their own spend data.")
    return DailyQuery(
        first,
        _last_day(request, scene, last),
        page,
        page_size,
        _last(request, "model") or None,
        _last(request, "api_key"),
        user_id if scene.caller == PROXY_ADMIN else scene.caller,
    )


def detail(status: int, message: str) -> Refusal:
    """A management endpoint's own refusal."""
    return Refusal(status, {"detail": {"error": message}})


def _last(request: ApiRequest, name: str) -> str | None:
    values = request.values(name)
    return values[-1] if values else None


def _numbers(request: ApiRequest) -> tuple[int, int, float | None, float | None]:
    """``page``, ``page_size``, ``min_spend`` and ``max_spend``; raises one 422 for all that do not fit."""
    problems: list[Document] = []
    page = _integer(request, "page", 1, None, problems)
    page_size = _integer(request, "page_size", _PAGE_SIZE, PAGE_SIZE_MAX, problems)
    _integer(request, "timezone", 0, None, problems, minimum=None)
    least, most = _number(request, "min_spend", problems), _number(request, "max_spend", problems)
    if problems:
        raise Refusal(422, {"detail": problems})
    return page, page_size, least, most


def _integer(
    request: ApiRequest,
    name: str,
    default: int,
    maximum: int | None,
    problems: list[Document],
    minimum: int | None = 1,
) -> int:
    text = _last(request, name)
    if text is None:
        return default
    if not _INTEGER.fullmatch(text.strip()):
        message = "Input should be a valid integer, unable to parse string as an integer"
        problems.append(_problem("int_parsing", name, message, text))
        return default
    value = int(text)
    if minimum is not None and value < minimum:
        message = f"Input should be greater than or equal to {minimum}"
        problems.append(_problem("greater_than_equal", name, message, text, {"ge": minimum}))
    if maximum is not None and value > maximum:
        message = f"Input should be less than or equal to {maximum}"
        problems.append(_problem("less_than_equal", name, message, text, {"le": maximum}))
    return value


def _number(request: ApiRequest, name: str, problems: list[Document]) -> float | None:
    text = _last(request, name)
    if text is None:
        return None
    if not _NUMBER.fullmatch(text.strip()):
        message = "Input should be a valid number, unable to parse string as a number"
        problems.append(_problem("float_parsing", name, message, text))
        return None
    return float(text)


def _problem(kind: str, name: str, message: str, given: str, limits: Document | None = None) -> Document:
    problem: Document = {"type": kind, "loc": ["query", name], "msg": message, "input": given}
    return problem if limits is None else problem | {"ctx": limits}


def _instant_ms(text: str) -> int:
    for form in _DATE_FORMATS:
        try:
            return round(datetime.strptime(text.strip(), form).replace(tzinfo=UTC).timestamp()) * 1000
        except ValueError:
            continue
    raise refuse(400, f"Invalid date format: {text}. Expected: 'YYYY-MM-DD' or 'YYYY-MM-DD HH:MM:SS'")


def _canonical_day(text: str) -> date | None:
    """A day in exactly the spelling YYYY-MM-DD."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None
    return day if day.isoformat() == text else None


def _last_day(request: ApiRequest, scene: Scene, last: date) -> date:
    """The last UTC day: stretched to today when the caller's own today is asked for, and that is wished."""
    offset, stretch = _last(request, "timezone"), _last(request, "include_current_utc_day")
    if offset is None or (stretch or "false").lower() not in ("true", "1", "yes", "on"):
        return last
    now = scene.world.now()
    return last if last < (now - timedelta(minutes=int(offset))).date() else max(last, now.date())
