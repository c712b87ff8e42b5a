"""What the Anthropic administration API accepts: keys, parameters, limits, and how it refuses the rest.

In: an :class:`ApiRequest`. Out: an :class:`AnthropicQuery`, or a :class:`Refusal` in Anthropic's error shape. Written
from the published pages and from reports of the API's behaviour, never from a client's code.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from usage_pipeline.sandbox.exchange import ApiRequest, Refusal, Scene
from usage_pipeline.sandbox.paging import WIDTH_SECONDS, Cursor, fingerprint, read_page_token
from usage_pipeline.sandbox.switches import ANTHROPIC_COSTS_PATH, ANTHROPIC_USAGE_PATH

API_VERSION = "2023-06-01"
_GROUP_BY = "group_by[]"
_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII)
_SCALARS = frozenset({"starting_at", "ending_at", "bucket_width", "limit", "page"})


@dataclass(frozen=True, slots=True)
class _Endpoint:
    """Limits are (default, maximum) buckets per answer. ``filters`` maps a parameter to the row's attribute."""

    limits: Mapping[str, tuple[int, int]]
    dimensions: tuple[str, ...]
    filters: Mapping[str, str]
    dimensions_2026: tuple[str, ...] = ()
    filters_2026: tuple[str, ...] = ()


_ENDPOINTS = {
    ANTHROPIC_USAGE_PATH: _Endpoint(
        {"1m": (60, 1440), "1h": (24, 168), "1d": (7, 31)},
        ("api_key_id", "context_window", "model", "service_tier", "workspace_id"),
        {
            "account_ids[]": "account_id",
            "api_key_ids[]": "api_key_id",
            "context_window[]": "context_window",
            "inference_geos[]": "inference_geo",
            "models[]": "model",
            "service_account_ids[]": "service_account_id",
            "service_tiers[]": "service_tier",
            "speeds[]": "speed",
            "workspace_ids[]": "workspace_id",
        },
        ("account_id", "inference_geo", "service_account_id", "speed"),
        ("account_ids[]", "inference_geos[]", "service_account_ids[]", "speeds[]"),
    ),
    ANTHROPIC_COSTS_PATH: _Endpoint({"1d": (7, 31)}, ("workspace_id", "description"), {}),
}
_ALLOWED_VALUES = {
    "context_window[]": ("0-200k", "200k-1M"),
    "inference_geos[]": ("global", "us", "not_available"),
    "service_tiers[]": ("standard", "batch", "priority", "priority_on_demand", "flex", "flex_discount"),
    "speeds[]": ("standard", "fast"),
}


@dataclass(frozen=True, slots=True)
class AnthropicQuery:
    """An accepted request. ``here`` is where its page begins and where the closed range ends, in Unix seconds.

    ``filters`` maps a row's attribute to the values that may pass.
    """

    here: Cursor
    width_s: int
    limit: int
    group_by: tuple[str, ...]
    filters: Mapping[str, frozenset[str]]
    digest: bytes


def refuse(status: int, kind: str, message: str) -> Refusal:
    """A refusal in Anthropic's shape."""
    return Refusal(status, {"type": "error", "error": {"type": kind, "message": message}})


def authenticate(request: ApiRequest, keys: Collection[str]) -> None:
    """Raises a 401 for no key or an unknown one, a 400 for no or another API version."""
    key = request.headers.get("x-api-key")
    if not key:
        raise refuse(401, "authentication_error", "x-api-key header is required")
    if key not in keys:
        raise refuse(401, "authentication_error", "invalid x-api-key")
    version = request.headers.get("anthropic-version")
    if version is None:
        raise bad("anthropic-version: header is required")
    if version != API_VERSION:
        raise bad(f'anthropic-version: "{version}" is not a valid version')


def read_query(request: ApiRequest, scene: Scene) -> AnthropicQuery:
    """The accepted request; raises a 400 as the API would."""
    endpoint = _ENDPOINTS[request.path]
    newest = scene.switches.anthropic_contract == "2026"
    dimensions = endpoint.dimensions + (endpoint.dimensions_2026 if newest else ())
    filters = {
        name: attribute for name, attribute in endpoint.filters.items() if newest or name not in endpoint.filters_2026
    }
    check_names(request, _SCALARS, {*filters, _GROUP_BY})
    width = request.value("bucket_width") or "1d"
    if width not in endpoint.limits:
        raise bad(one_of("bucket_width", endpoint.limits))
    group_by = request.values(_GROUP_BY)
    if len(group_by) > scene.switches.anthropic_group_by_max:
        raise bad(f"Cannot specify more than {scene.switches.anthropic_group_by_max} {_GROUP_BY} dimensions.")
    for index, name in enumerate(group_by):
        if name not in dimensions:
            raise bad(one_of(f"group_by.{index}", dimensions))
    digest = fingerprint(request.path, request.query)
    return AnthropicQuery(
        here=read_page(request, digest, _range(request, scene, WIDTH_SECONDS[width])),
        width_s=WIDTH_SECONDS[width],
        limit=read_limit(request, *endpoint.limits[width]),
        group_by=tuple(dict.fromkeys(group_by)),
        filters={
            attribute: frozenset(_filter(request, name)) for name, attribute in filters.items() if request.values(name)
        },
        digest=digest,
    )


def check_names(request: ApiRequest, scalars: Collection[str], arrays: Collection[str] = ()) -> None:
    """Raises a 400 for a parameter that the endpoint does not know, and for a scalar that is given twice."""
    for name in sorted(request.names()):
        if name not in scalars and name not in arrays:
            raise bad(f"{name}: Extra inputs are not permitted")
        if name in scalars and len(request.values(name)) > 1:
            raise bad(f"{name}: Input should be given once")


def _range(request: ApiRequest, scene: Scene, width_s: int) -> Cursor:
    """The closed buckets of the range: the start snapped down, the end at the last boundary that has passed."""
    if not request.value("starting_at"):
        raise bad("starting_at: Field required")
    start_s = _instant(request, "starting_at") or 0
    start_s -= start_s % width_s
    now_s = int(scene.world.now().timestamp())
    ending_s = _instant(request, "ending_at")
    end_s = now_s if ending_s is None else min(ending_s, now_s)
    end_s -= end_s % width_s
    if request.path == ANTHROPIC_COSTS_PATH and scene.switches.anthropic_cost_open_day:
        wants_today = ending_s is None or ending_s > now_s
        end_s += width_s if wants_today else 0
    if end_s <= start_s:
        raise bad("ending date must be after starting date")
    return Cursor(end_s, start_s, 1)


def _instant(request: ApiRequest, name: str) -> int | None:
    """An RFC 3339 parameter as Unix seconds."""
    text = request.value(name)
    if text is None:
        return None
    try:
        if not _RFC_3339.fullmatch(text):
            raise ValueError
        return int(datetime.fromisoformat(text).timestamp())
    except ValueError:
        raise bad(f"{name}: Input should be a valid RFC 3339 datetime") from None


def read_limit(request: ApiRequest, default: int, maximum: int) -> int:
    """The ``limit`` parameter; raises a 400 unless it is a whole number from 1 to ``maximum``."""
    text = request.value("limit")
    if text is None:
        return default
    if not (text.isascii() and text.removeprefix("-").isdigit() and len(text) <= 9):
        raise bad("limit: Input should be a valid integer")
    if int(text) < 1:
        raise bad("limit: Input should be greater than or equal to 1")
    if int(text) > maximum:
        raise bad(f"limit: Input should be less than or equal to {maximum}")
    return int(text)


def _filter(request: ApiRequest, name: str) -> list[str]:
    values = request.values(name)
    allowed = _ALLOWED_VALUES.get(name)
    for index, value in enumerate(values):
        if allowed is not None and value not in allowed:
            raise bad(one_of(f"{name.removesuffix('[]')}.{index}", allowed))
    return values


def read_page(request: ApiRequest, digest: bytes, first: Cursor) -> Cursor:
    """Where the asked page begins; raises a 400 for a token that is not of these parameters."""
    token = request.value("page")
    if token is None:
        return first
    cursor = read_page_token(token, digest)
    if cursor is None:
        raise bad("page: Invalid page token, or it does not belong to these parameters")
    return cursor


def one_of(name: str, allowed: Collection[str]) -> str:
    """The message for a value outside of a fixed set."""
    listed = ", ".join(f"'{text}'" for text in allowed)
    return f"{name}: Input should be one of {listed}"


def bad(message: str) -> Refusal:
    """A 400 in Anthropic's shape."""
    return refuse(400, "invalid_request_error", message)
