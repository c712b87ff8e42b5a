"""The routes of the analytics page: ``/``, ``/login`` and the files of both, and what a browser may do with them.

All are open: they hold no figure. What they show comes from the usage API, which asks for a session.
"""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any, Final

from fastapi import FastAPI, Request
from starlette.responses import RedirectResponse, Response

from usage_pipeline.reconcile.cut_dimensions import DIMENSIONS
from usage_pipeline.service.access import session_secret
from usage_pipeline.service.answers import RefusedRequestError
from usage_pipeline.service.page.files import PageFile, page_files
from usage_pipeline.service.reading import is_known

FILE_PATH: Final = "/static/{digest}/{name}"

CONTENT_SECURITY_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",  # the scripts send what there is to send
        "frame-ancestors 'none'",
    )
)
"""The page loads and asks this service alone, runs no text as a script, takes no style but its own, and stands in no
frame. Plotly draws bars under it, as long as no text of a chart is bold, which it writes as a style of its own."""

DOCUMENT_HEADERS: Final = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cache-Control": "no-cache",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Vary": "Cookie, Sec-Fetch-Site",
}
FILE_HEADERS: Final = {
    "Cache-Control": "public, max-age=31536000, immutable",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Vary": "Accept-Encoding",
}


def add_page(app: FastAPI) -> None:
    """Add the routes to the application."""

    @app.get("/", include_in_schema=False)
    async def page(request: Request) -> Response:
        # A link on another site comes without the cookie, although there may be a session: the page finds out.
        from_elsewhere = request.headers.get("sec-fetch-site", "none") not in {"none", "same-origin"}
        if session_secret(request) or from_elsewhere:
            return await _document(request, app, "index.html")
        query = request.url.query
        return RedirectResponse(f"/login?{query}" if query else "/login", 303, DOCUMENT_HEADERS)

    @app.get("/login", include_in_schema=False)
    async def login_page(request: Request) -> Response:
        return await _document(request, app, "login.html")

    @app.get(FILE_PATH, include_in_schema=False)
    async def page_file(request: Request, digest: str, name: str) -> Response:
        files = (await asyncio.to_thread(page_files)).files
        found = files.get((digest, name))
        if found is None:
            raise RefusedRequestError(404, "file_unknown", "No such file of the page. Load the page again.")
        return _sent(request, found)


async def _document(request: Request, app: FastAPI, name: str) -> Response:
    files = await asyncio.to_thread(page_files)
    body = files.document(name, DIMENSIONS, _api_paths(app)).encode()
    tag = f'"{hashlib.blake2b(body, digest_size=16).hexdigest()}"'
    headers = {**DOCUMENT_HEADERS, "ETag": tag}
    if is_known(tag, request.headers.get("if-none-match", "")):
        return Response(None, 304, headers)
    return Response(body, 200, headers, media_type="text/html")


def _api_paths(app: FastAPI) -> list[str]:
    paths: list[Any] = [getattr(route, "path", "") for route in app.routes]
    return sorted({path for path in paths if path.startswith("/api/") and "{" not in path})


def _sent(request: Request, file: PageFile) -> Response:
    if file.packed and "gzip" in request.headers.get("accept-encoding", ""):
        return Response(file.packed, 200, {**FILE_HEADERS, "Content-Encoding": "gzip"}, media_type=file.media_type)
    return Response(file.body, 200, FILE_HEADERS, media_type=file.media_type)
