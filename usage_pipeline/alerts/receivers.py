"""Who is told, through apprise: a receiver per URL, asked at the same time, each for a bounded time.

In: the setting's entries (URLs, or references to one) and messages. Out: of each receiver None where it accepted, else
why not, without a secret. A receiver is shown by its kind and place in the list (``json``, ``slack-2``), since what
else a URL has may be a token, and known by a digest of its URL. One that does not answer in time is asked nothing more
until it did: its answer is had by :func:`late_answers`.
"""

from __future__ import annotations

import hashlib
import importlib
import logging
import re
import threading
import time
import warnings
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, Final

from usage_pipeline.alerts.message import Message
from usage_pipeline.credentials.references import SecretReference
from usage_pipeline.credentials.secret import Secret
from usage_pipeline.errors import InvalidInputError, PermanentError, TransientError, UsagePipelineError
from usage_pipeline.telemetry.redaction import Redactor, remember_secret

if TYPE_CHECKING:
    from apprise import NotifyBase

RECEIVER_SECONDS_MAX: Final = 20.0
"""So long all receivers together may take; a sensor's tick has a minute."""

UNDER_WAY_SECONDS_MAX: Final = 600.0
"""After this time a message that is still under way is given up, so that its receiver is told again."""

Notices = Sequence[tuple[int, int]]
"""What a message carries: (alert, notice)."""

_REFERENCE: Final = re.compile(r"(?:env|file):(?!//[^/])")
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")

_MEND_REFERENCE: Final = "Mend the entry, or what it refers to, where Dagster's code runs."

# What apprise itself may add to a text: a title in the body, line ends, a counter.
_ADDED_CHARACTERS: Final = 32

_DIGEST_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class Receiver:
    """One that is told. ``url`` is apprise's, and secret; ``digest`` tells it apart and reveals nothing of the URL.

    ``characters_max`` is how long a text it takes in one message, a title of ``title_max`` characters beside it.
    """

    name: str
    url: Secret
    digest: bytes
    characters_max: int
    title_max: int


@dataclass(frozen=True, slots=True)
class Receivers:
    """Those that can be told, and of each entry that names none why, naming it by its place."""

    usable: Sequence[Receiver]
    wrong: Sequence[UsagePipelineError]


def receivers_of(entries: Sequence[Secret], environ: Mapping[str, str], salt: bytes) -> Receivers:
    """The receivers that the setting names, in its order. One entry that is wrong does not silence the others.

    ``salt`` is the store's, for the digests. Errors are ``alert_url_malformed``, and what resolving a reference raises.
    """
    found: list[Receiver] = []
    wrong: list[UsagePipelineError] = []
    kinds: Counter[str] = Counter()
    times: Counter[str] = Counter()
    for place, entry in enumerate(entries, start=1):
        try:
            url, kind, notifier = _resolved(place, entry, environ)
        except UsagePipelineError as error:
            wrong.append(error)
            continue
        kinds[kind] += 1
        times[url.reveal()] += 1
        title_max = max(notifier.title_maxlen, 0)
        shares_body = notifier.overflow_amalgamate_title or title_max == 0
        found.append(
            Receiver(
                name=kind if kinds[kind] == 1 else f"{kind}-{kinds[kind]}",
                url=url,
                digest=_digest(salt, url.reveal(), times[url.reveal()]),
                characters_max=max(
                    notifier.body_maxlen - notifier.overflow_buffer - _ADDED_CHARACTERS, _ADDED_CHARACTERS
                ),
                title_max=0 if shares_body else title_max,
            )
        )
    return Receivers(found, wrong)


def _resolved(place: int, entry: Secret, environ: Mapping[str, str]) -> tuple[Secret, str, NotifyBase]:
    text = entry.reveal()
    try:
        url = SecretReference.parse(text).resolve(environ) if _REFERENCE.match(text) else entry
    except UsagePipelineError as error:
        where = ", ".join(filter(None, ["USAGE_ALERT_URLS", f"entry {place}", error.where]))
        kind_of_error = TransientError if isinstance(error, TransientError) else PermanentError
        raise kind_of_error(error.code, error.what, where=where, remedy=_MEND_REFERENCE) from None
    remember_secret(url)
    kind = _SCHEME.match(url.reveal())
    notifier = _notifier(url)
    if kind is None or notifier is None:
        raise InvalidInputError(
            "alert_url_malformed",
            f"entry {place} is no URL that apprise knows (not shown, it may be a secret)",
            where="USAGE_ALERT_URLS",
            remedy="Write it as apprise documents the service, for example json://host:port/path.",
        )
    return url, kind[0].lower(), notifier


@lru_cache(maxsize=64)
def _digest(salt: bytes, url: str, times: int) -> bytes:
    """What tells a receiver apart. Slow and salted, since a URL may hold a weak password; ``times`` tells entries with
    the same URL apart."""
    return hashlib.scrypt(f"{times} {url}".encode(), salt=salt, n=2**13, r=8, p=1, dklen=_DIGEST_BYTES)


@dataclass(eq=False, slots=True)
class _Sending:
    """A message on its way. ``answered`` and ``refused`` are set by its thread."""

    receiver: Receiver
    message: Message
    notices: Notices
    started: float = field(default_factory=time.monotonic)
    thread: threading.Thread | None = None
    answered: bool = False
    refused: str | None = None


# By digest: what was not answered in time. Of this process: one that is started anew asks again.
_under_way: dict[bytes, _Sending] = {}


def deliver(
    messages: Sequence[tuple[Receiver, Message, Notices]], redactor: Redactor, *, seconds_max: float | None = None
) -> dict[str, str | None]:
    """Send each receiver its message; by name, None where it was accepted, else why not in one line.

    All together may take ``seconds_max``, by default :data:`RECEIVER_SECONDS_MAX`; what takes longer is under way.
    """
    seconds_max = RECEIVER_SECONDS_MAX if seconds_max is None else seconds_max
    sendings = [_Sending(*one) for one in messages]
    for sending in sendings:
        # A daemon: one that never answers must not keep the process from ending.
        sending.thread = threading.Thread(target=_send, args=(sending,), daemon=True)
        sending.thread.start()
    deadline = time.monotonic() + seconds_max
    outcomes: dict[str, str | None] = {}
    for sending in sendings:
        assert sending.thread is not None
        sending.thread.join(max(0.0, deadline - time.monotonic()))
        why: str | None = f"no answer within {seconds_max:g} s"
        if sending.answered:
            why = sending.refused
        else:
            _under_way[sending.receiver.digest] = sending
        outcomes[sending.receiver.name] = None if why is None else redactor.text(why)
    return outcomes


def late_answers(
    receivers: Collection[Receiver], redactor: Redactor
) -> tuple[list[tuple[Receiver, Notices, str | None]], frozenset[bytes]]:
    """The answers that came since to what was not answered in time: the notices, and None or why they were refused.
    And the digests of the receivers that have not answered yet, which are not to be told anything until then."""
    answers: list[tuple[Receiver, Notices, str | None]] = []
    waiting: set[bytes] = set()
    for receiver in receivers:
        sending = _under_way.get(receiver.digest)
        if sending is None:
            continue
        if sending.answered:
            refused = None if sending.refused is None else redactor.text(sending.refused)
            answers.append((receiver, sending.notices, refused))
        elif time.monotonic() - sending.started < UNDER_WAY_SECONDS_MAX:
            waiting.add(receiver.digest)
            continue
        del _under_way[receiver.digest]
    return answers, frozenset(waiting)


def _send(sending: _Sending) -> None:
    kinds = _apprise().NotifyType
    message = sending.message
    said = _SaidInThread()
    logging.getLogger("apprise").addHandler(said)
    kind = kinds.SUCCESS if message.good else kinds.FAILURE if message.grave else kinds.WARNING
    try:
        notifier = _notifier(sending.receiver.url)
        taken = notifier is not None and notifier.notify(body=message.text, title=message.title, notify_type=kind)
        sending.refused = None if taken else said.words or "not accepted"
    except Exception as error:  # noqa: BLE001 - a service's plug-in may raise anything; only its type is safe to show
        sending.refused = f"an unexpected {type(error).__name__}"
    finally:
        logging.getLogger("apprise").removeHandler(said)
        sending.answered = True


def _notifier(url: Secret) -> NotifyBase | None:
    apprise = _apprise()
    # Apprise's own lines may show parts of a URL: they are read in _send, and written nowhere.
    logger = logging.getLogger("apprise")
    logger.propagate = False
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
    made: NotifyBase | None = apprise.Apprise.instantiate(url.reveal(), suppress_exceptions=True)
    if made is not None and "overflow=" not in url.reveal():
        # Messages are made to fit; should one not, its end is lost and not the whole, and it stays one message.
        made.overflow_mode = apprise.OverflowMode.TRUNCATE
    return made


@cache
def _apprise() -> Any:
    """The library, loaded when somebody is told: it takes a moment, and brings along a module that Python retires."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        apprise = importlib.import_module("apprise")
        apprise.Apprise.instantiate("json://localhost")  # the first one loads every service's plug-in
    return apprise


class _SaidInThread(logging.Handler):
    """The last warning that apprise gave in this thread: why it was not accepted."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._thread = threading.get_ident()
        self.words = ""

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread:
            self.words = " ".join(record.getMessage().split())
