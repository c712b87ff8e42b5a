"""Reading the fields of a JSON payload, strictly, so that a refusal names the field.

Belongs here: decoding bytes without rounding a number, and the checks of a single value (text, count, cost, instant,
bucket). In: the body, or one object of it. Out: Python values, or :class:`PayloadRefusedError` with the field's path.

No message repeats a value of the payload: it may hold what should not be in a log.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from usage_pipeline.hermes.batch import PayloadRefusedError

COUNT_MAX = 2**63 - 1
"""The largest count that a bigint column holds."""

COST_USD_LIMIT = Decimal(10) ** 12
"""A cost of a trillion US dollars or more is a mistake, not a cost."""

NUMBER_CHARACTERS_MAX = 64
"""No figure needs more; a longer one only costs time."""

TEXT_CHARACTERS_MAX = 500

_PLAIN_CHARACTERS_MAX = 20

_GZIP_MAGIC = b"\x1f\x8b"

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_HOUR = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:00:00Z", re.ASCII)
_INSTANT = re.compile(r"(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d{1,6})?)(?:Z|\+00:00)", re.ASCII)
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_INDEX = re.compile(r"\[\d+\]")


def exact_number(digits: str) -> Decimal:
    """A JSON number as a Decimal, digit for digit; NaN where it is absurdly long or large, so that the field's own
    check refuses it by name."""
    if len(digits) <= _PLAIN_CHARACTERS_MAX and "e" not in digits and "E" not in digits:
        return Decimal(digits)  # nearly all; the checks below could find nothing
    if len(digits) > NUMBER_CHARACTERS_MAX:
        return Decimal("NaN")
    try:
        number = Decimal(digits)
    except InvalidOperation:
        return Decimal("NaN")
    exponent = number.as_tuple().exponent
    too_wide = not isinstance(exponent, int) or abs(exponent) > NUMBER_CHARACTERS_MAX
    return Decimal("NaN") if too_wide else number


_DECODER = msgspec.json.Decoder(float_hook=exact_number)


def decode_json(body: bytes) -> Any:
    """The JSON value of ``body``: whole numbers as int, others as Decimal, never as float.

    Raises PayloadRefusedError ``payload_not_json``.
    """
    try:
        try:
            return _DECODER.decode(body)
        except msgspec.ValidationError:
            # A whole number beyond 64 bits stops msgspec without a field's name; the slower reader lets it through
            # as a Decimal, and the check of its field refuses it by name.
            return json.loads(body, parse_float=exact_number, parse_int=exact_number)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        if body.startswith(_GZIP_MAGIC):
            what, remedy = "the body is gzipped and no header says so", "Send it with Content-Encoding: gzip."
        else:
            what, remedy = "the body is not JSON in UTF-8", "Send the payload as one JSON object."
        raise PayloadRefusedError("payload_not_json", what, remedy=remedy) from None


def refusal(where: str, what: str, code: str = "payload_contract") -> PayloadRefusedError:
    """A refusal at the field ``where``."""
    return PayloadRefusedError(code, what, where=where, remedy="Nothing of the payload was used.")


class Fields:
    """One JSON object of the payload: its path, its values, and the names of its fields that nobody knows.

    ``unknown`` is shared by a whole payload: it maps each unknown field, written without list positions, to the path
    where it was first seen.
    """

    __slots__ = ("_values", "path", "unknown")

    def __init__(self, value: object, path: str, known: frozenset[str], unknown: dict[str, str]) -> None:
        if not isinstance(value, dict):
            raise refusal(path or "payload", "must be an object")
        self._values: dict[str, Any] = value
        self.path = path
        self.unknown = unknown
        for name in () if known.issuperset(value) else value.keys() - known:
            where = self.at(_UNPRINTABLE.sub("?", name[:60]))
            unknown.setdefault(_INDEX.sub("[]", where), where)

    def at(self, name: str) -> str:
        """The path of the field ``name``."""
        return f"{self.path}.{name}" if self.path else name

    def holds(self, name: str) -> bool:
        """Whether the field is present, null included."""
        return name in self._values

    def has(self, name: str) -> bool:
        """Whether the field is present and not null."""
        return self._values.get(name) is not None

    def child(self, name: str, known: frozenset[str]) -> Fields:
        """The object at ``name``."""
        if name not in self._values:
            raise self._not(name, "an object")
        return Fields(self._values.get(name), self.at(name), known, self.unknown)

    def children(self, name: str, known: frozenset[str]) -> Iterator[Fields]:
        """The objects of the list at ``name``."""
        values = self._values.get(name)
        path = self.at(name)
        if not isinstance(values, list):
            raise self._not(name, "a list")
        for index, value in enumerate(values):
            yield Fields(value, f"{path}[{index}]", known, self.unknown)

    def text(self, name: str, *, may_be_empty: bool = False) -> str:
        """Printable text of at most 500 characters."""
        value = self._values.get(name)
        if not isinstance(value, str):
            raise self._not(name, "text")
        if 0 < len(value) <= TEXT_CHARACTERS_MAX and value.isascii() and value.isprintable() and value[0] != " ":
            return value  # nearly all
        if not (may_be_empty or value.strip()):
            raise refusal(self.at(name), "must not be empty")
        if len(value) > TEXT_CHARACTERS_MAX or _UNPRINTABLE.search(value):
            raise refusal(self.at(name), f"must be printable and have at most {TEXT_CHARACTERS_MAX} characters")
        return value

    def optional_text(self, name: str) -> str:
        """The text at ``name``, ``""`` where it is absent or null."""
        return self.text(name, may_be_empty=True) if self.has(name) else ""

    def count(self, name: str) -> int:
        """A whole number from 0 to 2**63 - 1; ``5.0`` is taken for 5."""
        value = self._values.get(name)
        if type(value) is int and 0 <= value <= COUNT_MAX:
            return value  # nearly all
        value = self._number(name)
        if value != int(value):
            raise refusal(self.at(name), "must be a whole number")
        if value > COUNT_MAX:
            raise refusal(self.at(name), "is larger than any count can be")
        return int(value)

    def optional_count(self, name: str) -> int | None:
        """The count at ``name``, None where it is absent or null: not reported is not 0."""
        return self.count(name) if self.has(name) else None

    def quantity(self, name: str) -> Decimal:
        """A number from 0 up to 10**12 (US dollars, milliseconds), with all its decimals."""
        value = self._values.get(name)
        if type(value) is Decimal and value.is_finite() and 0 <= value < COST_USD_LIMIT:
            return value.copy_abs()  # nearly all; -0.0 is 0
        value = self._number(name)
        if value >= COST_USD_LIMIT:
            raise refusal(self.at(name), "is larger than any cost can be")
        return value.copy_abs() if isinstance(value, Decimal) else Decimal(value)  # -0.0 is 0

    def optional_quantity(self, name: str) -> Decimal | None:
        """The number at ``name``, None where it is absent or null: not reported is not 0."""
        return self.quantity(name) if self.has(name) else None

    def flag(self, name: str) -> bool:
        """A true or a false."""
        value = self._values.get(name)
        if not isinstance(value, bool):
            raise self._not(name, "true or false")
        return value

    def instant(self, name: str) -> datetime:
        """An ISO 8601 instant in UTC, written with ``Z`` or ``+00:00``."""
        written = _INSTANT.fullmatch(self.text(name))
        try:
            if written is not None:
                return datetime.fromisoformat(written[1]).replace(tzinfo=UTC)
        except ValueError:
            pass
        raise refusal(self.at(name), "must be an ISO 8601 instant in UTC, such as 2025-11-19T02:00:00Z")

    def day(self, name: str) -> date:
        """A UTC day, written YYYY-MM-DD."""
        written = self.text(name)
        try:
            if _DAY.fullmatch(written):
                return date.fromisoformat(written)
        except ValueError:
            pass
        raise refusal(self.at(name), "must be a day of the calendar, written YYYY-MM-DD")

    def hour(self, name: str) -> datetime:
        """The start of a UTC hour, written YYYY-MM-DDTHH:00:00Z."""
        if not _HOUR.fullmatch(self.text(name)):
            raise refusal(self.at(name), "must be the start of a UTC hour, written YYYY-MM-DDTHH:00:00Z")
        return self.instant(name)

    def is_day(self, name: str) -> bool:
        """Whether the text at ``name`` has the length of a day, not of an hour."""
        return len(self.text(name)) == len("YYYY-MM-DD")

    def _not(self, name: str, kind: str) -> PayloadRefusedError:
        """The refusal of a field that is not what it must be, or not there at all."""
        return refusal(self.at(name), f"must be {kind}" if self.holds(name) else "is missing")

    def _number(self, name: str) -> int | Decimal:
        value = self._values.get(name)
        if isinstance(value, bool) or not isinstance(value, int | Decimal):
            raise self._not(name, "a number")
        if isinstance(value, Decimal) and not value.is_finite():
            raise refusal(self.at(name), "is not a finite number of a sensible size")
        if value < 0:
            raise refusal(self.at(name), "must not be negative")
        return value
