"""The secret value: a text that does not print, pickle or serialise itself.

Belongs here: the wrapper and what counts as a well-formed secret. Comes in: text from a prompt, a file or an opened
seal. Goes out: a ``Secret``, whose text leaves only through ``reveal()``, so that a search for that word finds every
place where a plain secret is used.
"""

from __future__ import annotations

import hmac
import unicodedata
from typing import Final, NoReturn, Self, final

from usage_pipeline.errors import InvalidInputError

SECRET_BYTES_MAX: Final = 65_536
"""The longest secret, in bytes of UTF-8."""

_MASK: Final = "***"

# Control, format (zero-width, byte order mark), lone surrogate, line and paragraph separator: none can be sent in a
# header, none can be seen on a screen, and all of them come from a careless paste.
_REFUSED_CATEGORIES: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


@final
class Secret:
    """A secret text that shows itself as ``***``.

    Immutable. Compares in constant time, and only with another ``Secret``. Pickling raises ``TypeError``; JSON encoders
    do not know it and refuse it too.

    Raises ``InvalidInputError``: ``secret_empty`` (nothing but white space), ``secret_malformed`` (a control or
    invisible character, or more than ``SECRET_BYTES_MAX`` bytes). ``where`` names the source in those errors.
    """

    __slots__ = ("__text",)

    __text: str

    def __init__(self, text: str, *, where: str = "secret") -> None:
        _check(text, where)
        object.__setattr__(self, "_Secret__text", text)

    @classmethod
    def from_text(cls, text: str, *, where: str = "secret") -> Self:
        """Make a secret from a file's or a prompt's text: one newline at the end (LF or CRLF) is not part of it.

        Raises what the constructor raises.
        """
        return cls(text.removesuffix("\n").removesuffix("\r") if text.endswith("\n") else text, where=where)

    def reveal(self) -> str:
        """The plain text. Only for the call that sends it or the one that seals it; never for a message."""
        return self.__text

    def __repr__(self) -> str:
        return f"Secret({_MASK})"

    def __str__(self) -> str:
        return _MASK

    def __format__(self, format_spec: str) -> str:
        return _MASK

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self.__text.encode(), other.__text.encode())

    def __hash__(self) -> int:
        # The same for all, so that a printed hash says nothing; a process holds few secrets.
        return hash(Secret)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError("a Secret cannot be changed")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError("a Secret cannot be changed")

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __getstate__(self) -> NoReturn:
        raise TypeError("a Secret cannot be pickled")

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a Secret cannot be pickled")


def _check(text: str, where: str) -> None:
    if not isinstance(text, str):
        raise TypeError("a Secret is made from a str")
    if not text.strip():
        raise InvalidInputError("secret_empty", "the secret is empty", where=where, remedy="Give the secret's text.")
    for position, character in enumerate(text, start=1):
        if unicodedata.category(character) in _REFUSED_CATEGORIES:
            raise InvalidInputError(
                "secret_malformed",
                f"character {position} of the secret is a control or invisible character",
                where=where,
                remedy="Copy the secret again, on one line, without anything around it.",
            )
    if len(text.encode()) > SECRET_BYTES_MAX:
        raise InvalidInputError(
            "secret_malformed",
            f"the secret is longer than {SECRET_BYTES_MAX} bytes",
            where=where,
            remedy="Check that this is the secret and not some other file.",
        )
