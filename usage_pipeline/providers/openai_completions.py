"""OpenAI's completions: rows of one bucket become disjoint token classes.

In come a bucket's raw results, out go canonical rows. This is the innermost loop of a pull, so it is written out field
by field. Cached and cache-write tokens are inside ``input_tokens``: they are taken out to get disjoint classes. Two
generations of the token contract exist (the change is of July 2026); ``_split_input`` tells them apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec
from msgspec.structs import astuple

from usage_pipeline.providers.contract import Drift, UsageRow
from usage_pipeline.providers.rows import Count, RowReader, broken, not_yet_answered, note_answered, note_total_off


class _Completion(msgspec.Struct, gc=False):
    """One completions result. The order of the first 24 fields is the order of ``completion_rows``."""

    input_tokens: Count
    output_tokens: Count
    num_model_requests: Count
    input_uncached_tokens: Count | None = None
    input_cached_tokens: Count | None = None
    input_cache_write_tokens: Count | None = None
    input_cache_write_30m_tokens: Count | None = None
    input_cache_write_12h_tokens: Count | None = None
    input_text_tokens: Count | None = None
    input_audio_tokens: Count | None = None
    input_image_tokens: Count | None = None
    input_cached_text_tokens: Count | None = None
    input_cached_audio_tokens: Count | None = None
    input_cached_image_tokens: Count | None = None
    output_text_tokens: Count | None = None
    output_audio_tokens: Count | None = None
    output_image_tokens: Count | None = None
    project_id: str | None = None
    user_id: str | None = None
    api_key_id: str | None = None
    model: str | None = None
    batch: bool | None = None
    service_tier: str | None = None
    api_source: str | None = None
    # Answered live though undocumented, and of no use here (names change, ids do not): named so that they are known.
    object: msgspec.Raw = msgspec.Raw()
    organization_id: msgspec.Raw = msgspec.Raw()
    organization_name: msgspec.Raw = msgspec.Raw()
    project_name: msgspec.Raw = msgspec.Raw()
    user_email: msgspec.Raw = msgspec.Raw()


class _StrictCompletion(_Completion, gc=False, forbid_unknown_fields=True):
    pass


_COMPLETIONS: Final = RowReader[_Completion](_StrictCompletion, _Completion, nested={})


def completion_rows(results: msgspec.Raw, asked: tuple[str, ...], drift: Drift, where: str) -> Iterator[UsageRow]:
    """Canonical rows of one bucket. Raises ``ContractBrokenError``: those of ``RowReader.read``, ``cached_over_input``,
    ``cache_writes_over_total``."""
    waiting = not_yet_answered(asked, drift)
    for row in _COMPLETIONS.read(results, drift, where):
        (
            input_tokens, output, requests,
            uncached, cached, written, written_30m, written_12h,
            text, audio, image, cached_text, cached_audio, cached_image, output_text, output_audio, output_image,
            project_id, user_id, api_key_id, model, batch, service_tier, api_source,
        ) = astuple(row)[:24]  # fmt: skip
        if uncached is None or cached is None or written is None:
            told = uncached
            uncached, cached, written, output = _split_input(row, where)
            if told is not None and told != uncached:
                note_total_off(drift, "input_tokens")
        elif uncached + cached + written != input_tokens:
            note_total_off(drift, "input_tokens")
            uncached = _rest_of_input(input_tokens, cached + written, where)
        unsplit = written - (written_30m or 0) - (written_12h or 0)
        if unsplit < 0:
            raise broken("cache_writes_over_total", "more cache writes by lifetime than cache writes in all", where)
        if text is not None:
            if text + (audio or 0) + (image or 0) != uncached:
                note_total_off(drift, "input_uncached_tokens")
            if (cached_text or 0) + (cached_audio or 0) + (cached_image or 0) != cached and cached_text is not None:
                note_total_off(drift, "input_cached_tokens")
        if output_text is not None and output_text + (output_audio or 0) + (output_image or 0) != output:
            note_total_off(drift, "output_tokens")
        dimensions = (
            project_id or None,
            user_id or None,
            None,
            api_key_id or None,
            model or None,
            service_tier or None,
            None if batch is None else "true" if batch else "false",
            None,
            None,
            None,
            api_source or None,
            None,
            None,
        )
        if waiting:
            waiting = note_answered(waiting, dimensions, drift)
        yield UsageRow(
            dimensions,
            (
                uncached, cached, None, written_30m, None, written_12h, unsplit, output,
                None, requests, None, None, None, None, None, None,
                text, audio, image, cached_text, cached_audio, cached_image, output_text, output_audio, output_image,
            ),
        )  # fmt: skip


def _split_input(row: _Completion, where: str) -> tuple[int, int, int, int]:
    """Uncached input, cached input, cache writes and output of a row that does not spell out all of them.

    The generation is told by the row itself, since rows of both can come in one answer (old days, new days): a row that
    has any field that came with the contract of July 2026 follows it, every other row follows the one before.

    * Since then, ``input_tokens`` is everything (text, audio, image, cached, written): what is left after cached and
      written is uncached.
    * Before, ``input_tokens`` and ``output_tokens`` were text only (cached text inside), and audio stood beside them in
      ``input_audio_tokens`` (how much of it was cached was not told: it counts as uncached) and
      ``output_audio_tokens``.
    """
    cached = row.input_cached_tokens or 0
    lifetimes = (row.input_cache_write_30m_tokens or 0) + (row.input_cache_write_12h_tokens or 0)
    written = lifetimes if row.input_cache_write_tokens is None else row.input_cache_write_tokens
    uncached = _rest_of_input(row.input_tokens, cached + written, where)
    if _is_since_july_2026(row):
        return uncached, cached, written, row.output_tokens
    audio_in, audio_out = row.input_audio_tokens or 0, row.output_audio_tokens or 0
    return uncached + audio_in, cached, 0, row.output_tokens + audio_out


def _is_since_july_2026(row: _Completion) -> bool:
    return any(
        value is not None
        for value in (
            row.input_uncached_tokens,
            row.input_cache_write_tokens,
            row.input_cache_write_30m_tokens,
            row.input_cache_write_12h_tokens,
            row.input_text_tokens,
            row.input_image_tokens,
            row.input_cached_text_tokens,
            row.input_cached_audio_tokens,
            row.input_cached_image_tokens,
            row.output_text_tokens,
            row.output_image_tokens,
        )
    )


def _rest_of_input(input_tokens: int, inside: int, where: str) -> int:
    """What ``input_tokens`` leaves beside the piles inside it. The total is what is trusted: the piles that the API
    names cached and written stay, and the rest is uncached, so that the sum is never more than the API's total."""
    if inside > input_tokens:
        raise broken("cached_over_input", "a row has more cached and written tokens than input tokens", where)
    return input_tokens - inside
