"""A provider's newest complete pulls become canonical events and billed lines, day by day.

Raw pages are streamed once per pull, in order, whatever days they hold; each day's slice is one transaction. A day
whose content did not change only has its coverage moved on; one whose content did is held against the pages that it was
made from, and only what differs is decoded.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Engine

from usage_pipeline.ledger.erased_ids import share_with_erasures
from usage_pipeline.ledger.event_copy import SliceIdentity
from usage_pipeline.ledger.final_figures import keep_final_figures, known_final_pulls
from usage_pipeline.ledger.line_key import LINE_DIMENSIONS, line_key
from usage_pipeline.ledger.provider_keys import ProviderKey
from usage_pipeline.ledger.pulls import (
    PullDay,
    disputed_days,
    is_pruned,
    newest_pull_days,
    pull_days_since,
)
from usage_pipeline.ledger.replacement import Changes, replace_slice, typed_copy
from usage_pipeline.ledger.slices import BILLS, Observation, Slice, cover, lock_slice, slices_of_endpoint
from usage_pipeline.measures import EVENT_DIMENSIONS, EVENT_MEASURES, LEVELS, RECONCILED_MEASURES
from usage_pipeline.normalise.provider_events import DayOfUsage
from usage_pipeline.normalise.stored_answers import StandingAnswers, StoredAnswers
from usage_pipeline.pricing.rates import exact_arithmetic
from usage_pipeline.providers.contract import BilledLine, Bucket, Drift, Endpoint, Provider
from usage_pipeline.utc_days import day_end

_MODEL = EVENT_DIMENSIONS.index("model")


@dataclass(slots=True)
class NormalisedDays:
    """What normalising did: rows by what became of them, and the days whose content or coverage moved."""

    changes: Changes = field(default_factory=Changes)
    days_moved: set[date] = field(default_factory=set)
    rows: int = 0


def normalise_provider_days(
    engine: Engine,
    key: ProviderKey,
    provider: Provider,
    endpoint: Endpoint,
    days: Sequence[date],
    now: datetime,
    settling: timedelta,
) -> NormalisedDays:
    """Make the slices of ``endpoint`` equal to the newest complete pull of each day.

    Raises ``ContractBrokenError`` if a raw page cannot be read any more, ``InvariantError`` for two rows of one key;
    the slice at hand is then as it was.
    """
    done = NormalisedDays()
    with engine.begin() as connection:
        newest = newest_pull_days(connection, key.feed_id, endpoint.name, days)
        standing = slices_of_endpoint(connection, key.feed_id, endpoint.name, days)
    moved = [
        word
        for word in newest
        if word.day not in standing
        or (standing[word.day].observed_at, standing[word.day].observed_digest) != (word.started_at, word.digest)
    ]
    done.days_moved.update(word.day for word in moved)
    by_content: dict[int, list[PullDay]] = defaultdict(list)
    for word in moved:
        if word.day in standing and standing[word.day].content_digest == word.digest:
            with engine.begin() as connection:
                slice_ = lock_slice(connection, key.feed_id, endpoint.name, word.day)
                _cover(connection, slice_, word, slice_.row_count)
        else:
            by_content[word.content_pull_id].append(word)
    for words in by_content.values():
        _replace_from_pull(engine, key, provider, endpoint, words, standing, now, done)
    if endpoint.kind == "usage":
        # Not only the days that moved: a final pull may arrive after a newer one.
        with engine.begin() as connection:
            disputed = disputed_days(connection, key.feed_id, endpoint.name, days, settling)
        for day in disputed:
            keep_what_final_pulls_said(engine, key, provider, endpoint, day, settling)
    return done


def _replace_from_pull(
    engine: Engine,
    key: ProviderKey,
    provider: Provider,
    endpoint: Endpoint,
    words: list[PullDay],
    slices: Mapping[date, Slice],
    now: datetime,
    done: NormalisedDays,
) -> None:
    """Stream the pages of one pull once and replace the slice of each wanted day as its buckets come by."""
    wanted = {word.day: word for word in words}
    with engine.connect() as reading:
        # Until the last page is read: an erasure between the pages and the rows would bring an id back.
        share_with_erasures(reading)
        answers = StoredAnswers(reading, provider, endpoint)
        standing = StandingAnswers(answers, words if endpoint.kind == "usage" else (), slices)
        for day, buckets in answers.days(words):
            word = wanted.pop(day, None)
            if word is not None:
                _replace_day(engine, key, answers, standing, word, buckets, now, done)
        for word in sorted(wanted.values(), key=lambda one: one.day):
            _replace_day(engine, key, answers, standing, word, iter(()), now, done)


def _replace_day(
    engine: Engine,
    key: ProviderKey,
    answers: StoredAnswers,
    standing: StandingAnswers,
    word: PullDay,
    buckets: Iterator[Bucket],
    now: datetime,
    done: NormalisedDays,
) -> None:
    with engine.begin() as connection:
        slice_ = lock_slice(connection, key.feed_id, answers.endpoint.name, word.day)
        if answers.endpoint.kind == "costs":
            changes, rows = _replace_bills(connection, key, answers, slice_, word, buckets, now)
        else:
            changes, rows = _replace_events(connection, key, answers, standing, slice_, word, buckets, now)
        _cover(connection, slice_, word, rows)
    done.changes += changes
    done.rows += rows


def _replace_events(
    connection: Connection,
    key: ProviderKey,
    answers: StoredAnswers,
    standing: StandingAnswers,
    slice_: Slice,
    word: PullDay,
    buckets: Iterator[Bucket],
    now: datetime,
) -> tuple[Changes, int]:
    usage = DayOfUsage(slice_, key.slug, answers.provider, answers.endpoint, word)
    made_from = standing.of(slice_)
    if made_from is None:
        return usage.write(connection, buckets, now)
    amended = usage.amend(connection, made_from, buckets, now)
    return amended or usage.write(connection, answers.day(word), now)


def _cover(connection: Connection, slice_: Slice, word: PullDay, row_count: int) -> None:
    cover(
        connection,
        slice_.slice_id,
        Observation(
            observed_at=word.started_at,
            digest=word.digest,
            content_digest=word.digest,
            window_seconds=word.window_seconds,
            dimensions_asked=word.dimensions_asked,
            row_count=row_count,
            pull_id=word.pull_id,
        ),
    )


def _replace_bills(
    connection: Connection,
    key: ProviderKey,
    answers: StoredAnswers,
    slice_: Slice,
    word: PullDay,
    buckets: Iterator[Bucket],
    now: datetime,
) -> tuple[Changes, int]:
    identity = SliceIdentity(key.slug, answers.endpoint.name, word.window_seconds, word.dimensions_asked)
    lines: dict[bytes, BilledLine] = {}
    for bucket in buckets:
        read = answers.provider.billed_lines(answers.endpoint, bucket.results, word.dimensions_asked, Drift())
        for line in read:
            if elsewhere(answers.endpoint, word, line):
                continue
            name = line_key(identity, slice_.day, line)
            lines[name] = line if name not in lines else _add_lines(lines[name], line)
    rows = (_bill_row(slice_.slice_id, name, word.content_pull_id, now, line) for name, line in sorted(lines.items()))
    changes = replace_slice(
        connection,
        BILLS,
        slice_.slice_id,
        typed_copy(rows),
        binary=False,
        slice_is_empty=slice_.row_count == 0,
        now=now,
    )
    return changes, len(lines)


def elsewhere(endpoint: Endpoint, word: PullDay, line: BilledLine) -> bool:
    """Whether a line is of a project outside the key's scope, which the endpoint could not be narrowed to."""
    return bool(word.projects) and not endpoint.narrows_to_projects and line.project_id not in word.projects


def _add_lines(one: BilledLine, other: BilledLine) -> BilledLine:
    """Two lines that nothing asked for tells apart: both were billed."""
    with exact_arithmetic():
        amount = one.amount_usd + other.amount_usd
        quantity = one.quantity + other.quantity if one.quantity is not None and other.quantity is not None else None
    return BilledLine(amount_usd=amount, quantity=quantity, **{name: getattr(one, name) for name in LINE_DIMENSIONS})


def _bill_row(slice_id: int, name: bytes, pull_id: int, now: datetime, line: BilledLine) -> tuple[Any, ...]:
    return (
        slice_id,
        UUID(bytes=name),
        pull_id,
        now,
        line.amount_usd,
        line.label,
        line.model,
        line.cost_type,
        line.token_type,
        line.project_id,
        line.user_id,
        line.api_key_id,
        line.service_tier,
        line.context_window,
        line.inference_geo,
        line.quantity,
        line.quantity_unit,
    )


def keep_what_final_pulls_said(
    engine: Engine, key: ProviderKey, provider: Provider, endpoint: Endpoint, day: date, settling: timedelta
) -> None:
    """Keep what each final pull of a day said per model, so that a restatement can be shown.

    For days on which final pulls disagree, and for those whose raw pages are about to be pruned. The figures come from
    the raw pages of every final pull that is not kept yet, in whatever order the pulls arrived. A pull whose pages are
    pruned was not final by the settling time of then, and says nothing any more.
    """
    with engine.begin() as connection:
        final = pull_days_since(connection, key.feed_id, endpoint.name, day, day_end(day) + settling)
        slice_ = lock_slice(connection, key.feed_id, endpoint.name, day)
        kept = known_final_pulls(connection, slice_.slice_id)
        seen: set[int] = set()
        for word in final:
            # A pull whose answer was that of an earlier one says nothing new: its figures are kept once.
            repeats = word.content_pull_id in seen
            seen.add(word.content_pull_id)
            if not repeats and word.pull_id not in kept and not is_pruned(connection, word.content_pull_id, day):
                figures = _figures_by_model(connection, provider, endpoint, word)
                keep_final_figures(connection, slice_.slice_id, word.pull_id, figures)


def _figures_by_model(
    connection: Connection, provider: Provider, endpoint: Endpoint, word: PullDay
) -> dict[str, dict[str, int]]:
    """What a pull said of a day per model: flows added up, levels at their highest instant."""
    totals: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for bucket in StoredAnswers(connection, provider, endpoint).day(word):
        instant: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        for dimensions, measures in provider.usage_rows(endpoint, bucket.results, word.dimensions_asked, Drift()):
            of_model = instant[dimensions[_MODEL] or ""]
            for name, value in zip(EVENT_MEASURES, measures, strict=True):
                if value is not None and name in RECONCILED_MEASURES:
                    of_model[name] += value
        for model, figures in instant.items():
            for name, value in figures.items():
                before = totals[model][name]
                totals[model][name] = max(before, value) if name in LEVELS else before + value
    return {model: dict(figures) for model, figures in totals.items()}
