"""``python -m usage_pipeline.sandbox``: the sandbox in the foreground, until SIGINT or SIGTERM."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Sequence
from datetime import UTC, datetime

from usage_pipeline.errors import ExitCode, UsagePipelineError
from usage_pipeline.sandbox.faces import DEFAULT_ANTHROPIC_KEY, DEFAULT_OPENAI_KEY, DEFAULT_OPENAI_STANDARD_KEY
from usage_pipeline.sandbox.server import SandboxServer
from usage_pipeline.sandbox.world import World


def main(arguments: Sequence[str] | None = None) -> int:
    """Serves until a signal; prints the URLs and the accepted keys first."""
    parser = argparse.ArgumentParser(prog="python -m usage_pipeline.sandbox", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1; 0 takes a free one (default)")
    parser.add_argument("--seed", type=int, default=1, help="which world to generate (default 1)")
    parser.add_argument("--now", type=datetime.fromisoformat, help="a fixed present, ISO 8601 with a zone")
    options = parser.parse_args(arguments)
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    try:
        world = World(options.seed, options.now or (lambda: datetime.now(UTC)))
        with SandboxServer(world, port=options.port) as server:
            sys.stdout.write(
                f"OpenAI base URL: {server.openai_base_url} (key {DEFAULT_OPENAI_KEY})\n"
                f"OpenAI legacy usage: {server.openai_base_url}/usage (key {DEFAULT_OPENAI_STANDARD_KEY})\n"
                f"Anthropic base URL: {server.anthropic_base_url} (key {DEFAULT_ANTHROPIC_KEY})\n"
                f"Switches: {server.anthropic_base_url}/_sandbox/switches\n"
            )
            sys.stdout.flush()
            ended.wait()
    except UsagePipelineError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return ExitCode.OK


if __name__ == "__main__":
    sys.exit(main())
