"""``usage-pipeline tokens``: who may read a workspace's figures over HTTP: issued, listed, revoked."""

from __future__ import annotations

import os
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Final

import typer

from usage_pipeline.cli.days import read_day
from usage_pipeline.cli.output import AsJson, print_json, print_line, print_table
from usage_pipeline.cli.store import opened
from usage_pipeline.cli.workspace_option import OfWorkspace, reading
from usage_pipeline.clock import now
from usage_pipeline.utc_days import day_end

if TYPE_CHECKING:
    from usage_pipeline.ledger.read_tokens import ReadToken

app = typer.Typer(help="Read tokens: who may see a workspace's figures over HTTP.", rich_markup_mode=None)

_COLUMNS: Final = ("token", "workspace", "name", "scopes", "state", "created, UTC", "ends, UTC", "last used, UTC")


@app.command()
def add(
    workspace: Annotated[str, typer.Option("--workspace", metavar="SLUG", help="The workspace that it shows.")],
    scope: Annotated[
        list[str] | None,
        typer.Option(
            "--scope",
            metavar="SCOPE",
            help="What it shows (repeatable): usage, events, findings, exports, raw; all but raw where left out.",
        ),
    ] = None,
    expires: Annotated[
        str | None, typer.Option("--expires", metavar="DAY", help="The last UTC day on which it opens; else none.")
    ] = None,
    name: Annotated[str, typer.Option("--name", metavar="TEXT", help="Whose it is, for the list.")] = "",
    as_json: AsJson = False,
) -> None:
    """Issue a read token of a workspace, and print it, once."""
    from usage_pipeline.ledger.read_tokens import check_scopes, issue_read_token
    from usage_pipeline.ledger.slugs import check_part
    from usage_pipeline.ledger.workspaces import check_name, get_workspace

    at = now(os.environ)
    check_part(workspace, where="--workspace")
    scopes = check_scopes(scope or ())
    if name:
        check_name(name)
    expires_at = day_end(read_day(expires, "--expires")) if expires is not None else None
    with opened(os.environ, writes=True) as engine, engine.begin() as connection:
        owner = get_workspace(connection, workspace)
        token = issue_read_token(connection, owner, scopes, at, name=name, expires_at=expires_at)
    if as_json:
        print_json({"workspace": workspace, "scopes": list(scopes), "expires_at": _instant(expires_at), "token": token})
        return
    print_line(f"A read token of the workspace {workspace} ({', '.join(scopes)}), shown only now:")
    print_line(token)
    print_line("Next: usage-pipeline serve, and docs/api.md for what it answers.")


@app.command("list")
def list_all(workspace: OfWorkspace = None, as_json: AsJson = False) -> None:
    """List the read tokens, those that ended too: everything but the tokens themselves."""
    from usage_pipeline.ledger.read_tokens import list_read_tokens

    at = now(os.environ)
    with reading(os.environ, workspace) as connection:
        tokens = list_read_tokens(connection, workspace)
    if as_json:
        print_json([_as_json(token, at) for token in tokens])
    elif not tokens:
        print_line("There is no read token. Next: usage-pipeline tokens add --workspace SLUG")
    else:
        print_table("Read tokens", _COLUMNS, [_row(token, at) for token in tokens])


@app.command()
def revoke(
    prefix: Annotated[str, typer.Argument(metavar="PREFIX", help="How the token begins, like upr_0123456789.")],
    as_json: AsJson = False,
) -> None:
    """End a read token and its sessions now."""
    from usage_pipeline.ledger.read_tokens import revoke_read_token

    at = now(os.environ)
    with opened(os.environ, writes=True) as engine, engine.begin() as connection:
        token = revoke_read_token(connection, prefix, at)
    if as_json:
        print_json(_as_json(token, at))
    elif token.revoked_at == at:
        print_line(f"The read token {token.prefix} of {token.workspace} opens nothing any more.")
    else:
        print_line(f"The read token {token.prefix} of {token.workspace} was revoked already.")


def _row(token: ReadToken, at: datetime) -> tuple[str, ...]:
    ends_at = token.revoked_at or token.expires_at
    return (
        token.prefix,
        token.workspace,
        token.name,
        ", ".join(token.scopes),
        token.state(at),
        _short(token.created_at),
        _short(ends_at) if ends_at else "never",
        _short(token.last_used_at) if token.last_used_at else "never",
    )


def _as_json(token: ReadToken, at: datetime) -> dict[str, object]:
    return {
        "prefix": token.prefix,
        "workspace": token.workspace,
        "name": token.name,
        "scopes": list(token.scopes),
        "state": token.state(at),
        "created_at": _instant(token.created_at),
        "expires_at": _instant(token.expires_at),
        "revoked_at": _instant(token.revoked_at),
        "last_used_at": _instant(token.last_used_at),
    }


def _short(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M}"


def _instant(at: datetime | None) -> str | None:
    from usage_pipeline.reconcile.report import instant

    return None if at is None else instant(at)
