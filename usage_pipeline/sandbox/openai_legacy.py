"""OpenAI's legacy usage endpoint: what one standard key spent on one UTC day, in rows of five minutes.

In: a request with a standard key and the scene, whose ``caller`` is that key's ``api_key_id``. Out: the day's list.
The endpoint was never documented; its shape is known from recorded answers. The lists of images and audio stay empty:
the shape of their rows is not known well enough to be imitated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Final

from usage_pipeline.sandbox.exchange import Answer, ApiRequest, Document, Grants, Refusal, Scene
from usage_pipeline.sandbox.openai_directory import PROJECT_KEYS, project_name
from usage_pipeline.sandbox.openai_request import accepted, refuse
from usage_pipeline.sandbox.openai_services import EMBEDDINGS
from usage_pipeline.sandbox.organisations import OPENAI_ORGANISATION_ID, OPENAI_ORGANISATION_NAME, USER_EMAILS
from usage_pipeline.sandbox.switches import FaultKind
from usage_pipeline.sandbox.traffic import DAY_SECONDS, OpenAiCounts, added

LEGACY_USAGE_PATH: Final = "/v1/usage"
GRID_SECONDS: Final = 300
_EMPTY_LISTS: Final = (
    "ft_data",
    "dalle_api_data",
    "whisper_api_data",
    "tts_api_data",
    "assistant_code_interpreter_data",
)


@dataclass(frozen=True, slots=True, order=True)
class _RowKey:
    """What tells one row from another; two operations may share a time."""

    at_s: int
    operation: str
    snapshot_id: str
    user_id: str
    is_batch: bool


def authenticate(request: ApiRequest, keys: Grants) -> str:
    """The ``api_key_id`` that the standard key stands for. Raises a 401 for any other key, an admin key too."""
    return next(iter(accepted(request, keys)))


def usage(request: ApiRequest, scene: Scene) -> Answer:
    """GET /v1/usage?date=YYYY-MM-DD. Raises Refusal."""
    day = _day(request)
    start_s = int(datetime.combine(day, time(), UTC).timestamp())
    sums: dict[_RowKey, OpenAiCounts] = {}
    for key, counts in _spent(start_s, start_s + DAY_SECONDS, scene):
        sums[key] = added(sums[key], counts) if key in sums else counts
    newest = scene.switches.openai_contract == "2026"
    data = [_row(key, counts, str(scene.caller), newest) for key, counts in sorted(sums.items())]
    if any(fault.kind is FaultKind.NEGATIVE_COUNT for fault in scene.faults) and data:
        data[0]["n_context_tokens_total"] = -5
    body: Document = {"object": "list", "data": data, **{name: [] for name in _EMPTY_LISTS}}
    return Answer(200, body | {"current_usage_usd": 0.0})


def _day(request: ApiRequest) -> date:
    text = request.value("date")
    if not text:
        raise _bad("Missing query parameter 'date'")
    try:
        if len(text) != len("YYYY-MM-DD"):
            raise ValueError
        return date.fromisoformat(text)
    except ValueError:
        raise _bad(f"Invalid date: '{text}'. Expected the format YYYY-MM-DD.") from None


def _bad(message: str) -> Refusal:
    return refuse(400, message)


def _spent(start_s: int, end_s: int, scene: Scene) -> Iterator[tuple[_RowKey, OpenAiCounts]]:
    """What the caller's key spent on completions and embeddings."""
    alterations = scene.switches.alterations()
    for row in scene.world.openai_rows(start_s, end_s, alterations):
        if row.stream.api_key_id == scene.caller:
            stream = row.stream
            yield _RowKey(_grid(row.at_s), "completion", stream.model, stream.user_id, stream.batch), row.counts
    for served in scene.world.service_rows(start_s, end_s, alterations):
        caller = served.stream
        if caller.service == EMBEDDINGS and caller.api_key_id == scene.caller:
            counts = OpenAiCounts(requests=served.counts.requests, text_in=served.counts.amount)
            yield _RowKey(_grid(served.at_s), "embeddings", str(caller.model), str(caller.user_id), False), counts


def _grid(at_s: int) -> int:
    return at_s - at_s % GRID_SECONDS


def _row(key: _RowKey, counts: OpenAiCounts, api_key_id: str, newest: bool) -> Document:
    cached = counts.cached_text_in + counts.cached_image_in + counts.cached_audio_in
    audio_in = counts.audio_in + counts.cached_audio_in
    document: Document = {
        "organization_id": OPENAI_ORGANISATION_ID,
        "organization_name": OPENAI_ORGANISATION_NAME,
        "aggregation_timestamp": key.at_s,
        "n_requests": counts.requests,
        "operation": key.operation,
        "snapshot_id": key.snapshot_id,
        "n_context_tokens_total": counts.text_in + counts.image_in + counts.audio_in + cached + counts.cache_write_in,
        "n_generated_tokens_total": counts.text_out + counts.audio_out,
    }
    if not newest:
        return document
    owned = next((held for held in PROJECT_KEYS if held.id == api_key_id), None)
    return document | {
        "n_cached_context_tokens_total": cached,
        "n_context_audio_tokens_total": audio_in,
        "n_generated_audio_tokens_total": counts.audio_out,
        "email": USER_EMAILS.get(key.user_id),
        "api_key_id": api_key_id,
        "api_key_name": owned and owned.name,
        "api_key_redacted": owned and owned.redacted_value,
        "api_key_type": "project",
        "project_id": owned and owned.project_id,
        "project_name": owned and project_name(owned.project_id),
        "request_type": "batch" if key.is_batch else "",
        "user_id": key.user_id,
    }


GETS: Final[Mapping[str, Callable[[ApiRequest, Scene], Answer]]] = {LEGACY_USAGE_PATH: usage}
"""What answers each path."""
