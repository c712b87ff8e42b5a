"""``POST /api/cron/ingest``: somebody else's clock starts the pulls that the schedules would.

The order is: whether it is open at all, whose token it is, the body, the runs. What makes the runs needs Dagster, which
is loaded after the service began to serve, and only where the endpoint is open.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from usage_pipeline.service.answers import RETRY_SECONDS, JsonAnswer, RefusedRequestError
from usage_pipeline.service.bearer import bearer_token, is_token
from usage_pipeline.service.request_body import is_packed, read_body
from usage_pipeline.service.runtime import ServiceRuntime
from usage_pipeline.service.threads import Threads

DAYS_MAX: Final = 366
"""Closed days that a call may ask for; a longer past is a backfill."""

BODY_BYTES_MAX: Final = 1024


class _Order(msgspec.Struct, forbid_unknown_fields=True):
    days: int | None = None


async def start(request: Request, runtime: ServiceRuntime, threads: Threads) -> Response:
    """Start the pulls. Raises :class:`RefusedRequestError` for whatever is answered with neither 202 nor 200."""
    secret = runtime.settings.cron_secret
    if secret is None:
        raise RefusedRequestError(
            503,
            "cron_closed",
            "CRON_SECRET is not set here, so nobody may start pulls. Ask the operator to set it.",
            unread=True,
        )
    if not is_token(bearer_token(request), secret):
        raise RefusedRequestError(
            401,
            "token_refused",
            "The token is missing or wrong. Send CRON_SECRET as Authorization: Bearer TOKEN.",
            unread=True,
            headers={"WWW-Authenticate": "Bearer"},
        )
    if is_packed(request):
        raise RefusedRequestError(415, "content_encoding_unknown", "Send the body as it is.", unread=True)
    body = await read_body(request, bytes_max=BODY_BYTES_MAX, seconds_max=runtime.settings.ingest_read_seconds)
    answer = await threads.run(_start, runtime, _days(request, body))
    request.state.note = f"{len(answer['runs'])} runs {'started' if answer['started'] else 'under way'}"
    return JsonAnswer(answer, 202 if answer["started"] else 200)


def load() -> None:
    """Load what the first call needs; it takes seconds."""
    import usage_pipeline.orchestration.cron_runs  # noqa: F401


def _days(request: Request, body: bytes) -> int | None:
    """How many closed days are asked for; None where the caller leaves it to the settings."""
    asked = request.query_params.getlist("days")
    try:
        ordered = msgspec.json.decode(body, type=_Order).days if body.strip() else None
        days = msgspec.convert(asked[0], int, strict=False) if len(asked) == 1 and ordered is None else ordered
    except msgspec.MsgspecError:
        raise _malformed() from None
    if len(asked) > 1 or (asked and ordered is not None) or (days is not None and not 0 <= days <= DAYS_MAX):
        raise _malformed()
    return days


def _malformed() -> RefusedRequestError:
    words = f'Say it once, as ?days=N or as {{"days": N}}, with N from 0 to {DAYS_MAX}; or leave it out.'
    return RefusedRequestError(400, "days_malformed", f"days: it is no number of days. {words}", field="days")


def _start(runtime: ServiceRuntime, days: int | None) -> dict[str, Any]:
    from usage_pipeline.errors import TransientError
    from usage_pipeline.ledger.server import data_home
    from usage_pipeline.orchestration.cron_runs import start_pulls
    from usage_pipeline.pricing.price_book import PriceBook
    from usage_pipeline.providers.registry import providers
    from usage_pipeline.stages import Runtime

    stages = Runtime(
        runtime.engine,
        runtime.settings,
        runtime.environ,
        data_home(runtime.environ),
        runtime.clock,
        {provider.name: provider for provider in providers()},
        PriceBook(),
    )
    try:
        answer = start_pulls(stages, runtime.environ, days)
    except TransientError as error:
        raise RefusedRequestError.of(503, error, retry_after=RETRY_SECONDS) from None
    return {
        "started": answer.started,
        "runs": [
            {"key": run.key, "runId": run.run_id, "firstDay": run.first_day, "lastDay": run.last_day}
            for run in answer.runs
        ],
        "skipped": [{"key": slug, "reason": reason} for slug, reason in answer.skipped.items()],
    }
