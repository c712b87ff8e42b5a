"""Who is told, through apprise: a receiver per URL, asked at the same time, each for a bounded time.

In: the setting's entries (URLs, or references to one) and a message. Out: of each receiver None where it accepted, else
why not, without a secret. A receiver is known by its kind and place in the list (``json``, ``slack-2``), since what
else a URL has may be a token.
"""

from __future__ import annotations

import importlib
import logging
import re
import threading
import time
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from usage_pipeline.alerts.message import Message
from usage_pipeline.credentials.references import SecretReference
from usage_pipeline.credentials.secret import Secret
from usage_pipeline.errors import InvalidInputError
from usage_pipeline.telemetry.redaction import Redactor, remember_secret

if TYPE_CHECKING:
    from apprise import NotifyBase

RECEIVER_SECONDS_MAX: Final = 20.0
"""So long all receivers together may take; a sensor's tick has a minute."""

_REFERENCE: Final = re.compile(r"(?:env|file):(?!//[^/])")
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")


@dataclass(frozen=True, slots=True)
class Receiver:
    """One that is told. ``url`` is apprise's, and secret."""

    name: str
    url: Secret


def receivers_of(entries: Sequence[Secret], environ: Mapping[str, str]) -> list[Receiver]:
    """The receivers that the setting names, in its order.

    Raises :class:`InvalidInputError` ``alert_url_malformed`` naming the entry by its place, and what resolving a
    reference raises.
    """
    found: list[Receiver] = []
    kinds: Counter[str] = Counter()
    for place, entry in enumerate(entries, start=1):
        text = entry.reveal()
        url = SecretReference.parse(text).resolve(environ) if _REFERENCE.match(text) else entry
        remember_secret(url)
        kind = _SCHEME.match(url.reveal())
        if kind is None or _notifier(url) is None:
            raise InvalidInputError(
                "alert_url_malformed",
                f"entry {place} is no URL that apprise knows (not shown, it may be a secret)",
                where="USAGE_ALERT_URLS",
                remedy="Write it as apprise documents the service, for example json://host:port/path.",
            )
        name = kind[0].lower()
        kinds[name] += 1
        found.append(Receiver(name if kinds[name] == 1 else f"{name}-{kinds[name]}", url))
    return found


def deliver(
    messages: Sequence[tuple[Receiver, Message]], redactor: Redactor, *, seconds_max: float | None = None
) -> dict[str, str | None]:
    """Send each receiver its message; by name, None where it was accepted, else why not in one line.

    All together may take ``seconds_max``, by default :data:`RECEIVER_SECONDS_MAX`.
    """
    seconds_max = RECEIVER_SECONDS_MAX if seconds_max is None else seconds_max
    outcomes: dict[str, str | None] = {}
    threads = [
        # A daemon: one that never answers must not keep the process from ending.
        threading.Thread(target=_send, args=(receiver, message, outcomes), daemon=True)
        for receiver, message in messages
    ]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + seconds_max
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    late = f"no answer within {seconds_max:g} s"
    told = {receiver.name: outcomes.get(receiver.name, late) for receiver, _ in messages}
    return {name: None if why is None else redactor.text(why) for name, why in told.items()}


def _send(receiver: Receiver, message: Message, outcomes: dict[str, str | None]) -> None:
    kinds = _apprise().NotifyType
    said = _SaidInThread()
    logging.getLogger("apprise").addHandler(said)
    kind = kinds.SUCCESS if message.good else kinds.FAILURE if message.grave else kinds.WARNING
    try:
        notifier = _notifier(receiver.url)
        taken = notifier is not None and notifier.notify(body=message.text, title=message.title, notify_type=kind)
        outcomes[receiver.name] = None if taken else said.words or "not accepted"
    except Exception as error:  # noqa: BLE001 - a service's plug-in may raise anything; only its type is safe to show
        outcomes[receiver.name] = f"an unexpected {type(error).__name__}"
    finally:
        logging.getLogger("apprise").removeHandler(said)


def _notifier(url: Secret) -> NotifyBase | None:
    apprise = _apprise()
    # Apprise's own lines may show parts of a URL: they are read in _send, and written nowhere.
    logger = logging.getLogger("apprise")
    logger.propagate = False
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
    made: NotifyBase | None = apprise.Apprise.instantiate(url.reveal(), suppress_exceptions=True)
    if made is not None and "overflow=" not in url.reveal():
        made.overflow_mode = (
            apprise.OverflowMode.SPLIT
        )  # else a service with short messages refuses a long one for ever
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
