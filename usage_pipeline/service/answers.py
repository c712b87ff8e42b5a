"""What the service answers besides success: a refusal with its status, and how it reaches a sender that still sends.

In: a status, a stable code, words. Out: ``{"error": …, "code": …}``, with ``field`` where a field is to blame.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

import msgspec
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from usage_pipeline.errors import UsagePipelineError

RETRY_SECONDS: Final = 10
"""What is told to come again later, where nothing better is known."""

LINGER_SECONDS_MAX: Final = 2.0
LINGER_BYTES_MAX: Final = 16 * 1024 * 1024


class RefusedRequestError(Exception):
    """A request that is not served: ``status`` is the HTTP status, ``code`` stable, ``words`` for people.

    ``unread`` says that the request's body was not read to its end, ``retry_after`` (seconds) when to come again.
    """

    def __init__(
        self,
        status: int,
        code: str,
        words: str,
        *,
        field: str = "",
        retry_after: int | None = None,
        unread: bool = False,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(f"{status} {code}")
        self.status = status
        self.code = code
        self.words = words
        self.field = field
        self.unread = unread
        self.headers = dict(headers or {})
        if retry_after is not None:
            self.headers["Retry-After"] = str(retry_after)

    @classmethod
    def of(cls, status: int, error: UsagePipelineError, *, retry_after: int | None = None) -> RefusedRequestError:
        """The refusal that one of our errors means over HTTP."""
        place = f"{error.where}: " if error.where else ""
        words = f"{place}{error.what}{'' if error.what.endswith('.') else '.'} {error.remedy}".strip()
        return cls(status, error.code, words, field=error.where, retry_after=retry_after)

    def response(self) -> Response:
        """The answer."""
        content: dict[str, str] = {"error": self.words, "code": self.code}
        if self.field:
            content["field"] = self.field
        answer = LingeringJson if self.unread else JsonAnswer
        return answer(content, self.status, self.headers)


class JsonAnswer(Response):
    """One JSON value. Nothing of it may be kept by a cache."""

    media_type = "application/json"

    def __init__(self, content: object, status_code: int = 200, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(msgspec.json.encode(content), status_code, {"Cache-Control": "no-store", **(headers or {})})


class LingeringJson(JsonAnswer):
    """An answer to a sender that may still be sending: what comes is thrown away unread for a moment, then the
    connection ends. Closed at once, the sender would see a broken connection in place of the answer."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI
        self.headers["Connection"] = "close"
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        try:
            async with asyncio.timeout(LINGER_SECONDS_MAX):
                await _throw_away(receive)
        except TimeoutError:
            pass
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _throw_away(receive: Receive) -> None:
    size = 0
    while size < LINGER_BYTES_MAX:
        message = await receive()
        size += len(message.get("body", b""))
        if message["type"] != "http.request" or not message.get("more_body", False):
            return
