"""``usage-pipeline workspace``: register tenants, list them, and say which side counts."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from usage_pipeline.cli.output import AsJson, print_json, print_line, print_table
from usage_pipeline.cli.store import opened
from usage_pipeline.clock import now

if TYPE_CHECKING:
    from usage_pipeline.ledger.workspaces import Workspace

app = typer.Typer(help="Workspaces: who the spending belongs to.", rich_markup_mode=None)


@app.command()
def add(
    slug: Annotated[str, typer.Argument(metavar="SLUG", help="Its name: lower-case letters, digits, '-' and '_'.")],
    name: Annotated[str | None, typer.Option("--name", help="A name for people; the slug where left out.")] = None,
    as_json: AsJson = False,
) -> None:
    """Register a workspace."""
    from usage_pipeline.ledger.slugs import check_part
    from usage_pipeline.ledger.workspaces import add_workspace, check_name

    at = now(os.environ)
    check_part(slug, where="workspace")
    if name is not None:
        check_name(name)
    with opened(os.environ, writes=True) as engine, engine.begin() as connection:
        workspace = add_workspace(connection, slug, name=name, now=at)
    if as_json:
        print_json(_as_json(workspace))
    else:
        print_line(f"Workspace {workspace.slug} is registered. Next: usage-pipeline keys add --workspace {slug} …")


@app.command("set")
def change(
    slug: Annotated[str, typer.Argument(metavar="SLUG", help="The workspace.")],
    policy: Annotated[
        str,
        typer.Option(
            "--policy",
            metavar="POLICY",
            help="Which side counts: provider_first, hermes_first, provider_only, hermes_only.",
        ),
    ],
    as_json: AsJson = False,
) -> None:
    """Change which side counts. A policy is not dated: it holds for the past too, once its days are decided anew."""
    from usage_pipeline.ledger.slugs import check_part
    from usage_pipeline.ledger.workspaces import get_workspace, set_policy

    at = now(os.environ)
    check_part(slug, where="workspace")
    with opened(os.environ, writes=True) as engine, engine.begin() as connection:
        before = get_workspace(connection, slug)
        workspace = set_policy(connection, slug, policy, at)
    if as_json:
        print_json(_as_json(workspace))
    elif before.policy == workspace.policy:
        print_line(f"Workspace {slug} has the policy {policy} already.")
    else:
        print_line(
            f"Workspace {slug} has the policy {policy}. The past is decided anew by: usage-pipeline backfill --from DAY"
            " --to DAY"
        )


@app.command("list")
def list_all(as_json: AsJson = False) -> None:
    """List the workspaces."""
    from usage_pipeline.ledger.workspaces import list_workspaces

    with opened(os.environ, writes=False) as engine, engine.begin() as connection:
        workspaces = list_workspaces(connection)
    if as_json:
        print_json([_as_json(workspace) for workspace in workspaces])
    elif not workspaces:
        print_line("No workspace is registered. Next: usage-pipeline workspace add NAME")
    else:
        rows = [(each.slug, each.name, each.policy, "demo" if each.demo else "") for each in workspaces]
        print_table("Workspaces", ("workspace", "name", "policy", ""), rows)


def _as_json(workspace: Workspace) -> dict[str, object]:
    return {
        "slug": workspace.slug,
        "name": workspace.name,
        "policy": workspace.policy,
        "demo": workspace.demo,
        "created_at": workspace.created_at.isoformat(),
    }
