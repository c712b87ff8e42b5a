"""How a route of the usage API answers: whose request, which parameters, one state of the store, one JSON value.

In: a :class:`Reading`, which names its parameters and tells its answer. Out: the answer with a strong ETag, 304 where
the caller has it already. Each answer is made in one read-only transaction that sees one state of the store; the tag is
read in the same one, so that an answer and its tag never belong to different states.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from typing import Any, Final

import msgspec
from psycopg import errors as postgres
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError
from starlette.requests import Request
from starlette.responses import Response

from usage_pipeline.errors import InvalidInputError
from usage_pipeline.ledger.answer_state import state_of_days
from usage_pipeline.ledger.read_tokens import Reader
from usage_pipeline.ledger.snapshot import snapshot
from usage_pipeline.service.access import ACCESS, Credential, admit_reader, credential_of
from usage_pipeline.service.answers import RefusedRequestError
from usage_pipeline.service.day_groups import DayGroups
from usage_pipeline.service.parameters import Parameter, Parameters
from usage_pipeline.service.runtime import ServiceRuntime
from usage_pipeline.service.threads import Threads
from usage_pipeline.settings import Settings

PRIVATE_HEADERS: Final = {
    "Cache-Control": "private, no-cache",  # may be kept by the caller, who asks each time whether it still holds
    "Vary": "Authorization, Cookie",
    "X-Content-Type-Options": "nosniff",
}

_RELEASE: Final = version("usage-pipeline")


@dataclass(frozen=True, slots=True)
class Asking:
    """One request: who asks, what, and when (UTC); and what was summed before."""

    reader: Reader
    parameters: Parameters
    now: datetime
    settings: Settings
    day_groups: DayGroups


State = Callable[[Connection, Asking], bytes]


@dataclass(frozen=True, slots=True)
class Reading:
    """A route that reads. ``state`` is what decides the answer; without it, the answer's own bytes do."""

    path: str
    parameters: tuple[Parameter, ...]
    tell: Callable[[Connection, Asking], dict[str, Any]]
    state: State | None = None


def state_of_asked_days(connection: Connection, asking: Asking) -> bytes:
    """What decides an answer about the days of ``from`` and ``to``."""
    return state_of_days(connection, asking.reader.workspace_id, *asking.parameters.days())


async def read(request: Request, runtime: ServiceRuntime, threads: Threads, reading: Reading) -> Response:
    """The answer. Raises :class:`RefusedRequestError` for whatever is answered with neither 200 nor 304."""
    credential = credential_of(request)
    known = ", ".join(request.headers.getlist("if-none-match"))
    given = request.query_params.multi_items()
    reader, tag, body = await threads.run(_answer, runtime, reading, credential, given, known)
    request.state.note = reader.token_prefix
    headers = {**PRIVATE_HEADERS, "ETag": tag}
    if body is None:
        return Response(None, 304, headers)
    return Response(body, 200, headers, media_type="application/json")


@contextmanager
def store_of(runtime: ServiceRuntime) -> Iterator[Connection]:
    """A connection that sees one state of the store and cannot change it.

    Raises :class:`RefusedRequestError` 503 ``answer_too_slow`` where a statement takes longer than it may.
    """
    try:
        with snapshot(runtime.engine) as connection:
            yield connection
    except OperationalError as error:
        if isinstance(error.orig, postgres.QueryCanceled):
            raise RefusedRequestError(
                503, "answer_too_slow", "The answer took too long to make. Ask for fewer days or fewer dimensions."
            ) from None
        raise


def ask(
    runtime: ServiceRuntime, reader: Reader, known: Sequence[Parameter], given: Sequence[tuple[str, str]]
) -> Asking:
    """The request of a reader, its parameters checked against those that are known.

    Raises :class:`InvalidInputError`, and :class:`RefusedRequestError` 403 for another workspace.
    """
    parameters = Parameters(given, known)
    wanted = parameters.text("workspace")
    if wanted is not None and wanted != reader.workspace:
        raise RefusedRequestError(
            403,
            "workspace_forbidden",
            f"This token is of the workspace {reader.workspace} and shows no other, whether there is one or not.",
            field="workspace",
        )
    return Asking(reader, parameters, runtime.clock(), runtime.settings, runtime.day_groups)


def _answer(
    runtime: ServiceRuntime,
    reading: Reading,
    credential: Credential,
    given: Sequence[tuple[str, str]],
    known_tags: str,
) -> tuple[Reader, str, bytes | None]:
    """Who asks, the answer's tag, and the answer; None where the caller has it."""
    reader = admit_reader(runtime, credential, ACCESS["GET", reading.path].scope)
    try:
        asking = ask(runtime, reader, reading.parameters, given)
        with store_of(runtime) as connection:
            tag = ""
            if reading.state is not None:
                tag = _tag(reading.state(connection, asking), reading.path, reader, given)
                if is_known(tag, known_tags):
                    return reader, tag, None
            body = as_bytes(reading.tell(connection, asking))
    except InvalidInputError as error:
        raise RefusedRequestError.of(400, error) from None
    tag = tag or _tag(body, reading.path, reader, given)
    return reader, tag, None if is_known(tag, known_tags) else body


def as_bytes(told: object) -> bytes:
    """JSON whose whole numbers have all their digits, whatever their size."""
    return msgspec.json.encode(told)


def _tag(state: bytes, path: str, reader: Reader, given: Sequence[tuple[str, str]]) -> str:
    """A strong entity tag of what decides the answer: the state, the question, and the release that answers."""
    digest = hashlib.blake2b(state, digest_size=16)
    digest.update(repr((_RELEASE, path, reader.workspace_id, list(given))).encode())
    return f'"{digest.hexdigest()}"'


def is_known(tag: str, known: str) -> bool:
    """Whether ``If-None-Match`` names the tag."""
    return tag in [one.strip().removeprefix("W/") for one in known.split(",")]
