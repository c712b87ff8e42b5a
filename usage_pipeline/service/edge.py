"""The outermost edge of the application: every failure becomes an answer, every request one line in the log.

The line has the method, the path of a known route, the status, the milliseconds, the feed and a code; never a query
string, a header, a body or an address that nobody knows.
"""

from __future__ import annotations

import logging
import os
import time
import traceback
from typing import Final

from psycopg import errors as postgres
from sqlalchemy import exc
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from usage_pipeline.errors import InvariantError, UsagePipelineError
from usage_pipeline.service.answers import RETRY_SECONDS, RefusedRequestError

access_log = logging.getLogger("usage_pipeline.service.access")
_log = logging.getLogger(__name__)

_CLIENT_LEFT: Final = 499
_STORE_FAILURES: Final = (exc.OperationalError, exc.InterfaceError, exc.TimeoutError)
_OTHER_SCHEMA: Final = (postgres.UndefinedTable, postgres.UndefinedColumn)


class Edge:
    """Wraps the application."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, whatever happens."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        state = scope.setdefault("state", {})
        status = 0

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noted)
        except ClientDisconnect:
            status = _CLIENT_LEFT
        except Exception as error:  # noqa: BLE001 - the outermost edge: whatever comes must become an answer
            refused = _as_refusal(error)
            state["note"] = refused.code
            if not status:
                await refused.response()(scope, receive, noted)
        finally:
            _write_line(scope, status, time.perf_counter() - began)


def _as_refusal(error: Exception) -> RefusedRequestError:
    if isinstance(error, RefusedRequestError):
        return error
    if isinstance(error, InvariantError):
        _log.error("%s", error.line())
        return RefusedRequestError(500, error.code, "A fault of this program. Ask the operator to look at its log.")
    if isinstance(error, UsagePipelineError):  # what the ledger raises on purpose: the store is away
        _log.error("%s", error.line())
        return _store_unavailable()
    if isinstance(error, exc.DBAPIError) and isinstance(error.orig, _OTHER_SCHEMA):
        _log.error("[schema_outdated] the database's schema is not this code's. Run: usage-pipeline db upgrade.")
        return _store_unavailable()
    if isinstance(error, _STORE_FAILURES):
        _log.error("[store_unavailable] the database broke off (%s)", type(error).__name__)
        return _store_unavailable()
    # Only the type: an unexpected error's text may hold anything, a secret included.
    _log.error("[internal_error] an unexpected %s, a fault of this program", type(error).__name__)
    if os.environ.get("USAGE_DEBUG", "").strip():
        _log.error("%s", "".join(traceback.format_exception(error)))
    return RefusedRequestError(500, "internal_error", "A fault of this program. Ask the operator to look at its log.")


def _store_unavailable() -> RefusedRequestError:
    return RefusedRequestError(
        503,
        "store_unavailable",
        "The store cannot be used now. Send it again later.",
        retry_after=RETRY_SECONDS,
        unread=True,
    )


def _write_line(scope: Scope, status: int, seconds: float) -> None:
    state = scope.get("state", {})
    # The router sets the route of a path that it knows; any other may be somebody's secret, pasted wrongly.
    path = scope["path"] if scope.get("route") is not None else "(unknown)"
    method = scope["method"] if len(scope["method"]) <= 10 and scope["method"].isalpha() else "(unknown)"
    noted = " ".join(str(state[name]) for name in ("feed", "note") if name in state)
    milliseconds = round(seconds * 1000, 1)
    access_log.info(
        "%s %s %d %.1f ms %s",
        method,
        path,
        status,
        milliseconds,
        noted or "-",
        # The same as fields, for a log in JSON.
        extra={
            "method": method,
            "path": path,
            "status": status,
            "milliseconds": milliseconds,
            "feed": state.get("feed"),
            "note": state.get("note"),
        },
    )
