"""A small real HTTP server on loopback that answers what a test scripted, and remembers what it was asked."""

from __future__ import annotations

import gzip
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

EMPTY_PAGE = b'{"object": "page", "data": [], "has_more": false, "next_page": null}'


@dataclass
class Answer:
    """One scripted answer. ``cut_after`` sends only so many bytes of the announced body; ``reset`` drops the connection
    with a TCP reset; ``silent_s`` answers nothing for so long."""

    status: int = 200
    body: bytes = EMPTY_PAGE
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str | None = "application/json"
    announce_length: bool = True
    cut_after: int | None = None
    reset: bool = False
    silent_s: float = 0.0
    byte_pause_s: float = 0.0

    @classmethod
    def gzipped(cls, body: bytes) -> Answer:
        return cls(body=gzip.compress(body), headers={"Content-Encoding": "gzip"})


@dataclass
class Asked:
    """One request as it came."""

    path: str
    headers: dict[str, str]


class Loopback:
    """Answers from ``answers`` in order, the last one again and again; or from a function of the path."""

    def __init__(self, *answers: Answer, by_path: Callable[[str], Answer] | None = None) -> None:
        self.answers = list(answers)
        self.by_path = by_path
        self.asked: list[Asked] = []
        self.url = ""

    def next_answer(self, path: str) -> Answer:
        if self.by_path is not None:
            return self.by_path(path)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@contextmanager
def serving(loopback: Loopback) -> Iterator[Loopback]:
    """The server, running; ``loopback.url`` is its base URL."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # else a body waits 40 ms for the header to be acknowledged

        def do_GET(self) -> None:
            loopback.asked.append(Asked(self.path, dict(self.headers.items())))
            _send(self, loopback.next_answer(self.path))

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    loopback.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield loopback
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _send(handler: BaseHTTPRequestHandler, answer: Answer) -> None:
    time.sleep(answer.silent_s)
    if answer.reset:
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        handler.connection.close()
        handler.close_connection = True
        return
    handler.send_response(answer.status)
    if answer.content_type is not None:
        handler.send_header("Content-Type", answer.content_type)
    for name, value in answer.headers.items():
        handler.send_header(name, value)
    if answer.announce_length:
        handler.send_header("Content-Length", str(len(answer.body)))
    else:
        handler.send_header("Connection", "close")
    handler.end_headers()
    body = answer.body if answer.cut_after is None else answer.body[: answer.cut_after]
    try:
        if answer.byte_pause_s:
            for byte in body:
                handler.wfile.write(bytes([byte]))
                handler.wfile.flush()
                time.sleep(answer.byte_pause_s)
        else:
            handler.wfile.write(body)
    except OSError:
        handler.close_connection = True
        return
    if answer.cut_after is not None or not answer.announce_length:
        handler.close_connection = True
        handler.wfile.flush()
        handler.connection.shutdown(socket.SHUT_WR)
