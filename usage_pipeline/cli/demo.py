"""``usage-pipeline demo``: the whole way of the data on made-up usage."""

from __future__ import annotations

import os

from usage_pipeline.cli.output import print_line
from usage_pipeline.clock import now


def demo() -> None:
    """Pull and reconcile 30 days of a sandbox provider, and show the result. Running it again changes nothing."""
    at = now(os.environ)
    from usage_pipeline.sandbox.demo import run_demo

    run_demo(os.environ, at, print_line)
