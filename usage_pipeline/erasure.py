"""Erasing a person's ids of an account: each becomes a pseudonym, everywhere in the ledger, for good.

One transaction that nothing else can read answers beside: raw pages, events, bills and their histories, names, words.
No figure changes, which is checked. The raw pages are rewritten, not deleted, so that days can be normalised again;
what was rewritten is in ``redacted_pages`` with the digest of the page as it came. Digests of days follow, so a later
pull, whose answer gets the same pseudonyms before anything else is done with it, says the same about them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Final

import zstandard
from sqlalchemy import Connection

from usage_pipeline.credentials.pseudonyms import PREFIX, Pseudonyms, pseudonyms_for
from usage_pipeline.credentials.vault import KeyRingSource
from usage_pipeline.errors import InvalidInputError, InvariantError
from usage_pipeline.ledger.audit_log import record_change
from usage_pipeline.ledger.erased_ids import add_hashes, lock_for_erasure
from usage_pipeline.ledger.erased_names import ids_beside, replace_in_names
from usage_pipeline.ledger.erasure import (
    RawBody,
    StoredPull,
    bodies_of,
    change_digest,
    days_of_content,
    pulls_with_pages,
    replace_in_rows,
    replace_in_words,
    store_redacted,
    totals,
)
from usage_pipeline.ledger.provider_keys import ProviderKey, list_provider_keys
from usage_pipeline.providers.contract import WIDTH_SECONDS, PageQuery, Provider
from usage_pipeline.pulls.fetch import COMPRESSION_LEVEL, DayDigests
from usage_pipeline.pulls.pull import slice_digest
from usage_pipeline.stages import Runtime
from usage_pipeline.utc_days import day_end, day_start

ID_CHARACTERS_MIN: Final = 3
ID_CHARACTERS_MAX: Final = 320
"""The longest e-mail address."""

_ADDRESSES: Final = frozenset({"email", "email_address", "user_email"})
_WIDTHS: Final = {seconds: width for width, seconds in WIDTH_SECONDS.items()}


@dataclass(frozen=True, slots=True)
class Erased:
    """What was replaced, or would be: how many ids and addresses of the person, and where.

    ``pseudonym`` is that of the id that was given; in a dry run, only of an id that was erased before it stays so.
    """

    pseudonym: str
    ids: int
    raw_pages: int
    rows: int
    names: int
    words: int


class _DryRunError(Exception):
    pass


def erase_person(runtime: Runtime, provider: str, account: str, identifier: str, *, dry_run: bool) -> Erased:
    """Replace a person's id, and the ids and e-mail addresses that lists and raw pages tell beside it.

    Raises :class:`InvalidInputError`: ``id_malformed``, ``account_unknown``; :class:`InvariantError`
    ``erasure_changed_figures``; what opening the key ring raises. Nothing is changed then.
    """
    if not ID_CHARACTERS_MIN <= len(identifier.strip()) == len(
        identifier
    ) <= ID_CHARACTERS_MAX or identifier.startswith(PREFIX):
        raise InvalidInputError(
            "id_malformed",
            f"it has less than {ID_CHARACTERS_MIN} or more than {ID_CHARACTERS_MAX} characters, white space around it,"
            " or is a pseudonym already",
            where="--user",
            remedy="Give the id or the e-mail address as usage rows have it.",
        )
    done: list[Erased] = []
    try:
        with runtime.engine.begin() as connection:
            lock_for_erasure(connection)
            keys = [key for key in list_provider_keys(connection) if (key.provider, key.account) == (provider, account)]
            if not keys:
                raise InvalidInputError(
                    "account_unknown",
                    "no key of this account is registered",
                    where=f"{provider} {account}"[:120],
                    remedy="See: usage-pipeline keys list.",
                )
            done.append(_erase(connection, runtime, keys, identifier, keep=not dry_run))
            if dry_run:
                raise _DryRunError
    except _DryRunError:
        pass
    return done[0]


def _erase(connection: Connection, runtime: Runtime, keys: list[ProviderKey], identifier: str, *, keep: bool) -> Erased:
    now, provider, account = runtime.clock(), keys[0].provider, keys[0].account
    feeds = [key.feed_id for key in keys]
    ids = ids_beside(connection, provider, account, identifier)
    pulls = pulls_with_pages(connection, feeds)
    for pull in pulls:
        ids |= _addresses_beside(connection, pull, ids)
    rings = KeyRingSource(runtime.environ, runtime.home)
    pseudonyms = pseudonyms_for(connection, provider, ids, rings, now, keep=keep)
    add_hashes(connection, provider, account, map(pseudonyms.hash_of, ids), now)
    before = totals(connection, feeds)
    pages = sum(_rewrite(connection, runtime.providers.get(provider), pull, pseudonyms, now) for pull in pulls)
    by_id = {one: pseudonym for one in ids if (pseudonym := pseudonyms.of(one)) is not None}
    erased = Erased(
        pseudonym=by_id[identifier],
        ids=len(ids),
        raw_pages=pages,
        rows=replace_in_rows(connection, feeds, sorted(ids), lambda told: _replaced(pseudonyms, told)),
        names=replace_in_names(connection, provider, account, pseudonyms.of),
        words=replace_in_words(connection, by_id),
    )
    if totals(connection, feeds) != before:
        raise InvariantError(
            "erasure_changed_figures",
            "rows or sums would not be what they were",
            where=f"{provider} {account}",
            remedy="Nothing was changed. Report this.",
        )
    detail = {"pseudonym": erased.pseudonym, "ids": erased.ids, "raw_pages": pages, "rows": erased.rows}
    record_change(connection, now, "user_erased", f"{provider} {account}", {**detail, "names": erased.names})
    return erased


def _replaced(pseudonyms: Pseudonyms, told: str) -> str:
    """An id, or the canonical JSON of ``line_detail``."""
    return pseudonyms.of(told) or pseudonyms.redact(told.encode()).decode()


def _addresses_beside(connection: Connection, pull: StoredPull, ids: frozenset[str]) -> frozenset[str]:
    """The e-mail addresses that a pull's pages tell in the same row as one of the ids."""
    written = [json.dumps(one)[1:-1].encode() for one in ids]
    found: set[str] = set()
    for page in bodies_of(connection, pull.pull_id):
        body = zstandard.decompress(page.body_zstd)
        if any(one in body for one in written):
            found.update(_addresses(json.loads(body), ids))
    return frozenset(found)


def _addresses(value: Any, ids: frozenset[str]) -> Iterator[str]:
    if isinstance(value, list):
        for one in value:
            yield from _addresses(one, ids)
    elif isinstance(value, dict):
        if any(isinstance(one, str) and one in ids for one in value.values()):
            yield from (
                told for name, told in value.items() if name in _ADDRESSES and isinstance(told, str) and "@" in told
            )
        for one in value.values():
            if isinstance(one, (list, dict)):
                yield from _addresses(one, ids)


def _rewrite(
    connection: Connection, provider: Provider | None, pull: StoredPull, pseudonyms: Pseudonyms, now: datetime
) -> int:
    """Redact a pull's raw pages, and let its days be known by the digests of what they say now; how many pages."""
    days = _days(provider, pull)
    compressor = zstandard.ZstdCompressor(level=COMPRESSION_LEVEL)
    changed = 0
    for page in bodies_of(connection, pull.pull_id):
        verbatim = zstandard.decompress(page.body_zstd)
        redacted = pseudonyms.redact(verbatim)
        if days is not None:
            days.add(page, verbatim, redacted)
        if redacted != verbatim:
            changed += 1
            digest = hashlib.sha256(redacted).digest()
            store_redacted(connection, pull.pull_id, page, compressor.compress(redacted), digest, len(redacted), now)
    if changed and days is not None:
        for day, stored in days_of_content(connection, pull).items():
            before, after = days.digests(day)
            # A digest that an older program took otherwise stays: the next pull then finds the day changed, and
            # replaces its rows by equal ones.
            if before == stored and after != before:
                change_digest(connection, pull, day, before, after)
    return changed


def _days(provider: Provider | None, pull: StoredPull) -> _Days | None:
    endpoints = {one.name: one for one in provider.endpoints} if provider else {}
    if provider is None or pull.endpoint not in endpoints or pull.window_seconds not in _WIDTHS:
        return None
    return _Days(provider, endpoints[pull.endpoint], pull)


class _Days:
    """The digests of a pull's days, of its pages as they were and as they are."""

    def __init__(self, provider: Provider, endpoint: Any, pull: StoredPull) -> None:
        self._provider, self._endpoint, self._pull = provider, endpoint, pull
        self._width = _WIDTHS[pull.window_seconds]
        self._before, self._after = (DayDigests(provider, endpoint, pull.dimensions_asked) for _ in range(2))

    def add(self, page: RawBody, verbatim: bytes, redacted: bytes) -> None:
        asked = PageQuery(
            (page.asked_from or day_start(page.first_day)).astimezone(UTC),
            (page.asked_until or day_end(page.last_day)).astimezone(UTC),
            self._width,
            self._pull.dimensions_asked,
            self._pull.projects,
        )
        for digests, body in ((self._before, verbatim), (self._after, redacted)):
            for bucket in self._provider.read_page(self._endpoint, body, asked).buckets:
                digests.add(bucket, self._pull.window_seconds)

    def digests(self, day: date) -> tuple[bytes, bytes]:
        before, after = (
            slice_digest(self._width, self._pull.dimensions_asked, self._pull.projects, one.of(day))
            for one in (self._before, self._after)
        )
        return before, after
