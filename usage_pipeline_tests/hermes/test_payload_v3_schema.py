"""The published schema of payload v3 and its parser take the same payloads, but for what a schema cannot say."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

import usage_pipeline.hermes
from usage_pipeline.hermes.payload import PayloadRefusedError
from usage_pipeline_tests.hermes.payload_building import Json, fixture, parse

SCHEMA = json.loads((Path(usage_pipeline.hermes.__file__).parent / "payload_v3.schema.json").read_text())
VALIDATOR = Draft202012Validator(SCHEMA)

BEYOND_CODES = {"payload_outside_coverage", "payload_duplicate_bucket", "payload_duplicate_model"}
"""Refusals that no schema can express, as its description says."""
BEYOND_FIELDS = ("coverage.start", "coverage.end", "usageDate", "generatedAt", "billingBaseUrl")
"""Fields whose value may be written well and still be wrong: no such day, too far away, no URL."""

TEXTS = st.sampled_from(["", " ", "x", "a\nb", "x" * 500, "x" * 501, "é", " x", "\x7f", "2026-03-11\n"]) | st.text(
    max_size=5
)
# No schema can say that a number has too many decimals to be an amount, so none of these has.
NUMBERS = st.sampled_from([0, -1, 1, 5.0, 1.5, -0.0, 2**63 - 1, 2**63, 10**12, 10**12 - 1, 1e300]) | st.floats(
    0, 1e6, allow_nan=False
).map(lambda number: round(number, 6))
DATES = st.sampled_from(
    [
        "2026-03-11",
        "2026-02-30",
        "2026-3-11",
        "２026-03-11",
        "1999-03-11",
        "2026-03-11T05:00:00Z",
        "2026-03-11T05:30:00Z",
        "2026-03-11T24:00:00Z",
        "2026-03-12T09:00:00Z",
        "2026-03-12T09:00:00.5Z",
        "2026-03-12T09:00:00+00:00",
        "2026-03-12T09:00:00+01:00",
    ]
)
URLS = st.sampled_from(
    ["https://h/v1", "https://u@h/", "https://h/?k=1", "https://h/#k", "//u@h", "https://[h", "h/@x", "https://h?", ""]
)
VALUES = st.one_of(TEXTS, NUMBERS, DATES, URLS, st.none(), st.booleans(), st.just([]), st.just({}))


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value of a payload, but the payload itself."""
    keys = list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []
    return [place for key in keys for place in ((*path, key), *places(value[key], (*path, key)))]


@st.composite
def changed(draw: st.DrawFn) -> Json:
    """A valid payload with up to three values replaced, removed or added."""
    payload = copy.deepcopy(draw(st.sampled_from([fixture("v3_call_time_hours"), SCHEMA["examples"][0]])))
    for _ in range(draw(st.integers(0, 3))):
        *way, last = draw(st.sampled_from(places(payload)))
        holder = payload
        for key in way:
            holder = holder[key]
        what = draw(st.sampled_from(["replace", "replace", "remove", "add"]))
        if what == "remove":
            del holder[last]
        elif what == "add" and isinstance(holder, dict):
            holder[draw(st.sampled_from(["note", "coverage", "task", "billingBaseUrl", "requests"]))] = draw(VALUES)
        else:
            holder[last] = draw(VALUES)
        assume(places(payload))
    return payload


def refusal_of(payload: Json) -> PayloadRefusedError | None:
    try:
        parse(payload)
    except PayloadRefusedError as refused:
        return refused
    return None


def is_beyond(refused: PayloadRefusedError) -> bool:
    return refused.code in BEYOND_CODES or refused.where.endswith(BEYOND_FIELDS)


@settings(max_examples=120, deadline=None)
@given(changed())
def test_the_schema_and_the_parser_agree(payload: Json) -> None:
    assume(payload.get("schemaVersion") == 3)  # another version is another contract
    errors = [error.message for error in VALIDATOR.iter_errors(payload)]
    refused = refusal_of(payload)
    if refused is None:
        assert errors == []
    elif not errors:
        assert is_beyond(refused), refused.line()


def test_the_schema_takes_what_the_parser_takes() -> None:
    for payload in (fixture("v3_call_time_hours"), *SCHEMA["examples"]):
        assert list(VALIDATOR.iter_errors(payload)) == []
        assert refusal_of(payload) is None


def test_every_field_of_a_row_is_in_the_schema() -> None:
    from usage_pipeline.hermes import payload_v3

    assert SCHEMA["properties"].keys() == payload_v3.V3_FIELDS
    assert SCHEMA["$defs"]["row"]["properties"].keys() == payload_v3._ROW_FIELDS
