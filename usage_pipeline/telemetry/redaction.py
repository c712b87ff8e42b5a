"""Masking secrets in texts: what looks like a key, and what is known to be one.

Comes in: any text on its way out (a log line, an alert). Goes out: the same text with ``[redacted]`` in place of each
secret. Known are the values of environment variables that hold secrets by their name, the parts of alert URLs, the
passwords of database URLs, and every secret that was opened in this process (:func:`remember_secret`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from usage_pipeline.credentials.secret import Secret

MASK: Final = "[redacted]"

KNOWN_CHARACTERS_MIN: Final = 6
"""Shorter values are left alone: masking "1" everywhere would leave no text."""

_REMEMBERED_MAX: Final = 1_000

# By the last word of its name. A URL is a secret only in part; see _parts_of_url.
_SECRET_VARIABLE: Final = re.compile(r"(?:^|_)(?:KEYS?|TOKENS?|SECRETS?|PASSWORD|PASSWD|CREDENTIALS?)$", re.IGNORECASE)
_URL_VARIABLE: Final = re.compile(r"(?:^|_)URLS?$", re.IGNORECASE)
_ALERT_URLS: Final = "USAGE_ALERT_URLS"
_BETWEEN_URLS: Final = re.compile(r"[\s,]+")

# A part of a URL that is no word and no address: with a digit in it, or long.
_TOKEN_LIKE: Final = re.compile(r"(?=[^.]*\d)[^.:]{8,}|[^.:]{20,}")

_PATTERNS: Final = (
    # A key with one of the usual prefixes, also one that a provider masked in part.
    (re.compile(r"\b(?:sk|rk|pk|xox[a-z]|gh[a-z]|glpat)[-_][A-Za-z0-9_*.•-]{8,}"), MASK),
    (re.compile(r"\b(up[hrs]_[0-9a-f]{10})_[0-9A-Za-z]{8,}"), rf"\1_{MASK}"),
    (re.compile(r"\b(bearer|basic)\s+(?!\[redacted\])[^\s,;\"']+", re.IGNORECASE), rf"\1 {MASK}"),
    (re.compile(r"(?<=://)[^\s/@\"']+@"), f"{MASK}@"),
    (
        re.compile(
            r"\b((?:api[_-]?key|access[_-]?token|token|secret|password|passwd|signature)\"?\s*[=:]\s*\"?)"
            r"(?!\[redacted\])[^\s&,;\"']+",
            re.IGNORECASE,
        ),
        rf"\1{MASK}",
    ),
    # Any long run of letters and digits. Ids of runs have dashes, and our own names are shorter.
    (re.compile(r"\b(?=[A-Za-z0-9+]*[0-9])(?=[A-Za-z0-9+]*[A-Za-z])[A-Za-z0-9+]{32,}={0,2}"), MASK),
)

_remembered: dict[str, None] = {}


def remember_secret(secret: Secret) -> None:
    """Mask this secret from now on in every text of the process. Of very many, the oldest are forgotten."""
    text = secret.reveal()
    for one in (text, *(_parts_of_url(text, everything=True) if "://" in text else ())):
        _remembered.pop(one, None)
        _remembered[one] = None
    while len(_remembered) > _REMEMBERED_MAX:
        del _remembered[next(iter(_remembered))]


class Redactor:
    """Masks secrets. Holds the values that are secret in an environment, and shows none of them."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._known = _longest_first(_values_of(environ))

    def text(self, text: str) -> str:
        """``text`` without its secrets."""
        for known in _longest_first((*_remembered, *self._known)):
            if known in text:
                text = text.replace(known, MASK)
        for pattern, mask in _PATTERNS:
            text = pattern.sub(mask, text)
        return text

    def value(self, value: Any) -> Any:
        """A value of a log event, with every text in it masked. What is neither text, number nor collection becomes
        its text."""
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, Mapping):
            return {self.text(str(name)): self.value(one) for name, one in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self.value(one) for one in value]
        return self.text(str(value))

    def __repr__(self) -> str:
        return f"Redactor({len(self._known)} known values)"


def _longest_first(values: Iterable[str]) -> tuple[str, ...]:
    """The values that are long enough to be masked; a longer one first, since it may contain a shorter one."""
    return tuple(sorted({v for v in values if len(v) >= KNOWN_CHARACTERS_MIN}, key=lambda v: (-len(v), v)))


def _values_of(environ: Mapping[str, str]) -> Iterator[str]:
    for name, value in environ.items():
        if name.upper() == _ALERT_URLS:
            for url in _BETWEEN_URLS.split(value.strip()):
                yield url
                yield from _parts_of_url(url, everything=True)
        elif _SECRET_VARIABLE.search(name):
            yield value.strip()
            # A key ring is a list of id:key.
            yield from (part.rpartition(":")[2].strip() for part in _BETWEEN_URLS.split(value))
        elif _URL_VARIABLE.search(name):
            yield from _parts_of_url(value.strip(), everything=False)


def _parts_of_url(url: str, *, everything: bool) -> Iterator[str]:
    """The parts of a URL that may be secret: its user's password, or of an alert URL every part that is no address."""
    try:
        parts = urlsplit(url)
        password, user, host = parts.password, parts.username, parts.netloc.rpartition("@")[2].partition(":")[0]
    except ValueError:
        return
    yield from _plain(password)
    if everything:
        # Of many services the first token stands where an address has its host.
        listed = [user, host, *parts.path.split("/"), *(value for _, value in parse_qsl(parts.query))]
        for one in listed:
            if one and _TOKEN_LIKE.fullmatch(one):
                yield from _plain(one)


def _plain(part: str | None) -> Iterator[str]:
    if part:
        yield from {part, unquote(part)}
