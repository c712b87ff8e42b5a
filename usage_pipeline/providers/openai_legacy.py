"""OpenAI's legacy ``GET /usage?date=YYYY-MM-DD``: what a standard key may ask, one UTC day a request.

OpenAI documents it nowhere, and it may vanish without a word; its shape is known from recorded answers. It tells rows
of five minutes, of completions and embeddings in one list. In comes a day's body, out go buckets of the width that was
asked for, and canonical rows. The rows of a bucket are added up by the store, never overwritten.

What stands in other lists (images, audio, fine-tuning) is not read: how many rows it has is noted on the day, so that
nothing is left out in silence.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from usage_pipeline.providers.canonical_row import line_detail, usage_row
from usage_pipeline.providers.contract import WIDTH_SECONDS, Bucket, Drift, Endpoint, Page, PageQuery, UsageRow
from usage_pipeline.providers.openai_endpoints import LEGACY_COMPLETIONS, LEGACY_EMBEDDINGS
from usage_pipeline.providers.rows import (
    UNREADABLE,
    Count,
    RowReader,
    broken,
    note_total_off,
)
from usage_pipeline.utc_days import day_start

_DAY_SECONDS: Final = 86400
_NOTE_START: Final = b'{"not_counted":'
_DETAILS: Final[tuple[str, ...]] = ("operation", "request_type")


class _Placed(msgspec.Struct, gc=False):
    """When a row was used, and what tells whose it is."""

    aggregation_timestamp: int
    operation: str | None = None
    snapshot_id: str | None = None


class _Note(msgspec.Struct):
    """Rows of the day that are not read here; stands among a bucket's results, since it is about them."""

    not_counted: str
    rows: int


class _Row(msgspec.Struct, gc=False):
    aggregation_timestamp: int
    n_requests: Count
    n_context_tokens_total: Count
    n_generated_tokens_total: Count
    operation: str | None = None
    snapshot_id: str | None = None
    # Newer answers have these.
    n_cached_context_tokens_total: Count | None = None
    n_context_audio_tokens_total: Count | None = None
    n_generated_audio_tokens_total: Count | None = None
    project_id: str | None = None
    user_id: str | None = None
    api_key_id: str | None = None
    request_type: str | None = None
    # Of no use here: named so that they are known.
    organization_id: msgspec.Raw = msgspec.Raw()
    organization_name: msgspec.Raw = msgspec.Raw()
    project_name: msgspec.Raw = msgspec.Raw()
    email: msgspec.Raw = msgspec.Raw()
    api_key_name: msgspec.Raw = msgspec.Raw()
    api_key_redacted: msgspec.Raw = msgspec.Raw()
    api_key_type: msgspec.Raw = msgspec.Raw()


class _StrictRow(_Row, gc=False, forbid_unknown_fields=True):
    pass


_BODY: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_LIST: Final = msgspec.json.Decoder(list[msgspec.Raw])
_PLACED: Final = msgspec.json.Decoder(_Placed)
_NOTE: Final = msgspec.json.Decoder(_Note)
_ROWS: Final = RowReader[_Row](_StrictRow, _Row, nested={})


def is_legacy(endpoint: Endpoint) -> bool:
    """Whether the endpoint is read here."""
    return endpoint.path == LEGACY_COMPLETIONS.path


def legacy_page(endpoint: Endpoint, body: bytes, asked: PageQuery, where: str) -> Page:
    """The endpoint's rows of the day in buckets of ``asked.width``, and notes of what nobody reads.

    Rows of ``asked.end`` and later are left to the next pull: the API cannot be asked for a part of a day. Raises
    ``ContractBrokenError``: ``page_unreadable``, ``row_unreadable``, ``row_outside_day``.
    """
    lists = _lists(body, where)
    if "data" not in lists:
        raise broken("page_unreadable", "the answer has no list of data", where)
    start_s = int(day_start(asked.start.date()).timestamp())
    end_s, step = asked.end.timestamp(), WIDTH_SECONDS[asked.width]
    rows: dict[int, list[bytes]] = defaultdict(list)
    unread = {f"legacy {name}": len(found) for name, found in lists.items() if name != "data" and found}
    for raw in lists["data"]:
        placed = _placed(raw, where)
        second = placed.aggregation_timestamp - start_s
        if not 0 <= second < _DAY_SECONDS:
            raise broken("row_outside_day", f"a row is not of {asked.start:%Y-%m-%d}, the day asked for", where)
        if placed.aggregation_timestamp >= end_s:
            continue
        owner = _owner(placed)
        if owner == endpoint.name:
            rows[second // step * step].append(bytes(raw))
        elif owner is None:
            unread["legacy moderations"] = unread.get("legacy moderations", 0) + 1
    day = datetime.fromtimestamp(start_s, UTC)
    buckets = [_bucket(day + timedelta(seconds=second), rows[second]) for second in sorted(rows)]
    if unread and endpoint.name == LEGACY_COMPLETIONS.name:
        # A part of the day's first bucket by itself: the day's digest does not hang on what is not read.
        buckets.append(_bucket(day, [msgspec.json.encode(_Note(name, unread[name])) for name in sorted(unread)]))
    return Page(buckets, None)


def legacy_rows(
    endpoint: Endpoint, results: msgspec.Raw, asked: tuple[str, ...], drift: Drift, where: str
) -> Iterator[UsageRow]:
    """Canonical rows of one bucket, with the dimensions that were asked for.

    Raises ``ContractBrokenError``: those of ``RowReader.read``, ``cached_over_input``.
    """
    has_output = endpoint.name != LEGACY_EMBEDDINGS.name
    for row in _ROWS.read(_without_notes(results, drift), drift, where):
        cached = row.n_cached_context_tokens_total
        uncached = row.n_context_tokens_total - (cached or 0)
        if uncached < 0:
            raise broken("cached_over_input", "a row has more cached context tokens than context tokens", where)
        measures: dict[str, int | None] = {"uncached_input": uncached, "requests": row.n_requests}
        if has_output:
            heard, spoken = _audio(row, drift)
            measures |= {
                "cache_read": cached,
                "output": row.n_generated_tokens_total,
                "input_audio": heard,
                "output_audio": spoken,
            }
        told = {
            "project_id": row.project_id,
            "user_id": row.user_id,
            "api_key_id": row.api_key_id,
            "model": row.snapshot_id,
            "operation": row.operation,
            "request_type": row.request_type,
        }
        wanted = {name: told[name] or None for name in asked}
        drift.answered_dimensions.update(name for name, value in wanted.items() if value is not None)
        details = line_detail(**{name: wanted.pop(name, None) for name in _DETAILS})
        yield usage_row({**wanted, "line_detail": details}, measures)


def _bucket(start: datetime, rows: Sequence[bytes]) -> Bucket:
    return Bucket(start, msgspec.Raw(b"[%b]" % b",".join(rows)))


def _lists(body: bytes, where: str) -> Mapping[str, list[msgspec.Raw]]:
    """Every list of the answer by its name. Whatever else stands beside them is of no use."""
    problem = ""
    try:
        named = _BODY.decode(body).items()
        return {name: _LIST.decode(value) for name, value in named if bytes(memoryview(value)[:1]) == b"["}
    except UNREADABLE as error:
        problem = str(error)
    raise broken("page_unreadable", f"the answer is no day of usage: {problem}", where)


def _placed(raw: msgspec.Raw, where: str) -> _Placed:
    try:
        return _PLACED.decode(raw)
    except UNREADABLE as error:
        problem = str(error)
    raise broken("row_unreadable", f"a row of the day does not follow the contract: {problem}", where)


def _owner(row: _Placed) -> str | None:
    """The endpoint that a row of ``data`` belongs to; None for what no endpoint reads."""
    words = f"{row.operation or ''} {row.snapshot_id or ''}"
    if "embedding" in words:
        return LEGACY_EMBEDDINGS.name
    return None if "moderation" in words else LEGACY_COMPLETIONS.name


def _without_notes(results: msgspec.Raw, drift: Drift) -> msgspec.Raw:
    """The rows alone, once what the notes among them tell is counted."""
    if _NOTE_START not in bytes(results):
        return results
    rows: list[bytes] = []
    for raw in map(bytes, _LIST.decode(results)):
        if raw.startswith(_NOTE_START):
            note = _NOTE.decode(raw)
            drift.not_counted[note.not_counted] = drift.not_counted.get(note.not_counted, 0) + note.rows
        else:
            rows.append(raw)
    return msgspec.Raw(b"[%b]" % b",".join(rows))


def _audio(row: _Row, drift: Drift) -> tuple[int | None, int | None]:
    """Audio inside uncached input and inside output. Of cached input it is not told how much is audio: then None, and
    None where the part is more than its whole, which is counted."""
    heard, spoken = row.n_context_audio_tokens_total, row.n_generated_audio_tokens_total
    if heard is not None and heard > row.n_context_tokens_total:
        note_total_off(drift, "n_context_tokens_total")
        heard = None
    if spoken is not None and spoken > row.n_generated_tokens_total:
        note_total_off(drift, "n_generated_tokens_total")
        spoken = None
    return (None if heard and row.n_cached_context_tokens_total else heard), spoken
