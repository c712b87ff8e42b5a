"""A reference instead of a stored secret: ``env:NAME``, ``file:/path``, or a scheme that an entry point adds.

Belongs here: reading a reference and fetching what it points at. Comes in: the reference's text and the environment.
Goes out: a ``Secret``. A plug-in joins under the entry point group ``usage_pipeline.secret_references``: its name is
the scheme, its value a callable that takes the target and gives the secret's text. A text that is refused is never
shown, since it may be a secret pasted into the wrong place.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Final, Self

from usage_pipeline.credentials.regular_file import read_regular_file
from usage_pipeline.credentials.secret import SECRET_BYTES_MAX, Secret
from usage_pipeline.errors import InvalidInputError, PermanentError, TransientError, UsagePipelineError

REFERENCE_GROUP: Final = "usage_pipeline.secret_references"
BUILT_IN_SCHEMES: Final = ("env", "file")
TARGET_LENGTH_MAX: Final = 4_096
"""Characters: the longest path that Linux takes."""

_SCHEME: Final = re.compile(r"[a-z][a-z0-9_+.-]{0,31}")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_NEWLINES_MAX: Final = 2


@dataclass(frozen=True, slots=True)
class SecretReference:
    """Where a secret is kept. Not a secret itself: ``str()`` gives the text that ``parse`` reads.

    Raises ``InvalidInputError`` ``secret_reference_malformed`` if the target does not fit the scheme.
    """

    scheme: str
    target: str

    def __post_init__(self) -> None:
        if _SCHEME.fullmatch(self.scheme) is None:
            raise _malformed("it does not start with a scheme and a colon")
        if not self.target or len(self.target) > TARGET_LENGTH_MAX or not self.target.isprintable():
            raise _malformed("what follows the scheme is empty, too long or has control characters")
        if self.scheme == "env" and _VARIABLE.fullmatch(self.target) is None:
            raise _malformed("what follows env: is not the name of an environment variable")
        if self.scheme == "file" and (not self.target.startswith("/") or self.target.startswith("//")):
            raise _malformed("what follows file: is not an absolute path")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``scheme:target``; ``file:///path`` is taken as ``file:/path``.

        Raises ``InvalidInputError``: ``secret_reference_malformed``, ``secret_reference_scheme_unknown``. Neither
        shows the text.
        """
        scheme, colon, target = text.strip().partition(":")
        if not colon or _SCHEME.fullmatch(scheme) is None:
            raise _malformed("it does not start with a scheme and a colon")
        if scheme not in known_schemes():
            raise InvalidInputError(
                "secret_reference_scheme_unknown",
                "the reference to a secret has a scheme that is not known (not shown, it may be a secret)",
                where="secret reference",
                remedy=f"Known schemes: {', '.join(known_schemes())}. {_NOT_A_SECRET}",
            )
        if scheme == "file" and target.startswith("///"):
            target = "/" + target.lstrip("/")
        return cls(scheme, target)

    def __str__(self) -> str:
        return f"{self.scheme}:{self.target}"

    def resolve(self, environ: Mapping[str, str]) -> Secret:
        """Fetch the secret, without the newline at its end.

        Raises ``PermanentError``: ``secret_env_missing`` (not set, or empty), ``secret_file_unreadable``,
        ``secret_empty``, ``secret_malformed``, ``secret_reference_scheme_missing`` (the plug-in is not installed),
        ``secret_reference_failed`` (the plug-in broke); ``TransientError`` ``secret_reference_unavailable`` (the
        plug-in could not reach its store). A ``UsagePipelineError`` of a plug-in passes through.
        """
        if self.scheme == "env":
            text = self._from_environment(environ)
        elif self.scheme == "file":
            text = self._from_file()
        else:
            text = self._from_plug_in()
        try:
            return Secret.from_text(text, where=str(self))
        except InvalidInputError as error:
            raise PermanentError(error.code, error.what, where=error.where, remedy=error.remedy) from None

    def _from_environment(self, environ: Mapping[str, str]) -> str:
        text = environ.get(self.target, "")
        if not text:
            raise PermanentError(
                "secret_env_missing",
                f"the environment variable {self.target} is not set or empty",
                where=str(self),
                remedy="Set it for every process that pulls, or change the key's reference.",
            )
        return text

    def _from_file(self) -> str:
        try:
            file = read_regular_file(Path(self.target), bytes_max=SECRET_BYTES_MAX + _NEWLINES_MAX)
        except (OSError, ValueError) as error:
            raise self._unreadable(getattr(error, "strerror", None) or type(error).__name__) from None
        try:
            text = file.content.decode()
        except UnicodeDecodeError:
            text = None
        if text is None:
            raise self._unreadable("it is not UTF-8")
        return text

    def _unreadable(self, why: str) -> PermanentError:
        return PermanentError(
            "secret_file_unreadable",
            f"the secret's file cannot be read: {why}",
            where=str(self),
            remedy="Make the file readable for this user, or change the key's reference.",
        )

    def _from_plug_in(self) -> str:
        plug_in = _plug_ins().get(self.scheme)
        if plug_in is None:
            raise PermanentError(
                "secret_reference_scheme_missing",
                f"nothing installed here knows the scheme {self.scheme}",
                where=str(self),
                remedy=f"Install the package that provides it in the group {REFERENCE_GROUP}.",
            )
        answer = self._ask(plug_in)
        if isinstance(answer, UsagePipelineError):
            raise answer
        return answer

    def _ask(self, plug_in: EntryPoint) -> str | UsagePipelineError:
        """The plug-in's answer, or the error to raise: raised later, as a foreign error's text may hold the secret."""
        try:
            answer: object = plug_in.load()(self.target)
        except UsagePipelineError as error:
            return error
        except (FileNotFoundError, PermissionError) as error:
            return self._broken(f"the plug-in for {self.scheme} raised {type(error).__name__}")
        except OSError as error:  # connections and timeouts, those of urllib too
            return TransientError(
                "secret_reference_unavailable",
                f"the secret's store could not be reached ({type(error).__name__})",
                where=str(self),
                remedy="Check that the store answers, then run again.",
            )
        except Exception as error:  # noqa: BLE001 - a plug-in may raise anything, and only its type is safe to show
            return self._broken(f"the plug-in for {self.scheme} raised {type(error).__name__}")
        if not isinstance(answer, str):
            return self._broken(f"the plug-in for {self.scheme} gave {type(answer).__name__} instead of str")
        return answer

    def _broken(self, what: str) -> PermanentError:
        return PermanentError(
            "secret_reference_failed", what, where=str(self), remedy="Check the target and the plug-in's own settings."
        )


def known_schemes() -> tuple[str, ...]:
    """The schemes that resolve here: the built-in ones, then those of installed plug-ins in alphabetical order."""
    return (*BUILT_IN_SCHEMES, *sorted(_plug_ins()))


def _plug_ins() -> dict[str, EntryPoint]:
    return {
        entry.name: entry
        for entry in entry_points(group=REFERENCE_GROUP)
        if entry.name not in BUILT_IN_SCHEMES and _SCHEME.fullmatch(entry.name)
    }


_NOT_A_SECRET: Final = "A secret itself is never given as a reference."  # noqa: S105 - a sentence, no password


def _malformed(what: str) -> InvalidInputError:
    return InvalidInputError(
        "secret_reference_malformed",
        f"this is no reference to a secret: {what} (not shown, it may be a secret)",
        where="secret reference",
        remedy=f"Write env:NAME or file:/absolute/path. {_NOT_A_SECRET}",
    )
