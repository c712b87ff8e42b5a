"""The command line: ``usage-pipeline``. A thin face: it reads words, calls the domain, prints results and errors.

``app`` puts the commands together and turns every failure into one line and an exit code; each other module is one
group of verbs or one concern of all (``clock``, ``days``, ``store``, ``output``). What a command needs is imported when
it runs, so that ``--help`` answers at once.
"""

from __future__ import annotations


def main() -> None:
    """The entry point. Ends the process: exit code 0, 1 (failure), 2 (usage) or 130 (Ctrl-C)."""
    from usage_pipeline.cli.app import app

    app(prog_name="usage-pipeline")
