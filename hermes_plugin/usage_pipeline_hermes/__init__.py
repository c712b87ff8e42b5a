"""A Hermes plugin that reports token usage to a usage-pipeline server: counts and costs, never content.

Belongs here: what Hermes calls when it loads the plugin. In: Hermes' plugin context. Out: one command,
``hermes usage-pipeline``. No hooks are registered, nothing runs while the agent works. Python's standard library
only, since this runs inside Hermes' own interpreter (3.11 or newer).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Protocol

from .cli import add_commands, run_command
from .version import PLUGIN_VERSION

__all__ = ["PLUGIN_VERSION", "register"]

Setup = Callable[[argparse.ArgumentParser], None]
Handler = Callable[[argparse.Namespace], int]


class PluginContext(Protocol):
    """The part of Hermes' plugin context that is used."""

    def register_cli_command(
        self,
        *,
        name: str,
        help: str,  # noqa: A002  Hermes' own name
        setup_fn: Setup,
        handler_fn: Handler,
        description: str,
    ) -> object: ...


def register(ctx: PluginContext) -> None:
    """Called by Hermes. Loads without any configuration, so that ``doctor`` can say what is missing."""
    ctx.register_cli_command(
        name="usage-pipeline",
        help="Report token usage to a usage-pipeline server",
        setup_fn=add_commands,
        handler_fn=run_command,
        description="Counts and costs from state.db, by hour, model and billing route; never content.",
    )
