"""OpenAI's API with endpoints that the built-in provider does not have, for tests of several endpoints and families.

``EMBEDDINGS`` is a family of its own; ``BY_DATE`` stands for what a standard key may ask: the family ``text`` at
another endpoint than an admin key's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from usage_pipeline.measures import EVENT_DIMENSIONS, EVENT_MEASURES
from usage_pipeline.providers.contract import Drift, Endpoint, UsageRow
from usage_pipeline.providers.openai import COMPLETIONS, OpenAI

EMBEDDINGS = Endpoint(
    name="embeddings",
    path="/organization/usage/embeddings",
    kind="usage",
    family="embeddings",
    dimensions={"project_id": "project_id", "model": "model"},
    dimensions_max=2,
    page_limits={"1h": 168, "1d": 31},
    always_reports=frozenset({"uncached_input", "requests"}),
)
BY_DATE = Endpoint(
    name="by_date",
    path="/organization/usage/by_date",
    kind="usage",
    family="text",
    dimensions=COMPLETIONS.dimensions,
    dimensions_max=COMPLETIONS.dimensions_max,
    page_limits=COMPLETIONS.page_limits,
    always_reports=COMPLETIONS.always_reports,
    may_report=COMPLETIONS.may_report,
    modes=frozenset({"standard"}),
)


class WiderOpenAI(OpenAI):
    """The built-in provider with the endpoints that it is given."""

    def __init__(self, *endpoints: Endpoint) -> None:
        self.endpoints = endpoints  # type: ignore[assignment]

    def usage_rows(
        self, endpoint: Endpoint, results: msgspec.Raw, asked: tuple[str, ...], drift: Drift
    ) -> Iterator[UsageRow]:
        if endpoint.name != EMBEDDINGS.name:
            return super().usage_rows(COMPLETIONS, results, asked, drift)
        return _embeddings(results, drift)


def _embeddings(results: msgspec.Raw, drift: Drift) -> Iterator[UsageRow]:
    for row in msgspec.json.decode(results):
        drift.rows += 1
        yield UsageRow(
            _in_order(EVENT_DIMENSIONS, {"project_id": row["project_id"], "model": row["model"]}),
            _in_order(EVENT_MEASURES, {"uncached_input": row["input_tokens"], "requests": row["num_model_requests"]}),
        )


def _in_order(names: Sequence[str], values: dict[str, object]) -> tuple:  # type: ignore[type-arg]
    return tuple(values.get(name) for name in names)
