"""Refusals tell what to do and show no secret."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usage_pipeline.errors import PermanentError, TransientError
from usage_pipeline.providers.openai import COMPLETIONS
from usage_pipeline.providers.refusals import MESSAGE_CHARACTERS_MAX, redacted, refusal_of


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "request_refused", PermanentError),
        (401, "credential_refused", PermanentError),
        (403, "credential_forbidden", PermanentError),
        (404, "endpoint_unknown", PermanentError),
        (408, "provider_unavailable", TransientError),
        (422, "request_refused", PermanentError),
        (429, "rate_limited", TransientError),
        (500, "provider_unavailable", TransientError),
        (503, "provider_unavailable", TransientError),
        (529, "provider_unavailable", TransientError),
    ],
)
def test_a_status_is_permanent_or_transient(status: int, code: str, kind: type[Exception]) -> None:
    error = refusal_of("openai", "OpenAI", COMPLETIONS, status, b"<html>")

    assert isinstance(error, kind)
    assert error.code == code
    assert str(status) in error.what
    assert error.where == "openai /organization/usage/completions"
    assert error.remedy


@pytest.mark.parametrize(
    "secret",
    [
        "sk-admin-Ab3dEf6hIj",
        "sk-ant-admin01-Ab3dEf6hIj_kl-mn",
        "sk-adm***********xyz9",
        "Bearer abc.def9",
        "AKIAIOSFODNN7EXAMPLEAKIAIOSFODNN7EXAMPLE",
        "abcd****wxyz",
    ],
)
def test_what_looks_like_a_key_is_not_repeated(secret: str) -> None:
    assert redacted(f"Incorrect key provided: {secret}, sorry") == "Incorrect key provided: [redacted], sorry"


def test_the_words_of_the_provider_are_kept() -> None:
    said = "Invalid limit provided: 366. Limit must be less than or equal to 180."

    assert redacted(said) == said


@given(st.text(max_size=2000))
def test_a_message_is_one_short_line(text: str) -> None:
    line = redacted(text)

    assert len(line) <= MESSAGE_CHARACTERS_MAX
    assert "\n" not in line


@given(st.integers(min_value=400, max_value=599), st.binary(max_size=200))
def test_any_refusal_is_told(status: int, body: bytes) -> None:
    assert isinstance(refusal_of("x", "X", COMPLETIONS, status, body), PermanentError | TransientError)
