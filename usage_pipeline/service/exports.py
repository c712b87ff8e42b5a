"""``GET /api/exports/…``: what counts as a file, made and sent piece by piece.

The first piece is made before the answer begins, so that a bad question gets an answer of its own. The last one comes
only when the sums agree; else the transfer breaks off, which every client sees. One state of the store is read to the
end, whatever is written meanwhile. How many are made at once is bounded, since each holds a connection.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Final

from sqlalchemy import text
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from usage_pipeline.errors import InvalidInputError, PermanentError
from usage_pipeline.exports.query import FOCUS_VERSIONS, ExportQuery, Grain, Kind
from usage_pipeline.ledger.read_tokens import Reader
from usage_pipeline.reconcile.cut_dimensions import DIMENSIONS
from usage_pipeline.service.access import ACCESS, Credential, admit_reader, credential_of
from usage_pipeline.service.answers import RETRY_SECONDS, RefusedRequestError
from usage_pipeline.service.parameters import FROM, TO, WORKSPACE, Parameter, Parameters
from usage_pipeline.service.reading import PRIVATE_HEADERS, ask, store_of
from usage_pipeline.service.runtime import ServiceRuntime
from usage_pipeline.service.threads import Threads

EXPORTS_MAX: Final = 2
"""How many are made at once, so that two of the readers' threads are left for everybody else."""

STATEMENT_SECONDS_MAX: Final = 600
PIECE_SECONDS_MAX: Final = 120
"""How long a client may take to take a piece in."""

_BY: Final = Parameter("by", "Rows by UTC day or hour.", {"type": "string", "enum": [one.value for one in Grain]})
_OF_TABLE: Final = (
    Parameter(
        "rows",
        "The reconciled table or a cut of it, or every stored event.",
        {"type": "string", "enum": [Kind.SUMMARY.value, Kind.EVENTS.value], "default": Kind.SUMMARY.value},
    ),
    _BY,
    Parameter(
        "group_by", f"Dimensions of a summary, separated by commas: {', '.join(DIMENSIONS)}.", {"type": "string"}
    ),
)
_FORMATS: Final = ("csv", "parquet")
_VERSION: Final = Parameter(
    "focus_version",
    f"The version of FOCUS; {FOCUS_VERSIONS[-1]} where left out.",
    {"type": "string", "enum": list(FOCUS_VERSIONS)},
)
_FORMAT: Final = Parameter(
    "format", "As CSV or as Parquet.", {"type": "string", "enum": list(_FORMATS), "default": "csv"}
)

PARAMETERS: Final = {
    "/api/exports/csv": (FROM, TO, WORKSPACE, *_OF_TABLE),
    "/api/exports/parquet": (FROM, TO, WORKSPACE, *_OF_TABLE),
    "/api/exports/focus": (FROM, TO, WORKSPACE, _BY, _VERSION, _FORMAT),
}
"""The routes, and what each takes."""

MEDIA_TYPES: Final = {"csv": "text/csv; charset=utf-8", "parquet": "application/vnd.apache.parquet"}


class ExportSlots:
    """The right to make an export. It is used on the event loop alone."""

    def __init__(self) -> None:
        self._taken = 0

    def take(self) -> None:
        """Take one. Raises :class:`RefusedRequestError` 503 where all are taken."""
        if self._taken >= EXPORTS_MAX:
            raise RefusedRequestError(
                503, "service_busy", "Other exports are being made. Ask again soon.", retry_after=RETRY_SECONDS
            )
        self._taken += 1

    def give_back(self) -> None:
        """Let another one have it."""
        self._taken -= 1


async def export(
    request: Request, runtime: ServiceRuntime, threads: Threads, slots: ExportSlots, path: str
) -> Response:
    """The download. Raises :class:`RefusedRequestError` for whatever is not answered with 200."""
    credential, given = credential_of(request), request.query_params.multi_items()
    reader, query, format_ = await threads.run(_asked, runtime, credential, given, path)
    request.state.note = reader.token_prefix
    slots.take()
    making = _Making(runtime, query, format_)
    try:
        first = await threads.run(making.next_piece)
    except BaseException:
        slots.give_back()
        await asyncio.shield(threads.run(making.close))
        raise
    return _Download(making, first, threads, slots)


def _asked(
    runtime: ServiceRuntime, credential: Credential, given: Sequence[tuple[str, str]], path: str
) -> tuple[Reader, ExportQuery, str]:
    reader = admit_reader(runtime, credential, ACCESS["GET", path].scope)
    try:
        parameters = ask(runtime, reader, PARAMETERS[path], given).parameters
        if path == "/api/exports/focus":
            return reader, _focus(parameters, reader), parameters.choice("format", _FORMATS)
        return reader, _table(parameters, reader), path.rpartition("/")[2]
    except InvalidInputError as error:
        where = error.where.removeprefix("--").replace("-", "_")
        raise RefusedRequestError.of(
            400, InvalidInputError(error.code, error.what, where=where, remedy=error.remedy)
        ) from None


def _table(parameters: Parameters, reader: Reader) -> ExportQuery:
    kind = Kind(parameters.choice("rows", (Kind.SUMMARY.value, Kind.EVENTS.value)))
    written = parameters.text("group_by")
    by = tuple(name.strip().replace("-", "_") for name in written.split(",")) if written else ()
    return ExportQuery(kind, *parameters.days(), reader.workspace, _grain(parameters), by).checked()


def _focus(parameters: Parameters, reader: Reader) -> ExportQuery:
    version = parameters.choice("focus_version", tuple(reversed(FOCUS_VERSIONS)))
    days = parameters.days()
    return ExportQuery(Kind.FOCUS, *days, reader.workspace, _grain(parameters), focus_version=version).checked()


def _grain(parameters: Parameters) -> Grain | None:
    if parameters.text("by") is None:
        return None
    return Grain(parameters.choice("by", tuple(one.value for one in Grain)))


class _Making:
    """An export that is being made: opened with its first piece, closed once, by whichever thread."""

    def __init__(self, runtime: ServiceRuntime, query: ExportQuery, format_: str) -> None:
        self.query = query
        self.format = format_
        self._runtime = runtime
        self._open = ExitStack()
        self._pieces: Iterator[bytes] | None = None
        self._lock = threading.Lock()  # a request that is given up closes while a piece may still be made

    def next_piece(self) -> bytes | None:
        """The next piece that is not empty; None after the last one."""
        with self._lock:
            if self._pieces is None:
                self._pieces = self._begin()
            try:
                return next((piece for piece in self._pieces if piece), None)
            except PermanentError as error:
                raise RefusedRequestError.of(422, error) from None

    def close(self) -> None:
        """Leave the store."""
        with self._lock:
            self._open.close()

    def _begin(self) -> Iterator[bytes]:
        from usage_pipeline.exports.export import open_export

        connection = self._open.enter_context(store_of(self._runtime))
        connection.execute(text(f"SET LOCAL statement_timeout = '{STATEMENT_SECONDS_MAX}s'"))
        connection.execute(text(f"SET LOCAL idle_in_transaction_session_timeout = '{2 * PIECE_SECONDS_MAX}s'"))
        table = open_export(connection, self.query)
        if self.format == "parquet":
            from usage_pipeline.exports.parquet_file import parquet_chunks  # a large library, which few ask for

            return parquet_chunks(table)
        from usage_pipeline.exports.csv_file import csv_chunks

        return csv_chunks(table)


class _Download(Response):
    """Sends an export piece by piece, and leaves the store whatever happens."""

    def __init__(self, making: _Making, first: bytes | None, threads: Threads, slots: ExportSlots) -> None:
        name = f"{making.query.name}.{making.format}"
        headers = {
            **PRIVATE_HEADERS,
            "Cache-Control": "no-store",
            "Content-Disposition": f'attachment; filename="{name}"',
        }
        super().__init__(None, 200, headers, MEDIA_TYPES[making.format])
        del self.headers["content-length"]
        self._making, self._first, self._threads, self._slots = making, first, threads, slots

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI
        gone = asyncio.ensure_future(_until_gone(receive))
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            piece = self._first
            while piece is not None and not gone.done():
                async with asyncio.timeout(PIECE_SECONDS_MAX):
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
                piece = await self._threads.run(self._making.next_piece)
            if piece is None:
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            gone.cancel()
            self._slots.give_back()
            await asyncio.shield(self._threads.run(self._making.close))


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
