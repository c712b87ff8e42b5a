"""The scripted accounts behind a real HTTP server on loopback, each reached with its own credential."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

from usage_pipeline_tests.scripted.account import ScriptedAccount


class ScriptedProviders:
    """The accounts by their secret. ``url`` is the server's address, without a path."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.accounts: dict[str, ScriptedAccount] = {}

    def answer(self, target: str, authorization: str | None, api_key: str | None) -> tuple[int, bytes]:
        secret = api_key or (authorization or "").removeprefix("Bearer ")
        account = self.accounts.get(secret)
        if account is None:
            return 401, b'{"error": {"message": "Incorrect API key provided", "type": "auth", "code": null}}'
        parts = urlsplit(target)
        return account.answer(parts.path, parse_qsl(parts.query, keep_blank_values=True))


@contextmanager
def serving() -> Iterator[ScriptedProviders]:
    """The server, running until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # else a body waits 40 ms for the header to be acknowledged

        def do_GET(self) -> None:
            status, body = scripted.answer(self.path, self.headers.get("Authorization"), self.headers.get("x-api-key"))
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    scripted = ScriptedProviders(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield scripted
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
