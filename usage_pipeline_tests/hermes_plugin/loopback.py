"""A real HTTP server on loopback whose answers a test scripts."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

OK = b'{"rowsWritten": 3, "sourceLabel": "hermes", "syncedAt": "2026-08-10T09:00:00Z"}'


@dataclass
class Scripted:
    """One answer; ``cut`` closes the connection in the middle of it."""

    status: int = 200
    body: bytes = OK
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False


@dataclass(frozen=True)
class Received:
    method: str
    path: str
    headers: Message
    body: bytes


class Answering:
    """Gives the scripted answers in order, then 200 to everything."""

    def __init__(self, *answers: Scripted) -> None:
        self.answers = list(answers)
        self.requests: list[Received] = []
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                owner.requests.append(Received("POST", self.path, self.headers, body))
                self._answer(owner.answers.pop(0) if owner.answers else Scripted())

            def do_GET(self) -> None:
                owner.requests.append(Received("GET", self.path, self.headers, b""))
                self._answer(Scripted(body=b'{"status": "ok"}'))

            def _answer(self, answer: Scripted) -> None:
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer.body) + (50 if answer.cut else 0)))
                self.end_headers()
                self.wfile.write(answer.body)

            def log_message(self, *_: Any) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Answering:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
