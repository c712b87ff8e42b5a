"""``--workspace`` of the commands that read: of one workspace, or of all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from usage_pipeline.cli.store import opened

if TYPE_CHECKING:
    from sqlalchemy import Connection

OfWorkspace = Annotated[str | None, typer.Option("--workspace", metavar="SLUG", help="Only of this one.")]


@contextmanager
def reading(environ: Mapping[str, str], workspace: str | None) -> Iterator[Connection]:
    """A connection that sees one state of the store, whatever is written meanwhile; the workspace, if given, is there.

    Raises :class:`InvalidInputError` for a malformed slug and ``workspace_unknown``, and what :func:`opened` raises.
    """
    from usage_pipeline.ledger.slugs import check_part
    from usage_pipeline.ledger.snapshot import snapshot
    from usage_pipeline.ledger.workspaces import get_workspace

    if workspace is not None:
        check_part(workspace, where="--workspace")
    with opened(environ, writes=False) as engine, snapshot(engine) as connection:
        if workspace is not None:
            get_workspace(connection, workspace)
        yield connection
