"""``usage-pipeline erase-user``: a person's ids become pseudonyms, everywhere and for good."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from usage_pipeline.cli.output import AsJson, print_json, print_line, print_note


def erase_user(
    provider: Annotated[str, typer.Option("--provider", metavar="NAME", help="The provider, like openai.")],
    account: Annotated[str, typer.Option("--account", metavar="ID", help="The account, as keys list tells it.")],
    user: Annotated[
        str, typer.Option("--user", metavar="ID|-", help="The id or e-mail address; - reads it from standard input.")
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Change nothing, and tell what would be.")] = False,
    as_json: AsJson = False,
) -> None:
    """Replace a person's ids and e-mail addresses by pseudonyms, here and in every later pull. No figure changes."""
    from usage_pipeline.erasure import erase_person
    from usage_pipeline.stages import open_runtime

    identifier = sys.stdin.readline().removesuffix("\n") if user == "-" else user
    with open_runtime(os.environ) as runtime:
        erased = erase_person(runtime, provider, account, identifier, dry_run=dry_run)
    told = {"raw_pages": erased.raw_pages, "rows": erased.rows, "names": erased.names, "words": erased.words}
    if as_json:
        pseudonym = None if dry_run else erased.pseudonym
        print_json({"dry_run": dry_run, "pseudonym": pseudonym, "ids": erased.ids, **told})
        return
    counted = ", ".join(f"{count:,} {what.replace('_', ' ')}" for what, count in told.items())
    if dry_run:
        print_line(f"Nothing was changed. {erased.ids} ids and addresses would be replaced in {counted}.")
        return
    print_line(f"{erased.ids} ids and addresses were replaced in {counted}; the person is {erased.pseudonym} now.")
    if not any(told.values()):
        print_note("nothing was stored under it; later pulls will have the pseudonym.")
    print_note(
        "backups and exports of before, Dagster's own logs, and names that people chose (of keys, projects, Hermes"
        " profiles) are not changed."
    )
