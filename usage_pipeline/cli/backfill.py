"""``usage-pipeline backfill``: pull a range of days and reconcile it, or go on with one that was stopped."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from usage_pipeline.cli.days import read_range, refuse_future
from usage_pipeline.cli.output import AsJson, print_json, print_line, print_progress
from usage_pipeline.cli.store import opened
from usage_pipeline.clock import now
from usage_pipeline.errors import InvalidInputError
from usage_pipeline.settings import Settings

if TYPE_CHECKING:
    from usage_pipeline.orchestration.backfill_outcome import BackfillOutcome


def backfill(
    from_day: Annotated[
        str | None, typer.Option("--from", metavar="DAY", help="The first UTC day, as YYYY-MM-DD.")
    ] = None,
    to_day: Annotated[
        str | None, typer.Option("--to", metavar="DAY", help="The last UTC day, as YYYY-MM-DD, itself included.")
    ] = None,
    key: Annotated[
        list[str] | None,
        typer.Option("--key", metavar="KEY", help="Only this key, like acme.openai.main (repeatable); else all."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the newest unfinished backfill; takes no days and no keys.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Pull the usage and cost of a range of UTC days, and reconcile it. --to is included."""
    if resume:
        if from_day is not None or to_day is not None or key:
            raise _usage("--resume takes neither --from, --to nor --key: the backfill has its own")
        _resume(as_json=as_json)
        return
    if from_day is None or to_day is None:
        raise _usage(f"Missing option '{'--from' if from_day is None else '--to'}'")
    _begin(from_day, to_day, tuple(dict.fromkeys(key or ())), as_json=as_json)


def _begin(from_day: str, to_day: str, slugs: tuple[str, ...], *, as_json: bool) -> None:
    from usage_pipeline.ledger.provider_keys import get_provider_key
    from usage_pipeline.ledger.slugs import split_slug

    days = read_range(from_day, to_day)
    refuse_future(days, now(os.environ))
    settings = Settings.from_environment(os.environ)
    for slug in slugs:
        split_slug(slug, parts=3, where="--key")
    with opened(os.environ, writes=True) as engine:
        with engine.begin() as connection:
            for slug in slugs:
                get_provider_key(connection, slug)
        # Inside, so that the embedded server stays up while the runs start and stop their own use of it.
        from usage_pipeline.orchestration.backfill import run_backfill
        from usage_pipeline.telemetry.logs import configure_logging_of_command

        configure_logging_of_command(os.environ, settings)
        result = run_backfill(settings, os.environ, days.first_day, days.end_day, slugs, print_progress)
        _print(result, as_json=as_json)


def _resume(*, as_json: bool) -> None:
    settings = Settings.from_environment(os.environ)
    with opened(os.environ, writes=True):
        from usage_pipeline.orchestration.backfill import resume_backfill
        from usage_pipeline.telemetry.logs import configure_logging_of_command

        configure_logging_of_command(os.environ, settings)
        _print(resume_backfill(settings, os.environ, print_progress), as_json=as_json)


def _usage(what: str) -> InvalidInputError:
    command = "usage-pipeline backfill"
    return InvalidInputError("usage", what, where=command, remedy=f"See: {command} --help.")


def _print(result: BackfillOutcome, *, as_json: bool) -> None:
    if as_json:
        print_json(result.as_json())
    else:
        for line in result.lines():
            print_line(line)
    result.raise_if_failed()
