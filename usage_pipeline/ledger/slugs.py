"""The names of workspaces, provider keys and Hermes feeds: short, lower-case, safe in a path and a partition key.

Here: the one rule for a part of a name, and how a name of several parts is read. In: text from a person. Out: the same
text, or an error. Not here: whether the name exists.
"""

from __future__ import annotations

import re
from typing import Final

from usage_pipeline.errors import InvalidInputError

PART_CHARACTERS_MAX: Final = 63
"""Characters of one part: what a DNS label and PostgreSQL's own names hold."""

# `|` separates the dimensions of a partition key and `...` the ends of a range of them, so neither may occur.
_PART: Final = re.compile(r"[a-z0-9][a-z0-9_-]*")
_SHOWN_CHARACTERS_MAX: Final = 80


def check_part(text: str, *, where: str) -> str:
    """``text`` if it may be a part of a name: ``[a-z0-9][a-z0-9_-]*``, at most 63 characters.

    Raises :class:`InvalidInputError` ``slug_malformed``; ``where`` names the option or the field.
    """
    if len(text) > PART_CHARACTERS_MAX or _PART.fullmatch(text) is None:
        raise _malformed(text, where, "lower-case letters, digits, '-' and '_', the first one a letter or a digit")
    return text


def split_slug(text: str, *, parts: int, where: str) -> tuple[str, ...]:
    """The ``parts`` parts of a dotted name, each checked.

    Raises :class:`InvalidInputError` ``slug_malformed``.
    """
    found = text.split(".")
    if len(found) != parts or any(len(part) > PART_CHARACTERS_MAX or not _PART.fullmatch(part) for part in found):
        raise _malformed(text, where, f"{parts} parts of lower-case letters, digits, '-' and '_', joined by dots")
    return tuple(found)


def _malformed(text: str, where: str, wanted: str) -> InvalidInputError:
    shown = repr(text) if len(text) <= _SHOWN_CHARACTERS_MAX else f"a name of {len(text)} characters"
    return InvalidInputError(
        "slug_malformed",
        f"{shown} is not a name: it needs {wanted}, each part at most {PART_CHARACTERS_MAX} characters",
        where=where,
        remedy="Write it like acme or acme-east.",
    )
