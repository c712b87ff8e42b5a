"""Who may use which route: one table, and how a reader proves who it is.

Every route of the application stands in :data:`ACCESS`; one that does not stops the service from starting, so that none
is open by accident. A reader proves itself with a read token (``Authorization: Bearer``) or with a session that was
begun with one (a cookie): both make the same :class:`Reader`, of one workspace. Of the two, the token decides.
"""

from __future__ import annotations

import enum
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.routing import BaseRoute

from usage_pipeline.errors import InvariantError
from usage_pipeline.ledger.read_token_limits import take_request
from usage_pipeline.ledger.read_tokens import (
    EVENTS,
    EXPORTS,
    FINDINGS,
    RAW,
    USAGE,
    Reader,
    reader_of_session,
    reader_of_token,
)
from usage_pipeline.service.answers import RefusedRequestError
from usage_pipeline.service.bearer import bearer_token
from usage_pipeline.service.runtime import ServiceRuntime

_COOKIE: Final = "usage_session"
_HOST_COOKIE: Final = f"__Host-{_COOKIE}"
"""The cookie's name where it is marked Secure: browsers then take it from this host alone, and over TLS alone."""


class Access(enum.Enum):
    """What a route asks for."""

    OPEN = enum.auto()
    """Nothing: open by intention."""
    FEED_TOKEN = enum.auto()
    """The token of a Hermes feed."""
    CRON_SECRET = enum.auto()
    """The operator's ``CRON_SECRET``."""
    METRICS_TOKEN = enum.auto()
    """The operator's ``USAGE_METRICS_TOKEN``; nothing where it is not set and only this machine reaches the service."""
    LOGIN = enum.auto()
    """A read token in the body, or the session that is to end."""
    READER = enum.auto()
    """A read token or a session."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What a route asks for; of a reader also the scope, None for any."""

    access: Access
    scope: str | None = None


ACCESS: Final = {
    ("GET", "/healthz"): Rule(Access.OPEN),
    ("GET", "/readyz"): Rule(Access.OPEN),
    ("GET", "/openapi.json"): Rule(Access.OPEN),
    ("HEAD", "/openapi.json"): Rule(Access.OPEN),
    ("GET", "/api/ingest/hermes-usage/schema/v3"): Rule(Access.OPEN),
    ("POST", "/api/ingest/hermes-usage"): Rule(Access.FEED_TOKEN),
    ("POST", "/api/cron/ingest"): Rule(Access.CRON_SECRET),
    ("GET", "/metrics"): Rule(Access.METRICS_TOKEN),
    ("GET", "/"): Rule(Access.OPEN),  # the page holds no figure: it asks the usage API for them
    ("GET", "/login"): Rule(Access.OPEN),
    ("GET", "/static/{digest}/{name}"): Rule(Access.OPEN),
    ("POST", "/login"): Rule(Access.LOGIN),
    ("POST", "/logout"): Rule(Access.LOGIN),
    ("GET", "/api/session"): Rule(Access.READER),
    ("GET", "/api/workspaces"): Rule(Access.READER),
    ("GET", "/api/usage"): Rule(Access.READER, USAGE),
    ("GET", "/api/usage/events"): Rule(Access.READER, EVENTS),
    ("GET", "/api/coverage"): Rule(Access.READER, USAGE),
    ("GET", "/api/bills"): Rule(Access.READER, USAGE),
    ("GET", "/api/budgets"): Rule(Access.READER, USAGE),
    ("GET", "/api/findings"): Rule(Access.READER, FINDINGS),
    ("GET", "/api/exports/csv"): Rule(Access.READER, EXPORTS),
    ("GET", "/api/exports/parquet"): Rule(Access.READER, EXPORTS),
    ("GET", "/api/exports/focus"): Rule(Access.READER, EXPORTS),
    ("GET", "/api/raw/{pull}/{page}"): Rule(Access.READER, RAW),
}
"""Every route of the service, by method and path."""


def methods_of(routes: Iterable[BaseRoute]) -> list[tuple[str, str]]:
    """Every method and path that the routes serve. What is no plain route has the method ``*``."""
    found: list[tuple[str, str]] = []
    for route in routes:
        path = getattr(route, "path", "")
        found.extend((method, path) for method in sorted(getattr(route, "methods", None) or {"*"}))
    return found


def check_routes(routes: Iterable[BaseRoute]) -> None:
    """Refuse an application with a route that nobody decided about.

    Raises :class:`InvariantError` ``route_without_access``.
    """
    undecided = [f"{method} {path}" for method, path in methods_of(routes) if (method, path) not in ACCESS]
    if undecided:
        raise InvariantError(
            "route_without_access",
            f"nothing says who may use {', '.join(undecided)}",
            remedy="Enter the route into usage_pipeline.service.access.ACCESS.",
        )


@dataclass(frozen=True, slots=True)
class Credential:
    """What a request proves itself with: a token, else a session's secret; each empty where there is none."""

    token: str
    session: str


def credential_of(request: Request) -> Credential:
    """The request's credential. A cookie counts only where no ``Authorization`` is sent."""
    token = bearer_token(request)
    if request.headers.get("authorization") is not None:
        return Credential(token, "")
    return Credential("", session_secret(request))


def session_secret(request: Request) -> str:
    """The session's secret in the request's cookie; empty where there is none."""
    return request.cookies.get(session_cookie(request)[0], "")


def session_cookie(request: Request) -> tuple[str, bool]:
    """The name of the session's cookie, and whether it is marked Secure: unless the browser is on this machine."""
    secure = not _is_this_machine(request.headers.get("host", ""))
    return (_HOST_COOKIE if secure else _COOKIE), secure


def _is_this_machine(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def admit_reader(runtime: ServiceRuntime, credential: Credential, scope: str | None) -> Reader:
    """The reader whom the credential makes, if it may read what ``scope`` names, and now.

    Raises :class:`RefusedRequestError` 401, 403 or 429.
    """
    at = runtime.clock()
    with runtime.engine.begin() as connection:
        if credential.token:
            reader = reader_of_token(connection, credential.token, at)
        else:
            reader = reader_of_session(connection, credential.session, at)
        if reader is None:
            raise RefusedRequestError(
                401,
                "token_refused",
                "The token or session is missing, unknown, expired or revoked. Send a read token as"
                " Authorization: Bearer TOKEN, or log in.",
                headers={"WWW-Authenticate": "Bearer"},
            )
        seconds = take_request(connection, reader.token_prefix, at, runtime.settings.api_requests_per_minute)
    if seconds:
        raise RefusedRequestError(
            429,
            "too_many_requests",
            f"The token may send {runtime.settings.api_requests_per_minute} requests a minute."
            f" Come again in {seconds} {'second' if seconds == 1 else 'seconds'}.",
            retry_after=seconds,
        )
    if scope is not None and scope not in reader.scopes:
        raise RefusedRequestError(
            403, "scope_missing", f"The token has no scope {scope}. Ask the operator for one that has."
        )
    return reader
