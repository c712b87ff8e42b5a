"""What the OpenAI administration API accepts: keys, parameters, limits, and how it refuses the rest.

In: an :class:`ApiRequest`. Out: an :class:`OpenAiQuery`, or a :class:`Refusal` in OpenAI's error shape. Written from
the published description of the API and from reports of its behaviour, never from a client's code.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from usage_pipeline.sandbox.exchange import ApiRequest, Grants, Refusal, Scene
from usage_pipeline.sandbox.openai_endpoints import OPENAI_REPORTS
from usage_pipeline.sandbox.paging import (
    MINUTE_SECONDS,
    WIDTH_SECONDS,
    Cursor,
    fingerprint,
    page_number_of,
    read_page_token,
)
from usage_pipeline.sandbox.switches import OPENAI_COSTS_PATH, Switches

USAGE_SCOPE = "api.usage.read"
MANAGEMENT_SCOPE = "api.management.read"
_COST_API_KEY_SINCE_S = 1764979200  # 2025-12-06 UTC: costs have no key dimension before it
_LOOKBACK_DAYS = 365
_SCALARS = frozenset({"start_time", "end_time", "bucket_width", "limit", "page", "batch"})


@dataclass(frozen=True, slots=True)
class OpenAiQuery:
    """An accepted request. ``here`` is where its page begins and where the whole range ends, in Unix seconds.

    ``filters`` maps a dimension such as ``project_id`` to the values that may pass.
    """

    here: Cursor
    width_s: int
    limit: int
    group_by: tuple[str, ...]
    filters: Mapping[str, frozenset[str]]
    batch: bool | None
    digest: bytes


def refuse(
    status: int, message: str, *, param: str | None = None, code: str | None = None, kind: str = "invalid_request_error"
) -> Refusal:
    """A refusal in OpenAI's shape."""
    return Refusal(status, {"error": {"message": message, "type": kind, "param": param, "code": code}})


def authenticate(request: ApiRequest, keys: Grants) -> None:
    """Raises a 401 for no key or an unknown one, a 403 for a key without the scope that the path needs."""
    scopes = accepted(request, keys)
    needed = USAGE_SCOPE if request.path in OPENAI_REPORTS else MANAGEMENT_SCOPE
    if needed not in scopes:
        raise refuse(403, f"You have insufficient permissions for this operation. Missing scopes: {needed}")


def accepted(request: ApiRequest, keys: Grants) -> Collection[str]:
    """What the request's key may do. Raises a 401 for no key or an unknown one."""
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not key:
        raise refuse(401, "You didn't provide an API key. Use an Authorization header with Bearer auth.")
    if key not in keys:
        # The live API repeats the key's two ends; a client that prints bodies prints those.
        shown = f"{key[:8]}{'*' * 12}{key[-4:]}"
        raise refuse(401, f"Incorrect API key provided: {shown}.", code="invalid_api_key")
    return keys[key]


def page_number(request: ApiRequest) -> int:
    """Which page is asked for, from 1: a report's token tells it, a list's ``after`` only that it is a later one."""
    token = request.value("page")
    return page_number_of(token) if token else 1 + ("after" in request.names())


def read_query(request: ApiRequest, scene: Scene) -> OpenAiQuery:
    """The accepted request; raises a 400 as the API would."""
    report = OPENAI_REPORTS[request.path]
    newest = scene.switches.openai_contract == "2026"
    dimensions = report.dimensions + (report.dimensions_2026 if newest else ())
    filters = {**report.filters, **(report.filters_2026 if newest else {})}
    check_parameters(request, _SCALARS if report.has_batch else _SCALARS - {"batch"}, {*filters, "group_by"})

    now_s = int(scene.world.now().timestamp())
    start_s = _start(request, now_s)
    width = request.value("bucket_width") or "1d"
    if width not in report.limits:
        raise invalid_value("bucket_width", width, report.limits)
    group_by = tuple(dict.fromkeys(name for name in request.values("group_by") if "," not in name))
    for name in group_by:
        if name not in dimensions:
            raise invalid_value("group_by", name, dimensions)
    for name, choices in report.choices.items():
        for value in _array(request, name):
            if value not in choices:
                raise invalid_value(name, value, choices)
    if request.path == OPENAI_COSTS_PATH:
        _check_cost_groups(request, group_by, start_s, scene.switches)
    limit = _limit(request, *report.limits[width])
    end_s = _end(request, now_s)
    digest = fingerprint(request.path, request.query)
    return OpenAiQuery(
        here=_here(request, digest, Cursor(end_s, start_s, 1)),
        width_s=WIDTH_SECONDS[width],
        limit=limit,
        group_by=group_by,
        filters={
            dimension: frozenset(values) for name, dimension in filters.items() if (values := _array(request, name))
        },
        batch=_batch(request),
        digest=digest,
    )


def check_parameters(request: ApiRequest, scalars: Collection[str], arrays: Collection[str] = ()) -> None:
    """Refuses unknown names; an array's name with brackets is known but has no effect, as reported of the API."""
    for name in sorted(request.names()):
        if name not in scalars and name.removesuffix("[]") not in arrays:
            raise refuse(400, f"Unknown query parameter: '{name}'.", param=name, code="unknown_parameter")
        if name in scalars and len(request.values(name)) > 1:
            raise refuse(400, f"Query parameter '{name}' was given more than once.", param=name)


def _start(request: ApiRequest, now_s: int) -> int:
    """The range's start, floored to the minute."""
    if not request.value("start_time"):
        raise refuse(400, "Missing query parameter 'start_time'", param="start_time", code="missing_required_parameter")
    start_s = integer_parameter(request, "start_time") or 0
    floor = datetime.fromtimestamp(now_s, UTC).date() - timedelta(days=_LOOKBACK_DAYS)
    if datetime.fromtimestamp(start_s, UTC).date() < floor:
        message = (
            "Usage and cost data are available for the past year. "
            f"Earliest supported start date: {floor.isoformat()} (UTC)."
        )
        raise Refusal(400, {"error": {"code": "reporting_lookback_exceeded", "message": message}})
    return start_s - start_s % MINUTE_SECONDS


def _end(request: ApiRequest, now_s: int) -> int:
    """The range's end, not floored; it must lie after the start as it was asked for."""
    start_s = integer_parameter(request, "start_time") or 0
    end_s = integer_parameter(request, "end_time")
    if end_s is not None and end_s > now_s:
        raise refuse(400, "Invalid end_time: it must not be in the future.", param="end_time")
    end_s = now_s if end_s is None else end_s
    if end_s <= start_s:
        raise refuse(400, "Invalid time range: end_time must be after start_time.", param="end_time")
    return end_s


def _limit(request: ApiRequest, default: int, maximum: int) -> int:
    limit = integer_parameter(request, "limit")
    if limit is None:
        return default
    if limit < 1:
        raise refuse(400, f"Invalid limit provided: {limit}. Limit must be greater than or equal to 1.", param="limit")
    if limit > maximum:
        raise refuse(
            400, f"Invalid limit provided: {limit}. Limit must be less than or equal to {maximum}.", param="limit"
        )
    return limit


def _batch(request: ApiRequest) -> bool | None:
    text = request.value("batch")
    if text is None:
        return None
    if text not in ("true", "false"):
        raise invalid_value("batch", text, ("true", "false"))
    return text == "true"


def _array(request: ApiRequest, name: str) -> list[str]:
    return [value for value in request.values(name) if "," not in value]


def _here(request: ApiRequest, digest: bytes, first: Cursor) -> Cursor:
    token = request.value("page")
    if token is None:
        return first
    cursor = read_page_token(token, digest)
    if cursor is None:
        raise refuse(400, "Invalid page token, or it does not belong to these parameters.", param="page")
    return cursor


def _check_cost_groups(request: ApiRequest, group_by: tuple[str, ...], start_s: int, switches: Switches) -> None:
    """The combinations that costs refuse, always or for some organisations."""
    if "api_key_id" in group_by:
        if switches.openai_costs_refuse_api_key_id:
            raise refuse(400, "Grouping by api_key_id is not available for this organization.", param="group_by")
        if start_s < _COST_API_KEY_SINCE_S:
            raise refuse(
                400, f"Grouping by api_key_id needs a start_time of {_COST_API_KEY_SINCE_S} or later.", param="group_by"
            )
    by_project = "project_id" in group_by or bool(_array(request, "project_ids"))
    if switches.openai_costs_refuse_user_id_with_project and "user_id" in group_by and by_project:
        raise refuse(
            400,
            "Grouping by user_id together with project_id is not available for this organization.",
            param="group_by",
        )


def integer_parameter(request: ApiRequest, name: str) -> int | None:
    """A whole number, or None when the parameter is absent. Raises Refusal."""
    text = request.value(name)
    if text is None:
        return None
    if not (text.isascii() and text.removeprefix("-").isdigit() and len(text) <= 11):
        raise refuse(400, f"Invalid type for '{name}': expected an integer.", param=name, code="invalid_type")
    return int(text)


def invalid_value(name: str, value: str, allowed: Collection[str]) -> Refusal:
    """The refusal of a value that is none of the allowed ones."""
    listed = ", ".join(f"'{text}'" for text in allowed)
    return refuse(400, f"Invalid value: '{value}'. Supported values are: {listed}.", param=name, code="invalid_value")
