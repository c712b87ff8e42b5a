"""Overrides as stored: prices of one's own, by workspace, model, variant and UTC days. Table ``price_overrides``.

In: an override from a person. Out: those that hold, for the price book, and all of them, for people. None is ever
deleted or changed but for its end, and every change is in ``audit_log``. What an override says of days that are
reconciled already moves nothing by itself: their prices are in force until somebody reprices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any, Final

from sqlalchemy import Connection, text

from usage_pipeline.errors import InvalidInputError
from usage_pipeline.ledger.audit_log import record_change
from usage_pipeline.ledger.prices import stored_rates, stored_variant
from usage_pipeline.pricing.overrides import PriceOverride, refuse_overlap

_SELECT: Final = """
SELECT o.override_id, o.provider, o.model, CAST(o.rates AS text), o.effective_from, o.effective_to, o.variant, o.factor,
    w.slug, o.note, o.created_at, o.ended_at
FROM price_overrides AS o LEFT JOIN workspaces AS w USING (workspace_id)
"""
_HOLDING: Final = " WHERE (o.effective_to IS NULL OR o.effective_to > o.effective_from)"
_INSERT: Final = """
INSERT INTO price_overrides
    (workspace_id, provider, model, variant, rates, factor, effective_from, effective_to, note, created_at)
SELECT (SELECT workspace_id FROM workspaces WHERE slug = :workspace), :provider, :model, :variant,
    CAST(:rates AS jsonb), CAST(:factor AS numeric), :effective_from, :effective_to, :note, :now
RETURNING override_id
"""
_NOTE_CHARACTERS_MAX: Final = 500


@dataclass(frozen=True, slots=True)
class StoredOverride:
    """An override and its life. ``override`` is None where it was taken back: it has no day left.

    ``ended_at`` is the instant (UTC) at which its end was set by :func:`end_override`; the days of a taken-back one
    are ``effective_from`` alone.
    """

    override_id: int
    override: PriceOverride | None
    described: PriceOverride
    note: str
    created_at: datetime
    ended_at: datetime | None


def load_overrides(connection: Connection, workspace_id: int | None) -> tuple[PriceOverride, ...]:
    """Every override that holds on some day for the workspace: its own and those for all (None: those for all)."""
    rows = connection.execute(
        text(f"{_SELECT}{_HOLDING} AND (o.workspace_id IS NULL OR o.workspace_id = :workspace_id) ORDER BY 1"),
        {"workspace_id": workspace_id},
    )
    return tuple(_override(row) for row in rows)


def list_overrides(connection: Connection, workspace: str | None = None) -> tuple[StoredOverride, ...]:
    """Every override, the ended ones too, by id; of a workspace: its own and those for all."""
    rows = connection.execute(
        text(
            f"{_SELECT} WHERE CAST(:workspace AS text) IS NULL OR w.slug = :workspace OR o.workspace_id IS NULL"
            " ORDER BY 1"
        ),
        {"workspace": workspace},
    )
    return tuple(_stored(row) for row in rows)


def add_override(connection: Connection, override: PriceOverride, note: str, now: datetime) -> PriceOverride:
    """Store an override; its ``override_id`` is given here. Its workspace must be registered.

    Raises InvalidInputError ``price_overrides_overlap``, ``note_malformed``; nothing is then written.
    """
    checked = check_note(note)
    _lock(connection)
    every = connection.execute(text(f"{_SELECT}{_HOLDING} ORDER BY 1"))
    refuse_overlap(override, [_override(row) for row in every])
    parameters = {**_columns(override), "note": checked, "now": now}
    override_id = connection.execute(text(_INSERT), parameters).scalar_one()
    stored = replace(override, override_id=override_id)
    record_change(connection, now, "price_override_added", stored.name, {**_detail(stored), "note": checked})
    return stored


def end_override(connection: Connection, override_id: int, on: date, now: datetime) -> StoredOverride:
    """Let an override end on a UTC day: that day is the first without it. Its first day takes it back altogether.

    Raises InvalidInputError ``price_override_unknown``, ``price_override_ended`` where the day is outside of its days.
    """
    _lock(connection)
    row = connection.execute(text(f"{_SELECT} WHERE o.override_id = :id"), {"id": override_id}).one_or_none()
    if row is None:
        raise InvalidInputError(
            "price_override_unknown",
            "there is no override of this number",
            where=f"override {override_id}",
            remedy="See: usage-pipeline prices list.",
        )
    before = _stored(row)
    first, end = before.described.effective_from, row.effective_to
    if on < first or (end is not None and on >= end):
        last = f"until before {end}" if end else "without end"
        words = "it was taken back" if before.override is None else f"it holds from {first} {last}"
        raise InvalidInputError(
            "price_override_ended",
            f"{words}, so it cannot end on {on}",
            where=f"override {override_id}",
            remedy="Give one of its days; its first day takes it back.",
        )
    connection.execute(
        text("UPDATE price_overrides SET effective_to = :on, ended_at = :now WHERE override_id = :id"),
        {"on": on, "now": now, "id": override_id},
    )
    detail = {**_detail(before.described), "effective_to": on.isoformat(), "before": end.isoformat() if end else None}
    record_change(connection, now, "price_override_ended", before.described.name, detail)
    after = connection.execute(text(f"{_SELECT} WHERE o.override_id = :id"), {"id": override_id}).one()
    return _stored(after)


def check_note(note: str) -> str:
    """A note for people, on one line. Raises InvalidInputError ``note_malformed``."""
    stripped = note.strip()
    if len(stripped) > _NOTE_CHARACTERS_MAX or not stripped.isprintable():
        raise InvalidInputError(
            "note_malformed",
            f"the note is longer than {_NOTE_CHARACTERS_MAX} characters, or has control characters",
            where="--note",
            remedy="Write a short note on one line.",
        )
    return stripped


def _lock(connection: Connection) -> None:
    """One change at a time: of two overrides for the same days the later one must see the earlier."""
    connection.execute(text("LOCK TABLE price_overrides IN SHARE ROW EXCLUSIVE MODE"))


def _columns(override: PriceOverride) -> dict[str, object]:
    return {
        "workspace": override.workspace,
        "provider": override.provider,
        "model": override.model,
        "variant": None if override.variant is None else override.variant.text,
        "rates": None if override.rates is None else override.rates.to_json(),
        "factor": override.factor,
        "effective_from": override.effective_from,
        "effective_to": override.effective_to,
    }


def _detail(override: PriceOverride) -> dict[str, object]:
    return {name: value if value is None else str(value) for name, value in _columns(override).items()}


def _override(row: Sequence[Any]) -> PriceOverride:
    stored = _stored(row)
    assert stored.override is not None, "an override without days holds for nothing"
    return stored.override


def _stored(row: Sequence[Any]) -> StoredOverride:
    override_id, provider, model, rates, first, end, variant, factor, workspace, note, created_at, ended_at = row
    taken_back = end == first
    described = PriceOverride(
        override_id=override_id,
        provider=provider,
        model=model,
        rates=stored_rates(rates) if rates is not None else None,
        effective_from=first,
        effective_to=None if taken_back else end,
        variant=stored_variant(variant) if variant is not None else None,
        factor=factor,
        workspace=workspace,
    )
    return StoredOverride(override_id, None if taken_back else described, described, note, created_at, ended_at)
