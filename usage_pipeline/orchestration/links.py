"""Where an asset's code and rows are, for whoever looks at it in the UI."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import dagster as dg
from sqlalchemy import URL

from usage_pipeline.errors import UsagePipelineError
from usage_pipeline.ledger.server import parse_database_url


def linked(assets: Sequence[dg.AssetsDefinition], environ: Mapping[str, str]) -> list[dg.AssetsDefinition]:
    """The assets with a reference to their code and, where the environment names a database, their table's address.

    The address has host, port and database, never a user, a password or another parameter. Nothing is opened.
    """
    database = _database(environ)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)  # also where somebody made warnings errors
        found = [one for one in dg.with_source_code_references(assets) if isinstance(one, dg.AssetsDefinition)]
    if database is None:
        return found

    def located(spec: dg.AssetSpec) -> dg.AssetSpec:
        return spec.merge_attributes(metadata={"dagster/uri": f"{database}#{spec.metadata['dagster/table_name']}"})

    return [one for one in dg.map_asset_specs(located, found) if isinstance(one, dg.AssetsDefinition)]


def _database(environ: Mapping[str, str]) -> str | None:
    given = environ.get("USAGE_DATABASE_URL", "").strip()
    try:
        url = parse_database_url(given) if given else None
    except UsagePipelineError:
        return None  # the first run says what is wrong with it
    if url is None or not url.host:
        return None
    place = URL.create("postgresql", host=url.host, port=url.port, database=url.database)
    return place.render_as_string(hide_password=True)
