"""``usage-pipeline serve``: the HTTP service in this process, until a signal ends it."""

from __future__ import annotations

import ipaddress
import os
from contextlib import nullcontext
from typing import Annotated

import typer

from usage_pipeline.cli.output import print_line, print_note


def serve(
    host: Annotated[str, typer.Option("--host", metavar="ADDRESS", help="Where to listen.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", metavar="N", min=0, max=65535, help="0 takes a free one.")] = 8733,
) -> None:
    """Take in Hermes batches and answer the usage API over HTTP. Ctrl-C or SIGTERM ends it, once all is answered."""
    from usage_pipeline.service.app import INGEST_PATH, build_app
    from usage_pipeline.service.runtime import open_service_runtime
    from usage_pipeline.service.server import end_on_sigterm, listen
    from usage_pipeline.service.server import serve as answer
    from usage_pipeline.settings import Settings
    from usage_pipeline.telemetry.logs import configure_logging

    configure_logging(os.environ, Settings.from_environment(os.environ))
    end_on_sigterm()
    with listen(host, port) as listening, open_service_runtime(os.environ) as runtime:
        address = listening.getsockname()
        shown = f"[{address[0]}]" if ":" in address[0] else address[0]
        print_line(f"Listening on http://{shown}:{address[1]}{INGEST_PATH}")
        print_line(f"The analytics page is at http://{shown}:{address[1]}/")
        on_loopback = ipaddress.ip_address(address[0]).is_loopback
        if not on_loopback:
            print_note("tokens travel unencrypted here: put a proxy with TLS in front for anything but a private net.")
        answer(build_app(lambda: nullcontext(runtime), on_loopback=on_loopback), listening)
