"""``usage-pipeline backfill``: pull a range of days and reconcile it."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from usage_pipeline.cli.days import DayRange, FromDay, ToDay, read_range, refuse_future
from usage_pipeline.cli.output import AsJson, print_json, print_line, print_progress
from usage_pipeline.cli.store import opened
from usage_pipeline.clock import now
from usage_pipeline.settings import Settings


def backfill(
    from_day: FromDay,
    to_day: ToDay,
    key: Annotated[
        list[str] | None,
        typer.Option("--key", metavar="KEY", help="Only this key, like acme.openai.main (repeatable); else all."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Pull the usage and cost of a range of UTC days, and reconcile it. --to is included."""
    from usage_pipeline.ledger.provider_keys import get_provider_key
    from usage_pipeline.ledger.slugs import split_slug

    days = read_range(from_day, to_day)
    refuse_future(days, now(os.environ))
    settings = Settings.from_environment(os.environ)
    slugs = tuple(dict.fromkeys(key or ()))
    for slug in slugs:
        split_slug(slug, parts=3, where="--key")
    with opened(os.environ, writes=True) as engine:
        with engine.begin() as connection:
            for slug in slugs:
                get_provider_key(connection, slug)
        # Inside, so that the embedded server stays up while the runs start and stop their own use of it.
        _run(settings, days, slugs, as_json=as_json)


def _run(settings: Settings, days: DayRange, slugs: tuple[str, ...], *, as_json: bool) -> None:
    from usage_pipeline.orchestration.backfill import run_backfill

    result = run_backfill(settings, os.environ, days.first_day, days.end_day, slugs, print_progress)
    if as_json:
        print_json(result.as_json())
    else:
        for line in result.lines():
            print_line(line)
    result.raise_if_failed()
