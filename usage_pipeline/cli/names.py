"""``usage-pipeline names``: what projects, keys and users are called, asked for again and listed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from usage_pipeline.cli.output import AsJson, print_json, print_line, print_note, print_table
from usage_pipeline.cli.workspace_option import OfWorkspace, reading
from usage_pipeline.errors import ExitCode

if TYPE_CHECKING:
    from usage_pipeline.ledger.dimension_names import DimensionName
    from usage_pipeline.names.refresh import NamesSummary

app = typer.Typer(help="Names: what projects, keys and users are called.", rich_markup_mode=None)

_COLUMNS = ("provider", "account", "what", "id", "name", "of")


@app.command()
def refresh(
    key: Annotated[
        list[str] | None, typer.Option("--key", metavar="KEY", help="Only this key's account (repeatable); else all.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Ask the providers for the names of projects, keys and users. Figures do not need them."""
    from usage_pipeline.ledger.provider_keys import get_provider_key, list_provider_keys
    from usage_pipeline.ledger.slugs import split_slug
    from usage_pipeline.stages import open_runtime, refresh_names

    for slug in key or ():
        split_slug(slug, parts=3, where="--key")
    with open_runtime(os.environ) as runtime:
        with runtime.engine.begin() as connection:
            wanted = (
                [get_provider_key(connection, slug) for slug in dict.fromkeys(key)]
                if key
                else list_provider_keys(connection)
            )
        summaries = {one.slug: refresh_names(runtime, one.slug) for one in wanted}
    told = [summary for summary in summaries.values() if summary is not None]
    if as_json:
        print_json([_summary_as_json(summary) for summary in told])
    else:
        for slug, summary in summaries.items():
            print_line(f"{slug}: {'not asked (it has no names to tell)' if summary is None else _in_words(summary)}")
        for summary in told:
            for what, _, line in summary.failures:
                print_note(f"{summary.key}: its {what} have no new names: {line}")
    if any(summary.failures for summary in told):
        raise typer.Exit(ExitCode.FAILURE)


@app.command("list")
def list_all(
    workspace: OfWorkspace = None,
    as_json: AsJson = False,
) -> None:
    """List the names that the providers told."""
    from usage_pipeline.ledger.dimension_names import list_names

    with reading(os.environ, workspace) as connection:
        names = list_names(connection, workspace)
    if as_json:
        print_json([*_unnamed_as_json(names), *(_as_json(name) for name in names)])
    elif not names:
        print_line("No name is known. Next: usage-pipeline names refresh")
    else:
        print_table("Names", _COLUMNS, [*_unnamed_rows(names), *(_row(name) for name in names)])


def _unnamed(names: tuple[DimensionName, ...]) -> list[tuple[str, str, str, str]]:
    """What a null stands for: (provider, account, dimension, name), for the accounts that have names."""
    from usage_pipeline.names.refresh import UNNAMED

    accounts = sorted({(name.provider, name.account) for name in names})
    return [
        (provider, account, dimension, called)
        for provider, account in accounts
        for (of, dimension), called in UNNAMED.items()
        if of == provider
    ]


def _unnamed_rows(names: tuple[DimensionName, ...]) -> list[tuple[str, ...]]:
    return [(provider, account, what, "(none)", called, "") for provider, account, what, called in _unnamed(names)]


def _unnamed_as_json(names: tuple[DimensionName, ...]) -> list[dict[str, object]]:
    return [
        {
            "provider": provider,
            "account": account,
            "dimension": dimension,
            "id": None,
            "name": called,
            "detail": {},
            "fetched_at": None,
        }
        for provider, account, dimension, called in _unnamed(names)
    ]


def _row(name: DimensionName) -> tuple[str, ...]:
    of = ", ".join(f"{fact} {value}" for fact, value in sorted(name.named.detail.items()))
    return (name.provider, name.account, name.named.dimension, name.named.id, name.named.name, of)


def _as_json(name: DimensionName) -> dict[str, object]:
    return {
        "provider": name.provider,
        "account": name.account,
        "dimension": name.named.dimension,
        "id": name.named.id,
        "name": name.named.name,
        "detail": dict(name.named.detail),
        "fetched_at": name.fetched_at.isoformat(),
    }


def _in_words(summary: NamesSummary) -> str:
    counted = ", ".join(f"{count:,} {what}" for what, count in summary.names.items())
    return f"{counted or 'nothing'} of {summary.account}, in {summary.requests} requests"


def _summary_as_json(summary: NamesSummary) -> dict[str, object]:
    return {
        "key": summary.key,
        "provider": summary.provider,
        "account": summary.account,
        "names": dict(summary.names),
        "requests": summary.requests,
        "failures": [{"list": what, "code": code, "error": line} for what, code, line in summary.failures],
    }
