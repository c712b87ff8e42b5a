"""``usage-pipeline hermes``: the installs of the Hermes plugin, their tokens and settings, and what they sent."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from usage_pipeline.cli.output import AsJson, print_json, print_line, print_note, print_table
from usage_pipeline.cli.store import opened
from usage_pipeline.cli.workspace_option import OfWorkspace, reading
from usage_pipeline.clock import now
from usage_pipeline.errors import InvalidInputError

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

    from usage_pipeline.cli.hermes_view import FeedView
    from usage_pipeline.ledger.hermes_feeds import HermesFeed

app = typer.Typer(help="Hermes feeds: what the Hermes agent says it used.", rich_markup_mode=None)

FeedSlug = Annotated[str, typer.Argument(metavar="FEED", help="The feed, like acme.laptop.")]

_FILE_BYTES_MAX: Final = 256 * 1024 * 1024
"""A bound on memory only; what a payload may be is the payload contract's own, smaller limit."""

_SHOWN_NUMBER_MAX: Final = 10**20


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
    plugin_workspace: Annotated[
        str | None,
        typer.Option(
            "--plugin-workspace", metavar="SLUG", help="The plugin's own workspace slug; else its first batch tells it."
        ),
    ] = None,
    plugin_environment: Annotated[
        str | None,
        typer.Option(
            "--plugin-environment", metavar="NAME", help="The plugin's own environment; else its first batch tells it."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Register an install of the Hermes plugin, and print its token, once."""
    from usage_pipeline.ledger.feed_tokens import issue_token
    from usage_pipeline.ledger.hermes_feeds import add_hermes_feed, check_days_back, check_plugin_label
    from usage_pipeline.ledger.slugs import check_part
    from usage_pipeline.ledger.workspaces import get_workspace

    at = now(os.environ)
    for part, option in ((workspace, "--workspace"), (label, "--label"), (environment, "--environment")):
        check_part(part, where=option)
    check_days_back(days_back)
    check_plugin_label(plugin_workspace, where="--plugin-workspace")
    check_plugin_label(plugin_environment, where="--plugin-environment")
    with opened(os.environ, writes=True) as engine, engine.begin() as connection:
        owner = get_workspace(connection, workspace)
        feed = add_hermes_feed(
            connection,
            owner,
            label,
            environment,
            days_back=days_back,
            now=at,
            plugin_workspace=plugin_workspace,
            plugin_environment=plugin_environment,
        )
        token = issue_token(connection, feed, at)
        (view,) = _views(connection, (feed,), at)
    if as_json:
        print_json({**view.as_json(), "token": token})
    else:
        print_line(f"Hermes feed {feed.slug} is registered. Its token, shown only now:")
        print_line(token)
        print_line("Next: give it to the plugin (docs/hermes.md), and run: usage-pipeline serve")


@app.command("list")
def list_all(
    workspace: OfWorkspace = None,
    as_json: AsJson = False,
) -> None:
    """List the Hermes feeds."""
    from usage_pipeline.cli.hermes_view import FEED_COLUMNS
    from usage_pipeline.ledger.hermes_feeds import list_hermes_feeds

    at = now(os.environ)
    with reading(os.environ, workspace) as connection:
        views = _views(connection, list_hermes_feeds(connection, workspace), at)
    if as_json:
        print_json([view.as_json() for view in views])
    elif not views:
        print_line("No Hermes feed is registered. Next: usage-pipeline hermes add-feed --help")
    else:
        print_table("Hermes feeds", FEED_COLUMNS, [view.row() for view in views])


@app.command()
def show(slug: FeedSlug, as_json: AsJson = False) -> None:
    """Show one feed and its tokens, everything but the tokens themselves."""
    from usage_pipeline.ledger.hermes_feeds import get_hermes_feed

    at = now(os.environ)
    _check_slug(slug)
    with opened(os.environ, writes=False) as engine, engine.begin() as connection:
        (view,) = _views(connection, (get_hermes_feed(connection, slug),), at)
    if as_json:
        print_json(view.as_json())
    else:
        for word, value in view.lines():
            print_line(f"{word:<20}{value}")


@app.command("set")
def change(
    slug: FeedSlug,
    counts: Annotated[
        bool | None, typer.Option("--counts/--no-counts", help="Its figures count, or are only shown.")
    ] = None,
    days_back: Annotated[
        int | None,
        typer.Option("--days-back", metavar="N", help="How many UTC days the plugin sends each time (1 to 365)."),
    ] = None,
    days_back_by_batch: Annotated[
        bool, typer.Option("--days-back-by-batch", help="A batch reaches back to the earliest day that it names.")
    ] = False,
    bills_to: Annotated[
        list[str] | None,
        typer.Option(
            "--bills-to",
            metavar="PROVIDER=ROUTE",
            help="Who bills a vendor's models where the payload does not say (repeatable): account, account:NAME or"
            " off_account:NAME.",
        ),
    ] = None,
    from_day: Annotated[
        str | None,
        typer.Option("--from", metavar="DAY", help="The UTC day from which --bills-to holds; else today."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Change whether a feed counts, how far its batches reach back, or who bills where they don't say."""
    from usage_pipeline.cli.hermes_settings import change_feed, read_change

    at = now(os.environ)
    _check_slug(slug)
    wanted = read_change(counts, days_back, days_back_by_batch, bills_to or (), from_day)
    with opened(os.environ, writes=True) as engine, engine.begin() as connection:
        changed = change_feed(connection, slug, wanted, at)
        (view,) = _views(connection, (changed.feed,), at)
    for note in changed.notes:
        print_note(note)
    days = changed.reconciled
    if as_json:
        again = {"from": days.first_day.isoformat(), "to": days.last_day.isoformat()} if days else None
        print_json({**view.as_json(), "changed": changed.changed, "reconciled_days": again, "notes": changed.notes})
        return
    for line in changed.lines:
        print_line(f"Hermes feed {slug}: {line}.")
    if days is not None:
        print_line("The days already reconciled stay as they are until they are decided anew.")
        print_line(f"Next: usage-pipeline backfill --from {days.first_day} --to {days.last_day}")


@app.command("refused")
def list_refused(
    slug: Annotated[str | None, typer.Argument(metavar="[FEED]", help="Only of this feed, like acme.laptop.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the refused payloads that are kept, newest first, with the reason."""
    from usage_pipeline.cli.hermes_payloads import REFUSED_COLUMNS, REFUSED_NUMBERS, refused_as_json, refused_row
    from usage_pipeline.ledger import hermes_batches
    from usage_pipeline.ledger.hermes_feeds import get_hermes_feed

    if slug is not None:
        _check_slug(slug)
    with opened(os.environ, writes=False) as engine, engine.begin() as connection:
        if slug is not None:
            get_hermes_feed(connection, slug)
        refused = hermes_batches.list_refused(connection, slug)
    if as_json:
        print_json([refused_as_json(batch) for batch in refused])
    elif not refused:
        print_line(f"No refused payload{f' of {slug}' if slug else ''} is kept.")
    else:
        rows = [refused_row(batch) for batch in refused]
        print_table("Refused payloads", REFUSED_COLUMNS, rows, right=REFUSED_NUMBERS)
        print_line("Next: usage-pipeline hermes payload NUMBER")


@app.command()
def payload(
    number: Annotated[int, typer.Argument(metavar="NUMBER", help="The number of a batch, accepted or refused.")],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Into this new file; else to standard output.")
    ] = None,
) -> None:
    """Give the payload of a batch, accepted or refused, byte for byte as it came."""
    from usage_pipeline.cli.hermes_payloads import write_new_file
    from usage_pipeline.ledger.hermes_batches import find_payload

    with opened(os.environ, writes=False) as engine, engine.begin() as connection:
        body = find_payload(connection, number)
    if body is None:
        raise InvalidInputError(
            "payload_unknown",
            "no batch has this number",
            where=str(number) if abs(number) < _SHOWN_NUMBER_MAX else "NUMBER",
            remedy="See: usage-pipeline hermes refused; an accepted batch has the batchId that its sender was told.",
        )
    if out is None:
        typer.echo(body, nl=False)
    else:
        write_new_file(out, body)
        print_line(f"The payload of batch {number} is written: {len(body)} bytes.")


@app.command("rotate-token")
def rotate_token(
    slug: FeedSlug,
    grace_hours: Annotated[
        int, typer.Option("--grace-hours", metavar="N", help="How long the old token goes on (0 to 720 hours).")
    ] = 0,
    as_json: AsJson = False,
) -> None:
    """Print a new token for a feed, once. The old one ends now, or after the hours of grace."""
    from usage_pipeline.ledger import feed_tokens

    at = now(os.environ)
    _check_slug(slug)
    with opened(os.environ, writes=True) as engine, engine.begin() as connection:
        token = feed_tokens.rotate_token(connection, slug, timedelta(hours=grace_hours), at)
    if as_json:
        print_json({"slug": slug, "token": token})
    else:
        ends = f"in {grace_hours} {'hour' if grace_hours == 1 else 'hours'}" if grace_hours else "now"
        print_line(f"Hermes feed {slug} has a new token, shown only now; an old one ends {ends}:")
        print_line(token)


@app.command("revoke-token")
def revoke_token(slug: FeedSlug) -> None:
    """End every token of a feed now. The feed and what it sent stay."""
    from usage_pipeline.ledger.feed_tokens import revoke_tokens

    at = now(os.environ)
    _check_slug(slug)
    with opened(os.environ, writes=True) as engine, engine.begin() as connection:
        ended = revoke_tokens(connection, slug, at)
    print_line(f"Hermes feed {slug} has no token any more." if ended else f"Hermes feed {slug} had no token.")


@app.command()
def disable(slug: FeedSlug) -> None:
    """Take nothing in from a feed over HTTP, from the next UTC day on. What it sent stays."""
    _switch(slug, enabled=False)


@app.command()
def enable(slug: FeedSlug) -> None:
    """Take in a feed's batches again, from this UTC day on."""
    _switch(slug, enabled=True)


@app.command("import")
def import_files(
    slug: FeedSlug,
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Payload files, as the plugin sends them.")],
) -> None:
    """Take in payload files, one after the other. The first one that is refused ends the command."""
    from usage_pipeline.hermes.batch import PayloadRefusedError
    from usage_pipeline.hermes.inbox import receive
    from usage_pipeline.ledger.hermes_feeds import get_hermes_feed

    at = now(os.environ)
    _check_slug(slug)
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
    remedy = refused.remedy or "Send a payload that keeps the contract."
    kept = "The payload is kept (see: usage-pipeline hermes refused), and nothing of it counts."
    return InvalidInputError(refused.code, refused.what, where=where, remedy=f"{remedy} {kept}")


def _check_slug(slug: str) -> None:
    """Refuse what cannot be a feed before the store is taken up."""
    from usage_pipeline.ledger.slugs import split_slug

    split_slug(slug, parts=2, where="feed")


def _switch(slug: str, *, enabled: bool) -> None:
    from usage_pipeline.ledger.feed_settings import disable_feed, enable_feed
    from usage_pipeline.ledger.hermes_feeds import get_hermes_feed

    at = now(os.environ)
    _check_slug(slug)
    change = enable_feed if enabled else disable_feed
    with opened(os.environ, writes=True) as engine, engine.begin() as connection:
        from_day = change(connection, get_hermes_feed(connection, slug).feed_id, slug, at)
    word = "enabled" if enabled else "disabled"
    print_line(f"Feed {slug} is {word} from {from_day} (UTC) on." if from_day else f"Feed {slug} is {word} already.")


def _views(connection: Connection, feeds: tuple[HermesFeed, ...], at: datetime) -> tuple[FeedView, ...]:
    from usage_pipeline.cli.hermes_view import FeedView
    from usage_pipeline.ledger.feed_settings import list_settings
    from usage_pipeline.ledger.feed_tokens import list_tokens
    from usage_pipeline.ledger.hermes_batches import newest_generated

    settings = list_settings(connection, [feed.feed_id for feed in feeds])
    newest = newest_generated(connection)
    return tuple(
        FeedView(
            feed,
            tuple(token for token in list_tokens(connection, feed) if token.lives(at)),
            settings[feed.feed_id],
            at.date(),
            newest.get(feed.feed_id),
        )
        for feed in feeds
    )
