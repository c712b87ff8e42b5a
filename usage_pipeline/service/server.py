"""The socket and the process around the application: one uvicorn, its limits on connections.

In: an application, a host and a port. Out: a listening socket, then requests answered until a signal ends it.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
from types import FrameType
from typing import Any, Final

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from usage_pipeline.errors import InvalidInputError

CONNECTIONS_MAX: Final = 256
HEADER_SECONDS_MAX: Final = 15.0
HEADER_BYTES_MAX: Final = 32 * 1024
KEEP_ALIVE_SECONDS: Final = 65
"""Longer than the minute after which most proxies in front close, so that they never reuse a closed connection."""

_SHUTDOWN_SECONDS: Final = 20
_BACKLOG: Final = 512
_OBJECTS_BETWEEN_COLLECTIONS: Final = 50_000


class PatientProtocol(H11Protocol):
    """HTTP/1.1 that waits for a request's header, once a connection is open, only for so long."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first header."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Wait for the rest of a header that has begun."""
        if self._deadline is None and (self.cycle is None or self.cycle.response_complete):
            self._wait()
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_waiting()

    def on_response_complete(self) -> None:
        """From here on the keep-alive time counts."""
        self._stop_waiting()
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing more to wait for."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _wait(self) -> None:
        self._deadline = self.loop.call_later(HEADER_SECONDS_MAX, self._give_up)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        self._deadline = None
        self.transport.close()


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one.

    Raises :class:`InvalidInputError` ``address_unusable`` where the host has no such address or the port is taken.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, protocol)
    except OSError as error:
        raise _unusable(host, port, error) from None
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(_BACKLOG)
    except OSError as error:
        listening.close()
        raise _unusable(host, port, error) from None
    return listening


def serve(app: ASGIApp, listening: socket.socket) -> None:
    """Answer requests until SIGINT or SIGTERM; those that are being answered are finished first."""
    config = uvicorn.Config(
        app,
        http=PatientProtocol,
        ws="none",
        lifespan="on",
        access_log=False,  # uvicorn's own has query strings
        log_config=None,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=CONNECTIONS_MAX,
        backlog=_BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
        h11_max_incomplete_event_size=HEADER_BYTES_MAX,
    )
    # Decoding a batch makes many objects; without this each would have the whole program looked through for garbage.
    gc.collect()
    gc.freeze()
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
    uvicorn.Server(config).run(sockets=[listening])


def end_on_sigterm() -> None:
    """Let SIGTERM end the process the orderly way, with exit code 0.

    uvicorn answers what it is answering and then raises the signal again: the default would end the process before
    the store is left.
    """
    signal.signal(signal.SIGTERM, _end)


def _end(_signal: int, _frame: FrameType | None) -> Any:
    raise SystemExit(0)


def _unusable(host: str, port: int, error: OSError) -> InvalidInputError:
    return InvalidInputError(
        "address_unusable",
        f"cannot listen there: {error.strerror or type(error).__name__}",
        where=f"{host}:{port}",
        remedy="Give another --host or --port, or end what listens there.",
    )
