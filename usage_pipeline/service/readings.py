"""The routes of the usage API: which parameters each takes, what it tells, and what decides its answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from fastapi import FastAPI, Request
from starlette.responses import Response

from usage_pipeline.service import openapi_usage as described
from usage_pipeline.service import raw, sessions
from usage_pipeline.service.budgets import PARAMETERS as BUDGETS
from usage_pipeline.service.budgets import tell_budgets
from usage_pipeline.service.coverage import PARAMETERS as COVERAGE
from usage_pipeline.service.coverage import tell_coverage
from usage_pipeline.service.events import PARAMETERS as EVENTS
from usage_pipeline.service.events import tell_events
from usage_pipeline.service.exports import PARAMETERS as EXPORTS
from usage_pipeline.service.exports import ExportSlots, export
from usage_pipeline.service.findings import PARAMETERS as FINDINGS
from usage_pipeline.service.findings import tell_findings
from usage_pipeline.service.reading import Reading, read, state_of_asked_days
from usage_pipeline.service.usage import PARAMETERS as USAGE
from usage_pipeline.service.usage import tell_usage
from usage_pipeline.service.workspace_views import BILLS_PARAMETERS, tell_bills, tell_session, tell_workspaces

READINGS: Final = (
    Reading("/api/usage", USAGE, tell_usage, state_of_asked_days),
    Reading("/api/usage/events", EVENTS, tell_events, state_of_asked_days),
    Reading("/api/findings", FINDINGS, tell_findings),
    Reading("/api/coverage", COVERAGE, tell_coverage),
    Reading("/api/bills", BILLS_PARAMETERS, tell_bills),
    Reading("/api/budgets", BUDGETS, tell_budgets),
    Reading("/api/workspaces", (), tell_workspaces),
    Reading("/api/session", (), tell_session),
)
"""Routes that answer a GET with JSON, an ETag, and 304."""


def add_readings(app: FastAPI) -> None:
    """Add the routes to the application."""
    for reading in READINGS:
        summary, model = described.READINGS[reading.path]
        app.add_api_route(
            reading.path,
            _reading(app, reading),
            methods=["GET"],
            tags=["usage"],
            summary=summary,
            responses={200: {"model": model, "headers": described.ETAG_HEADERS}, **described.READING_RESPONSES},
            openapi_extra={
                "security": described.READER_SECURITY,
                "parameters": [one.described() for one in reading.parameters] + described.ETAG_PARAMETERS,
            },
            response_class=Response,
            name=reading.path,
        )
    _add_exports(app)
    _add_sessions(app)

    @app.get(
        raw.PATH,
        tags=["usage"],
        summary="A provider's answer as it came",
        responses=described.RAW_RESPONSES,
        openapi_extra={"security": described.READER_SECURITY, "parameters": described.RAW_PARAMETERS},
        response_class=Response,
    )
    async def raw_page(request: Request) -> Response:
        """Events name the pull that told them, findings the pages that stand behind them."""
        return await raw.raw_page(request, app.state.runtime, app.state.readers)


def _reading(app: FastAPI, reading: Reading) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        return await read(request, app.state.runtime, app.state.readers, reading)

    answer.__doc__ = described.WORDS.get(reading.path)
    return answer


def _add_exports(app: FastAPI) -> None:
    slots = ExportSlots()

    def download(path: str) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            return await export(request, app.state.runtime, app.state.readers, slots, path)

        answer.__doc__ = described.WORDS.get(path)
        return answer

    for path, parameters in EXPORTS.items():
        app.add_api_route(
            path,
            download(path),
            methods=["GET"],
            tags=["exports"],
            summary=described.EXPORTS[path],
            responses=described.EXPORT_RESPONSES,
            openapi_extra={
                "security": described.READER_SECURITY,
                "parameters": [one.described() for one in parameters],
            },
            response_class=Response,
            name=path,
        )


def _add_sessions(app: FastAPI) -> None:
    @app.post(
        "/login",
        tags=["session"],
        summary="Begin a session with a read token",
        responses=described.LOGIN_RESPONSES,
        openapi_extra=described.LOGIN_EXTRA,
        response_class=Response,
    )
    async def login(request: Request) -> Response:
        """The answer sets a cookie that opens what the token opens, until it ends."""
        return await sessions.log_in(request, app.state.runtime, app.state.readers)

    @app.post(
        "/logout",
        tags=["session"],
        summary="End the session of the cookie",
        status_code=204,
        responses=described.LOGOUT_RESPONSES,
        openapi_extra={"security": [{"session": []}, {}]},
        response_class=Response,
    )
    async def logout(request: Request) -> Response:
        """Also where there is no session, or it has ended."""
        return await sessions.log_out(request, app.state.runtime, app.state.readers)
