"""Reading lists page by page, the same way for every provider.

In: a function that gets the body at a path, and what the list is. Out: its entries. A list is a JSON object with
``data``, ``has_more`` and the last entry's id, which the next page is asked for with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

import msgspec

from usage_pipeline.errors import PermanentError
from usage_pipeline.ledger.dimension_names import Named
from usage_pipeline.providers.rows import UNREADABLE

Fetch = Callable[[str, Sequence[tuple[str, str]]], bytes]
"""Gets the body of what is at a path, with these query parameters."""

PAGES_MAX: Final = 10_000


class Entry(msgspec.Struct):
    """What every entry of a list has."""

    id: str


EntryT = TypeVar("EntryT", bound=Entry)


class _Page(msgspec.Struct, Generic[EntryT]):
    data: list[EntryT]
    has_more: bool = False
    last_id: str | None = None


@dataclass(frozen=True, slots=True)
class NameList:
    """One list of names: what it lists, in words, and how it is read. ``read`` raises what fetching raises."""

    what: str
    read: Callable[[Fetch], Iterator[Named]]


def entries(
    fetch: Fetch, path: str, query: Sequence[tuple[str, str]], cursor: str, kind: type[EntryT]
) -> Iterator[EntryT]:
    """Every entry of a list. ``cursor`` is the parameter that asks for what follows an id.

    Raises ``PermanentError`` ``list_unreadable`` and what ``fetch`` raises.
    """
    decoder = msgspec.json.Decoder(_Page[kind])  # type: ignore[valid-type]
    after: str | None = None
    for _ in range(PAGES_MAX):
        body = fetch(path, query if after is None else (*query, (cursor, after)))
        try:
            page: _Page[EntryT] = decoder.decode(body)
        except UNREADABLE:
            raise _unreadable(path, "the answer is no list of things with an id") from None
        yield from page.data
        if not page.has_more:
            return
        following = page.last_id or (page.data[-1].id if page.data else None)
        if following is None or following == after:
            raise _unreadable(path, "the list says that more follows, and not after what")
        after = following
    raise _unreadable(path, f"the list has more than {PAGES_MAX:,} pages")


def plain(**facts: str | None) -> dict[str, str]:
    """The facts that are there."""
    return {name: value for name, value in facts.items() if value}


def _unreadable(path: str, what: str) -> PermanentError:
    return PermanentError("list_unreadable", what, where=path, remedy="Figures do not need the names in it.")
