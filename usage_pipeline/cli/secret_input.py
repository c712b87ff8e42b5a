"""The option ``--secret``: a reference, or ``-`` for a secret on standard input. A secret itself is never taken."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from usage_pipeline.errors import InvalidInputError

if TYPE_CHECKING:
    from usage_pipeline.credentials.registration import SecretSource
    from usage_pipeline.credentials.secret import Secret

FROM_STANDARD_INPUT: Final = "-"
_PLACE: Final = "standard input"


def read_secret_source(written: str) -> SecretSource:
    """The secret, or the reference to it, that ``--secret`` names.

    Raises :class:`InvalidInputError`: ``secret_reference_malformed``, ``secret_reference_scheme_unknown``,
    ``secret_empty``, ``secret_malformed``; none of them shows what was written.
    """
    if written == FROM_STANDARD_INPUT:
        return _read_secret()
    from usage_pipeline.credentials.references import SecretReference

    return SecretReference.parse(written)


def _read_secret() -> Secret:
    from usage_pipeline.credentials.secret import SECRET_BYTES_MAX, Secret

    if sys.stdin.isatty():
        import getpass

        return Secret.from_text(getpass.getpass("Secret (not shown): "), where=_PLACE)
    # Three bytes more than the longest secret and its line's end: enough to see that it is too long.
    given = sys.stdin.buffer.read(SECRET_BYTES_MAX + 3)
    try:
        text = given.decode()
    except UnicodeDecodeError:
        text = None
    if text is None:
        raise InvalidInputError(
            "secret_malformed", "the secret is not UTF-8 text", where=_PLACE, remedy="Copy the secret again."
        )
    return Secret.from_text(text, where=_PLACE)
