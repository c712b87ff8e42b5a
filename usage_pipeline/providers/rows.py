"""Reading what the APIs answer, the same way for every provider: envelopes, result rows, and what they did not tell.

Belongs here: decoding with declared types, counts that cannot be negative, fields that the contract does not know,
dimensions that came back. Comes in: bodies and raw results. Goes out: typed structs and filled ``Drift``. What a field
means belongs in the provider's own file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Final, Generic, TypeVar

import msgspec

from usage_pipeline.measures import EVENT_DIMENSIONS
from usage_pipeline.providers.contract import Bucket, ContractBrokenError, Drift, Endpoint, Page

Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
"""A number of tokens, requests or other units: never negative, and it fits PostgreSQL's bigint."""

MAX_AMOUNT_EXPONENT: Final = 15
"""An amount of 10^16 dollars or more in one line is no bill: a broken answer, not money."""

UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What decoding raises: msgspec reports broken JSON and wrong types as its own, broken UTF-8 and a JSON that is nested
without end as Python's."""

RowT = TypeVar("RowT", bound=msgspec.Struct)

_SPLIT: Final = msgspec.json.Decoder(list[msgspec.Raw])


class RowReader(Generic[RowT]):
    """Decodes a bucket's results one row at a time, so that memory does not grow with the bucket.

    ``strict`` is the row as the contract tells it and refuses unknown fields; ``tolerant`` is the same row (the same
    type or its parent, field for field) that skips them. Telling unknown fields this way costs nothing for a row that
    has none: the second, generic look is taken only at a row that the strict decoder refused. The count is exact, every
    row is looked at, and a field one level down is named with its parent (``cache_creation.new_field``).
    """

    def __init__(self, strict: type[RowT], tolerant: type[RowT], nested: Mapping[str, type[msgspec.Struct]]) -> None:
        self._strict = msgspec.json.Decoder(strict)
        self._tolerant = msgspec.json.Decoder(tolerant)
        self._known = _field_names(tolerant)
        self._nested = {name: _field_names(kind) for name, kind in nested.items()}

    def read(self, results: msgspec.Raw, drift: Drift, where: str) -> Iterator[RowT]:
        """The rows of one bucket, in the order of the answer; ``drift.rows`` grows by their number.

        Raises :class:`ContractBrokenError`: ``results_unreadable``, ``row_unreadable``, ``count_negative``.
        """
        rows = _split(results, where)
        drift.rows += len(rows)
        decode = self._strict.decode
        for position, raw in enumerate(rows):
            try:
                yield decode(raw)
                continue
            except UNREADABLE:
                pass
            yield self._with_unknown_fields(raw, position, drift, where)

    def _with_unknown_fields(self, raw: msgspec.Raw, position: int, drift: Drift, where: str) -> RowT:
        try:
            row = self._tolerant.decode(raw)
        except UNREADABLE as error:
            problem = str(error)
        else:
            for name in self._unknown_fields(raw):
                drift.unknown_fields[name] = drift.unknown_fields.get(name, 0) + 1
            return row
        code = "count_negative" if ">= 0" in problem else "row_unreadable"
        raise broken(code, f"row {position + 1} of the bucket does not follow the contract: {problem}", where)

    def _unknown_fields(self, raw: msgspec.Raw) -> Iterator[str]:
        row = msgspec.json.decode(raw)
        for name in row.keys() - self._known:
            yield name
        for parent, known in self._nested.items():
            child = row.get(parent)
            if isinstance(child, dict):
                for name in child.keys() - known:
                    yield f"{parent}.{name}"


def broken(code: str, what: str, where: str) -> ContractBrokenError:
    """An answer that is not what the contract says."""
    return ContractBrokenError(
        code,
        what,
        where=where,
        remedy="Nothing was published from this answer; if it repeats, the provider has changed its API.",
    )


def page_of(
    endpoint_where: str, buckets: Iterable[tuple[datetime, msgspec.Raw]], has_more: bool, next_page: str | None
) -> Page:
    """A page from its decoded envelope. ``has_more`` decides: a cursor beside ``has_more: false`` is no next page.

    Raises :class:`ContractBrokenError`: ``results_missing``, ``cursor_missing``.
    """
    read: list[Bucket] = []
    for start, results in buckets:
        if is_missing(results):
            raise broken("results_missing", f"the bucket of {start.isoformat()} has no list of results", endpoint_where)
        read.append(Bucket(start, results))
    if not has_more:
        return Page(read, None)
    if not next_page:
        raise broken("cursor_missing", "the answer says that more pages follow and gives no cursor", endpoint_where)
    return Page(read, next_page)


def is_missing(results: msgspec.Raw) -> bool:
    """Whether there is no list of results at all: the field is absent or null. An empty list is not missing."""
    view = memoryview(results)
    return view.nbytes <= len(b"null") and bytes(view) in {b"", b"null"}


def where_of(provider: str, endpoint: Endpoint) -> str:
    """The place that an error names: provider and path, never a query (it holds ids) and never a host."""
    return f"{provider} {endpoint.path}"


def exact_amount(value: Decimal, where: str) -> Decimal:
    """The amount as it is, zeros in their shortest form (``0E-6176`` is a zero that was really answered).

    Raises :class:`ContractBrokenError` ``amount_unreadable`` for NaN, infinities and absurd sizes.
    """
    if not value.is_finite() or (value and value.adjusted() > MAX_AMOUNT_EXPONENT):
        raise broken("amount_unreadable", "an amount is no finite number of a believable size", where)
    return value if value else Decimal(0)


def utc(moment: datetime) -> datetime:
    """The moment in UTC; one without an offset is UTC already, as both APIs document."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def not_yet_answered(asked: tuple[str, ...], drift: Drift) -> list[int]:
    """Positions in ``EVENT_DIMENSIONS`` of the dimensions that were asked for and have been null in every row so far.

    Looked at row by row only until each has come once: in a healthy answer that ends with the first row.
    """
    return [
        position
        for position, name in enumerate(EVENT_DIMENSIONS)
        if name in asked and name not in drift.answered_dimensions
    ]


def note_answered(waiting: list[int], dimensions: tuple[str | None, ...], drift: Drift) -> list[int]:
    """Move what this row answers from ``waiting`` to ``drift.answered_dimensions``; what still waits is returned."""
    answered = [position for position in waiting if dimensions[position] is not None]
    if not answered:
        return waiting
    drift.answered_dimensions.update(EVENT_DIMENSIONS[position] for position in answered)
    return [position for position in waiting if position not in answered]


def note_total_off(drift: Drift, total: str) -> None:
    """Count a row whose parts do not add up to ``total`` (the API's own name of the total)."""
    drift.totals_off[total] = drift.totals_off.get(total, 0) + 1


def _split(results: msgspec.Raw, where: str) -> list[msgspec.Raw]:
    try:
        return _SPLIT.decode(results)
    except UNREADABLE:
        pass
    raise broken("results_unreadable", "a bucket's results are no list", where)


def _field_names(kind: type[msgspec.Struct]) -> frozenset[str]:
    return frozenset(field.encode_name for field in msgspec.structs.fields(kind))
