"""What an endpoint is asked for: which dimensions, in which pages, from which day on.

In come the endpoint's own facts, what the operator chose, and what earlier refusals taught; out comes a
:class:`~usage_pipeline.pulls.ranges.RangeRequest`. Nothing here talks to anyone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Final

from usage_pipeline.errors import InvalidInputError
from usage_pipeline.ledger.learned_limits import LearnedLimits
from usage_pipeline.providers.contract import Endpoint
from usage_pipeline.providers.refusals import AskedTooMuchError
from usage_pipeline.pulls.ranges import RangeRequest

_NEEDED: Final = "upstream_provider"
_SCOPE: Final = "project_id"


def default_dimensions(endpoint: Endpoint) -> tuple[str, ...]:
    """The dimensions to ask for where nobody chose: the endpoint's first ``dimensions_max``, in its order."""
    return tuple(endpoint.dimensions)[: endpoint.dimensions_max]


def chosen_dimensions(
    provider: str, endpoint: Endpoint, environ: Mapping[str, str], projects: Sequence[str] = ()
) -> tuple[str, ...]:
    """The dimensions that the operator chose in ``<PROVIDER>_<ENDPOINT>_DIMENSIONS``, else the default ones.

    They are our names, separated by commas, what matters most first: where the API takes fewer, the last ones are left
    out. Raises :class:`InvalidInputError`: ``dimension_unknown``, ``dimension_needed`` (a proxy's rows without the
    vendor behind them would count beside that vendor's own report; of a key whose scope is ``projects``, rows that name
    none would all be left out, where the endpoint cannot be narrowed).
    """
    variable = f"{provider}_{endpoint.name}_DIMENSIONS".upper().replace("-", "_")
    chosen = tuple(dict.fromkeys(name.strip() for name in environ.get(variable, "").split(",") if name.strip()))
    if unknown := [name for name in chosen if name not in endpoint.dimensions]:
        raise InvalidInputError(
            "dimension_unknown",
            f"{provider} {endpoint.name} cannot be asked by {', '.join(unknown)}",
            where=variable,
            remedy=f"It can by {', '.join(endpoint.dimensions)}.",
        )
    if chosen and _NEEDED in endpoint.dimensions and _NEEDED not in chosen:
        raise InvalidInputError(
            "dimension_needed",
            f"{provider} {endpoint.name} must be asked by {_NEEDED}: without it a call would count twice",
            where=variable,
            remedy=f"Add {_NEEDED} to the list.",
        )
    narrowed_by_row = bool(projects) and not endpoint.narrows_to_projects and _SCOPE in endpoint.dimensions
    if chosen and narrowed_by_row and _SCOPE not in chosen:
        raise InvalidInputError(
            "dimension_needed",
            f"{provider} {endpoint.name} must be asked by {_SCOPE}: the key's scope is told by each row alone",
            where=variable,
            remedy=f"Add {_SCOPE} to the list.",
        )
    return chosen or default_dimensions(endpoint)


def request_for(
    endpoint: Endpoint,
    first_day: date,
    end_day: date,
    grain: str,
    dimensions: tuple[str, ...],
    projects: tuple[str, ...],
    learned: LearnedLimits,
) -> RangeRequest:
    """The request for a range under everything that is known: the wanted ``dimensions`` without those that the range is
    too old for or that were refused, as many as are taken at once, in pages as large as are taken."""
    asked = tuple(
        name
        for name in dimensions
        if name not in learned.refused_dimensions and first_day >= endpoint.dimension_since.get(name, first_day)
    )
    width = endpoint.width_of(grain)
    return RangeRequest(
        first_day,
        end_day,
        width,
        asked[: learned.dimensions_max],
        projects,
        (learned.page_limits or {}).get(width),
    )


def learn(learned: LearnedLimits, refusal: AskedTooMuchError, request: RangeRequest) -> LearnedLimits | None:
    """What is known after a refusal of ``request``; None where it says nothing that would make the request smaller."""
    found = learned
    if refusal.refused_dimension in request.dimensions:
        found = replace(found, refused_dimensions=found.refused_dimensions | {str(refusal.refused_dimension)})
    if refusal.dimensions_max is not None and 0 < refusal.dimensions_max < len(request.dimensions):
        found = replace(found, dimensions_max=refusal.dimensions_max)
    if refusal.page_limit is not None and 0 < refusal.page_limit < (request.page_limit or refusal.page_limit + 1):
        limits = dict(found.page_limits or {})
        if limits.get(request.width) != refusal.page_limit:
            found = replace(found, page_limits={**limits, request.width: refusal.page_limit})
    return None if found == learned else found
