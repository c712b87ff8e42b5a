"""One HTTP exchange in the sandbox's own terms, and the faults that spoil the content of a good answer.

In: a request as the APIs see it. Out: an :class:`Answer`, or a :class:`Refusal` with the provider's own status and
error body. JSON documents are plain dictionaries here because this is the wire.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from usage_pipeline.sandbox.paging import Cursor, page_token
from usage_pipeline.sandbox.switches import Fault, FaultKind, Switches
from usage_pipeline.sandbox.world import World

Document = dict[str, Any]
Grants = Mapping[str, Collection[str]]
"""The accepted keys, and for each what it may do or whom it stands for, in the face's own words."""
SURPRISE_FIELD = "sandbox_surprise"
NEGATIVE_TOKENS = -5
NEGATIVE_AMOUNT = "-1.5"


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """A request's parameters in the order they came, names in full (``group_by[]`` is not ``group_by``).

    ``parts`` are the parameters inside the path, ``body`` is what came with a POST.
    """

    path: str
    query: tuple[tuple[str, str], ...]
    headers: Mapping[str, str]
    parts: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    def values(self, name: str) -> list[str]:
        """All values of one parameter, in order."""
        return [value for key, value in self.query if key == name]

    def value(self, name: str) -> str | None:
        """The parameter's first value, or None when it is absent."""
        return next((value for key, value in self.query if key == name), None)

    def names(self) -> set[str]:
        """The parameters that are present."""
        return {name for name, _ in self.query}


@dataclass(frozen=True, slots=True)
class Scene:
    """What an answer depends on beside the request: the truth, the switches, and the faults that hit this request.

    ``caller`` is whom the key stands for, where that changes the answer.
    """

    world: World
    switches: Switches
    faults: tuple[Fault, ...] = ()
    caller: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, JSON body (an object; a few APIs answer with a bare array or text) and extra headers."""

    status: int
    body: Document | list[Document] | str
    headers: Mapping[str, str] = field(default_factory=dict)


class Refusal(Exception):  # noqa: N818 - a refusal is an answer, the API's, not this program's failure
    """The API's refusal of a request, with its own status and error body."""

    def __init__(self, status: int, body: Document) -> None:
        super().__init__(status)
        self.body = body
        self.answer = Answer(status, body)


def answered_dimensions(asked: Sequence[str], faults: tuple[Fault, ...]) -> tuple[str, ...]:
    """The dimensions that are grouped by, without those that a fault leaves unanswered."""
    unanswered = {
        fault.dimension or (asked[0] if asked else None)
        for fault in faults
        if fault.kind is FaultKind.DIMENSION_UNANSWERED
    }
    return tuple(dimension for dimension in asked if dimension not in unanswered)


def spoil(body: Document, here: Cursor, digest: bytes, faults: tuple[Fault, ...]) -> Document:
    """The answer's body after its content faults. ``here`` is the page that the body holds."""
    for fault in faults:
        match fault.kind:
            case FaultKind.REPEATED_CURSOR:
                body |= {"has_more": True, "next_page": page_token(here, digest)}
            case FaultKind.EMPTY_PAGE:
                onward = replace(here, page_number=here.page_number + 1)
                body |= {"data": [], "has_more": True, "next_page": page_token(onward, digest)}
            case FaultKind.CURSOR_MISSING:
                body["has_more"] = True
                body.pop("next_page", None)
            case FaultKind.UNKNOWN_FIELD:
                for result in _results(body):
                    result[SURPRISE_FIELD] = 7
            case FaultKind.NEGATIVE_COUNT:
                _make_negative(_results(body)[:1])
            case _:
                pass
    return body


def _results(body: Document) -> list[Document]:
    return [result for bucket in body["data"] for result in bucket["results"]]


def _make_negative(results: list[Document]) -> None:
    for result in results:
        if "amount" not in result:
            counts = [name for name, value in result.items() if type(value) is int]
            result["output_tokens" if "output_tokens" in counts else counts[0]] = NEGATIVE_TOKENS
        elif isinstance(result["amount"], dict):
            result["amount"]["value"] = NEGATIVE_AMOUNT
        else:
            result["amount"] = NEGATIVE_AMOUNT
