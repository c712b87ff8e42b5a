"""The sandbox as a real HTTP server on loopback: the providers' APIs, the switches, and a log of requests.

In: a :class:`World`, switches and the keys to accept. Out: a base URL per provider to point a client at. The server
runs in its own thread on 127.0.0.1 only. It keeps the method, path and query of what was asked, never a header.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from email.utils import format_datetime
from types import TracebackType
from typing import Any
from urllib.parse import parse_qsl

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from usage_pipeline.errors import InvalidInputError, TransientError
from usage_pipeline.sandbox.exchange import Answer, ApiRequest, Grants, Refusal, Scene
from usage_pipeline.sandbox.faces import FACES, Face, face_named, face_of
from usage_pipeline.sandbox.switches import Fault, FaultKind, SwitchBoard, Switches
from usage_pipeline.sandbox.world import World

LOOPBACK = "127.0.0.1"
_LOG_ENTRIES_MAX = 20_000
_START_TIMEOUT_S = 10.0
_HTML = "<!doctype html><html><body><h1>We will be back soon</h1></body></html>"


@dataclass(frozen=True, slots=True)
class LoggedRequest:
    """One request as it arrived. ``status`` is what was decided to answer, None when nothing was."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...]
    status: int | None


class SandboxServer:
    """All faces (see ``faces``) on one loopback port; a context manager.

    ``keys`` replaces the accepted keys of the faces that it names; ``openai_keys`` (key to scopes) and
    ``anthropic_keys`` do so for those two. ``port`` 0 takes a free one. Entering raises TransientError
    ``sandbox_port_taken`` or ``sandbox_not_started``.
    """

    def __init__(
        self,
        world: World,
        *,
        switches: Switches | None = None,
        openai_keys: Grants | None = None,
        anthropic_keys: Collection[str] | None = None,
        keys: Mapping[str, Grants] | None = None,
        port: int = 0,
    ) -> None:
        self.world = world
        self._board = SwitchBoard(switches or Switches())
        self._keys: dict[str, Grants] = {face.name: face.default_keys for face in FACES} | dict(keys or {})
        if openai_keys is not None:
            self._keys["openai"] = dict(openai_keys)
        if anthropic_keys is not None:
            self._keys["anthropic"] = dict.fromkeys(anthropic_keys, ())
        self._asked_port = port
        self._log: deque[LoggedRequest] = deque(maxlen=_LOG_ENTRIES_MAX)
        self._transports: dict[tuple[str, int], asyncio.Transport] = {}
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self.port = port

    def __enter__(self) -> SandboxServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def base_url(self, face: str) -> str:
        """What stands before the paths that a client of that face adds. Raises KeyError for an unknown face."""
        return f"http://{LOOPBACK}:{self.port}{face_named(face).base_path}"

    @property
    def openai_base_url(self) -> str:
        """What stands before ``/organization/...``."""
        return self.base_url("openai")

    @property
    def anthropic_base_url(self) -> str:
        """What stands before ``/v1/organizations/...``."""
        return self.base_url("anthropic")

    @property
    def openrouter_base_url(self) -> str:
        """What stands before ``/activity``."""
        return self.base_url("openrouter")

    @property
    def litellm_base_url(self) -> str:
        """What stands before ``/spend/logs/v2``."""
        return self.base_url("litellm")

    @property
    def requests(self) -> tuple[LoggedRequest, ...]:
        """The API requests so far, oldest first."""
        return tuple(self._log)

    @property
    def switches(self) -> Switches:
        """The switches as they are now."""
        return self._board.current

    def switch(self, **changes: Any) -> Switches:
        """Changes the named switches (see :meth:`SwitchBoard.change`); takes effect with the next request."""
        return self._board.change(**changes)

    def forget_requests(self) -> None:
        """Empties the log of requests."""
        self._log.clear()

    def start(self) -> None:
        """Serves from a thread of its own; returns when the port answers."""
        listener = _listener(self._asked_port)
        self.port = listener.getsockname()[1]
        config = uvicorn.Config(
            self._application(),
            http=_tracking_protocol(self._transports),
            loop="asyncio",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [listener]}, name="sandbox-server", daemon=True
        )
        self._thread.start()
        deadline_s = time.monotonic() + _START_TIMEOUT_S
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline_s:
                raise TransientError("sandbox_not_started", "the server did not start", where=f"port {self.port}")
            time.sleep(0.002)

    def stop(self) -> None:
        """Stops serving and joins the thread; does nothing when it is not running."""
        if self._server is None or self._thread is None:
            return
        self._server.should_exit = True
        self._thread.join()
        self._server = self._thread = None

    def _application(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/_sandbox/switches", self._serve_switches, methods=["GET", "POST"]),
                Route("/_sandbox/requests", self._serve_log, methods=["GET", "DELETE"]),
                Route("/{path:path}", _ApiFace(self)),
            ]
        )

    async def _serve_switches(self, request: Request) -> Response:
        if request.method == "POST":
            try:
                changes = json.loads(await request.body())
                if not isinstance(changes, dict):
                    raise ValueError
                self.switch(**changes)
            except ValueError:
                return JSONResponse({"error": "the body must be a JSON object"}, 400)
            except InvalidInputError as error:
                return JSONResponse({"error": str(error)}, 400)
        return JSONResponse(self.switches.as_json())

    async def _serve_log(self, request: Request) -> Response:
        if request.method == "DELETE":
            self.forget_requests()
        return JSONResponse([asdict(entry) for entry in self.requests])


class _ApiFace:
    """Answers every path that is not the sandbox's own, with the faults that hit it."""

    def __init__(self, server: SandboxServer) -> None:
        self._sandbox = server

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        method, path = scope["method"], scope["path"]
        query = tuple(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        body = b"" if method == "GET" else await _body(receive)
        request = ApiRequest(path, query, headers, body=body)
        face = face_of(path)
        faults = self._sandbox._board.take_faults(path, face.page_number(request))
        kinds = {fault.kind for fault in faults}
        response = self._broken(face, faults) or self._answered(face, method, request, faults)
        nothing = FaultKind.CONNECTION_RESET in kinds
        self._sandbox._log.append(LoggedRequest(method, path, query, None if nothing else response.status_code))

        delay_s = sum(fault.delay_s for fault in faults if fault.kind is FaultKind.SLOW)
        if delay_s and await _left_within(delay_s, receive):
            return
        transport = self._sandbox._transports.get(scope["client"])
        if nothing and transport is not None:
            _reset(transport)
        elif FaultKind.TRUNCATED_BODY in kinds and transport is not None:
            await _send_half(response, send)
            transport.close()
        else:
            await response(scope, receive, send)

    def _answered(self, face: Face, method: str, request: ApiRequest, faults: tuple[Fault, ...]) -> Response:
        sandbox = self._sandbox
        try:
            answerer, parts = face.answerer(method, request.path)
            caller = face.authenticate(request, sandbox._keys[face.name])
            answer = answerer(replace(request, parts=parts), Scene(sandbox.world, sandbox.switches, faults, caller))
        except Refusal as refusal:
            answer = refusal.answer
        return _json(answer, face.request_id_header, len(sandbox._log))

    def _broken(self, face: Face, faults: tuple[Fault, ...]) -> Response | None:
        """The answer of a fault that leaves no room for a good one."""
        for fault in faults:
            match fault.kind:
                case FaultKind.STATUS:
                    return JSONResponse(face.fault_body(fault.status), fault.status, headers=self._retry_after(fault))
                case FaultKind.HTML:
                    return HTMLResponse(_HTML)
                case FaultKind.REDIRECT:
                    return Response(status_code=302, headers={"location": fault.location})
                case _:
                    pass
        return None

    def _retry_after(self, fault: Fault) -> dict[str, str]:
        if fault.retry_after is None:
            return {}
        kind, colon, ahead_s = fault.retry_after.partition(":")
        if kind == "http-date" and colon:
            at = self._sandbox.world.now() + timedelta(seconds=int(ahead_s))
            return {"retry-after": format_datetime(at, usegmt=True)}
        return {"retry-after": fault.retry_after}


def _json(answer: Answer, id_header: str, number: int) -> Response:
    return JSONResponse(answer.body, answer.status, headers={id_header: f"req_sandbox{number:08d}", **answer.headers})


async def _body(receive: Receive) -> bytes:
    """The request's whole body."""
    body = b""
    while True:
        message = await receive()
        part: bytes = message.get("body", b"")
        body += part
        if not message.get("more_body", False):
            return body


async def _left_within(delay_s: float, receive: Receive) -> bool:
    """Waits; True when the client went away meanwhile."""
    try:
        async with asyncio.timeout(delay_s):
            while (await receive())["type"] != "http.disconnect":
                pass
    except TimeoutError:
        return False
    return True


async def _send_half(response: Response, send: Send) -> None:
    """Declares the whole body's length and sends half of it."""
    await send({"type": "http.response.start", "status": response.status_code, "headers": response.raw_headers})
    half = bytes(response.body)[: len(response.body) // 2]
    await send({"type": "http.response.body", "body": half, "more_body": True})


def _reset(transport: asyncio.Transport) -> None:
    """Drops the connection so that the other side sees a reset, not an orderly end."""
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def _tracking_protocol(transports: dict[tuple[str, int], asyncio.Transport]) -> type[H11Protocol]:
    """A protocol class that lets a fault reach the connection beneath its request."""

    class TrackedProtocol(H11Protocol):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            if self.client is not None:
                transports[self.client] = transport

        def connection_lost(self, exc: Exception | None) -> None:
            if self.client is not None:
                transports.pop(self.client, None)
            super().connection_lost(exc)

    return TrackedProtocol


def _listener(port: int) -> socket.socket:
    # With the protocol named, asyncio turns Nagle's delay off; without, every answer waits 40 ms for an ACK.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((LOOPBACK, port))
    except OSError:
        listener.close()
        raise TransientError(
            "sandbox_port_taken", "the port is in use", where=f"port {port}", remedy="Choose another port or 0."
        ) from None
    return listener
