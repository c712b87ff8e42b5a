"""The description of the usage API: what each route is about, its answer and its refusals, and how to authenticate.

The answers' models are in ``figure_models`` and ``record_models``.
"""

from __future__ import annotations

from typing import Any, Final

from pydantic import BaseModel

from usage_pipeline.ledger.read_tokens import SCOPES
from usage_pipeline.service.budget_models import Budgets
from usage_pipeline.service.figure_models import Events, Usage
from usage_pipeline.service.openapi import Json, describe
from usage_pipeline.service.record_models import Bills, Coverage, Findings, Session, Workspaces

READER_SECURITY: Final[list[Json]] = [{"readToken": []}, {"session": []}]

SECURITY_SCHEMES: Final[Json] = {
    "readToken": {
        "type": "http",
        "scheme": "bearer",
        "description": "A read token of one workspace, as usage-pipeline tokens add prints it once. Its scopes: "
        + "; ".join(f"{name}: {words}" for name, words in SCOPES.items())
        + ".",
    },
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": "__Host-usage_session",
        "description": "A session that POST /login began; on the machine itself the cookie is called usage_session.",
    },
}

READINGS: Final[dict[str, tuple[str, type[BaseModel]]]] = {
    "/api/usage": ("What counts: totals and groups, with their cost", Usage),
    "/api/usage/events": ("The rows behind the figures, page by page", Events),
    "/api/findings": ("What is worth a person's look", Findings),
    "/api/coverage": ("What stands about every key's and Hermes feed's days", Coverage),
    "/api/bills": ("Each account's bill beside what its usage costs", Bills),
    "/api/budgets": ("What was spent of each budget, and what it may come to", Budgets),
    "/api/workspaces": ("The token's workspace", Workspaces),
    "/api/session": ("Who asks", Session),
}
"""The summary of each route that reads, and the model of its answer."""

EXPORTS: Final = {
    "/api/exports/csv": "What counts as CSV",
    "/api/exports/parquet": "What counts as Parquet",
    "/api/exports/focus": "What counts in the words of FOCUS",
}
"""The summary of each download."""

WORDS: Final = {
    "/api/exports/csv": "The file of usage-pipeline export csv. A transfer that breaks off is no file.",
    "/api/exports/parquet": "The file of usage-pipeline export parquet. A transfer that breaks off is no file.",
    "/api/exports/focus": "The file of usage-pipeline export focus. A transfer that breaks off is no file.",
    "/api/usage": "The figures of usage-pipeline report. Where a dimension is told by single rows alone (all but day,"
    " workspace, provider, route, family and model), groups have counted figures and the counted cost only.",
    "/api/usage/events": "In a fixed order: by day, feed, endpoint, window and key. Each row is on one page, once.",
    "/api/findings": "In a fixed order: by day, code and number.",
    "/api/coverage": "A day has the weakest state of its reports.",
    "/api/budgets": "The figures of usage-pipeline budgets status, of the token's workspace alone.",
}

ETAG_HEADERS: Final[Json] = {
    "ETag": {"description": "Changes when the answer does.", "schema": {"type": "string"}},
}
ETAG_PARAMETERS: Final[list[Json]] = [
    {
        "name": "If-None-Match",
        "in": "header",
        "required": False,
        "description": "The ETag of an answer that the caller has; 304 where it still holds.",
        "schema": {"type": "string"},
    }
]

_READER_REFUSALS: Final[dict[int | str, Json]] = {
    **describe(401, "The token or session is missing, unknown, expired or revoked."),
    **describe(429, "The token sends more requests than it may. Retry-After says when to come again."),
    **describe(503, "The store cannot be used now, or the answer takes too long to make."),
}
READING_RESPONSES: Final[dict[int | str, Json]] = {
    304: {"description": "The caller has the answer already."},
    **describe(400, "A parameter is missing, unknown, malformed or given twice; field names it."),
    **_READER_REFUSALS,
    **describe(403, "The token has not the scope, or is of another workspace."),
}

EXPORT_RESPONSES: Final[dict[int | str, Json]] = {
    200: {
        "description": "The file, in pieces.",
        "content": {
            "text/csv": {"schema": {"type": "string"}},
            "application/vnd.apache.parquet": {"schema": {"type": "string", "format": "binary"}},
        },
        "headers": {"Content-Disposition": {"description": "The file's name.", "schema": {"type": "string"}}},
    },
    **describe(400, "A parameter is missing, unknown, malformed or given twice; field names it."),
    **_READER_REFUSALS,
    **describe(403, "The token has not the scope, or is of another workspace."),
    **describe(422, "An amount does not fit into the format."),
}

RAW_PARAMETERS: Final[list[Json]] = [
    {
        "name": name,
        "in": "path",
        "required": True,
        "description": words,
        "schema": {"type": "integer", "minimum": 0, "maximum": 2**31 - 1},
    }
    for name, words in (("pull", "The pull."), ("page", "The page of the pull, from 0 on."))
]
RAW_RESPONSES: Final[dict[int | str, Json]] = {
    200: {
        "description": "The provider's answer, byte for byte.",
        "content": {"application/json": {}},
        "headers": {"X-Usage-Feed": {"description": "The key and the report.", "schema": {"type": "string"}}},
    },
    **_READER_REFUSALS,
    **describe(403, "The token has not the scope."),
    **describe(404, "No such page of this workspace is kept."),
    **describe(410, "Its body was pruned."),
}

_COOKIE: Final[Json] = {"Set-Cookie": {"description": "The session.", "schema": {"type": "string"}}}
LOGIN_RESPONSES: Final[dict[int | str, Json]] = {
    200: {"model": Session, "description": "The session has begun.", "headers": _COOKIE},
    **describe(400, "The body is no login."),
    **_READER_REFUSALS,
    **describe(403, "A page of another site sent it."),
    **describe(408, "The body did not arrive in time."),
    **describe(413, "The body is too large."),
    **describe(415, "The body is not application/json, or has a content encoding."),
}
LOGIN_EXTRA: Final[Json] = {
    "security": [],
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["token"],
                    "properties": {"token": {"type": "string", "description": "A read token."}},
                    "additionalProperties": False,
                },
                "example": {"token": "upr_0123456789_…"},
            }
        },
    },
}
LOGOUT_RESPONSES: Final[dict[int | str, Json]] = {
    204: {"description": "There is no session any more.", "headers": _COOKIE},
    **describe(403, "A page of another site sent it."),
    **describe(503, "The store cannot be used now."),
}


def add_security(described: dict[str, Any]) -> dict[str, Any]:
    """The description with the schemes of readers among its components."""
    described.setdefault("components", {}).setdefault("securitySchemes", {}).update(SECURITY_SCHEMES)
    return described
