"""``usage-pipeline prices``: what a model costs, negotiated prices, and what the price book of today would change."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from usage_pipeline.cli.days import EndDay, FromDay, ToDay, read_day, read_range
from usage_pipeline.cli.output import AsJson, print_json, print_line, print_note
from usage_pipeline.cli.reprice import chosen_workspaces, repriced_days
from usage_pipeline.cli.store import opened
from usage_pipeline.cli.workspace_option import OfWorkspace
from usage_pipeline.clock import now

app = typer.Typer(help="Prices: list prices, negotiated ones, and which are in force.", rich_markup_mode=None)

OfProvider = Annotated[str, typer.Option("--provider", metavar="SLUG", help="The vendor: openai, anthropic, …")]
OfModel = Annotated[str, typer.Option("--model", metavar="NAME", help="The model's name, as it is reported.")]
OfVariant = Annotated[
    list[str] | None,
    typer.Option(
        "--variant",
        metavar="NAME=VALUE",
        help="Not the ordinary price: service_tier, batch, context_window, speed, inference_geo.",
    ),
]


@app.command()
def show(
    provider: OfProvider,
    model: OfModel,
    day: Annotated[str | None, typer.Option("--day", metavar="DAY", help="The UTC day; today where left out.")] = None,
    workspace: OfWorkspace = None,
    variant: OfVariant = None,
    as_json: AsJson = False,
) -> None:
    """Show what the price book says today of a model on a day, and where that is in force."""
    from usage_pipeline.cli.price_input import read_model, read_provider, read_variant
    from usage_pipeline.cli.price_view import print_quote, quote_json
    from usage_pipeline.ledger.price_overrides import load_overrides
    from usage_pipeline.ledger.prices_in_force import load_in_force
    from usage_pipeline.pricing.price_book import PriceBook
    from usage_pipeline.pricing.quotes import PriceKey

    key = PriceKey(read_provider(provider), read_model(model), read_variant(variant or ()))
    on = now(os.environ).date() if day is None else read_day(day, "--day")
    prices = PriceBook()
    with opened(os.environ, writes=False) as engine, engine.begin() as connection:
        chosen = chosen_workspaces(connection, workspace)
        of_one = chosen[0].workspace_id if workspace is not None else None
        book = prices.with_overrides(load_overrides(connection, of_one)).quote(*key, on)
        in_force = {}
        for one in chosen:
            standing = load_in_force(connection, one.workspace_id, on).get(key)
            if standing is not None:
                own = prices.with_overrides(load_overrides(connection, one.workspace_id)).quote(*key, on)
                in_force[one.slug] = standing, standing.charges_as(own)
    if as_json:
        print_json(
            {
                "provider": key.provider,
                "model": key.model,
                "variant": key.variant.text,
                "day": on.isoformat(),
                "workspace": workspace,
                "book": quote_json(book),
                "in_force": [
                    {"workspace": slug, **(quote_json(standing) or {}), "same_as_book": same}
                    for slug, (standing, same) in in_force.items()
                ],
            }
        )
        return
    print_quote(book, workspace)
    for slug, (standing, same) in in_force.items():
        if standing.charges_as(book):
            print_line(f"In force on that day for {slug}, by {standing.version}.")
        else:
            today = "as the book says for it today" if same else "which is not what the book says for it today"
            print_line(f"In force on that day for {slug} is another price, {today}:")
            print_quote(standing, slug)
    if not in_force:
        print_line("It is only what the price book says today; no reconciled day was computed with it.")


@app.command("set")
def add(
    provider: OfProvider,
    model: Annotated[
        str,
        typer.Option("--model", metavar="NAME", help="The model's name; '*' is every model, with --discount only."),
    ],
    from_day: FromDay,
    to_day: Annotated[
        str | None,
        typer.Option(
            "--to", metavar="DAY", help="The last UTC day, itself included; without it: until further notice."
        ),
    ] = None,
    workspace: Annotated[
        str | None, typer.Option("--workspace", metavar="SLUG", help="For this one only; else for every workspace.")
    ] = None,
    variant: OfVariant = None,
    rate: Annotated[
        list[str] | None,
        typer.Option(
            "--rate",
            metavar="MEASURE=USD",
            help="A rate: per million tokens or characters, per thousand requests or searches, per second.",
        ),
    ] = None,
    discount: Annotated[
        str | None,
        typer.Option("--discount", metavar="PERCENT", help="So much off the list price, as 15%; of every variant."),
    ] = None,
    note: Annotated[str, typer.Option("--note", metavar="TEXT", help="Where the price comes from.")] = "",
    as_json: AsJson = False,
) -> None:
    """Store a negotiated price. Days that are reconciled already keep theirs, until you reprice them."""
    from usage_pipeline.cli.price_input import read_override
    from usage_pipeline.cli.price_view import not_priced_by, override_json, price_in_words
    from usage_pipeline.hermes.bills_to import is_known_vendor
    from usage_pipeline.ledger.price_overrides import StoredOverride, add_override, check_note
    from usage_pipeline.ledger.workspaces import get_workspace
    from usage_pipeline.pricing.price_book import PriceBook
    from usage_pipeline.pricing.variants import PriceVariant

    at = now(os.environ)
    override = read_override(
        provider=provider,
        model=model,
        from_day=from_day,
        to_day=to_day,
        workspace=workspace,
        variant=variant or (),
        rate=rate or (),
        discount=discount,
    )
    checked = check_note(note)
    with opened(os.environ, writes=True) as engine, engine.begin() as connection:
        if workspace is not None:
            get_workspace(connection, workspace)
        stored = add_override(connection, override, checked, at)
    if not is_known_vendor(stored.provider):
        print_note(f"no model's name leads to the vendor {stored.provider}; see that it is spelt as in the report")
    listed = PriceBook().quote(stored.provider, stored.model, stored.variant or PriceVariant(), stored.effective_from)
    if missing := not_priced_by(stored, listed):
        print_note(f"usage of {', '.join(missing)} has no price now, though the list has one; give it by --rate too")
    if as_json:
        print_json(override_json(StoredOverride(stored.override_id, stored, stored, checked, at, None)))
        return
    until = to_day or "further notice"
    print_line(
        f"{stored.name.capitalize()}: {stored.provider} {stored.model}, {price_in_words(stored)},"
        f" from {stored.effective_from} until {until}."
    )
    print_line(
        "Days that are reconciled already keep their prices. See: usage-pipeline prices diff --from DAY --to DAY"
    )


@app.command("list")
def list_all(workspace: OfWorkspace = None, as_json: AsJson = False) -> None:
    """List the negotiated prices, those that have ended too."""
    from usage_pipeline.cli.price_view import override_json, print_overrides
    from usage_pipeline.ledger.price_overrides import list_overrides
    from usage_pipeline.ledger.workspaces import get_workspace

    with opened(os.environ, writes=False) as engine, engine.begin() as connection:
        if workspace is not None:
            get_workspace(connection, workspace)
        overrides = list_overrides(connection, workspace)
    if as_json:
        print_json([override_json(one) for one in overrides])
    elif not overrides:
        print_line("No price of your own is stored: the price lists hold. Next: usage-pipeline prices set --help")
    else:
        print_overrides(overrides)


@app.command()
def end(
    override_id: Annotated[int, typer.Argument(metavar="ID", help="Its number, see: prices list.")],
    on: EndDay,
    as_json: AsJson = False,
) -> None:
    """Let a negotiated price end. Days that are reconciled already keep their prices, until you reprice them."""
    from usage_pipeline.cli.price_view import override_json
    from usage_pipeline.ledger.price_overrides import end_override

    at = now(os.environ)
    day = read_day(on, "--on")
    with opened(os.environ, writes=True) as engine, engine.begin() as connection:
        ended = end_override(connection, override_id, day, at)
    if as_json:
        print_json(override_json(ended))
    elif ended.override is None:
        print_line(f"Override {override_id} is taken back: it holds on no day.")
    else:
        print_line(f"Override {override_id} holds until before {day}.")


@app.command()
def diff(from_day: FromDay, to_day: ToDay, workspace: OfWorkspace = None, as_json: AsJson = False) -> None:
    """Compare the price book of today with the prices in force. --to is included; nothing is written."""
    from usage_pipeline.cli.repricing_view import diff_json, print_diff

    days = read_range(from_day, to_day)
    found = repriced_days(days, workspace, write=False)
    if as_json:
        print_json(diff_json(found, days, workspace))
    else:
        print_diff(found, days)
