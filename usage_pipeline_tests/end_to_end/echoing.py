"""A provider that repeats the caller's credential wherever an answer can carry it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answer = tuple[int, str, bytes, dict[str, str]]
"""Status, content type, body, more headers."""


def _says(secret: str) -> bytes:
    return json.dumps({"error": {"message": f"the key {secret} may not", "code": secret, "type": secret}}).encode()


def _escaped(secret: str) -> bytes:
    """The same with every character of the key escaped, as JSON allows it."""
    return _says(secret).replace(secret.encode(), "".join(f"\\u{ord(one):04x}" for one in secret).encode())


def _status(status: int, body: Callable[[str], bytes] = _says) -> Callable[[str], Answer]:
    return lambda secret: (status, "application/json", body(secret), {"X-Your-Key": secret})


ECHOES: dict[str, Callable[[str], Answer]] = {
    **{f"HTTP {status}": _status(status) for status in (400, 401, 403, 404, 409, 422, 429, 500, 503)},
    "HTTP 400 escaped": _status(400, _escaped),
    "HTTP 401 with a scope": _status(401, lambda s: _says(f"{s}. Missing scopes: {s}")),
    "HTTP 429 with a date": lambda s: (429, "application/json", _says(s), {"Retry-After": s}),
    "HTML": lambda s: (200, "text/html", f"<h1>{s}</h1>".encode(), {}),
    "a content type": lambda s: (200, f"text/{s}", b"{}", {}),
    "no JSON": lambda s: (200, "application/json", f"{s} is no key".encode(), {}),
    "cut JSON": lambda s: (200, "application/json", f'{{"data": ["{s}"'.encode(), {}),
    "another shape": lambda s: (200, "application/json", json.dumps({s: s, "data": s}).encode(), {}),
    "a key of its own": lambda s: (200, "application/json", json.dumps({"object": s, "data": [{s: s}]}).encode(), {}),
    "a redirect": lambda s: (302, "text/plain", b"", {"Location": f"http://elsewhere.invalid/{s}"}),
}
"""By what it does. None of these is a complete pull, whose pages are kept as they came."""

TRIED_AGAIN = {"HTTP 429", "HTTP 500", "HTTP 503", "HTTP 429 with a date", "cut JSON"}
"""Those that may pass by themselves: a command waits and asks again."""


@dataclass
class EchoingProvider:
    """``echo`` is how it answers now."""

    url: str
    echo: str = next(iter(ECHOES))


@contextmanager
def echoing() -> Iterator[EchoingProvider]:
    """The provider, on loopback until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            secret = self.headers.get("x-api-key") or self.headers.get("Authorization", "").removeprefix("Bearer ")
            status, kind, body, more = ECHOES[provider.echo](secret)
            self.send_response(status)
            for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **more}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        provider = EchoingProvider(f"http://127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield provider
        finally:
            server.shutdown()
            thread.join()
