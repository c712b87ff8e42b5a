"""Every way to break the contract is refused as a whole, by a code, at the field that breaks it."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from usage_pipeline.errors import ExitCode
from usage_pipeline.hermes.payload import BODY_BYTES_MAX, PayloadRefusedError, parse_payload
from usage_pipeline_tests.hermes.payload_building import RECEIVED_AT, bucket, fixture, model, parse, v2

Path = tuple[str | int, ...]

ABSENT = object()


def refused(payload: object) -> PayloadRefusedError:
    with pytest.raises(PayloadRefusedError) as caught:
        parse(payload)
    assert caught.value.exit_code is ExitCode.USAGE
    return caught.value


def changed(path: Path, value: object) -> Any:
    payload = fixture("v2_two_days")
    *steps, last = path
    place: Any = payload
    for step in steps:
        place = place[step]
    if value is ABSENT:
        del place[last]
    else:
        place[last] = value
    return payload


def written(path: Path) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).lstrip(".")


MODEL: Path = ("rollups", 3, "models", 0)


@pytest.mark.parametrize(
    "value",
    [-1, 5.5, "5", True, None, ABSENT, [], 2**63, 10**30, 1e300],
    ids=lambda v: "absent" if v is ABSENT else repr(v),
)
@pytest.mark.parametrize(
    "path",
    [
        ("rollups", 3, "requests"),
        ("rollups", 3, "cachedTokens"),
        ("rollups", 3, "totalTokens"),
        (*MODEL, "inputTokens"),
        (*MODEL, "outputTokens"),
        (*MODEL, "cacheReadTokens"),
        (*MODEL, "cacheWriteTokens"),
        (*MODEL, "reasoningTokens"),
        ("repositoryRollups", 0, "inputTokens"),
        ("repositoryRollups", 0, "models", 0, "tokens"),
    ],
    ids=written,
)
def test_a_count_is_a_whole_number_that_fits(path: Path, value: object) -> None:
    error = refused(changed(path, value))
    assert (error.code, error.where) == ("payload_contract", written(path))


def test_a_whole_number_written_with_a_point_is_a_count() -> None:
    assert parse(changed((*MODEL, "inputTokens"), 100.0)).findings == ()


@pytest.mark.parametrize("value", [-0.01, "1", True, 1e12, 1e300], ids=repr)
@pytest.mark.parametrize(
    "path", [(*MODEL, "estimatedCostUsd"), (*MODEL, "actualCostUsd"), ("rollups", 3, "estimatedCostUsd")], ids=written
)
def test_a_cost_is_a_number_of_dollars(path: Path, value: object) -> None:
    error = refused(changed(path, value))
    assert (error.code, error.where) == ("payload_contract", written(path))


@pytest.mark.parametrize(
    "value",
    [
        "2026-3-12", "2026-02-30", "2026-03-12T07:30:00Z", "2026-03-12T07:00:00+00:00", "2026-03-12T24:00:00Z",
        "2026-03-12T07:00:00", "20260312", "２０２６-03-12", "", None, 20260312, "2026-03-12 ",
    ],
    ids=repr,
)  # fmt: skip
def test_a_bucket_is_a_day_or_an_hour_in_canonical_form(value: object) -> None:
    error = refused(changed(("rollups", 3, "usageDate"), value))
    assert (error.code, error.where) == ("payload_contract", "rollups[3].usageDate")


@pytest.mark.parametrize("usage_date", ["2026-03-13", "2026-03-13T00:00:00Z"])
def test_a_bucket_after_the_day_of_generation_is_refused(usage_date: str) -> None:
    error = refused(v2(bucket(usage_date, model())))
    assert (error.code, error.where) == ("payload_from_the_future", "rollups[0].usageDate")


def test_a_bucket_of_another_age_is_refused() -> None:
    assert refused(v2(bucket("1970-01-01", model()))).where == "rollups[0].usageDate"


def test_the_same_bucket_twice_is_refused() -> None:
    error = refused(v2(bucket("2026-03-11", model()), bucket("2026-03-11", model())))
    assert (error.code, error.where) == ("payload_duplicate_bucket", "rollups[1].usageDate")


@pytest.mark.parametrize("provider", ["OpenAI", "openai"])
def test_the_same_model_twice_in_a_bucket_is_refused(provider: str) -> None:
    error = refused(v2(bucket("2026-03-11", model(), model(provider=provider))))
    assert (error.code, error.where) == ("payload_duplicate_model", "rollups[0].models[1].model")


def test_one_model_of_two_vendors_is_two_models() -> None:
    assert len(parse(v2(bucket("2026-03-11", model(), model(provider="Unknown")))).rows) == 3


@pytest.mark.parametrize("value", ["", "  ", None, 7, "a\x00b", "a\nb", "m" * 501, "unallocated"], ids=repr)
def test_a_model_has_a_printable_name(value: object) -> None:
    error = refused(changed((*MODEL, "model"), value))
    assert (error.code, error.where) == ("payload_contract", "rollups[3].models[0].model")


@pytest.mark.parametrize(
    "value",
    ["2026-03-12T09:30:00", "2026-03-12T09:30:00+01:00", "2026-03-12", "now", "2026-13-12T09:30:00Z", None, 1773307800],
    ids=repr,
)
def test_the_instant_of_generation_is_in_utc(value: object) -> None:
    error = refused(v2(generatedAt=value))
    assert (error.code, error.where) == ("payload_contract", "generatedAt")


@pytest.mark.parametrize("value", ["2026-03-12T09:30:00.123456Z", "2026-03-12T09:30:00+00:00"])
def test_utc_may_be_written_in_two_ways(value: str) -> None:
    assert parse(v2(generatedAt=value)).generated_at.tzinfo is UTC


def test_a_clock_five_minutes_ahead_is_accepted_and_one_beyond_is_not() -> None:
    received_at = datetime(2026, 3, 12, 9, 25, tzinfo=UTC)
    assert parse(v2(generatedAt="2026-03-12T09:30:00Z"), received_at).heartbeat
    with pytest.raises(PayloadRefusedError) as caught:
        parse(v2(generatedAt="2026-03-12T09:30:01Z"), received_at)
    assert (caught.value.code, caught.value.where) == ("payload_from_the_future", "generatedAt")
    assert "clock" in caught.value.remedy


@pytest.mark.parametrize(
    "path",
    [
        ("generatedAt",), ("environment",), ("workspace",), ("workspace", "slug"), ("rollups",),
        ("rollups", 0, "models"), ("rollups", 0, "requests"), ("repositoryRollups",),
    ],
    ids=written,
)  # fmt: skip
def test_a_missing_field_is_called_missing(path: Path) -> None:
    error = refused(changed(path, ABSENT))
    assert (error.where, error.what) == (written(path), "is missing")


def test_a_packed_body_that_nobody_announced_is_called_packed() -> None:
    with pytest.raises(PayloadRefusedError) as caught:
        parse_payload(gzip.compress(b"{}"), received_at=RECEIVED_AT)
    assert caught.value.code == "payload_not_json"
    assert "Content-Encoding: gzip" in caught.value.remedy


def test_a_payload_of_another_age_is_refused() -> None:
    assert refused(v2(generatedAt="1970-01-01T00:00:00Z")).where == "generatedAt"


@pytest.mark.parametrize("version", [0, 4, 99])
def test_an_unknown_version_is_refused(version: int) -> None:
    error = refused(v2(schemaVersion=version))
    assert (error.code, error.where) == ("payload_version_unknown", "schemaVersion")


@pytest.mark.parametrize("version", [None, "2", 2.5, True, -2])
def test_a_version_is_a_number(version: object) -> None:
    assert refused(v2(schemaVersion=version)).where == "schemaVersion"


@pytest.mark.parametrize(
    ("path", "where"),
    [
        (("rollups",), "rollups"),
        (("repositoryRollups",), "repositoryRollups"),
        (("rollups", 0, "models"), "rollups[0].models"),
        (("environment",), "environment"),
        (("sourceLabel",), "sourceLabel"),
        (("workspace",), "workspace"),
        (("workspace", "slug"), "workspace.slug"),
        (("generatedAt",), "generatedAt"),
    ],
)
@pytest.mark.parametrize("value", [ABSENT, None, 7], ids=["absent", "null", "7"])
def test_what_must_be_there_is_named_when_it_is_not(path: Path, where: str, value: object) -> None:
    error = refused(changed(path, value))
    assert (error.code, error.where) == ("payload_contract", where)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"\xff", b"\xef\xbb\xbf{}", b'{"a":NaN}', b'{"a":Infinity}', b"{} {}", b"[" * 200_000,
        b'{"a":"\\ud800"}', b"{'a':1}", b'{"a":18446744073709551616',
    ],
)  # fmt: skip
def test_a_body_that_is_not_json_is_refused(body: bytes) -> None:
    with pytest.raises(PayloadRefusedError) as caught:
        parse_payload(body, received_at=RECEIVED_AT)
    assert caught.value.code == "payload_not_json"


@pytest.mark.parametrize("payload", [[], "text", 7, None])
def test_a_body_that_is_no_object_is_refused(payload: object) -> None:
    assert (refused(payload).code, refused(payload).where) == ("payload_contract", "payload")


def test_a_body_beyond_the_limit_is_not_even_read() -> None:
    with pytest.raises(PayloadRefusedError) as caught:
        parse_payload(b" " * (BODY_BYTES_MAX + 1), received_at=RECEIVED_AT)
    assert caught.value.code == "payload_too_large"


@pytest.mark.parametrize("number", ["1e999999999999999", "1e-400", "0." + "1" * 5000, "9" * 5000, "-0.1e400"])
def test_an_absurd_number_is_refused_at_its_field(number: str) -> None:
    body = json.dumps(v2(bucket("2026-03-11", model(uncached=987654)))).replace("987654", number, 1)
    with pytest.raises(PayloadRefusedError) as caught:
        parse_payload(body.encode(), received_at=RECEIVED_AT)
    assert (caught.value.code, caught.value.where) == ("payload_contract", "rollups[0].inputTokens")


def test_a_refusal_is_one_line_and_repeats_no_text_of_the_payload() -> None:
    error = refused(changed((*MODEL, "model"), "sk-secret\n"))
    assert "sk-secret" not in str(error)
    assert "\n" not in str(error)
