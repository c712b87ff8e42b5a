"""What can be switched while the sandbox runs: contract generations, alterations of the truth, and faults.

In: keyword arguments from Python or a JSON object from ``POST /_sandbox/switches``. Out: one immutable
:class:`Switches` at a time, and for each request the faults that hit it. :class:`SwitchBoard` is thread-safe.
"""

from __future__ import annotations

import enum
import fnmatch
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any, Literal, TypeVar

import msgspec

from usage_pipeline.errors import InvalidInputError
from usage_pipeline.sandbox.world import Alterations, Vanish

OPENAI_USAGE_PATH = "/v1/organization/usage/completions"
OPENAI_COSTS_PATH = "/v1/organization/costs"
ANTHROPIC_USAGE_PATH = "/v1/organizations/usage_report/messages"
ANTHROPIC_COSTS_PATH = "/v1/organizations/cost_report"


Typed = TypeVar("Typed", "Fault", Vanish)
_CHOICES: Mapping[str, tuple[object, ...]] = {
    "openai_contract": ("2025", "2026"),
    "anthropic_contract": ("2025", "2026"),
    "openai_last_cursor": (None, ""),
    "openai_null_dimension": (None, ""),
    "openai_extras": (True, False),
    "openai_costs_refuse_api_key_id": (True, False),
    "openai_costs_refuse_user_id_with_project": (True, False),
    "anthropic_cost_open_day": (True, False),
}
_COUNTS = ("revision", "alter_from_revision", "late_minutes", "anthropic_group_by_max")
_CAPS = ("anthropic_results_max",)


class FaultKind(enum.StrEnum):
    """What goes wrong. The first group breaks the exchange, the second the content of a good answer."""

    STATUS = "status"
    HTML = "html"
    TRUNCATED_BODY = "truncated_body"
    CONNECTION_RESET = "connection_reset"
    SLOW = "slow"
    REDIRECT = "redirect"

    REPEATED_CURSOR = "repeated_cursor"
    EMPTY_PAGE = "empty_page"
    CURSOR_MISSING = "cursor_missing"
    UNKNOWN_FIELD = "unknown_field"
    NEGATIVE_COUNT = "negative_count"
    DIMENSION_UNANSWERED = "dimension_unanswered"


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong, and for which requests.

    ``path`` is an exact path or a pattern (``*/costs``); ``page`` narrows it to that page of a listing, from 1.
    Of the requests that match, the fault starts at the ``first_request``-th and hits ``times`` of them (None: all).
    ``status`` and ``retry_after`` belong to STATUS: a text of digits is sent as seconds, ``http-date:N`` as the date N
    seconds ahead of the sandbox's clock, None sends no header. ``delay_s`` belongs to SLOW, ``location`` to REDIRECT,
    ``dimension`` to DIMENSION_UNANSWERED (None: the first one asked for).
    """

    kind: FaultKind
    path: str = "*"
    page: int | None = None
    first_request: int = 1
    times: int | None = 1
    status: int = 429
    retry_after: str | None = None
    delay_s: float = 1.0
    location: str = "http://elsewhere.invalid/"
    dimension: str | None = None


@dataclass(frozen=True, slots=True)
class Switches:
    """Every setting of a running sandbox.

    ``restate`` and ``vanish`` take effect while ``revision >= alter_from_revision``, so that a test can look twice at
    the same days by raising ``revision``. ``late_minutes`` hides young rows at any revision.
    """

    openai_contract: Literal["2025", "2026"] = "2026"
    anthropic_contract: Literal["2025", "2026"] = "2026"
    openai_last_cursor: str | None = None
    openai_null_dimension: str | None = None
    openai_extras: bool = True
    openai_costs_refuse_api_key_id: bool = False
    openai_costs_refuse_user_id_with_project: bool = False
    anthropic_cost_open_day: bool = False
    revision: int = 0
    alter_from_revision: int = 0
    restate: Mapping[str, Decimal] = field(default_factory=dict)
    vanish: tuple[Vanish, ...] = ()
    late_minutes: int = 0
    faults: tuple[Fault, ...] = ()
    anthropic_group_by_max: int = 5
    anthropic_results_max: int | None = None

    def alterations(self) -> Alterations:
        """What these switches do to the world's truth."""
        if self.revision < self.alter_from_revision:
            return Alterations(late_minutes=self.late_minutes)
        return Alterations(self.restate, self.vanish, self.late_minutes)

    def as_json(self) -> dict[str, Any]:
        """The switches as the document that ``POST /_sandbox/switches`` takes."""
        document = asdict(self)
        document["restate"] = {day: str(factor) for day, factor in self.restate.items()}
        document["vanish"] = [asdict(gone) | {"day": gone.day.isoformat()} for gone in self.vanish]
        return document


class SwitchBoard:
    """Holds the current switches and counts which requests each fault has seen; safe to use from any thread."""

    def __init__(self, switches: Switches) -> None:
        self._lock = threading.Lock()
        self._switches = _checked(switches)
        self._seen: dict[Fault, int] = {}

    @property
    def current(self) -> Switches:
        """The switches as they are now."""
        with self._lock:
            return self._switches

    def change(self, **changes: Any) -> Switches:
        """Sets the named switches, and with ``faults`` also starts their counts anew.

        Values may be plain JSON. Raises InvalidInputError ``sandbox_switch_invalid``; then nothing has changed.
        """
        unknown = sorted(set(changes) - {switch.name for switch in fields(Switches)})
        if unknown:
            raise _invalid(f"unknown switch {', '.join(unknown)}")
        with self._lock:
            self._switches = _checked(replace(self._switches, **changes))
            if "faults" in changes:
                self._seen.clear()
            return self._switches

    def take_faults(self, path: str, page: int) -> tuple[Fault, ...]:
        """The faults that hit this request; each one that matches counts it."""
        hits = []
        with self._lock:
            for fault in dict.fromkeys(self._switches.faults):
                if not fnmatch.fnmatchcase(path, fault.path) or fault.page not in (None, page):
                    continue
                seen = self._seen.get(fault, 0) + 1
                self._seen[fault] = seen
                if seen >= fault.first_request and (fault.times is None or seen < fault.first_request + fault.times):
                    hits.append(fault)
        return tuple(hits)


def _checked(switches: Switches) -> Switches:
    """The switches with plain JSON turned into types. Raises InvalidInputError."""
    try:
        checked = replace(
            switches,
            restate={_restated_day(day): _factor(factor) for day, factor in switches.restate.items()},
            vanish=tuple(_typed(gone, Vanish) for gone in switches.vanish),
            faults=tuple(_typed(fault, Fault) for fault in switches.faults),
        )
    except (TypeError, ValueError, InvalidOperation, AttributeError) as error:
        raise _invalid(f"a value was not understood ({error})") from None
    for name, allowed in _CHOICES.items():
        if getattr(checked, name) not in allowed:
            raise _invalid(f"{name} must be one of {', '.join(map(repr, allowed))}")
    for name in _COUNTS:
        if type(getattr(checked, name)) is not int or getattr(checked, name) < 0:
            raise _invalid(f"{name} must be a whole number, not negative")
    for name in _CAPS:
        cap = getattr(checked, name)
        if cap is not None and (type(cap) is not int or cap < 1):
            raise _invalid(f"{name} must be null or a whole number from 1")
    return checked


def _restated_day(key: str) -> str:
    provider, colon, day = key.rpartition(":")
    if colon and provider not in ("openai", "anthropic", "openrouter"):
        raise ValueError(f"no provider {provider}")
    date.fromisoformat(day)
    return key


def _factor(factor: object) -> Decimal:
    number = Decimal(str(factor))
    if not number.is_finite() or number < 0:
        raise ValueError("a restate factor must be finite and not negative")
    return number


def _typed(value: Typed | Mapping[str, Any], kind: type[Typed]) -> Typed:
    """A dataclass as it is, or one from a JSON object whose fields all exist and have the right types."""
    document = value if isinstance(value, Mapping) else {f.name: getattr(value, f.name) for f in fields(value)}
    unknown = sorted(set(document) - {f.name for f in fields(kind)})
    if unknown:
        raise ValueError(f"no {', '.join(unknown)} in {kind.__name__}")
    return msgspec.convert(document, kind)


def _invalid(what: str) -> InvalidInputError:
    return InvalidInputError(
        "sandbox_switch_invalid", what, where="sandbox switches", remedy="See usage_pipeline/sandbox/switches.py."
    )
