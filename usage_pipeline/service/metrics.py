"""``GET /metrics``: the store's figures for Prometheus, for whoever may see them.

Open to all where the service listens on loopback and no token is set; else the operator's token is asked for.
"""

from __future__ import annotations

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import Response

from usage_pipeline.service.answers import RefusedRequestError
from usage_pipeline.service.bearer import bearer_token, is_token
from usage_pipeline.service.runtime import ServiceRuntime
from usage_pipeline.service.threads import Threads
from usage_pipeline.telemetry.metrics import StoreMetrics


async def expose(
    request: Request, runtime: ServiceRuntime, threads: Threads, metrics: StoreMetrics, *, on_loopback: bool
) -> Response:
    """The metrics. Raises :class:`RefusedRequestError` 401 or 403, and 503 where the store cannot be read."""
    _admit(request, runtime, on_loopback=on_loopback)
    body = await threads.run(metrics.exposition)
    return Response(body, media_type=None, headers={"Content-Type": CONTENT_TYPE_LATEST, "Cache-Control": "no-store"})


def _admit(request: Request, runtime: ServiceRuntime, *, on_loopback: bool) -> None:
    token = runtime.settings.metrics_token
    if token is None:
        if on_loopback:
            return
        raise RefusedRequestError(
            403,
            "metrics_closed",
            "USAGE_METRICS_TOKEN is not set, and the service does not listen on loopback alone. Ask the operator.",
        )
    if not is_token(bearer_token(request), token):
        raise RefusedRequestError(
            401,
            "token_refused",
            "The token is missing or wrong. Send USAGE_METRICS_TOKEN as Authorization: Bearer TOKEN.",
            headers={"WWW-Authenticate": "Bearer"},
        )
