"""The FastAPI application: its routes, their description, and what is open as long as it serves.

In: where the runtime comes from. Out: an ASGI application. Each router of the service is put in here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException
from starlette.responses import Response

from usage_pipeline.service import cron
from usage_pipeline.service.access import check_routes
from usage_pipeline.service.answers import JsonAnswer
from usage_pipeline.service.edge import Edge
from usage_pipeline.service.health import readiness
from usage_pipeline.service.ingest import take_in
from usage_pipeline.service.metrics import expose
from usage_pipeline.service.openapi import (
    CRON_EXTRA,
    CRON_RESPONSES,
    INGEST_EXTRA,
    METRICS_EXTRA,
    METRICS_RESPONSES,
    REFUSALS,
    V3_SCHEMA_TEXT,
    Accepted,
    State,
    completed,
    describe,
)
from usage_pipeline.service.openapi_usage import add_security
from usage_pipeline.service.page.routes import add_page
from usage_pipeline.service.readings import add_readings
from usage_pipeline.service.runtime import ServiceRuntime
from usage_pipeline.service.threads import Threads
from usage_pipeline.telemetry.metrics import StoreMetrics

VERSION = "1"
INGEST_PATH = "/api/ingest/hermes-usage"
CRON_PATH = "/api/cron/ingest"

_WORDS = {
    404: f"Nothing is served at this path. Hermes batches are posted to {INGEST_PATH}.",
    405: f"This path does not take this method. Hermes batches go to {INGEST_PATH} with POST.",
}

RuntimeSource = Callable[[], AbstractContextManager[ServiceRuntime]]


def build_app(runtime_source: RuntimeSource, *, on_loopback: bool = False) -> FastAPI:
    """The application. ``runtime_source`` is entered when it starts and left when it stops; ``on_loopback`` is whether
    nobody but this machine can reach it."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with runtime_source() as runtime:
            # Readers have threads of their own: no chart keeps a batch of Hermes waiting.
            threads, readers = Threads(), Threads()
            app.state.runtime, app.state.threads, app.state.readers = runtime, threads, readers
            app.state.metrics = StoreMetrics(runtime.engine, runtime.settings, runtime.clock)
            app.state.on_loopback = on_loopback
            if runtime.settings.cron_secret is not None:
                app.state.loading = asyncio.ensure_future(threads.run(cron.load))
            try:
                yield
            finally:
                readers.close()
                threads.close()

    app = FastAPI(
        title="Usage pipeline",
        version=VERSION,
        description="Takes in what Hermes installs used, and tells what counts, what it cost, and why.",
        lifespan=lifespan,
        docs_url=None,  # those pages load their scripts from other hosts
        redoc_url=None,
        redirect_slashes=False,  # whoever follows would carry the token along, behind a proxy to an address without TLS
    )
    app.add_middleware(Edge)
    app.add_exception_handler(HTTPException, _as_json)
    _add_routes(app)
    add_readings(app)
    add_page(app)
    check_routes(app.routes)
    app.openapi = lambda: _description(app)  # type: ignore[method-assign]
    return app


def _add_routes(app: FastAPI) -> None:
    @app.post(
        INGEST_PATH,
        tags=["hermes"],
        summary="Take in one batch of a Hermes install",
        responses={200: {"model": Accepted}, **REFUSALS},
        openapi_extra=INGEST_EXTRA,
    )
    async def ingest(request: Request) -> Response:
        """The token decides the feed. Payload versions 1, 2 and 3 are read; the same batch twice is one batch."""
        return await take_in(request, app.state.runtime, app.state.threads)

    @app.get(
        f"{INGEST_PATH}/schema/v3",
        tags=["hermes"],
        summary="The JSON Schema of payload version 3",
        responses={200: {"content": {"application/schema+json": {}}}},
        response_class=Response,
    )
    async def schema() -> Response:
        return Response(V3_SCHEMA_TEXT, media_type="application/schema+json")

    @app.post(
        CRON_PATH,
        tags=["operation"],
        summary="Start the pulls that the schedules would start",
        status_code=202,
        responses=CRON_RESPONSES,
        openapi_extra=CRON_EXTRA,
    )
    async def cron_ingest(request: Request) -> Response:
        """The open day and the closed days before it, of every key. While an earlier call's runs are under way they
        are the answer, and nothing is started: a call may be repeated."""
        return await cron.start(request, app.state.runtime, app.state.threads)

    @app.get(
        "/metrics",
        tags=["operation"],
        summary="The store's figures for Prometheus",
        responses=METRICS_RESPONSES,
        openapi_extra=METRICS_EXTRA,
        response_class=Response,
    )
    async def metrics(request: Request) -> Response:
        """Open where the service listens on loopback alone and USAGE_METRICS_TOKEN is not set."""
        state = app.state
        return await expose(request, state.runtime, state.threads, state.metrics, on_loopback=state.on_loopback)

    @app.get("/healthz", tags=["operation"], summary="Whether the process lives", responses={200: {"model": State}})
    async def healthz() -> Response:
        return JsonAnswer({"status": "alive"})

    @app.get(
        "/readyz",
        tags=["operation"],
        summary="Whether the store can be reached and has the schema of this release",
        responses={200: {"model": State}, **describe(503, "Not ready, and why.")},
    )
    async def readyz() -> Response:
        return await app.state.threads.run(readiness, app.state.runtime)  # type: ignore[no-any-return]


def _description(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        made = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        app.openapi_schema = add_security(completed(made))
    return app.openapi_schema


async def _as_json(_request: Request, error: Exception) -> Response:
    """A path or a method that is not served."""
    assert isinstance(error, HTTPException)
    phrase = HTTPStatus(error.status_code).phrase
    words = _WORDS.get(error.status_code, f"{phrase}.")
    return JsonAnswer({"error": words, "code": phrase.lower().replace(" ", "_")}, error.status_code, error.headers)
