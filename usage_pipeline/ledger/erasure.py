"""Replacing a person's id in everything that the ledger stores of an account, in the caller's transaction.

In: feeds, pseudonyms by id. Out: rows with the pseudonym and the key that a later pull will compute, and counts. Sums
and numbers of rows stay; ``recorded_at`` too, since the figures are not restated.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import partial
from types import SimpleNamespace
from typing import Any, Final
from uuid import UUID

import psycopg
from sqlalchemy import Connection, text

from usage_pipeline.ledger.event_copy import SliceIdentity, event_key
from usage_pipeline.ledger.line_key import LINE_DIMENSIONS, line_key
from usage_pipeline.measures import EVENT_DIMENSIONS, EVENT_MEASURES

Replace = Callable[[str], str]
"""Gives a text (an id, or canonical JSON) with the erased ids in it replaced."""

WORDS: Final = (
    ("alerts", "what"),
    ("alerts", "place"),
    ("alerts", "remedy"),
    ("alerts", "link"),
    ("alert_deliveries", "last_error"),
    ("audit_log", "subject"),
    ("audit_log", "detail"),
    ("budgets", "note"),
    ("budgets", "value"),
    ("finding_history", "evidence"),
    ("finding_history", "explanation"),
    ("findings", "acknowledged_note"),
    ("findings", "evidence"),
    ("findings", "explanation"),
    ("ingestion_runs", "error"),
    ("ingestion_runs", "figures"),
    ("learned_limits", "said"),
    ("parity_checks", "files"),
    ("price_overrides", "note"),
    ("pulls", "drift"),
    ("pulls", "error"),
    ("showback_rules", "conditions"),
    ("showback_rules", "cost_center"),
    ("showback_rules", "note"),
    ("showback_rules", "team"),
    ("slices", "last_attempt_error"),
)
"""Columns with words, in which an id may be quoted: text or jsonb."""

_JSON_COLUMNS: Final = frozenset({"conditions", "evidence", "detail", "figures", "files", "drift"})
_JSON_STRING: Final = re.compile(r'(?P<string>"(?:[^"\\]|\\.)*")(?P<colon>\s*:)?')


@dataclass(frozen=True, slots=True)
class StoredPull:
    """A pull with raw pages."""

    pull_id: int
    feed_id: int
    endpoint: str
    window_seconds: int
    dimensions_asked: tuple[str, ...]
    projects: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RawBody:
    """A raw page's body, compressed, and its request's half-open instants (UTC; None on pages of the first release)."""

    page_number: int
    first_day: date
    last_day: date
    asked_from: datetime | None
    asked_until: datetime | None
    digest: bytes
    body_zstd: bytes


def pulls_with_pages(connection: Connection, feed_ids: Sequence[int]) -> list[StoredPull]:
    """The pulls of the feeds whose raw pages have their bodies, oldest first."""
    rows = connection.execute(
        text(
            "SELECT pull_id, feed_id, endpoint, window_seconds, dimensions_asked, projects FROM pulls AS p"
            " WHERE feed_id = ANY(:feeds) AND EXISTS (SELECT 1 FROM raw_pages AS r"
            " WHERE r.pull_id = p.pull_id AND octet_length(r.body_zstd) > 0) ORDER BY pull_id"
        ),
        {"feeds": list(feed_ids)},
    )
    return [StoredPull(row[0], row[1], row[2], row[3], tuple(row[4]), tuple(row[5])) for row in rows]


def bodies_of(connection: Connection, pull_id: int) -> Iterator[RawBody]:
    """The raw pages of a pull that have their bodies, in order, one at a time."""
    numbers = connection.execute(
        text(
            "SELECT page_number FROM raw_pages WHERE pull_id = :pull AND octet_length(body_zstd) > 0"
            " ORDER BY page_number"
        ),
        {"pull": pull_id},
    ).scalars()
    for number in numbers.all():
        row = connection.execute(
            text(
                "SELECT page_number, first_day, last_day, CAST(query ->> 'start' AS timestamptz),"
                " CAST(query ->> 'end' AS timestamptz), digest, body_zstd FROM raw_pages"
                " WHERE pull_id = :pull AND page_number = :number"
            ),
            {"pull": pull_id, "number": number},
        ).one()
        yield RawBody(row[0], row[1], row[2], row[3], row[4], bytes(row[5]), bytes(row[6]))


def store_redacted(
    connection: Connection, pull_id: int, page: RawBody, body_zstd: bytes, digest: bytes, size: int, now: datetime
) -> None:
    """Put a redacted body in the place of a verbatim one, and note what the page was as it came."""
    key = {"pull": pull_id, "number": page.page_number}
    connection.execute(
        text(
            "INSERT INTO redacted_pages (pull_id, page_number, digest, redacted_at)"
            " VALUES (:pull, :number, :digest, :now)"
            " ON CONFLICT (pull_id, page_number) DO UPDATE SET redacted_at = excluded.redacted_at"
        ),
        {**key, "digest": page.digest, "now": now},
    )
    connection.execute(
        text(
            "UPDATE raw_pages SET body_zstd = :body, digest = :digest, body_bytes = :size"
            " WHERE pull_id = :pull AND page_number = :number"
        ),
        {**key, "body": body_zstd, "digest": digest, "size": size},
    )


def days_of_content(connection: Connection, pull: StoredPull) -> dict[date, bytes]:
    """The days that a pull's pages are the content of, with their digests."""
    rows = connection.execute(
        text(
            "SELECT DISTINCT day, digest FROM pull_days"
            " WHERE feed_id = :feed AND endpoint = :endpoint AND content_pull_id = :pull"
        ),
        {"feed": pull.feed_id, "endpoint": pull.endpoint, "pull": pull.pull_id},
    )
    return {day: bytes(digest) for day, digest in rows}


def change_digest(connection: Connection, pull: StoredPull, day: date, before: bytes, after: bytes) -> None:
    """Let everything that knows a day's content by its digest know it by another: pulls, coverage, comparisons."""
    parameters = {
        "feed": pull.feed_id,
        "endpoint": pull.endpoint,
        "day": day,
        "before": before,
        "after": after,
    }
    place = "feed_id = :feed AND endpoint = :endpoint AND day = :day"
    for statement in (
        f"UPDATE pull_days SET digest = :after WHERE {place} AND digest = :before",
        "UPDATE parity_days AS p SET content_digest = :after FROM slices AS s WHERE s.slice_id = p.slice_id"
        " AND s.feed_id = :feed AND s.endpoint = :endpoint AND s.day = :day AND p.content_digest = :before",
        f"UPDATE slices SET content_digest = :after WHERE {place} AND content_digest = :before",
        f"UPDATE slices SET observed_digest = :after WHERE {place} AND observed_digest = :before",
    ):
        connection.execute(text(statement), parameters)


def replace_in_rows(connection: Connection, feed_ids: Sequence[int], ids: Sequence[str], replace: Replace) -> int:
    """Replace ids in usage events, bills and their histories, and give each row the key that goes with it.

    Returns how many rows were changed.
    """
    identities = _identities(connection, feed_ids)
    cursor = _cursor(connection)
    cursor.execute(
        "CREATE TEMPORARY TABLE erased_rows (slice_id bigint, old_id uuid, new_id uuid, user_id text, line_detail text)"
        " ON COMMIT DROP"
    )
    changed = 0
    for tables, key, details, found in (
        (("usage_events", "usage_event_history"), "event_id", ", line_detail = m.line_detail", _events),
        (("billed_costs", "billed_cost_history"), "line_id", "", _lines),
    ):
        cursor.execute("DELETE FROM erased_rows")
        rows = list(found(connection, feed_ids, ids, replace, identities))
        with cursor.copy("COPY erased_rows FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
        for table in tables:
            changed += connection.execute(
                text(
                    f"UPDATE {table} AS t SET {key} = m.new_id, user_id = m.user_id{details} FROM erased_rows AS m"
                    f" WHERE t.slice_id = m.slice_id AND t.{key} = m.old_id"
                )
            ).rowcount
    return changed


_Identities = Mapping[int, tuple[date, Sequence[SliceIdentity]]]

# In any case for e-mail addresses; what is no id of them is left as it is by the replacing.
_MENTIONED: Final = "(lower(r.user_id) = ANY(:lower) {detail})"


def _rows(
    connection: Connection,
    feed_ids: Sequence[int],
    ids: Sequence[str],
    tables: tuple[str, str],
    columns: str,
    detail: str,
) -> list[Any]:
    mentioned = _MENTIONED.format(detail=detail)
    each = " UNION ".join(
        f"SELECT {columns} FROM {table} AS r JOIN slices AS s USING (slice_id)"
        f" WHERE s.feed_id = ANY(:feeds) AND {mentioned}"
        for table in tables
    )
    lower = sorted({one.lower() for one in ids})
    return list(connection.execute(text(each), {"feeds": list(feed_ids), "lower": lower}))


def _events(
    connection: Connection, feed_ids: Sequence[int], ids: Sequence[str], replace: Replace, identities: _Identities
) -> Iterator[tuple[Any, ...]]:
    dimensions = ", ".join(f"r.{name}" for name in EVENT_DIMENSIONS)
    detail = (
        "OR EXISTS (SELECT 1 FROM unnest(CAST(:lower AS text[])) AS i WHERE position(i IN lower(r.line_detail)) > 0)"
    )
    rows = _rows(
        connection,
        feed_ids,
        ids,
        ("usage_events", "usage_event_history"),
        f"r.slice_id, r.event_id, r.window_start, {dimensions}",
        detail,
    )
    for slice_id, event_id, start, *values in rows:
        before = dict(zip(EVENT_DIMENSIONS, values, strict=True))
        after = {
            **before,
            **{name: replace(before[name]) for name in ("user_id", "line_detail") if before[name] is not None},
        }
        if after == before:
            continue

        keys = partial(_key_of_event, start=start)
        fitting = _fitting(identities[slice_id][1], event_id, partial(keys, told=before))
        yield slice_id, event_id, UUID(bytes=keys(fitting, told=after)), after["user_id"], after["line_detail"]


def _key_of_event(identity: SliceIdentity, *, told: Mapping[str, str | None], start: datetime) -> bytes:
    return event_key(identity, tuple(told[name] for name in EVENT_DIMENSIONS), start)


def _lines(
    connection: Connection, feed_ids: Sequence[int], ids: Sequence[str], replace: Replace, identities: _Identities
) -> Iterator[tuple[Any, ...]]:
    dimensions = ", ".join(f"r.{name}" for name in LINE_DIMENSIONS)
    rows = _rows(
        connection, feed_ids, ids, ("billed_costs", "billed_cost_history"), f"r.slice_id, r.line_id, {dimensions}", ""
    )
    for slice_id, line_id, *values in rows:
        before = dict(zip(LINE_DIMENSIONS, values, strict=True))
        after = {**before, "user_id": replace(before["user_id"])}
        if after == before:
            continue
        day, known = identities[slice_id]
        keys = partial(_key_of_line, day=day)
        fitting = _fitting(known, line_id, partial(keys, told=before))
        yield slice_id, line_id, UUID(bytes=keys(fitting, told=after)), after["user_id"], None


def _key_of_line(identity: SliceIdentity, *, told: Mapping[str, str | None], day: date) -> bytes:
    return line_key(identity, day, SimpleNamespace(**told))


def _fitting(identities: Sequence[SliceIdentity], key: UUID, key_of: Callable[[SliceIdentity], bytes]) -> SliceIdentity:
    """The identity under which a row was keyed: the width and the dimensions asked for may have changed since.

    A row that an older program keyed otherwise gets today's key.
    """
    return next((one for one in identities if key_of(one) == key.bytes), identities[0])


def _identities(connection: Connection, feed_ids: Sequence[int]) -> dict[int, tuple[date, list[SliceIdentity]]]:
    """By slice its day, and what its rows' keys may hang on: what covers it now first."""
    asked: dict[tuple[int, str], list[tuple[int, tuple[str, ...]]]] = {}
    for feed_id, endpoint, window, dimensions in connection.execute(
        text(
            "SELECT DISTINCT feed_id, endpoint, window_seconds, dimensions_asked FROM pulls"
            " WHERE complete AND feed_id = ANY(:feeds)"
        ),
        {"feeds": list(feed_ids)},
    ):
        asked.setdefault((feed_id, endpoint), []).append((window, tuple(dimensions)))
    rows = connection.execute(
        text(
            "SELECT s.slice_id, s.day, s.feed_id, f.slug, s.endpoint, s.window_seconds, s.dimensions_asked"
            " FROM slices AS s JOIN feeds AS f USING (feed_id) WHERE s.feed_id = ANY(:feeds)"
            " AND s.observed_at IS NOT NULL FOR UPDATE OF s"
        ),
        {"feeds": list(feed_ids)},
    )
    return {
        row.slice_id: (
            row.day,
            [
                SliceIdentity(row.slug, row.endpoint, window, dimensions)
                for window, dimensions in (
                    (row.window_seconds, tuple(row.dimensions_asked)),
                    *asked.get((row.feed_id, row.endpoint), ()),
                )
            ],
        )
        for row in rows
    }


def replace_in_words(connection: Connection, pseudonyms: Mapping[str, str]) -> int:
    """Replace ids that are quoted in words, whole and not as a part of a longer word; how many rows were changed.

    Of JSON the values that are strings alone: an id may be a common word, and so the name of a field.
    """
    # The longest first: an id may be a part of another, as of an e-mail address.
    patterns = [
        (re.compile(rf"(?<![\w.@-]){re.escape(identifier)}(?![\w@-])", re.IGNORECASE), pseudonym)
        for identifier, pseudonym in sorted(pseudonyms.items(), key=lambda pair: -len(pair[0]))
    ]
    written = {form for one in pseudonyms for form in (one, json.dumps(one, ensure_ascii=False)[1:-1])}
    changed = 0
    for table, column in WORDS:
        is_json = column in _JSON_COLUMNS
        rows = connection.execute(
            text(
                f"SELECT CAST(ctid AS text), CAST({column} AS text) FROM {table} AS t WHERE EXISTS"
                f" (SELECT 1 FROM unnest(CAST(:ids AS text[])) AS i WHERE position(lower(i) IN lower(CAST({column} AS"
                " text))) > 0) FOR UPDATE OF t"
            ),
            {"ids": sorted(written)},
        ).all()
        after = [(row, told, _in_json(told, patterns) if is_json else _in_text(told, patterns)) for row, told in rows]
        moved = [(row, words) for row, told, words in after if words != told]
        connection.execute(
            text(
                f"UPDATE {table} AS t SET {column} = CAST(m.words AS {'jsonb' if is_json else 'text'})"
                " FROM unnest(CAST(:rows AS tid[]), CAST(:words AS text[])) AS m (place, words) WHERE t.ctid = m.place"
            ),
            {"rows": [row for row, _ in moved], "words": [words for _, words in moved]},
        )
        changed += len(moved)
    return changed


def _in_text(told: str, patterns: Sequence[tuple[re.Pattern[str], str]]) -> str:
    for pattern, pseudonym in patterns:
        told = pattern.sub(pseudonym, told)
    return told


def _in_json(told: str, patterns: Sequence[tuple[re.Pattern[str], str]]) -> str:
    def replaced(found: re.Match[str]) -> str:
        if found["colon"]:
            return found[0]
        before = json.loads(found["string"])
        after = _in_text(before, patterns)
        return found[0] if after == before else json.dumps(after, ensure_ascii=False)

    return _JSON_STRING.sub(replaced, told)


def totals(connection: Connection, feed_ids: Sequence[int]) -> dict[str, tuple[Any, ...]]:
    """Numbers of rows and sums of every measure and amount of the feeds, history included."""
    sums = ", ".join(f"sum({name})" for name in (*EVENT_MEASURES, "estimated_cost_usd", "actual_cost_usd"))
    found = {}
    for table, columns in (
        ("usage_events", sums),
        ("usage_event_history", sums),
        ("billed_costs", "sum(amount_usd), sum(quantity)"),
        ("billed_cost_history", "sum(amount_usd), sum(quantity)"),
    ):
        row = connection.execute(
            text(
                f"SELECT count(*), {columns} FROM {table} WHERE slice_id IN"
                " (SELECT slice_id FROM slices WHERE feed_id = ANY(:feeds))"
            ),
            {"feeds": list(feed_ids)},
        ).one()
        found[table] = tuple(row)
    return found


def _cursor(connection: Connection) -> psycopg.Cursor[Any]:
    driver = connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    return driver.cursor()
