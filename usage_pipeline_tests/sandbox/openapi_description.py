"""OpenAI's own OpenAPI description as a judge of requests and answers.

In: a request or an answer as it went over HTTP, whatever the host. Out: nothing, or an AssertionError that says what
the description forbids. Beyond the library's checks a query parameter that the description does not know is refused.
:func:`relaxed` names each point in which the newest contract or live answers go beyond the description.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from openapi_core import OpenAPI
from openapi_core.datatypes import RequestParameters
from openapi_core.exceptions import OpenAPIError
from openapi_core.testing import MockRequest, MockResponse
from werkzeug.datastructures import Headers, ImmutableMultiDict

DESCRIPTION = Path(__file__).parents[2] / "fixtures" / "openai" / "openapi_usage_costs.json"
HOST = "https://api.openai.com"
_USAGE = "/organization/usage/"


@cache
def official() -> dict[str, Any]:
    """The description as OpenAI publishes it."""
    document: dict[str, Any] = json.loads(DESCRIPTION.read_text())
    return document


def relaxed() -> dict[str, Any]:
    """The description with what is true beyond it, and nothing else.

    - Answers of 2026 send ``amount.value`` as a decimal string too.
    - The discriminator of a bucket's results names no schema that exists: each ``object`` is mapped to its own.
    - The newest SDK (3.54) groups completions and web searches by ``api_source``, costs by ``user_id`` and
      ``api_source``, and filters costs by ``line_items``.
    """
    document = json.loads(json.dumps(official()))
    paths, schemas = document["paths"], document["components"]["schemas"]
    schemas["CostsResult"]["properties"]["amount"]["properties"]["value"] = {
        "anyOf": [{"type": "number"}, {"type": "string", "pattern": r"^-?\d+(\.\d+)?([eE][+-]?\d+)?$"}]
    }
    items = schemas["UsageTimeBucket"]["properties"]["results"]["items"]
    items["discriminator"]["mapping"] = {
        schemas[choice["$ref"].rpartition("/")[2]]["properties"]["object"]["enum"][0]: choice["$ref"]
        for choice in items["oneOf"]
    }
    for path, dimensions in (
        (f"{_USAGE}completions", ["api_source"]),
        (f"{_USAGE}web_search_calls", ["api_source"]),
        ("/organization/costs", ["user_id", "api_source"]),
    ):
        _parameter(paths[path], "group_by")["schema"]["items"]["enum"] += dimensions
    line_items = {"name": "line_items", "in": "query", "schema": {"type": "array", "items": {"type": "string"}}}
    paths["/organization/costs"]["get"]["parameters"].append(line_items)
    return document


def described_paths() -> tuple[str, ...]:
    """The path of every GET, with its parameters in braces, without the ``/v1`` of the server."""
    return tuple(path for path, item in official()["paths"].items() if "get" in item)


def validate_request(method: str, url: str, headers: Mapping[str, str]) -> None:
    """Raises AssertionError when the description does not allow this request."""
    request = _request(method, url, headers)
    _judge(lambda: _judge_of_all().validate_request(request), f"{method} {url}")
    known = {parameter["name"] for parameter in _operation(request.path)["parameters"]}
    unknown = sorted(set(request.parameters.query) - known)
    assert not unknown, f"{method} {url}: no query parameter {', '.join(unknown)} in the description"


def validate_response(method: str, url: str, status: int, headers: Mapping[str, str], body: bytes) -> None:
    """Raises AssertionError when the description does not allow this answer (it knows 200 and 429 only)."""
    content_type = Headers(dict(headers)).get("content-type", "")
    answer = MockResponse(body, status, dict(headers), content_type)
    request = _request(method, url, {})
    _judge(lambda: _judge_of_all().validate_response(request, answer), f"{method} {url} answered {status}")


def _judge(check: Any, what: str) -> None:
    try:
        check()
    except OpenAPIError as error:
        raise AssertionError(f"{what}: {error}; {error.__cause__ or ''}") from error


@cache
def _judge_of_all() -> OpenAPI:
    return OpenAPI.from_dict(relaxed())


def _request(method: str, url: str, headers: Mapping[str, str]) -> MockRequest:
    parts = urlsplit(url)
    request = MockRequest(HOST, method, parts.path, headers=dict(headers))
    query = ImmutableMultiDict(parse_qsl(parts.query, keep_blank_values=True))
    request.parameters = RequestParameters(query=query, header=Headers(dict(headers)))
    return request


def _operation(path: str) -> dict[str, Any]:
    asked = path.removeprefix("/v1").split("/")
    for pattern, item in relaxed()["paths"].items():
        known = pattern.split("/")
        if len(known) == len(asked) and all(k.startswith("{") or k == a for k, a in zip(known, asked, strict=True)):
            operation: dict[str, Any] = item["get"]
            return operation
    raise AssertionError(f"no path {path} in the description")


def _parameter(item: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(p for p in item["get"]["parameters"] if p["name"] == name)
    return found
