"""``usage-pipeline raw``: a stored answer of a provider, byte for byte, and the request that it answers."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Annotated, Final

import typer

from usage_pipeline.cli.output import print_line, print_note
from usage_pipeline.cli.store import opened
from usage_pipeline.errors import InvalidInputError

_WRITTEN: Final = re.compile(r"(\d{1,18})/(\d{1,9})", re.ASCII)
_SHOWN_CHARACTERS_MAX: Final = 40


def raw(
    page: Annotated[str, typer.Argument(metavar="PULL/PAGE", help="A raw page as findings name it, such as 12/0.")],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Into this new file; else to standard output.")
    ] = None,
) -> None:
    """Give a provider's stored answer byte for byte as it came; what was asked goes to standard error."""
    from usage_pipeline.cli.hermes_payloads import write_new_file
    from usage_pipeline.ledger.raw_pages import find_raw_page

    written = _WRITTEN.fullmatch(page)
    if written is None:
        raise InvalidInputError(
            "page_malformed",
            f"{page!r} is no raw page" if len(page) <= _SHOWN_CHARACTERS_MAX else "the value is no raw page",
            where="PULL/PAGE",
            remedy="Write the numbers of the pull and of the page, such as 12/0.",
        )
    with opened(os.environ, writes=False) as engine, engine.begin() as connection:
        found = find_raw_page(connection, int(written[1]), int(written[2]))
    if found is None:
        raise InvalidInputError(
            "page_unknown",
            "no such raw page is kept",
            where=page,
            remedy="See what stands behind a finding: usage-pipeline findings show ID. A day that did not change keeps "
            "the page of the pull that first had it.",
        )
    asked = json.dumps(found.query, sort_keys=True)
    print_note(f"{found.key} {found.endpoint}, fetched {found.fetched_at:%Y-%m-%dT%H:%M:%SZ}, asked {asked}")
    if out is None:
        typer.echo(found.body, nl=False)
    else:
        write_new_file(out, found.body)
        print_line(f"The page {page} is written: {len(found.body)} bytes.")
