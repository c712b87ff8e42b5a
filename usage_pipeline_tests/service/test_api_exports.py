"""``GET /api/exports/…`` sends the files of ``usage-pipeline export``, whole or visibly broken off."""

from __future__ import annotations

import asyncio
import io
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from usage_pipeline.cli.app import app
from usage_pipeline.errors import InvariantError
from usage_pipeline.exports import csv_file
from usage_pipeline.service.answers import RefusedRequestError
from usage_pipeline.service.exports import EXPORTS_MAX, ExportSlots
from usage_pipeline_tests.service.api_world import DAY, LATER, Api

QUESTIONS: list[tuple[str, dict[str, str], list[str]]] = [
    ("csv", {}, ["csv"]),
    ("csv", {"rows": "events"}, ["csv", "--rows", "events"]),
    ("csv", {"by": "day", "group_by": "project,user"}, ["csv", "--by", "day", "--group-by", "project,user"]),
    ("focus", {}, ["focus"]),
    ("focus", {"focus_version": "1.2"}, ["focus", "--focus-version", "1.2"]),
]


def written(api: Api, words: list[str]) -> bytes:
    """What the command line writes."""
    days = ["--from", DAY["from"], "--to", DAY["to"], "--workspace", "acme"]
    environ = {"USAGE_DATABASE_URL": api.url, "USAGE_NOW": LATER.isoformat()}
    outcome = CliRunner().invoke(app, ["export", *words, *days], env=environ)
    assert outcome.exit_code == 0, outcome.stderr
    return outcome.stdout_bytes


@pytest.mark.parametrize(("kind", "parameters", "words"), QUESTIONS)
def test_a_download_is_the_file_that_the_command_writes(
    api: Api, kind: str, parameters: dict[str, str], words: list[str]
) -> None:
    answer = api.get(f"/api/exports/{kind}", **DAY, **parameters)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert re.fullmatch(r'attachment; filename="usage-[a-z0-9.-]+\.csv"', answer.headers["Content-Disposition"])
    assert answer.content == written(api, words)


@pytest.mark.parametrize(("path", "parameters"), [("parquet", {"rows": "events"}), ("focus", {"format": "parquet"})])
def test_a_parquet_file_can_be_read(api: Api, path: str, parameters: dict[str, str]) -> None:
    answer = api.get(f"/api/exports/{path}", **DAY, **parameters)
    assert answer.headers["Content-Type"] == "application/vnd.apache.parquet"
    assert pq.read_table(io.BytesIO(answer.content)).num_rows > 0


@pytest.mark.parametrize(
    ("parameters", "code", "field"),
    [
        ({"group_by": "colour"}, "dimension_unknown", "group_by"),
        ({"by": "week"}, "parameter_malformed", "by"),
        ({"rows": "events", "by": "day"}, "options_conflict", "export"),
        ({"focus_version": "1.2"}, "parameter_unknown", "focus_version"),
    ],
)
def test_what_cannot_be_exported_is_refused(api: Api, parameters: dict[str, str], code: str, field: str) -> None:
    assert api.refused(400, code, api.get("/api/exports/csv", **DAY, **parameters))["field"] == field


def asked(api: Api, *, leaves: bool = False) -> list[dict[str, Any]]:
    """What the application sends for a download, message by message; the client may leave at once."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        if not leaves:
            await asyncio.sleep(3600)
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/api/exports/csv",
        "query_string": urlencode({**DAY, "rows": "events"}).encode(),
        "headers": [(b"authorization", f"Bearer {api.tokens['acme']}".encode())],
    }
    asyncio.run(api.client.app(scope, receive, send))  # type: ignore[arg-type]
    return sent


def many_pieces(table: Any) -> Iterator[bytes]:
    yield from (b"piece\n" for _ in range(20))


def pieces_that_do_not_add_up(table: Any) -> Iterator[bytes]:
    yield b"piece\n"
    raise InvariantError("export_does_not_add_up", "the rows do not sum")


def test_a_file_that_does_not_add_up_is_never_ended(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_file, "csv_chunks", pieces_that_do_not_add_up)
    sent = asked(api)
    assert sent[0]["status"] == 200
    assert [message["more_body"] for message in sent[1:]] == [True]
    monkeypatch.undo()
    assert not asked(api)[-1]["more_body"]  # and the next one finds a free connection


def test_nothing_is_made_for_who_has_left(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_file, "csv_chunks", many_pieces)
    assert len(asked(api)) == 22
    assert len(asked(api, leaves=True)) < 22


def test_only_so_many_are_made_at_once() -> None:
    slots = ExportSlots()
    for _ in range(EXPORTS_MAX):
        slots.take()
    with pytest.raises(RefusedRequestError) as refused:
        slots.take()
    assert (refused.value.status, refused.value.code) == (503, "service_busy")
    slots.give_back()
    slots.take()
