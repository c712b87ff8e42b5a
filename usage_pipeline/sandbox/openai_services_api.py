"""The OpenAI usage reports beside completions, each in its own unit and with its own result object.

In: an authenticated request and the scene. Out: one page. Amounts are sums over the bucket, but for vector stores: a
bucket of any width tells the bytes that lay stored at its end (or lie there now).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from usage_pipeline.sandbox.exchange import Answer, ApiRequest, Document, Scene, answered_dimensions
from usage_pipeline.sandbox.openai_endpoints import OPENAI_REPORTS, service_path
from usage_pipeline.sandbox.openai_page import Key, extras, ordered, page
from usage_pipeline.sandbox.openai_request import OpenAiQuery, read_query
from usage_pipeline.sandbox.openai_services import SERVICES, VECTOR_STORES, ServiceStream, measures
from usage_pipeline.sandbox.paging import Bucket, clipped_buckets
from usage_pipeline.sandbox.traffic import ServiceCounts, added

Groups = dict[Key, ServiceCounts]


def service_usage(service: str) -> Callable[[ApiRequest, Scene], Answer]:
    """What answers GET /v1/organization/usage/<service>."""

    def answer(request: ApiRequest, scene: Scene) -> Answer:
        query = read_query(request, scene)
        buckets = clipped_buckets(query.here.next_start_s, query.here.end_s, query.width_s, query.limit)
        asked = answered_dimensions(query.group_by, scene.faults)
        groups = (_levels if service == VECTOR_STORES else _sums)(service, query, buckets, asked, scene)
        results = [
            [_result(service, request.path, dict(zip(asked, key, strict=True)), counts, scene) for key, counts in held]
            for held in map(ordered, groups)
        ]
        return page(query, buckets, results, scene)

    return answer


def _sums(
    service: str, query: OpenAiQuery, buckets: tuple[Bucket, ...], asked: tuple[str, ...], scene: Scene
) -> list[Groups]:
    sums: dict[int, Groups] = {bucket.start_s: {} for bucket in buckets}
    for row in scene.world.service_rows(buckets[0].start_s, buckets[-1].end_s, scene.switches.alterations()):
        if row.stream.service != service or not _passes(row.stream, query):
            continue
        groups = sums[max(row.at_s - row.at_s % query.width_s, query.here.next_start_s)]
        key = tuple(getattr(row.stream, name) for name in asked)
        groups[key] = added(groups[key], row.counts) if key in groups else row.counts
    return list(sums.values())


def _levels(
    service: str, query: OpenAiQuery, buckets: tuple[Bucket, ...], asked: tuple[str, ...], scene: Scene
) -> list[Groups]:
    levels: list[Groups] = []
    for bucket in buckets:
        groups: Groups = {}
        stored = scene.world.stored_bytes(bucket.start_s, bucket.end_s, scene.switches.alterations())
        for project_id, stored_bytes in stored.items():
            if not _passes(ServiceStream(service, project_id), query):
                continue
            key = (project_id,) if asked else ()
            groups[key] = added(groups.get(key, ServiceCounts()), ServiceCounts(0, stored_bytes))
        levels.append(groups)
    return levels


def _passes(stream: ServiceStream, query: OpenAiQuery) -> bool:
    return all(getattr(stream, dimension) in wanted for dimension, wanted in query.filters.items())


def _result(service: str, path: str, group: dict[str, object], counts: ServiceCounts, scene: Scene) -> Document:
    report, switches = OPENAI_REPORTS[path], scene.switches
    newest = switches.openai_contract == "2026"
    result: Document = {"object": report.result_object, **measures(service, counts)}
    for name in (*report.dimensions, *(report.dimensions_2026 if newest else ())):
        result[name] = group.get(name, switches.openai_null_dimension)
    return result | (extras(group) if switches.openai_extras else {})


GETS: Final[Mapping[str, Callable[[ApiRequest, Scene], Answer]]] = {
    service_path(service): service_usage(service) for service in SERVICES
}
"""What answers each path."""
