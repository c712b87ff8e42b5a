"""``usage-pipeline hermes``: register the installs of the Hermes plugin, and take in payload files."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from usage_pipeline.cli.output import AsJson, print_json, print_line, print_note
from usage_pipeline.cli.store import opened
from usage_pipeline.clock import now
from usage_pipeline.errors import InvalidInputError

if TYPE_CHECKING:
    from usage_pipeline.ledger.hermes_feeds import HermesFeed

app = typer.Typer(help="Hermes feeds: what the Hermes agent says it used.", rich_markup_mode=None)

_FILE_BYTES_MAX: Final = 256 * 1024 * 1024
"""A bound on memory only; what a payload may be is the payload contract's own, smaller limit."""


@dataclass(frozen=True, slots=True)
class _PayloadFile:
    name: str
    body: bytes


@app.command("add-feed")
def add_feed(
    workspace: Annotated[str, typer.Option("--workspace", metavar="SLUG", help="The workspace that it belongs to.")],
    label: Annotated[str, typer.Option("--label", metavar="NAME", help="A name for the install, like laptop.")],
    environment: Annotated[
        str, typer.Option("--environment", metavar="NAME", help="Its environment; only production counts by itself.")
    ],
    days_back: Annotated[
        int | None,
        typer.Option("--days-back", metavar="N", help="How many UTC days the plugin sends each time (1 to 365)."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Register an install of the Hermes plugin."""
    from usage_pipeline.ledger.hermes_feeds import add_hermes_feed, check_days_back
    from usage_pipeline.ledger.slugs import check_part
    from usage_pipeline.ledger.workspaces import get_workspace

    at = now(os.environ)
    for part, option in ((workspace, "--workspace"), (label, "--label"), (environment, "--environment")):
        check_part(part, where=option)
    check_days_back(days_back)
    with opened(os.environ, writes=True) as engine, engine.begin() as connection:
        owner = get_workspace(connection, workspace)
        feed = add_hermes_feed(connection, owner, label, environment, days_back=days_back, now=at)
    if as_json:
        print_json(_as_json(feed))
    else:
        print_line(f"Hermes feed {feed.slug} is registered. Next: usage-pipeline hermes import {feed.slug} FILE")


@app.command("import")
def import_files(
    slug: Annotated[str, typer.Argument(metavar="FEED", help="The feed, like acme.laptop.")],
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Payload files, as the plugin sends them.")],
) -> None:
    """Take in payload files, one after the other. The first one that is refused ends the command."""
    from usage_pipeline.hermes.batch import PayloadRefusedError
    from usage_pipeline.hermes.inbox import receive
    from usage_pipeline.ledger.hermes_feeds import get_hermes_feed
    from usage_pipeline.ledger.slugs import split_slug

    at = now(os.environ)
    split_slug(slug, parts=2, where="feed")
    payloads = [_read(path) for path in files]
    changed: set[date] = set()
    with opened(os.environ, writes=True) as engine:
        for payload in payloads:
            with engine.connect() as connection:
                # Looked up for each file: the first batch binds the feed to its labels.
                feed = get_hermes_feed(connection, slug)
                try:
                    receipt = receive(connection, feed, payload.body, at)
                except PayloadRefusedError as refused:
                    connection.commit()  # a refused payload is kept with the reason, and nothing else of it
                    raise _of_file(payload, refused) from None
                connection.commit()
            days = len(receipt.changed_days)
            outcome = "known already" if receipt.duplicate else f"taken in, {days} {'day' if days == 1 else 'days'}"
            print_line(f"{payload.name}: {outcome}")
            if receipt.findings:
                print_note(f"{payload.name}: {', '.join(receipt.findings)} (see docs/reconciliation.md, findings)")
            changed.update(receipt.changed_days)
    if changed:
        print_line(f"Next: usage-pipeline backfill --from {min(changed)} --to {max(changed)}")


def _read(path: Path) -> _PayloadFile:
    """A whole file, before anything is written. Raises :class:`InvalidInputError` ``file_unreadable``."""
    try:
        with path.open("rb") as file:
            body = file.read(_FILE_BYTES_MAX + 1)
        problem = f"it is larger than {_FILE_BYTES_MAX} bytes" if len(body) > _FILE_BYTES_MAX else ""
    except OSError as error:
        body, problem = b"", error.strerror or type(error).__name__
    if problem:
        raise InvalidInputError(
            "file_unreadable", f"the file cannot be read: {problem}", where=str(path), remedy="Give a payload file."
        )
    return _PayloadFile(str(path), body)


def _of_file(payload: _PayloadFile, refused: InvalidInputError) -> InvalidInputError:
    """The refusal with the file that it is about, and what became of it."""
    where = f"{payload.name}: {refused.where}" if refused.where else payload.name
    kept = "It is kept among the refused payloads; nothing of it counts. Send a payload that keeps the contract."
    return InvalidInputError(refused.code, refused.what, where=where, remedy=f"{refused.remedy} {kept}".strip())


def _as_json(feed: HermesFeed) -> dict[str, object]:
    return {
        "slug": feed.slug,
        "workspace": feed.workspace,
        "label": feed.label,
        "environment": feed.environment,
        "days_back": feed.days_back,
        "counts": feed.counts,
        "created_at": feed.created_at.isoformat(),
    }
