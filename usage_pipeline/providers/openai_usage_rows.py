"""OpenAI's usage reports beside completions: embeddings, moderations, images, audio, storage, sessions and searches.

In come a bucket's raw results, out go canonical rows: each report has one measure in a unit of its own, the requests
that only it counts, and the dimensions of its callers. What one report alone can be asked by (an image's size) stands
in the row's ``line_detail``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Final

import msgspec

from usage_pipeline.measures import EVENT_DIMENSIONS
from usage_pipeline.providers.canonical_row import line_detail, usage_row
from usage_pipeline.providers.contract import Drift, Endpoint, UsageRow
from usage_pipeline.providers.openai_endpoints import (
    AUDIO_SPEECHES,
    AUDIO_TRANSCRIPTIONS,
    CODE_INTERPRETER_SESSIONS,
    EMBEDDINGS,
    FILE_SEARCH_CALLS,
    IMAGES,
    MODERATIONS,
    VECTOR_STORES,
    WEB_SEARCH_CALLS,
)
from usage_pipeline.providers.rows import Count, RowReader, broken


class _Row(msgspec.Struct, gc=False, kw_only=True):
    """What every report's row may have."""

    object: str | None = None
    project_id: str | None = None
    user_id: str | None = None
    api_key_id: str | None = None
    model: str | None = None
    api_source: str | None = None
    # Answered live though undocumented, and of no use here (names change, ids do not): named so that they are known.
    organization_id: msgspec.Raw = msgspec.Raw()
    organization_name: msgspec.Raw = msgspec.Raw()
    project_name: msgspec.Raw = msgspec.Raw()
    user_email: msgspec.Raw = msgspec.Raw()


@dataclass(frozen=True, slots=True)
class _Report:
    """One report: its results' ``object``, its reader, its measures by our name, and the dimensions of it alone.

    ``dimensions`` are its fields by our name, where they are columns of an event.
    """

    result: str
    reader: RowReader[Any]
    measures: Mapping[str, str]
    dimensions: tuple[str, ...]
    details: tuple[str, ...]


def _report(endpoint: Endpoint, measures: Mapping[str, str], *, result: str = "", unused: str = "") -> _Report:
    """``result`` is given where the object is not named like the path; ``unused`` is a required count of no use."""
    details = tuple(name for name in endpoint.dimensions if name not in EVENT_DIMENSIONS)
    fields: list[Any] = [(theirs, Count) for theirs in (*measures.values(), *filter(None, [unused]))]
    fields += [(name, str | None, None) for name in details]
    tolerant = msgspec.defstruct(f"_{endpoint.name}", fields, bases=(_Row,), kw_only=True, gc=False)
    strict = msgspec.defstruct(f"_strict_{endpoint.name}", [], bases=(tolerant,), gc=False, forbid_unknown_fields=True)
    return _Report(
        result=f"organization.usage.{result or endpoint.name}.result",
        reader=RowReader[Any](strict, tolerant, nested={}),
        measures=measures,
        dimensions=tuple(name for name in endpoint.dimensions if name in EVENT_DIMENSIONS),
        details=details,
    )


_REPORTS: Final[Mapping[str, _Report]] = {
    EMBEDDINGS.name: _report(EMBEDDINGS, {"uncached_input": "input_tokens", "requests": "num_model_requests"}),
    MODERATIONS.name: _report(MODERATIONS, {"uncached_input": "input_tokens", "requests": "num_model_requests"}),
    IMAGES.name: _report(IMAGES, {"images": "images", "requests": "num_model_requests"}),
    AUDIO_SPEECHES.name: _report(AUDIO_SPEECHES, {"characters": "characters", "requests": "num_model_requests"}),
    AUDIO_TRANSCRIPTIONS.name: _report(AUDIO_TRANSCRIPTIONS, {"seconds": "seconds", "requests": "num_model_requests"}),
    VECTOR_STORES.name: _report(VECTOR_STORES, {"usage_bytes": "usage_bytes"}),
    CODE_INTERPRETER_SESSIONS.name: _report(CODE_INTERPRETER_SESSIONS, {"sessions": "num_sessions"}),
    WEB_SEARCH_CALLS.name: _report(
        WEB_SEARCH_CALLS, {"searches": "num_requests"}, result="web_searches", unused="num_model_requests"
    ),
    FILE_SEARCH_CALLS.name: _report(FILE_SEARCH_CALLS, {"searches": "num_requests"}, result="file_searches"),
}
"""By endpoint. A web search's ``num_model_requests`` are requests that completions count already."""

_RESULTS: Final = frozenset(report.result for report in _REPORTS.values()) | {"organization.usage.completions.result"}


def has_report(endpoint: Endpoint) -> bool:
    """Whether the endpoint's rows are read here."""
    return endpoint.name in _REPORTS


def report_rows(
    endpoint: Endpoint, results: msgspec.Raw, asked: tuple[str, ...], drift: Drift, where: str
) -> Iterator[UsageRow]:
    """Canonical rows of one bucket.

    Raises ``ContractBrokenError``: those of ``RowReader.read``, and ``row_of_another_report`` for a row that calls
    itself another report's, since some reports have the same fields. An unknown name is counted as drift and read.
    """
    report = _REPORTS[endpoint.name]
    figures_of = attrgetter(*report.measures.values(), "object")
    for row in report.reader.read(results, drift, where):
        *figures, result = figures_of(row)
        if result is not None and result != report.result:
            if result in _RESULTS:
                raise broken("row_of_another_report", f"a row of {result} was answered", where)
            drift.unknown_fields[f"object {result}"] = drift.unknown_fields.get(f"object {result}", 0) + 1
        told = {name: getattr(row, name) or None for name in (*report.dimensions, *report.details)}
        drift.answered_dimensions.update(name for name in asked if told[name] is not None)
        yield usage_row(
            {
                **{name: told[name] for name in report.dimensions},
                "line_detail": line_detail(**{name: told[name] for name in report.details}),
            },
            dict(zip(report.measures, figures, strict=True)),
        )
