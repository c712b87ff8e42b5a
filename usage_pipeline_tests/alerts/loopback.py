"""One who is told, on loopback: takes what apprise's ``json://`` posts, or refuses it, or is slow."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class LoopbackReceiver:
    """``status`` is what it answers; ``hold`` keeps it from answering until it is set."""

    port: int = 0
    status: int = 200
    hold: threading.Event | None = None
    got: list[dict[str, Any]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"json://127.0.0.1:{self.port}/notices"

    @property
    def titles(self) -> list[str]:
        return [one["title"] for one in self.got]

    @property
    def texts(self) -> list[str]:
        return [one["message"] for one in self.got]


@contextmanager
def receiving() -> Iterator[LoopbackReceiver]:
    """A receiver for as long as the block lasts. ``got`` has what it accepted."""
    receiver = LoopbackReceiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if receiver.hold is not None:
                receiver.hold.wait(30)
            if receiver.status == 200:
                receiver.got.append(body)
            self.send_response(receiver.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        receiver.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield receiver
        finally:
            if receiver.hold is not None:
                receiver.hold.set()
            server.shutdown()
            thread.join()
