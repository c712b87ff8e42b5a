"""The parameters of a request of the usage API, read strictly: what is not known, or is said twice, is refused.

A misspelt filter that was ignored would give the sum of everything for the sum of one thing. In: the query string's
names and values. Out: values of their types, or :class:`InvalidInputError` naming the parameter.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final

from usage_pipeline.cli.days import read_day
from usage_pipeline.cli.instants import read_as_of
from usage_pipeline.errors import InvalidInputError

DAYS_MAX: Final = 1100
"""The most days that one request may be about: three years."""

VALUE_CHARACTERS_MAX: Final = 500
VALUES_MAX: Final = 200


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter as the description names it. ``repeatable`` ones may be given several times: any of the values."""

    name: str
    words: str
    schema: Mapping[str, Any]
    required: bool = False
    repeatable: bool = False

    def described(self) -> dict[str, Any]:
        """The entry of OpenAPI."""
        schema = {"type": "array", "items": dict(self.schema)} if self.repeatable else dict(self.schema)
        return {
            "name": self.name,
            "in": "query",
            "required": self.required,
            "description": self.words,
            "schema": schema,
            **({"style": "form", "explode": True} if self.repeatable else {}),
        }


DAY_SCHEMA: Final = {"type": "string", "format": "date", "examples": ["2026-03-10"]}
FROM: Final = Parameter("from", "The first UTC day.", DAY_SCHEMA, required=True)
TO: Final = Parameter("to", f"The last UTC day, itself included; at most {DAYS_MAX} days.", DAY_SCHEMA, required=True)
WORKSPACE: Final = Parameter(
    "workspace", "The token's own workspace, which is also meant where this is left out.", {"type": "string"}
)
AS_OF: Final = Parameter(
    "as_of",
    "As it was believed at that instant, RFC 3339 with an offset.",
    {"type": "string", "format": "date-time", "examples": ["2026-03-14T06:00:00Z"]},
)
CURSOR: Final = Parameter("cursor", "Where to go on: next_cursor of the page before.", {"type": "string"})


def limit_of(most: int, default: int) -> Parameter:
    """The parameter ``limit`` of a route."""
    schema = {"type": "integer", "minimum": 1, "maximum": most, "default": default}
    return Parameter("limit", "How many rows at most.", schema)


class Parameters:
    """The parameters of one request."""

    def __init__(self, given: Iterable[tuple[str, str]], known: Sequence[Parameter]) -> None:
        """Raises :class:`InvalidInputError`: ``parameter_unknown``, ``parameter_twice``, ``parameter_malformed``."""
        names = {one.name: one for one in known}
        self._values: dict[str, list[str]] = defaultdict(list)
        for name, value in given:
            if name not in names:
                raise InvalidInputError(
                    "parameter_unknown",
                    "this route has no such parameter",
                    where=name if name.isidentifier() and len(name) <= 40 else "query",
                    remedy=f"It has {', '.join(names) or 'none at all'}.",
                )
            if len(value) > VALUE_CHARACTERS_MAX or "\0" in value:
                raise malformed(name, f"a text of at most {VALUE_CHARACTERS_MAX} characters without a zero character")
            if name in self._values and not names[name].repeatable:
                raise InvalidInputError("parameter_twice", "it is given twice", where=name, remedy="Give it once.")
            self._values[name].append(value)
            if len(self._values[name]) > VALUES_MAX:
                raise malformed(name, f"given at most {VALUES_MAX} times")
        for one in known:
            if one.required and one.name not in self._values:
                raise InvalidInputError(
                    "parameter_missing", "it must be given", where=one.name, remedy=f"It is: {one.words}"
                )

    def text(self, name: str) -> str | None:
        """The value; None where it is left out."""
        return self._values[name][0] if name in self._values else None

    def texts(self, name: str) -> frozenset[str]:
        """Every value of a repeatable one."""
        return frozenset(self._values.get(name, ()))

    def values(self, name: str) -> frozenset[str | None]:
        """Every value of a repeatable one; an empty one means what is not told, which is None."""
        return frozenset(value or None for value in self._values.get(name, ()))

    def choice(self, name: str, choices: Sequence[str]) -> str:
        """The value, the first of the choices where it is left out. Raises ``parameter_malformed``."""
        value = self.text(name)
        if value is None:
            return choices[0]
        self.check(value, choices, name)
        return value

    @staticmethod
    def check(value: str, choices: Sequence[str], name: str) -> None:
        """Refuse a value that is none of the choices. Raises ``parameter_malformed``."""
        if value not in choices:
            raise malformed(name, f"one of {', '.join(choices)}")

    def number(self, name: str, *, most: int, default: int) -> int:
        """A whole number from 1 to ``most``. Raises ``parameter_malformed``."""
        value = self.text(name)
        if value is None:
            return default
        digits = value.isascii() and value.isdecimal() and len(value) <= 12
        if not digits or not 1 <= int(value) <= most:
            raise malformed(name, f"a whole number from 1 to {most}")
        return int(value)

    def days(self) -> tuple[date, date]:
        """The half-open range of ``from`` and ``to``.

        Raises :class:`InvalidInputError`: ``date_malformed``, ``range_reversed``, ``range_too_long``.
        """
        first, last = read_day(self.text("from") or "", "from"), read_day(self.text("to") or "", "to")
        if first > last:
            raise InvalidInputError(
                "range_reversed", f"{first} is after {last}", where="from", remedy="Both days are included."
            )
        if (last - first).days >= DAYS_MAX:
            raise InvalidInputError(
                "range_too_long",
                f"{(last - first).days + 1} days are asked for, at most {DAYS_MAX} are answered",
                where="to",
                remedy="Ask for fewer days at a time.",
            )
        return first, last + timedelta(days=1)

    def as_of(self, now: datetime) -> datetime | None:
        """The instant of ``as_of`` in UTC; None where it is left out.

        Raises :class:`InvalidInputError`: ``instant_malformed``, ``instant_without_offset``, ``instant_in_future``.
        """
        written = self.text("as_of")
        if written is None:
            return None
        try:
            return read_as_of(written, now)
        except InvalidInputError as error:
            raise InvalidInputError(error.code, error.what, where="as_of", remedy=error.remedy) from None

    def cursor(self, *types: type) -> tuple[Any, ...] | None:
        """The place that ``cursor`` names, of values of these types; None where it is left out.

        Raises :class:`InvalidInputError` ``cursor_malformed``.
        """
        written = self.text("cursor")
        if written is None:
            return None
        try:
            place = json.loads(base64.urlsafe_b64decode(written.encode()))
        except (binascii.Error, ValueError, RecursionError):
            place = None
        if not isinstance(place, list) or [type(part) for part in place] != list(types):
            raise no_such_cursor()
        if not all(part.isprintable() for part in place if isinstance(part, str)):
            raise no_such_cursor()
        return tuple(place)


def cursor_of(*place: str | int) -> str:
    """The cursor that names a place."""
    return base64.urlsafe_b64encode(json.dumps(place, separators=(",", ":")).encode()).decode()


def malformed(name: str, wanted: str) -> InvalidInputError:
    """The error of a parameter that is not ``wanted``."""
    return InvalidInputError("parameter_malformed", f"it is not {wanted}", where=name, remedy="Correct it.")


def no_such_cursor() -> InvalidInputError:
    """The error of a cursor that no page gave."""
    return InvalidInputError(
        "cursor_malformed",
        "no page ended there",
        where="cursor",
        remedy="Send next_cursor as it came, or none for the first page.",
    )
