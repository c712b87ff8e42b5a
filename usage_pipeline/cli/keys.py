"""``usage-pipeline keys``: register provider credentials, look at them, turn them off and on, give them new secrets."""

from __future__ import annotations

import os
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from usage_pipeline.cli.output import AsJson, print_json, print_line, print_note, print_progress, print_table
from usage_pipeline.cli.secret_input import read_secret_source
from usage_pipeline.cli.store import opened
from usage_pipeline.cli.workspace_option import OfWorkspace, reading
from usage_pipeline.clock import now
from usage_pipeline.errors import ExitCode, InvalidInputError

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from usage_pipeline.cli.key_view import KeyView
    from usage_pipeline.credentials.vault import KeyRingSource
    from usage_pipeline.ledger.provider_keys import ProviderKey

app = typer.Typer(help="Provider keys: the credentials whose usage is pulled.", rich_markup_mode=None)

KeySlug = Annotated[str, typer.Argument(metavar="KEY", help="The key, like acme.openai.main.")]
_SECRET_HELP = "Where the secret is: env:NAME, file:/path, or - to read it from standard input and seal it."  # noqa: S105


@app.command()
def add(
    workspace: Annotated[str, typer.Option("--workspace", metavar="SLUG", help="The workspace that it belongs to.")],
    provider: Annotated[str, typer.Option("--provider", metavar="NAME", help="The provider, like openai.")],
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="A name for it, like main.")],
    mode: Annotated[str, typer.Option("--mode", metavar="admin|standard", help="What kind of key it is.")],
    secret: Annotated[str, typer.Option("--secret", metavar="REFERENCE|-", help=_SECRET_HELP)],
    base_url: Annotated[
        str | None, typer.Option("--base-url", metavar="URL", help="Another host than the provider's own.")
    ] = None,
    project: Annotated[
        list[str] | None,
        typer.Option("--project", metavar="ID", help="Only this project (repeatable); else the whole account."),
    ] = None,
    organization: Annotated[
        str | None, typer.Option("--organization", metavar="ID", help="The provider's organization that it belongs to.")
    ] = None,
    grain: Annotated[str, typer.Option("--grain", metavar="1h|1d", help="Bucket width of usage.")] = "1h",
    as_json: AsJson = False,
) -> None:
    """Register a provider key. The secret is never an argument."""
    from usage_pipeline.credentials.registration import KeyRequest, register_key
    from usage_pipeline.providers.registry import provider as known_provider

    at = now(os.environ)
    source = read_secret_source(secret)
    request = KeyRequest(
        workspace=workspace,
        provider=known_provider(provider),
        name=name,
        mode=mode,
        source=source,
        organization=organization,
        projects=tuple(project or ()),
        grain=grain,
        base_url=base_url,
    )
    rings = _rings()
    with opened(os.environ, writes=True) as engine, engine.begin() as connection:
        registered = register_key(connection, request, rings, os.environ, at)
        (view,) = _views(connection, (registered.key,), at)
    _tell_made_key_file(rings)
    for note in registered.notes:
        print_note(note)
    if as_json:
        print_json({**view.as_json(), "notes": list(registered.notes)})
    else:
        print_line(f"Key {request.slug} is registered. Next: usage-pipeline backfill --from DAY --to DAY")


@app.command("list")
def list_all(
    workspace: OfWorkspace = None,
    as_json: AsJson = False,
) -> None:
    """List the registered keys."""
    from usage_pipeline.cli.key_view import KEY_COLUMNS
    from usage_pipeline.ledger.provider_keys import list_provider_keys

    at = now(os.environ)
    with reading(os.environ, workspace) as connection:
        views = _views(connection, list_provider_keys(connection, workspace), at)
    if as_json:
        print_json([view.as_json() for view in views])
    elif not views:
        print_line("No key is registered. Next: usage-pipeline keys add --help")
    else:
        print_table("Provider keys", KEY_COLUMNS, [view.row() for view in views])


@app.command()
def show(slug: KeySlug, as_json: AsJson = False) -> None:
    """Show one key, everything but its secret."""
    from usage_pipeline.ledger.provider_keys import get_provider_key
    from usage_pipeline.ledger.slugs import split_slug

    at = now(os.environ)
    split_slug(slug, parts=3, where="key")
    with opened(os.environ, writes=False) as engine, engine.begin() as connection:
        (view,) = _views(connection, (get_provider_key(connection, slug),), at)
    if as_json:
        print_json(view.as_json())
    else:
        for word, value in view.lines():
            print_line(f"{word:<12}{value}")


@app.command("set")
def change(
    slug: KeySlug,
    grain: Annotated[
        str | None, typer.Option("--grain", metavar="1h|1d", help="Another bucket width of usage.")
    ] = None,
    project: Annotated[
        list[str] | None, typer.Option("--project", metavar="ID", help="Only this project from now on (repeatable).")
    ] = None,
    whole_account: Annotated[
        bool, typer.Option("--whole-account", help="No longer only some projects, from now on.")
    ] = False,
    organization: Annotated[
        str | None, typer.Option("--organization", metavar="ID", help="The provider's organization that it belongs to.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Change a key's grain or scope, or state its account. A scope holds from the next UTC day on."""
    from usage_pipeline.credentials.key_changes import KeyChange, change_key
    from usage_pipeline.ledger.provider_keys import get_provider_key
    from usage_pipeline.ledger.slugs import split_slug
    from usage_pipeline.providers.registry import provider as known_provider

    at = now(os.environ)
    _, provider, _ = split_slug(slug, parts=3, where="key")
    if project and whole_account:
        raise InvalidInputError(
            "scope_unclear",
            "it takes --project or --whole-account, not both",
            where="usage-pipeline keys set",
            remedy="See: usage-pipeline keys set --help.",
        )
    wanted = KeyChange(grain, () if whole_account else tuple(project) if project else None, organization)
    with opened(os.environ, writes=True) as engine, engine.begin() as connection:
        get_provider_key(connection, slug)
        changed = change_key(connection, slug, known_provider(provider), wanted, at)
        (view,) = _views(connection, (changed.key,), at)
    for note in changed.notes:
        print_note(note)
    if as_json:
        print_json({**view.as_json(), "notes": list(changed.notes)})
    else:
        print_line(f"Key {slug} is set.")


@app.command("test")
def ask(slug: KeySlug, as_json: AsJson = False) -> None:
    """Ask the provider for one bucket of usage with a key, and say what works and what is missing."""
    from usage_pipeline.cli.key_probe_view import as_json as in_json
    from usage_pipeline.cli.key_probe_view import lines_of
    from usage_pipeline.key_probe import probe_key
    from usage_pipeline.ledger.slugs import split_slug
    from usage_pipeline.stages import open_runtime

    split_slug(slug, parts=3, where="key")
    with open_runtime(os.environ) as runtime:
        probe = probe_key(runtime, slug)
    if as_json:
        print_json(in_json(probe))
    else:
        for word, value in lines_of(probe):
            print_line(f"{word:<13}{value}")
        for note in probe.notes:
            print_note(note)
    if probe.error is not None:
        print_progress(f"error: {probe.error.line()}")
        raise typer.Exit(ExitCode.FAILURE)


@app.command()
def disable(slug: KeySlug) -> None:
    """Stop pulling a key from the next UTC day on. What was pulled stays."""
    _switch(slug, enabled=False)


@app.command()
def enable(slug: KeySlug) -> None:
    """Pull a key again, from this UTC day on."""
    _switch(slug, enabled=True)


@app.command()
def rotate(
    slug: Annotated[str | None, typer.Argument(metavar="[KEY]", help="The key that gets a new secret.")] = None,
    secret: Annotated[str | None, typer.Option("--secret", metavar="REFERENCE|-", help=_SECRET_HELP)] = None,
    encryption_key: Annotated[
        bool, typer.Option("--encryption-key", help="Put every sealed secret under the newest encryption key.")
    ] = False,
) -> None:
    """Give a key a new secret, or all sealed secrets a new encryption key."""
    if encryption_key and slug is None and secret is None:
        _rotate_encryption_key()
    elif not encryption_key and slug is not None and secret is not None:
        _rotate_secret(slug, secret)
    else:
        raise InvalidInputError(
            "rotation_unclear",
            "it takes a key with --secret, or --encryption-key alone",
            where="usage-pipeline keys rotate",
            remedy="See: usage-pipeline keys rotate --help.",
        )


def _rotate_secret(slug: str, secret: str) -> None:
    from usage_pipeline.credentials.registration import replace_secret
    from usage_pipeline.ledger.slugs import split_slug

    at = now(os.environ)
    split_slug(slug, parts=3, where="key")
    source = read_secret_source(secret)
    rings = _rings()
    with opened(os.environ, writes=True) as engine, engine.begin() as connection:
        registered = replace_secret(connection, slug, source, rings, os.environ, at)
    _tell_made_key_file(rings)
    for note in registered.notes:
        print_note(note)
    print_line(f"Key {slug} has a new secret, version {registered.key.secret_version}.")


def _rotate_encryption_key() -> None:
    from usage_pipeline.credentials.key_ring import ENCRYPTION_KEYS_VARIABLE, KEY_FILE_NAME
    from usage_pipeline.credentials.vault import rewrap_all

    at = now(os.environ)
    ring = _rings().existing()
    if ring is None:
        raise InvalidInputError(
            "encryption_key_missing",
            "there is no encryption key yet",
            where=ENCRYPTION_KEYS_VARIABLE,
            remedy=f"Set it, or put the key file {KEY_FILE_NAME} back into USAGE_HOME.",
        )
    with opened(os.environ, writes=True) as engine, engine.begin() as connection:
        done = rewrap_all(connection, ring, at)
    print_line(
        f"{done.rewrapped} sealed secrets were put under the encryption key {done.key_id};"
        f" {done.unchanged} were under it already."
    )
    if not done.rewrapped:
        print_note(
            f"to rotate, first put a new key (an id, a colon, and what `openssl rand -base64 32` prints) in front of"
            f" the others in {ENCRYPTION_KEYS_VARIABLE} or in the key file, and keep the old ones until this is done."
        )


def _switch(slug: str, *, enabled: bool) -> None:
    from usage_pipeline.ledger.feed_settings import disable_feed, enable_feed
    from usage_pipeline.ledger.provider_keys import get_provider_key
    from usage_pipeline.ledger.slugs import split_slug

    at = now(os.environ)
    split_slug(slug, parts=3, where="key")
    change = enable_feed if enabled else disable_feed
    with opened(os.environ, writes=True) as engine, engine.begin() as connection:
        from_day = change(connection, get_provider_key(connection, slug).feed_id, slug, at)
    word = "enabled" if enabled else "disabled"
    print_line(f"Key {slug} is {word} from {from_day} (UTC) on." if from_day else f"Key {slug} is {word} already.")


def _rings() -> KeyRingSource:
    from usage_pipeline.credentials.vault import KeyRingSource
    from usage_pipeline.ledger.server import data_home

    return KeyRingSource(os.environ, data_home(os.environ))


def _views(connection: Connection, keys: tuple[ProviderKey, ...], at: datetime) -> tuple[KeyView, ...]:
    from usage_pipeline.cli.key_view import KeyView
    from usage_pipeline.credentials.discovery import former_account_note
    from usage_pipeline.ledger.dimension_names import names_by_id
    from usage_pipeline.ledger.feed_settings import list_settings

    settings = list_settings(connection, [key.feed_id for key in keys])
    return tuple(
        KeyView(
            key,
            settings[key.feed_id],
            at.date(),
            former_account_note(connection, key),
            names_by_id(connection, key.provider, key.account, "project_id"),
        )
        for key in keys
    )


def _tell_made_key_file(rings: KeyRingSource) -> None:
    if rings.created is not None:
        print_note(
            f"made the encryption key file {rings.created} (mode 0600); sealed secrets open only with it. For"
            " production move its line into USAGE_ENCRYPTION_KEYS, kept where secrets are kept, and delete the file."
        )
