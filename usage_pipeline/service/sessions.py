"""``POST /login`` and ``POST /logout``: a person's session in a browser, begun with a read token.

The token comes in a JSON body, so that it is in no address and in no log, and so that no form of another site can send
it. The session's secret goes into a cookie that no script can read and that no other site's request carries; marked
Secure but on this machine itself. Only its hash is stored.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from usage_pipeline.ledger.read_tokens import begin_session, end_session
from usage_pipeline.reconcile.report import instant
from usage_pipeline.service.access import Credential, admit_reader, session_cookie, session_secret
from usage_pipeline.service.answers import JsonAnswer, RefusedRequestError
from usage_pipeline.service.request_body import is_packed, read_body
from usage_pipeline.service.runtime import ServiceRuntime
from usage_pipeline.service.threads import Threads

BODY_BYTES_MAX: Final = 1024


class _Login(msgspec.Struct, forbid_unknown_fields=True):
    token: str


async def log_in(request: Request, runtime: ServiceRuntime, threads: Threads) -> Response:
    """Begin a session. Raises :class:`RefusedRequestError` for whatever is not answered with 200."""
    _refuse_other_sites(request)
    _refuse_other_types(request)
    body = await read_body(request, bytes_max=BODY_BYTES_MAX, seconds_max=runtime.settings.ingest_read_seconds)
    try:
        token = msgspec.json.decode(body, type=_Login).token
    except msgspec.MsgspecError:
        raise RefusedRequestError(
            400, "login_malformed", 'Send {"token": "upr_…"}, a read token, and nothing else.', field="token"
        ) from None
    told, secret, seconds = await threads.run(_begin, runtime, token)
    request.state.note = told["token"]
    answer = JsonAnswer(told)
    name, secure = session_cookie(request)
    answer.set_cookie(name, secret, max_age=seconds, path="/", secure=secure, httponly=True, samesite="strict")
    return answer


async def log_out(request: Request, runtime: ServiceRuntime, threads: Threads) -> Response:
    """End the session that the request's cookie names, and let the browser forget it."""
    _refuse_other_sites(request)
    if secret := session_secret(request):
        await threads.run(_end, runtime, secret)
    answer = Response(None, 204, {"Cache-Control": "no-store"})
    name, secure = session_cookie(request)
    answer.delete_cookie(name, path="/", secure=secure, httponly=True, samesite="strict")
    return answer


def _begin(runtime: ServiceRuntime, token: str) -> tuple[dict[str, object], str, int]:
    """What is told of the new session, its secret, and the seconds that it lasts."""
    reader = admit_reader(runtime, Credential(token, ""), None)
    at: datetime = runtime.clock()
    with runtime.engine.begin() as connection:
        secret, ends_at = begin_session(connection, reader, at, timedelta(hours=runtime.settings.session_hours))
    told: dict[str, object] = {
        "workspace": reader.workspace,
        "scopes": sorted(reader.scopes),
        "token": reader.token_prefix,
        "through": "session",
        "ends_at": instant(ends_at),
        "now": instant(at),
    }
    return told, secret, int((ends_at - at).total_seconds())


def _end(runtime: ServiceRuntime, secret: str) -> None:
    with runtime.engine.begin() as connection:
        end_session(connection, secret, runtime.clock())


def _refuse_other_sites(request: Request) -> None:
    """Refuse what a page of another site made a browser send. Programs send no ``Origin``."""
    origin = request.headers.get("origin")
    of_elsewhere = origin is not None and origin.partition("://")[2] != request.headers.get("host", "")
    if of_elsewhere or request.headers.get("sec-fetch-site", "none") not in {"none", "same-origin"}:
        raise RefusedRequestError(
            403,
            "other_site",
            "The request comes from a page of another site. Behind a proxy, let it pass the Host header on.",
            unread=True,
        )


def _refuse_other_types(request: Request) -> None:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json" or is_packed(request):
        raise RefusedRequestError(
            415,
            "content_type_unknown",
            "Send the body as it is, as application/json.",
            field="Content-Type",
            unread=True,
        )
